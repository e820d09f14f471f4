//! Trees of this machine sent to a server.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    batch::{BatchSender, Item},
    error::Error,
    message::{Attributes, Depth, Entry, Kind, List, Message, Put, PutBatch, Status},
    path::{RemotePath, Root},
    session::Progress,
    source::Source,
    walk::{Walk, WalkOptions},
};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::timeout,
};

use super::{
    AHEAD, Batch, CopyError, Outcome, PATIENCE, Running, SMALL, Tree, is_folder, take_report,
};
use crate::copy::{job::file_name, location::printable_path};

/// What a scan finds.
type Found = Result<Item, (Vec<u8>, Error)>;

impl Tree {
    /// Copies `sources` to `path` at the server.
    pub(in super::super) async fn push(
        self,
        sources: Vec<PathBuf>,
        path: Vec<u8>,
    ) -> Result<Outcome, CopyError> {
        let (base, name) = self.target(path, sources.len()).await?;
        let sources: Vec<_> = sources
            .into_iter()
            .map(|source| {
                let own = || file_name(&source).as_bytes().to_vec();
                let prefix = name.clone().unwrap_or_else(own);
                (source, prefix)
            })
            .collect();
        let (found, mut finds) = mpsc::channel(AHEAD);
        let (options, recursive) = (self.walk_options(), self.options.recursive);
        tokio::task::spawn_blocking(move || scan(sources, options, recursive, &found));
        let tree = Arc::new(self);
        let mut sending = Sending {
            tree: Arc::clone(&tree),
            base,
            batch: Batch::default(),
            folders: Vec::new(),
            running: Running::default(),
        };
        let sent = sending.send_all(&mut finds).await;
        drop(finds);
        sent?;
        Ok(tree.report.take())
    }

    /// The folder that everything goes to, and the name there that the one source gets; each its own if there
    /// is none.
    async fn target(
        &self,
        path: Vec<u8>,
        sources: usize,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), CopyError> {
        let target = RemotePath::parse_named(&path)?;
        if target.is_folder() && sources == 1 {
            return Ok((path, None));
        }
        let list = Message::List(List {
            path: path.clone(),
            depth: Depth::Itself,
            follow: true,
            ..List::default()
        });
        let mut answers = self.requests.ask(&list).await?;
        let there = match answers.next().await? {
            Some(Entry {
                failure: Some(why), ..
            }) if why.status == Status::NotFound && sources == 1 => None,
            Some(Entry {
                failure: Some(why), ..
            }) => return Err(Error::Peer(why).into()),
            entry => entry,
        };
        match there.map(|entry| entry.kind) {
            Some(Kind::Folder) => Ok((path, None)),
            Some(_) if sources > 1 => Err(Error::NotAFolder(target.display()).into()),
            _ => {
                let name = target.file_name().unwrap_or_default();
                Ok((target.parent().to_bytes(), Some(name.as_bytes().to_vec())))
            }
        }
    }
}

/// One copy to a server under way.
struct Sending {
    tree: Arc<Tree>,
    /// The folder at the server that all paths are beneath.
    base: Vec<u8>,
    batch: Batch<Item>,
    /// Folders whose mode and time are set when nothing comes into them any more.
    folders: Vec<Entry>,
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
        self.flush(false).await?;
        self.running.finish().await?;
        if self.tree.options.dry_run {
            return Ok(());
        }
        // Deepest first: what is set of a folder is not changed by what happens beneath it.
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        for entry in folders {
            self.add(Item {
                root: Arc::new(
                    Root::open_trusted(Path::new("/"))
                        .map_err(|error| CopyError::from(Error::io("/", error)))?,
                ),
                source: RemotePath::parse_named(b"")?,
                entry,
            })
            .await?;
        }
        self.running.finish().await?;
        self.flush(true).await?;
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
                Err(_) => self.flush(false).await?,
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
                if self.tree.options.file.preserve {
                    self.folders.push(item.entry.clone());
                }
                // Writable until all is in it.
                item.entry.attributes = Attributes::default();
                if self.tree.options.dry_run {
                    return Ok(());
                }
            }
            Kind::File | Kind::Link => {
                if !self.tree.plan(&item.entry.path, size) {
                    return Ok(());
                }
            }
        }
        if size > SMALL {
            let sending = send_file(Arc::clone(&self.tree), self.base.clone(), item);
            return self.running.spawn(sending).await;
        }
        self.add(item).await
    }

    async fn add(&mut self, item: Item) -> Result<(), CopyError> {
        let size = item.entry.attributes.size.unwrap_or(0);
        self.batch.push(item, size);
        match self.batch.is_full() {
            true => self.flush(false).await,
            false => Ok(()),
        }
    }

    /// Sends what waits, and says so if it is the last.
    async fn flush(&mut self, last: bool) -> Result<(), CopyError> {
        let items = self.batch.take();
        if items.is_empty() && !last {
            return Ok(());
        }
        let sending = send_batch(Arc::clone(&self.tree), self.base.clone(), items, last);
        self.running.spawn(sending).await
    }
}

