//! What the requests of one copy of a tree have in common where it is received: which files are finished, and what
//! is done when the last of them is over. How it is kept lies in `tree_journal`.

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    batch::Report,
    error::Error,
    message::{Attributes, CopyId, Durability, Mark},
    path::{RemotePath, Root, copy_journal_name},
    tree_journal::{Finished, Identity, Owner, Records, TreeJournal, mark},
    writer::shortfall::{Shortfall, Shortfalls},
    xattrs::{Privilege, Xattrs},
};

/// A copy of a tree into a folder.
#[derive(Debug)]
pub struct TreeCopy {
    root: Arc<Root>,
    base: RemotePath,
    owner: Owner,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    journal: Journal,
    /// Requests that went well.
    over: u64,
    ending: Option<Ending>,
}

/// Where it is written down what is finished.
#[derive(Debug, Default)]
enum Journal {
    #[default]
    Unopened,
    Open(TreeJournal),
    /// It cannot be written: what is copied is as good without.
    Not,
}

/// What is done when all is copied.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// So many requests came before the one that said this.
    pub(crate) after: u64,
    /// What folders are given when nothing comes into them any more.
    pub(crate) folders: Vec<(RemotePath, Attributes, Xattrs)>,
    /// Of whose words they get it.
    pub(crate) privilege: Privilege,
    /// Whether names are made durable.
    pub(crate) is_durable: bool,
}

