//! Puts the entries of a batch where they belong: all are written, made durable together, and then take their
//! names. How one file is written lies in `writer`.

use std::{
    any::Any,
    collections::HashMap,
    fmt, mem,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::Report;
use crate::{
    error::Error,
    message::{Attributes, Durability, Entry, Kind, Version},
    path::{RemotePath, Root},
    session::Progress,
    tree_copy::{Ending, Member},
    tree_journal::Finished,
    writer::{
        Sink, Writer, check_space,
        shortfall::{Shortfall, Shortfalls},
    },
    xattrs::{Privilege, Xattrs},
};

/// Files of one batch that are open at once.
const MAX_OPEN: usize = 1024;

/// Folders that are kept open for the next file.
const MAX_FOLDERS: usize = 32;

/// What a file takes up at least, and a little more.
const BLOCK: u64 = 16 << 10;

/// So few files are synced one by one: that touches nothing else that waits for the disk.
const FEW: usize = 4;

/// How long a file of a copy that may be gone on with waits for the others of its batch: so much is copied again
/// after a sudden end.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

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
    /// How many requests of the copy came before the last.
    pub after: u64,
    /// Whether blocks of zeros become holes.
    pub sparse: bool,
    /// Of whose words files get their modes and extended attributes.
    pub privilege: Privilege,
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
    /// When the first of them was written.
    opened_at: Option<Instant>,
    folders: HashMap<Vec<u8>, Folder>,
    places: OpenPlaces,
    /// The request of a copy of a tree that this is.
    member: Option<Member>,
    /// What folders get when all of the copy is over.
    endings: Vec<(RemotePath, Attributes, Xattrs)>,
}

/// A folder that files are put into.
#[derive(Debug)]
struct Folder {
    folder: Arc<OwnedFd>,
    /// Bytes that fit there at least.
    free: u64,
}

