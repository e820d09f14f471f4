//! Trees of this machine sent to a server.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use rp_transfer::{
    batch::{BatchSender, Item, MAX_ENTRIES},
    error::Error,
    message::{Attributes, Depth, Entry, Kind, List, Message, Put, PutBatch, Status},
    path::{RemotePath, Root},
    session::Progress,
    source::Source,
    walk::beneath,
    xattrs::Xattrs,
};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::timeout,
};

use super::{
    AHEAD, Batch, CopyError, Outcome, PATIENCE, Running, SMALL, Tree,
    hard_links::HardLinks,
    known::Known,
    scan::{Found, Scan},
    take_report,
};
use crate::copy::job::file_name;

impl Tree {
    /// Copies `sources` to `path` at the server.
    pub(in super::super) async fn push(
        self,
        sources: Vec<PathBuf>,
        path: Vec<u8>,
    ) -> Result<Outcome, CopyError> {
        self.requests.threads.allow_reading();
        let tree = Arc::new(self);
        let Target { base, name, known } = match &tree.names {
            // The names on the list stand there as they stand here.
            Some(_) => Target {
                known: Known::ask(&tree, &path),
                base: path,
                name: Some(Vec::new()),
            },
            None => tree.target(path, sources.len()).await?,
        };
        let sources: Vec<_> = sources
            .into_iter()
            .map(|source| {
                let own = || file_name(&source).as_bytes().to_vec();
                let prefix = name.clone().unwrap_or_else(own);
                (source, prefix)
            })
            .collect();
        let (found, mut finds) = mpsc::channel(AHEAD);
        let scan = Scan::new(&tree, found);
        let scanning = tokio::task::spawn_blocking(move || scan.run(sources));
        let mut sending = Sending {
            tree: Arc::clone(&tree),
            base: base.clone(),
            known,
            begun: Begun::default(),
            batch: Batch::default(),
            folders: Vec::new(),
            links: HardLinks::default(),
            running: Running::default(),
        };
        let sent = sending.send_all(&mut finds).await;
        drop(finds);
        sent?;
        if let Ok(Some(seen)) = scanning.await {
            tree.delete_remote(&base, &seen).await?;
        }
        Ok(tree.report.take())
    }

    /// Where everything goes.
    pub(super) async fn target(
        self: &Arc<Self>,
        path: Vec<u8>,
        sources: usize,
    ) -> Result<Target, CopyError> {
        let target = RemotePath::parse_named(&path)?;
        let into = |base: Vec<u8>, known| Target {
            base,
            name: None,
            known,
        };
        if target.is_folder() && sources == 1 {
            let known = Known::ask(self, &path);
            return Ok(into(path, known));
        }
        let parent = target.parent().to_bytes();
        let name = target.file_name().unwrap_or_default().as_bytes().to_vec();
        // Asked at the same time: what an interrupted copy made is no folder to copy into.
        let mut begun = Known::ask(self, &parent);
        let there = self.look(&path, sources).await?;
        if sources == 1 && (there != Some(Kind::Folder) || begun.is_begun().await) {
            return Ok(Target {
                base: parent,
                name: Some(name),
                known: begun,
            });
        }
        match there {
            Some(Kind::Folder) => {
                let known = Known::ask(self, &path);
                Ok(into(path, known))
            }
            _ => Err(Error::NotAFolder(target.display()).into()),
        }
    }

    /// What is at `path` of the server; one source may go where nothing is.
    async fn look(&self, path: &[u8], sources: usize) -> Result<Option<Kind>, CopyError> {
        let list = Message::List(List {
            path: path.to_vec(),
            depth: Depth::Itself,
            follow: true,
            ..List::default()
        });
        let mut answers = self.requests.ask(&[list]).await?;
        match answers.next().await? {
            Some(Entry {
                failure: Some(why), ..
            }) if why.status == Status::NotFound && sources == 1 => Ok(None),
            Some(Entry {
                failure: Some(why), ..
            }) => Err(Error::Peer(why).into()),
            entry => Ok(entry.map(|entry| entry.kind)),
        }
    }
}

/// Where everything goes.
pub(super) struct Target {
    /// The folder at the server that all paths are beneath.
    pub(super) base: Vec<u8>,
    /// What the one source is called there; each its own name if there is none.
    pub(super) name: Option<Vec<u8>>,
    /// What is there already.
    known: Known,
}