impl TreeCopy {
    /// The copy `id` into the folder `base` beneath `root`, which need not be there yet.
    pub fn new(root: Arc<Root>, base: RemotePath, id: CopyId, durability: Durability) -> Arc<Self> {
        let owner = Owner {
            copy: id,
            boot: match durability {
                Durability::None => boot_id(),
                _ => [0; 16],
            },
        };
        Arc::new(Self {
            root,
            base,
            owner,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that paths are beneath.
    pub fn base(&self) -> &RemotePath {
        &self.base
    }

    /// Marks of the files that an earlier, interrupted copy finished; with `verify` of those that are right when
    /// they are read.
    pub fn there(self: &Arc<Self>, verify: bool) -> There {
        //= spec/20-copy.md#trees
        //# What was not made durable MUST NOT be believed after the system was started anew.
        let copy = self.owner.copy;
        let owners = [[0; 16], boot_id()].map(|boot| Owner { copy, boot });
        let folder = self.root.folder(&self.base).ok();
        let records = folder.map(|folder| TreeJournal::load(&folder, &owners));
        There {
            copy: Arc::clone(self),
            records,
            verify,
        }
    }

    //= spec/20-copy.md#trees
    //# A receiver MUST NOT count a file that is not what it was when it took its name.
    /// Whether a finished file is still what it was.
    fn is_there(&self, finished: &Finished, verify: bool) -> bool {
        let looked = || {
            let path = self.base.join(&RemotePath::parse_named(&finished.path)?);
            let file = self.root.look(&path)?;
            let stat =
                rustix::fs::fstat(&file).map_err(|errno| Error::io(path.display(), errno))?;
            if Identity::of(&stat) != finished.identity {
                return Ok(false);
            }
            Ok::<_, Error>(!verify || digest_of(self.root.source(&path)?)? == finished.digest)
        };
        looked().unwrap_or(false)
    }

    /// Begins the journal before anything is copied, so that the copy is known again from its first moment on.
    pub fn begin(&self) {
        self.open_journal(&mut self.lock());
    }

    fn open_journal(&self, state: &mut State) {
        if let Journal::Unopened = state.journal {
            let folder = self.root.make_folders(&self.base).map_err(io::Error::other);
            let opened = folder.and_then(|folder| TreeJournal::open(&folder, self.owner));
            state.journal = opened.map_or(Journal::Not, Journal::Open);
        }
    }

    /// These files have their names.
    pub(crate) fn note(&self, finished: &[Finished]) {
        if finished.is_empty() {
            return;
        }
        let mut state = self.lock();
        self.open_journal(&mut state);
        if let Journal::Open(journal) = &mut state.journal
            && journal.append(finished).is_err()
        {
            state.journal = Journal::Not;
        }
    }

    //= spec/20-copy.md#trees
    //# A server that has got *last* MUST set what folders were given, and forget the copy, when the requests before it
    //# went well.
    /// One request went well, which may be the one that ends the copy. Gives what is left to be done when it was the
    /// last of all.
    fn on_over(&self, ending: Option<Ending>) -> Option<Ending> {
        let mut state = self.lock();
        state.over += 1;
        if ending.is_some() {
            state.ending = ending;
        }
        let over = state.over;
        state.ending.take_if(|ending| over > ending.after)
    }

    /// All is copied.
    fn end(&self, ending: Ending, report: &Report) {
        // Before: what is removed from a folder changes its time.
        self.forget();
        for (path, attributes, xattrs) in &ending.folders {
            let set = self
                .root
                .set_folder_attributes(path, attributes, xattrs, ending.privilege);
            match set {
                Ok(true) => {}
                Ok(false) => {
                    let shortfalls: Shortfalls = [Shortfall::Xattrs].into_iter().collect();
                    report.note(shortfalls.describe(&path.display()));
                }
                Err(error) => report.fail(path.to_bytes(), error.to_done()),
            }
        }
        if ending.is_durable
            && let Ok(folder) = self.root.folder(&self.base)
        {
            // Names that cannot be made durable are no failure: the files are whole.
            let _ = rustix::fs::syncfs(folder);
        }
    }

    /// Nothing is left to go on with.
    pub fn forget(&self) {
        self.lock().journal = Journal::Unopened;
        if let Ok(folder) = self.root.folder(&self.base) {
            TreeJournal::remove(&folder, &self.owner.copy);
        }
    }
}

/// Whether the copy `id` into this folder was begun and is not over.
pub fn is_begun(folder: &Path, id: &CopyId) -> bool {
    folder
        .join(copy_journal_name(id))
        .symlink_metadata()
        .is_ok()
}

/// One request of a copy. Dropped before it is over it counts as failed, and what is done at the end of all is not
/// done before it is asked for anew.
pub struct Member {
    copy: Option<Arc<TreeCopy>>,
    /// Dropped when no file of the request is open any more.
    _held: Option<Box<dyn Any + Send>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("copy", &self.copy)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// One more request of `copy`.
    pub fn new(copy: Arc<TreeCopy>) -> Self {
        Self {
            copy: Some(copy),
            _held: None,
        }
    }

    /// The only request of a copy of one file.
    pub fn alone() -> Self {
        Self {
            copy: None,
            _held: None,
        }
    }

    /// Keeps `held` until no file of the request is open any more.
    #[must_use]
    pub fn holding(mut self, held: impl Send + 'static) -> Self {
        self._held = Some(Box::new(held));
        self
    }

    pub(crate) fn note(&self, finished: &[Finished]) {
        if let Some(copy) = &self.copy {
            copy.note(finished);
        }
    }

    /// The request went well.
    pub(crate) fn over(self, ending: Option<Ending>, report: &Report) {
        if let Some(copy) = self.copy
            && let Some(ending) = copy.on_over(ending)
        {
            copy.end(ending, report);
        }
    }
}

/// Goes through what an interrupted copy finished.
#[derive(Debug)]
pub struct There {
    copy: Arc<TreeCopy>,
    records: Option<Records<BufReader<File>>>,
    verify: bool,
}

impl There {
    /// Whether the copy was begun at all.
    pub fn is_begun(&self) -> bool {
        self.records.as_ref().is_some_and(Records::is_begun)
    }
}

impl Iterator for There {
    type Item = Mark;

    fn next(&mut self) -> Option<Mark> {
        let records = self.records.as_mut()?;
        let (copy, verify) = (&self.copy, self.verify);
        let finished = records.find(|finished| copy.is_there(finished, verify))?;
        Some(mark(&finished.version, &finished.path))
    }
}

fn digest_of(file: impl Read) -> Result<[u8; 32], Error> {
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(file);
    read.map_err(|error| Error::io("reading back", error))?;
    Ok(*hasher.finalize().as_bytes())
}

/// Another value each time that the system was started; zeros where it cannot be told.
fn boot_id() -> [u8; 16] {
    let mut id = [0; 16];
    if let Ok(text) = std::fs::read("/proc/sys/kernel/random/boot_id") {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&text).finalize_xof().fill(&mut id);
    }
    id
}