/// A file that is written and has not its name yet.
#[derive(Debug)]
struct Written {
    path: Vec<u8>,
    version: Option<Version>,
    digest: [u8; 32],
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
            opened_at: None,
            folders: HashMap::new(),
            places: OpenPlaces::new(|| Some(())),
            member: None,
            endings: Vec::new(),
        }
    }

    /// What is stored is a part of the copy of `member`.
    #[must_use]
    pub fn member(self, member: Member) -> Self {
        let mut store = self;
        store.member = Some(member);
        store
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
        self.commit_old();
    }

    fn store(&mut self, entry: &Entry, content: &[u8]) -> Result<(), Error> {
        let path = self.base.join(&RemotePath::parse_named(&entry.path)?);
        match entry.kind {
            Kind::Folder => self.store_folder(&path, entry),
            Kind::Link | Kind::HardLink => {
                let folder = self.parent(&path, 0)?;
                let destination = Root::destination_in(folder, &path)?;
                if entry.kind == Kind::HardLink {
                    let target = self.base.join(&RemotePath::parse_named(&entry.target)?);
                    // It may be part of this very batch.
                    self.commit();
                    self.root.hard_link(&target, &destination)?;
                } else {
                    destination.link(&entry.target)?;
                    if let (true, Some(time)) = (self.options.preserve, entry.attributes.modified) {
                        destination.set_link_time(time);
                    }
                }
                self.report.add_file(0);
                self.progress.add_file();
                Ok(())
            }
            Kind::File => self.store_file(&path, entry, content),
            Kind::Other => Err(Error::NotAFile(path.display())),
        }
    }

    fn store_folder(&mut self, path: &RemotePath, entry: &Entry) -> Result<(), Error> {
        drop(self.root.make_folders(path)?);
        let preserve = self.options.preserve && entry.attributes != Attributes::default();
        if !preserve && entry.xattrs.is_empty() {
            return Ok(());
        }
        let attributes = match preserve {
            true => entry.attributes,
            false => Attributes::default(),
        };
        if self.options.last && self.member.is_some() {
            // Other requests may still bring something into it.
            self.endings
                .push((path.clone(), attributes, entry.xattrs.clone()));
            return Ok(());
        }
        // What its folder is given must not change by what comes into it.
        self.commit();
        let privilege = self.options.privilege;
        let kept = self
            .root
            .set_folder_attributes(path, &attributes, &entry.xattrs, privilege)?;
        if !kept {
            let shortfalls: Shortfalls = [Shortfall::Xattrs].into_iter().collect();
            self.report.note(shortfalls.describe(&path.display()));
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
        let digest = *blake3::hash(content).as_bytes();
        if entry.digest != Some(digest) {
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
        let folder = self.parent(path, content.len() as u64)?;
        let destination = Root::destination_in(folder, path)?;
        let writer = Writer::create_brief(destination)?;
        let writer = writer
            .durability(self.options.durability)
            .sparse(self.options.sparse)
            .privilege(self.options.privilege)
            .xattrs(entry.xattrs.clone());
        let mut writer = Box::new(writer);
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
        self.opened_at.get_or_insert_with(Instant::now);
        self.open.push(Written {
            path: entry.path.clone(),
            version: entry.version,
            digest,
            bytes: content.len() as u64,
            writer,
            _open: OpenFile::new(),
            _place: place,
        });
        Ok(())
    }

    /// The folder that `path` is in, made where it is missing, with space for a file of `size` bytes.
    fn parent(&mut self, path: &RemotePath, size: u64) -> Result<Arc<OwnedFd>, Error> {
        let parent = path.parent();
        let key = parent.to_bytes();
        if !self.folders.contains_key(&key) {
            let folder = Arc::new(self.root.make_folders(&parent)?);
            if self.folders.len() >= MAX_FOLDERS {
                self.folders.clear();
            }
            self.folders.insert(key.clone(), Folder { folder, free: 0 });
        }
        let Some(folder) = self.folders.get_mut(&key) else {
            return Err(Error::Protocol("a folder that is not there"));
        };
        // Looked at again when what was free once may be used up.
        if folder.free < size {
            folder.free = check_space(&folder.folder, size, &path.display())?;
        }
        folder.free = folder.free.saturating_sub(size.max(BLOCK));
        Ok(Arc::clone(&folder.folder))
    }

    //= spec/20-copy.md#batches
    //# With durability batch a receiver MUST make the content of all files of a batch durable before one of
    //# them takes its name.
    /// Makes what was written durable, and gives it its names.
    pub fn commit(&mut self) {
        self.opened_at = None;
        let mut open = mem::take(&mut self.open);
        if self.options.durability == Durability::Batch {
            self.sync(&mut open);
        }
        let mut finished = Vec::new();
        for written in open {
            if let Some(file) = self.publish(written) {
                finished.push(file);
            }
        }
        if let Some(member) = &self.member {
            member.note(&finished);
        }
    }

    /// Gives a file its name; what there is to take note of, where that can be said.
    fn publish(&self, written: Written) -> Option<Finished> {
        let Written {
            path,
            bytes,
            mut writer,
            ..
        } = written;
        match writer.publish() {
            Ok(note) => {
                self.report.note(note);
                self.report.add_digest(&path, written.digest);
                self.report.add_file(bytes);
                self.progress.add_file();
                Some(Finished {
                    path: RemotePath::parse(&path).ok()?.to_bytes(),
                    version: written.version?,
                    digest: written.digest,
                    identity: writer.identity()?,
                })
            }
            Err(error) => {
                writer.discard();
                self.report.fail(path, error.to_done());
                None
            }
        }
    }

    /// Commits, and nothing comes any more.
    pub fn finish(&mut self) {
        self.commit();
        let (is_last, is_durable) = (
            self.options.last,
            self.options.durability != Durability::None,
        );
        if let Some(member) = self.member.take() {
            let ending = is_last.then(|| Ending {
                after: self.options.after,
                folders: mem::take(&mut self.endings),
                is_durable,
                privilege: self.options.privilege,
            });
            return member.over(ending, &self.report);
        }
        if is_last && is_durable {
            let folder = self.root.folder(&self.base);
            let folder = folder.or_else(|_| self.root.folder(&self.base.parent()));
            // Names that cannot be made durable are no failure: the files are whole.
            let _ = folder.map(rustix::fs::syncfs);
        }
    }

    /// Commits what has waited long enough.
    fn commit_old(&mut self) {
        let is_old = |at: &Instant| at.elapsed() >= COMMIT_AFTER;
        if self.member.is_some() && self.opened_at.as_ref().is_some_and(is_old) {
            self.commit();
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
        for mut written in mem::take(open) {
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
        // Each is whole. Whoever makes the copy again learns of it from the journal.
        if self.member.is_some() {
            self.commit();
        }
        // Without one nobody is left to say that it was.
        for written in self.open.drain(..) {
            written.writer.discard();
        }
    }
}
