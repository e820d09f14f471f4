//! Puts the entries of a batch where they belong: all are written, made durable together, and then take their
//! names. How one file is written lies in `writer`.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Report;
use crate::{
    error::Error,
    message::{Attributes, Durability, Entry, Kind},
    path::{RemotePath, Root},
    session::Progress,
    writer::{Sink, Writer},
};

/// Files of one batch that are open at once.
const MAX_OPEN: usize = 1024;

/// Folders that are kept open for the next file.
const MAX_FOLDERS: usize = 32;

/// So few files are synced one by one: that touches nothing else that waits for the disk.
const FEW: usize = 4;

/// Files that all batches of this process have open.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many they may have: a quarter of the descriptors of the process, and at least a few.
pub fn max_open_of_all() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = limit.current.unwrap_or(1 << 20);
        usize::try_from(limit / 4).unwrap_or(0).clamp(16, 16 << 10)
    })
}

/// How entries are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whether mode and time are kept as they are.
    pub preserve: bool,
    /// When files have to be on the disk.
    pub durability: Durability,
    /// Whether nothing comes after this: what was named is made durable too.
    pub last: bool,
}

/// Gives a place for one more open file, which is given back when it is dropped; `None` if whoever copies has no more.
#[derive(Clone)]
pub struct OpenPlaces(Arc<dyn Fn() -> Option<Box<dyn Any + Send>> + Send + Sync>);

impl OpenPlaces {
    /// Places that `take` gives.
    pub fn new<P: Send + 'static>(take: impl Fn() -> Option<P> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || take().map(|place| Box::new(place) as _)))
    }
}

impl fmt::Debug for OpenPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenPlaces")
    }
}

/// A folder that a tree is copied into.
#[derive(Debug)]
pub struct Store {
    root: Arc<Root>,
    base: RemotePath,
    options: StoreOptions,
    report: Report,
    progress: Arc<Progress>,
    open: Vec<Written>,
    folders: HashMap<Vec<u8>, Arc<OwnedFd>>,
    places: OpenPlaces,
}

/// A file that is written and has not its name yet.
#[derive(Debug)]
struct Written {
    path: Vec<u8>,
    bytes: u64,
    writer: Box<Writer>,
    _open: OpenFile,
    /// `None` for the one file that is always allowed.
    _place: Option<Box<dyn Any + Send>>,
}

/// Counts as one open file.
#[derive(Debug)]
struct OpenFile;

impl OpenFile {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Store {
    /// Stores beneath `base`, which is made when something goes there.
    pub fn new(root: Arc<Root>, base: RemotePath, options: StoreOptions, report: Report) -> Self {
        Self {
            root,
            base,
            options,
            report,
            progress: Arc::default(),
            open: Vec::new(),
            folders: HashMap::new(),
            places: OpenPlaces::new(|| Some(())),
        }
    }

    /// Has no more files open than it gets places for, but for one: what is written takes its name sooner where there
    /// are none.
    #[must_use]
    pub fn places(self, places: OpenPlaces) -> Self {
        let mut store = self;
        store.places = places;
        store
    }

    /// Counts what is stored in `progress`.
    #[must_use]
    pub fn progress(self, progress: Arc<Progress>) -> Self {
        let mut store = self;
        store.progress = progress;
        store
    }

    /// What is reported.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Stores one entry; a failure is that of the entry alone, and is reported.
    pub fn take(&mut self, entry: &Entry, content: &[u8]) {
        if let Err(error) = self.store(entry, content) {
            self.report.fail(entry.path.clone(), error.to_done());
        }
        self.progress.add_bytes(content.len() as u64);
    }

    fn store(&mut self, entry: &Entry, content: &[u8]) -> Result<(), Error> {
        let path = self.base.join(&RemotePath::parse_named(&entry.path)?);
        match entry.kind {
            Kind::Folder => self.store_folder(&path, &entry.attributes),
            Kind::Link => {
                let folder = self.parent(&path)?;
                Root::destination_in(folder, &path)?.link(&entry.target)?;
                self.report.add_file(0);
                self.progress.add_file();
                Ok(())
            }
            Kind::File => self.store_file(&path, entry, content),
            Kind::Other => Err(Error::NotAFile(path.display())),
        }
    }