/// One copy to a server under way.
struct Sending {
    tree: Arc<Tree>,
    /// The folder at the server that all paths are beneath.
    base: Vec<u8>,
    known: Known,
    begun: Begun,
    batch: Batch<Item>,
    /// Folders whose mode and time are set when nothing comes into them any more.
    folders: Vec<Entry>,
    links: HardLinks,
    running: Running,
}

impl Sending {
    async fn send_all(&mut self, finds: &mut mpsc::Receiver<Found>) -> Result<(), CopyError> {
        while let Some(found) = self.next(finds).await? {
            match found {
                Ok(item) => self.send(item).await?,
                Err((path, error)) => self.tree.report.fail(path, error.to_done()),
            }
        }
        self.tree.progress.set_planned();
        self.flush().await?;
        if self.tree.options.dry_run {
            return self.running.finish().await;
        }
        let links = self.links.take();
        if !links.is_empty() {
            // What they are other names of has to be there.
            self.running.finish().await?;
            for entry in links {
                self.add(sourceless(entry)?).await?;
            }
            self.flush().await?;
        }
        // Deepest first: what is set of a folder is not changed by what happens beneath it.
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        let last = folders.split_off(folders.len().saturating_sub(MAX_ENTRIES));
        if !folders.is_empty() {
            // More than one batch holds: the others come when nothing else does.
            self.running.finish().await?;
            for entry in folders {
                self.add(sourceless(entry)?).await?;
            }
            self.flush().await?;
        }
        self.end(last).await
    }

    /// Ends the copy without waiting for what is under way: the server knows when all of it is there.
    async fn end(&mut self, folders: Vec<Entry>) -> Result<(), CopyError> {
        std::mem::take(&mut self.begun).all().await;
        let ending = |after| Part { last: true, after };
        let items = || {
            let folders = folders.iter().cloned();
            folders.map(sourceless).collect::<Result<Vec<_>, _>>()
        };
        let made = self.tree.made.load(Ordering::Relaxed);
        self.spawn(items()?, ending(made)).await?;
        self.running.finish().await?;
        if self.tree.report.failures() > 0 {
            // Of requests that failed the server may not know.
            self.spawn(items()?, ending(0)).await?;
        }
        self.running.finish().await
    }

