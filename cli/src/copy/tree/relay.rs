//! Trees of one machine copied to another one through this: each file is received and sent at once, and none of it
//! is stored here.

use std::{os::unix::ffi::OsStrExt, sync::Arc};

use rp_transfer::{
    batch::Item,
    error::Error,
    message::{Attributes, Entry, Kind, List, Message, Put, Resume},
    path::{RemotePath, printable_path},
    relay::relay,
    session::Progress,
    walk::{Links, beneath},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    super::{FileOptions, location::Remote, pull, requests::Requests},
    Batch, CopyError, Outcome, Running, Tree, is_folder,
    push::{Part, Target, send_batch, sourceless},
};

/// Files under way at once. Each holds a thread that reads and one that writes for as long as it takes, and a
/// connection has four of these at most: with more files than that, those that wait for one another would have none.
const MOST_FILES: usize = 4;

impl Tree {
    /// Copies `sources` of the other side of `from` to `path` at ours.
    pub(in super::super) async fn relay(
        self,
        from: Arc<Requests>,
        sources: Vec<Remote>,
        path: Vec<u8>,
    ) -> Result<Outcome, CopyError> {
        let tree = Arc::new(self);
        let Target { base, name, .. } = tree.target(path, sources.len()).await?;
        for source in sources {
            let own = || source.folder_name().as_bytes().to_vec();
            let mut relaying = Relaying {
                tree: Arc::clone(&tree),
                from: Arc::clone(&from),
                prefix: name.clone().unwrap_or_else(own),
                source: source.path.clone(),
                base: base.clone(),
                batch: Batch::default(),
                folders: Vec::new(),
                running: Running::default(),
                places: Arc::new(Semaphore::new(MOST_FILES)),
            };
            relaying.relay_all().await?;
        }
        Ok(tree.report.take())
    }
}

/// One source on its way.
struct Relaying {
    tree: Arc<Tree>,
    from: Arc<Requests>,
    /// What it is called at the target.
    prefix: Vec<u8>,
    /// What it is called where it comes from.
    source: Vec<u8>,
    /// The folder of the target.
    base: Vec<u8>,
    /// Folders and links, which have no content.
    batch: Batch<Item>,
    /// Folders whose mode and time are set when nothing comes into them any more.
    folders: Vec<Entry>,
    running: Running,
    places: Arc<Semaphore>,
}

impl Relaying {
    async fn relay_all(&mut self) -> Result<(), CopyError> {
        let tree = Arc::clone(&self.tree);
        let list = Message::List(List {
            path: self.source.clone(),
            depth: tree.walk_options().depth,
            follow: tree.options.links == Links::Follow,
            ..List::default()
        });
        let from = Arc::clone(&self.from);
        let mut answers = from.ask(&[list]).await?;
        while let Some(entry) = answers.next().await? {
            self.relay(entry).await?;
        }
        drop(answers);
        tree.progress.set_planned();
        self.flush(false).await?;
        self.running.finish().await?;
        if tree.options.dry_run {
            return Ok(());
        }
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        for entry in folders {
            self.add(entry).await?;
        }
        self.running.finish().await?;
        self.flush(true).await?;
        self.running.finish().await
    }

    async fn relay(&mut self, mut entry: Entry) -> Result<(), CopyError> {
        let tree = Arc::clone(&self.tree);
        let shown = beneath(&self.source, &entry.path);
        if let Some(why) = entry.failure {
            tree.report.fail(shown, why);
            return Ok(());
        }
        // What a machine says of its files is not for us to believe, and the other one checks it, too.
        let path = match RemotePath::parse_named(&entry.path) {
            Ok(path) if !entry.path.is_empty() => path.to_bytes(),
            Ok(_) => Vec::new(),
            Err(error) => {
                tree.report.fail(shown, error.to_done());
                return Ok(());
            }
        };
        let target = beneath(&self.prefix, &path);
        if !tree.filter.wants(&target, entry.kind == Kind::Folder) {
            return Ok(());
        }
        let size = entry.attributes.size.unwrap_or(0);
        let refused = match entry.kind {
            Kind::Folder if !tree.options.recursive => Some(is_folder(&shown)),
            Kind::Other => Some(Error::NotAFile(printable_path(&shown))),
            Kind::Link if tree.options.links == Links::Follow => {
                Some(Error::Protocol("a link in place of what it leads to"))
            }
            _ => None,
        };
        if let Some(error) = refused {
            tree.report.fail(shown, error.to_done());
            return Ok(());
        }
        entry.path = target;
        match entry.kind {
            Kind::Link if tree.options.links == Links::Skip => Ok(()),
            Kind::Folder => {
                if tree.options.file.preserve {
                    self.folders.push(entry.clone());
                }
                entry.attributes = Attributes::default();
                match tree.options.dry_run {
                    true => Ok(()),
                    false => self.add(entry).await,
                }
            }
            _ if !tree.plan(&shown, size) => Ok(()),
            Kind::File => {
                let place = Arc::clone(&self.places).acquire_owned().await;
                let (from, base) = (Arc::clone(&self.from), self.base.clone());
                let relaying = async move {
                    let result = relay_file(&tree, &from, &shown, &base, &entry).await;
                    drop(place);
                    tree.on_file(&shown, result)
                };
                self.running.spawn(relaying).await
            }
            _ => self.add(entry).await,
        }
    }

    /// Puts what has no content of its own to the next batch.
    async fn add(&mut self, entry: Entry) -> Result<(), CopyError> {
        self.batch.push(sourceless(entry)?, 0);
        match self.batch.is_full() {
            true => self.flush(false).await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self, last: bool) -> Result<(), CopyError> {
        let items = self.batch.take();
        if items.is_empty() && !last {
            return Ok(());
        }
        // All requests before the last are over.
        let part = Part { last, after: 0 };
        let (begun, _) = mpsc::channel(1);
        let (tree, base) = (Arc::clone(&self.tree), self.base.clone());
        let sending = send_batch(tree, base, items, part, begun);
        self.running.spawn(sending).await
    }
}

/// Receives a file and sends it on.
async fn relay_file(
    tree: &Tree,
    from: &Requests,
    path: &[u8],
    base: &[u8],
    entry: &Entry,
) -> Result<u64, CopyError> {
    let (sink, source) = relay(&printable_path(path), &entry.attributes);
    let put = Put {
        path: beneath(base, &entry.path),
        tree: true,
        preserve: tree.options.file.preserve,
        durability: tree.options.file.durability,
        resume: Resume::Never,
        ..Put::default()
    };
    let options = FileOptions {
        resume: Resume::Never,
        ..tree.options.file
    };
    let progress = Progress::named_part(&tree.progress, path);
    let (received, sent) = tokio::join!(
        from.pull(
            path.to_vec(),
            pull::Target::Relay(sink),
            options,
            Arc::default()
        ),
        tree.requests.push(source, put, false, progress),
    );
    match (received, sent) {
        (Ok(_), Ok(summary)) => {
            tree.report.note(summary.note);
            tree.report.add_digest(&entry.path, summary.digest);
            Ok(summary.bytes)
        }
        // One that was broken off by the other says nothing.
        (Err(CopyError::Transfer(Error::Io { source, .. })), Err(error))
            if source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Err(error)
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}