    fn store_folder(&mut self, path: &RemotePath, attributes: &Attributes) -> Result<(), Error> {
        drop(self.root.make_folders(path)?);
        if self.options.preserve && *attributes != Attributes::default() {
            // What its folder is given must not change by what comes into it.
            self.commit();
            self.root.set_folder_attributes(path, attributes)?;
        }
        Ok(())
    }

    fn store_file(
        &mut self,
        path: &RemotePath,
        entry: &Entry,
        content: &[u8],
    ) -> Result<(), Error> {
        //= spec/20-copy.md#batches
        //# A file whose digest differs from that of its entry MUST NOT take its name.
        if entry.digest != Some(*blake3::hash(content).as_bytes()) {
            return Err(Error::Integrity("the digest differs"));
        }
        if self.open.len() >= MAX_OPEN || OPEN.load(Ordering::Relaxed) >= max_open_of_all() {
            self.commit();
        }
        let mut place = (self.places.0)();
        if place.is_none() {
            self.commit();
            place = (self.places.0)();
        }
        let folder = self.parent(path)?;
        let destination = Root::destination_in(folder, path)?;
        let writer = Writer::create(destination, entry.attributes.size)?;
        let mut writer = Box::new(writer.durability(self.options.durability));
        let written = match content.is_empty() {
            true => Ok(()),
            false => writer.write_at(0, content),
        };
        let prepared = written.and_then(|()| {
            writer.prepare(&entry.attributes, self.options.preserve)?;
            match self.options.durability {
                Durability::File => writer.sync(),
                _ => Ok(()),
            }
        });
        if let Err(error) = prepared {
            writer.discard();
            return Err(error);
        }
        self.open.push(Written {
            path: entry.path.clone(),
            bytes: content.len() as u64,
            writer,
            _open: OpenFile::new(),
            _place: place,
        });
        Ok(())
    }

    /// The folder that `path` is in, made where it is missing.
    fn parent(&mut self, path: &RemotePath) -> Result<Arc<OwnedFd>, Error> {
        let parent = path.parent();
        let key = parent.to_bytes();
        if let Some(folder) = self.folders.get(&key) {
            return Ok(Arc::clone(folder));
        }
        let folder = Arc::new(self.root.make_folders(&parent)?);
        if self.folders.len() >= MAX_FOLDERS {
            self.folders.clear();
        }
        self.folders.insert(key, Arc::clone(&folder));
        Ok(folder)
    }

    //= spec/20-copy.md#batches
    //# With durability batch a receiver MUST make the content of all files of a batch durable before one of
    //# them takes its name.
    /// Makes what was written durable, and gives it its names.
    pub fn commit(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        if self.options.durability == Durability::Batch {
            self.sync(&mut open);
        }
        for written in open {
            let Written {
                path,
                bytes,
                mut writer,
                ..
            } = written;
            match writer.publish() {
                Ok(note) => {
                    self.report.note(note);
                    self.report.add_file(bytes);
                    self.progress.add_file();
                }
                Err(error) => {
                    writer.discard();
                    self.report.fail(path, error.to_done());
                }
            }
        }
        if let (true, Some(folder)) = (self.options.last, self.folders.values().next())
            && self.options.durability != Durability::None
        {
            // Names that cannot be made durable are no failure: the files are whole.
            let _ = rustix::fs::syncfs(folder);
        }
    }

    /// Has all of them on the disk; those that cannot be are reported and gone.
    fn sync(&self, open: &mut Vec<Written>) {
        let together = open.len() > FEW;
        if let (true, Some(first)) = (together, open.first())
            && first.writer.sync_file_system().is_ok()
        {
            return;
        }
        for mut written in std::mem::take(open) {
            match written.writer.sync() {
                Ok(()) => open.push(written),
                Err(error) => {
                    written.writer.discard();
                    self.report.fail(written.path, error.to_done());
                }
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Each is whole and could be kept, but nobody is left to say that it was.
        for written in self.open.drain(..) {
            written.writer.discard();
        }
    }
}