    /// What is found next; what waits is sent when finding it takes long.
    async fn next(
        &mut self,
        finds: &mut mpsc::Receiver<Found>,
    ) -> Result<Option<Found>, CopyError> {
        match finds.try_recv() {
            Ok(found) => return Ok(Some(found)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        if !self.batch.things.is_empty() && !self.running.is_busy() {
            match timeout(PATIENCE, finds.recv()).await {
                Ok(found) => return Ok(found),
                Err(_) => self.flush().await?,
            }
        }
        Ok(finds.recv().await)
    }

    async fn send(&mut self, mut item: Item) -> Result<(), CopyError> {
        let size = item.entry.attributes.size.unwrap_or(0);
        match item.entry.kind {
            Kind::Other => {
                let error = Error::NotAFile(item.source.display());
                self.tree.report.fail(item.entry.path, error.to_done());
                return Ok(());
            }
            Kind::Folder => {
                if self.tree.keeps_folders() {
                    self.folders.push(item.entry.clone());
                }
                // Writable until all is in it.
                item.entry.attributes = Attributes::default();
                item.entry.xattrs = Xattrs::default();
                if self.tree.options.dry_run {
                    return Ok(());
                }
            }
            Kind::File | Kind::Link | Kind::HardLink => {
                let is_copied = self.tree.options.hard_links && self.links.keep(&item.entry);
                let size = if is_copied { 0 } else { size };
                if !self.tree.plan(&item.entry.path, size) || is_copied {
                    return Ok(());
                }
            }
        }
        if item.entry.kind == Kind::File {
            let (version, path) = (item.entry.version.as_ref(), &item.entry.path);
            if self.known.contains(version, path).await {
                self.tree.on_there(size);
                return Ok(());
            }
        }
        if size > SMALL {
            let (tree, base) = (Arc::clone(&self.tree), self.base.clone());
            let sending = send_file(tree, base, item, self.begun.one());
            return self.running.spawn(sending).await;
        }
        self.add(item).await
    }

    async fn add(&mut self, item: Item) -> Result<(), CopyError> {
        let size = item.entry.attributes.size.unwrap_or(0);
        self.batch.push(item, size);
        match self.batch.is_full() {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Sends what waits.
    async fn flush(&mut self) -> Result<(), CopyError> {
        match self.batch.take() {
            items if items.is_empty() => Ok(()),
            items => self.spawn(items, Part::default()).await,
        }
    }

    async fn spawn(&mut self, items: Vec<Item>, part: Part) -> Result<(), CopyError> {
        let (tree, base) = (Arc::clone(&self.tree), self.base.clone());
        let sending = send_batch(tree, base, items, part, self.begun.one());
        self.running.spawn(sending).await
    }
}

/// Which part of a copy a batch is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    pub(super) last: bool,
    /// How many requests came before the last.
    pub(super) after: u64,
}

/// Counts requests until they are made, or will not be.
#[derive(Debug)]
struct Begun {
    one: mpsc::Sender<()>,
    all: mpsc::Receiver<()>,
}

impl Default for Begun {
    fn default() -> Self {
        let (one, all) = mpsc::channel(1);
        Self { one, all }
    }
}

impl Begun {
    /// One more, which is made when this is dropped.
    fn one(&self) -> mpsc::Sender<()> {
        self.one.clone()
    }

    /// Waits until all are made.
    async fn all(mut self) {
        drop(self.one);
        let _ = self.all.recv().await;
    }
}

/// What needs nothing of this side any more: what a folder is given in the end, another name of a file.
pub(super) fn sourceless(entry: Entry) -> Result<Item, CopyError> {
    let root = Root::open_trusted(Path::new("/")).map_err(|error| Error::io("/", error))?;
    Ok(Item {
        root: Arc::new(root),
        source: RemotePath::parse_named(b"")?,
        entry,
    })
}

pub(super) async fn send_batch(
    tree: Arc<Tree>,
    path: Vec<u8>,
    items: Vec<Item>,
    part: Part,
    begun: mpsc::Sender<()>,
) -> Result<(), CopyError> {
    let requests = &tree.requests;
    let sent: Vec<_> = items
        .iter()
        .filter(|item| item.entry.kind != Kind::Folder)
        .map(|item| item.entry.attributes.size.unwrap_or(0))
        .collect();
    let streams = requests.connection.open_bi().await?;
    let data = requests.connection.open_uni().await?;
    let put = PutBatch {
        stream: data.id().into_inner(),
        path,
        preserve: tree.options.file.preserve,
        durability: tree.options.file.durability,
        last: part.last,
        copy: Some(tree.id),
        after: part.after,
        sparse: tree.options.file.sparse,
    };
    tree.made.fetch_add(1, Ordering::Relaxed);
    drop(begun);
    let xattrs = tree.xattrs();
    let report = tree.report.part();
    let (own, progress) = (report.clone(), Arc::clone(&tree.progress));
    let make = Box::new(move || {
        Box::new(BatchSender::push(put, items, own, progress).xattrs(xattrs)) as _
    });
    requests.drive(make, streams, Some(data)).await?;
    let failed = report.failures();
    // Which of them failed makes no difference to how many did not.
    for size in sent.into_iter().skip(failed) {
        report.add_file(size);
        tree.progress.add_file();
    }
    take_report(&tree, &report)
}

/// Sends one large file.
async fn send_file(
    tree: Arc<Tree>,
    base: Vec<u8>,
    item: Item,
    begun: mpsc::Sender<()>,
) -> Result<(), CopyError> {
    let path = item.entry.path.clone();
    let result = send_source(&tree, &base, item, begun).await;
    tree.on_file(&path, result)
}

async fn send_source(
    tree: &Tree,
    base: &[u8],
    item: Item,
    begun: mpsc::Sender<()>,
) -> Result<u64, CopyError> {
    let (shown, path) = (item.source.display(), item.entry.path.clone());
    let opening = tree.requests.worker.run(move || {
        let file = item.root.source(&item.source)?;
        Source::file(file, &item.source.display())
    });
    let opened = opening.await.map_err(|error| Error::io(shown, error))??;
    let xattrs = match tree.xattrs() {
        Some(privilege) => opened.xattrs(privilege)?,
        None => Xattrs::default(),
    };
    let put = Put {
        path: beneath(base, &item.entry.path),
        tree: true,
        preserve: tree.options.file.preserve,
        durability: tree.options.file.durability,
        resume: tree.options.file.resume,
        copy: Some(tree.id),
        folder: Some(base.to_vec()),
        sparse: tree.options.file.sparse,
        xattrs,
        ..Put::default()
    };
    tree.made.fetch_add(1, Ordering::Relaxed);
    drop(begun);
    let progress = Progress::named_part(&tree.progress, &path);
    let reduce = tree.options.file.reduce;
    let pushed = tree.requests.push(opened, put, reduce, progress);
    let summary = pushed.await?;
    tree.report.note(summary.note);
    tree.report.add_digest(&path, summary.digest);
    Ok(summary.bytes)
}
