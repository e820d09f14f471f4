//! Copying folders, and several files at once: small files in batches, large ones each by itself, several
//! requests at a time, while the tree is still being looked through.

mod delete;
mod hard_links;
mod known;
mod pull;
mod push;
mod relay;
mod running;
mod scan;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use rp_transfer::{
    batch::{MAX_ENTRIES, MAX_FILE, Outcome, Report},
    error::Error,
    message::{CopyId, Depth, Status},
    session::Progress,
    walk::{Links, WalkOptions},
    xattrs::Privilege,
};

use self::running::Running;
pub(super) use self::scan::parse_names;
use super::{
    CopyError, FileOptions, code_of, filter::Filter, identity::Identity, job::Wanted,
    outcome::Task, requests::Requests, say::Voice,
};
use crate::{
    args::copy::{CopyArgs, LinksArg},
    exit_code::ExitCode,
};

/// Bytes of a batch: what is in memory of it, and little beside what is in flight on a fast path.
const BATCH_BYTES: u64 = 4 << 20;

/// Longest file that is sent in a batch.
const SMALL: u64 = MAX_FILE;

/// What was found and is not sent yet: the scan is that far ahead.
const AHEAD: usize = 4096;

/// How long a batch that is not full waits for more to be found.
const PATIENCE: Duration = Duration::from_millis(20);

/// The copy of one or several trees.
pub(super) struct Tree {
    requests: Arc<Requests>,
    options: TreeOptions,
    filter: Arc<Filter>,
    /// What of the one source is wanted, where that was named.
    names: Option<Arc<Vec<Vec<u8>>>>,
    report: Report,
    progress: Arc<Progress>,
    /// What this copy is called.
    id: CopyId,
    /// Requests of it that were made.
    made: AtomicU64,
    voice: Voice,
}

/// What a copy of trees does.
#[derive(Clone, Copy, Debug)]
struct TreeOptions {
    file: FileOptions,
    links: Links,
    recursive: bool,
    one_file_system: bool,
    dry_run: bool,
    delete: bool,
    hard_links: bool,
    /// Whether the digest of everything is wanted: then nothing of an interrupted copy is left out.
    digests: bool,
}

impl Tree {
    pub(super) fn new(
        task: &Task,
        args: &CopyArgs,
        wanted: Wanted,
        file: FileOptions,
        identity: Option<Identity>,
    ) -> Self {
        let id = identity.map(|mut identity| {
            identity.add_options(file.preserve, file.durability);
            identity.add(&[args.links as u8, u8::from(file.xattrs)]);
            identity.finish()
        });
        Self {
            // A tree has no part in standard input or output, so that there is an identity.
            id: id.unwrap_or_default(),
            made: AtomicU64::new(0),
            requests: Arc::clone(&task.requests),
            options: TreeOptions {
                file,
                links: match args.links {
                    LinksArg::Copy => Links::Follow,
                    LinksArg::Keep => Links::Keep,
                    LinksArg::Skip => Links::Skip,
                },
                recursive: args.recursive,
                one_file_system: args.one_file_system,
                dry_run: args.dry_run,
                delete: args.delete,
                hard_links: args.hard_links,
                digests: args.checksum || args.manifest.is_some(),
            },
            filter: Arc::new(wanted.filter),
            names: wanted.names.map(Arc::new),
            report: task.report.clone(),
            progress: Arc::clone(&task.progress),
            voice: task.voice,
        }
    }

    fn walk_options(&self) -> WalkOptions {
        WalkOptions {
            depth: match self.options.recursive {
                true => Depth::All,
                false => Depth::Itself,
            },
            links: self.options.links,
            one_file_system: self.options.one_file_system,
            xattrs: self.xattrs(),
        }
    }

    /// Which extended attributes are read here, if they are wanted.
    fn xattrs(&self) -> Option<Privilege> {
        let file = &self.options.file;
        file.xattrs.then_some(file.privilege)
    }

    /// Whether folders have anything to be given when all is in them.
    fn keeps_folders(&self) -> bool {
        self.options.file.preserve || self.options.file.xattrs
    }

    /// A file is to be copied; false if it is only to be named.
    fn plan(&self, path: &[u8], size: u64) -> bool {
        if self.options.dry_run {
            self.voice.plan(false, path);
            return false;
        }
        self.progress.add_planned(1, size);
        true
    }

    /// A file that is to be copied is there already.
    fn on_there(&self, size: u64) {
        self.progress.add_there(size);
        self.progress.add_file();
        self.report.add_file(size);
    }

    /// Notes that one file was not copied; gives back what ends the whole copy.
    fn on_file(&self, path: &[u8], result: Result<u64, CopyError>) -> Result<(), CopyError> {
        match result {
            Ok(bytes) => {
                self.report.add_file(bytes);
                self.progress.add_file();
                Ok(())
            }
            // Without space the others fail too.
            Err(CopyError::Transfer(error))
                if !matches!(error.status(), Status::NoSpace | Status::Interrupted) =>
            {
                self.report.fail(path.to_vec(), error.to_done());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Things of one batch, until they are enough.
#[derive(Debug)]
struct Batch<T> {
    things: Vec<T>,
    bytes: u64,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            things: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T> Batch<T> {
    fn push(&mut self, thing: T, bytes: u64) {
        self.things.push(thing);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.things.len() >= MAX_ENTRIES || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.things)
    }
}

/// Adds what became of one request to what became of all; a full disk ends them.
fn take_report(tree: &Tree, report: &Report) -> Result<(), CopyError> {
    let outcome = report.take();
    let full = outcome
        .failures
        .iter()
        .find(|failure| failure.why.status == Status::NoSpace)
        .map(|failure| failure.why.clone());
    tree.report.add(outcome);
    match full {
        Some(done) => Err(Error::Peer(done).into()),
        None => Ok(()),
    }
}

/// How the program ends after a copy of many files.
pub(super) fn judge(outcome: &Outcome) -> Result<(), CopyError> {
    let mut codes = outcome
        .failures
        .iter()
        .map(|failure| match failure.why.status {
            Status::NotFound => ExitCode::NotFound,
            status => code_of(status),
        });
    let Some(first) = codes.next() else {
        return Ok(());
    };
    // Where nothing at all was copied, and for one reason, that reason says more.
    let code = match outcome.files == 0 && codes.all(|code| code == first) {
        true => first,
        false => ExitCode::Failed,
    };
    let failed = outcome.failures.len() as u64;
    Err(CopyError::Some {
        failed,
        all: failed + outcome.files,
        code,
    })
}

/// A folder among the sources where folders are not wanted.
fn is_folder(path: &[u8]) -> Error {
    Error::Folder(rp_transfer::path::printable_path(path))
}