async fn send_batch(
    tree: Arc<Tree>,
    path: Vec<u8>,
    items: Vec<Item>,
    last: bool,
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
        last,
    };
    let report = rp_transfer::batch::Report::default();
    let (own, progress) = (report.clone(), Arc::clone(&tree.progress));
    let make = Box::new(move || Box::new(BatchSender::push(put, items, own, progress)) as _);
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
async fn send_file(tree: Arc<Tree>, base: Vec<u8>, item: Item) -> Result<(), CopyError> {
    let path = item.entry.path.clone();
    let result = send_source(&tree, &base, item).await;
    tree.on_file(&path, result)
}

async fn send_source(tree: &Tree, base: &[u8], item: Item) -> Result<u64, CopyError> {
    let shown = item.source.display();
    let opening = tree.requests.worker.run(move || {
        let file = item.root.source(&item.source)?;
        Source::file(file, &item.source.display())
    });
    let opened = opening.await.map_err(|error| Error::io(shown, error))?;
    let put = Put {
        path: beneath(base, &item.entry.path),
        tree: true,
        preserve: tree.options.file.preserve,
        durability: tree.options.file.durability,
        resume: tree.options.file.resume,
        ..Put::default()
    };
    let progress = Arc::new(Progress::part_of(&tree.progress));
    let summary = tree.requests.push(opened?, put, progress).await?;
    tree.report.note(summary.note);
    Ok(summary.bytes)
}

/// `path` beneath `base`.
pub(super) fn beneath(base: &[u8], path: &[u8]) -> Vec<u8> {
    match (base, path) {
        (b"", path) => path.to_vec(),
        (base, b"") => base.to_vec(),
        (base, path) => [base, b"/", path].concat(),
    }
}

/// Looks through `sources`, each of which is called as its pair says where it is copied to, until nobody wants
/// to know more.
fn scan(
    sources: Vec<(PathBuf, Vec<u8>)>,
    options: WalkOptions,
    recursive: bool,
    found: &mpsc::Sender<Found>,
) {
    for (source, prefix) in sources {
        let scanned = scan_source(&source, &prefix, options, recursive, found);
        if let Err(error) = scanned {
            let path = source.as_os_str().as_bytes().to_vec();
            if found.blocking_send(Err((path, error))).is_err() {
                return;
            }
        }
    }
}

fn scan_source(
    source: &Path,
    prefix: &[u8],
    options: WalkOptions,
    recursive: bool,
    found: &mpsc::Sender<Found>,
) -> Result<(), Error> {
    let failed = |error| Error::io(printable_path(source), error);
    let metadata = source.metadata().map_err(failed)?;
    if metadata.is_dir() && !recursive {
        return Err(is_folder(source.as_os_str().as_bytes()));
    }
    let (folder, start) = match metadata.is_dir() {
        true => (source, RemotePath::parse_named(b"")?),
        false => {
            let folder = source.parent().filter(|path| !path.as_os_str().is_empty());
            let name = RemotePath::parse_named(file_name(source).as_bytes())?;
            (folder.unwrap_or_else(|| Path::new(".")), name)
        }
    };
    let root = Arc::new(Root::open_trusted(folder).map_err(failed)?);
    for thing in Walk::new(Arc::clone(&root), start.clone(), options) {
        let item = match thing {
            Ok(entry) => RemotePath::parse_named(&entry.path).map(|path| Item {
                root: Arc::clone(&root),
                source: match entry.path.is_empty() {
                    true => start.clone(),
                    false => start.join(&path),
                },
                entry: Entry {
                    path: beneath(prefix, &entry.path),
                    ..entry
                },
            }),
            Err((path, error)) => {
                let path = beneath(source.as_os_str().as_bytes(), &path);
                if found.blocking_send(Err((path, error))).is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        // The folder whose content is copied into one that is there.
        let item = match item {
            Ok(item) if item.entry.path.is_empty() => continue,
            item => item.map_err(|error| (prefix.to_vec(), error)),
        };
        if found.blocking_send(item).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
