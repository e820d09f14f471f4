//! What is in a tree, one thing after another while it is looked for. What is read of it, and who wants to
//! know, is not known here.

#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    fmt,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use crate::{
    error::Error,
    message::{Attributes, Depth, Entry, Kind, Modified, Version},
    path::{RemotePath, Root, is_partial, read_link},
    xattrs::{Privilege, Xattrs},
};

/// What symbolic links in a tree stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// What they lead to.
    #[default]
    Follow,
    /// Themselves.
    Keep,
    /// Nothing.
    Skip,
}

/// Says whether something is wanted, by its path beneath where the walk began and whether it is a folder,
/// which then is not gone into either.
pub type Filter = Box<dyn FnMut(&[u8], bool) -> bool + Send>;

/// How a walk goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// How deep to go.
    pub depth: Depth,
    /// What links stand for.
    pub links: Links,
    /// Whether to stay out of other file systems that are mounted in the tree.
    pub one_file_system: bool,
    /// Whether to tell of the extended attributes of folders, and of which.
    pub xattrs: Option<Privilege>,
}

/// Walks over a tree: each folder comes before what is in it, and the first is where the walk began.
///
/// Holds one folder open, and the names of those that wait.
pub struct Walk {
    root: Arc<Root>,
    base: RemotePath,
    options: WalkOptions,
    filter: Filter,
    device: Option<u64>,
    has_begun: bool,
    waiting: Vec<Waiting>,
    current: Option<Current>,
}

/// One thing, or why there is no more to be said of its path.
pub type Found = Result<Entry, (Vec<u8>, Error)>;

/// A folder that was found and not read.
struct Waiting {
    path: Vec<u8>,
    ancestors: Arc<Ancestor>,
}

/// A folder that is being read.
struct Current {
    path: Vec<u8>,
    ancestors: Arc<Ancestor>,
    folder: OwnedFd,
    entries: Dir,
}

/// A folder and those it is in: a link that leads to one of them leads in a circle.
struct Ancestor {
    id: (u64, u64),
    parent: Option<Arc<Self>>,
}

impl Ancestor {
    fn contains(&self, id: (u64, u64)) -> bool {
        let mut next = Some(self);
        while let Some(ancestor) = next {
            if ancestor.id == id {
                return true;
            }
            next = ancestor.parent.as_deref();
        }
        false
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("base", &self.base)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Walk {
    /// Begins at `base` beneath `root`.
    pub fn new(root: Arc<Root>, base: RemotePath, options: WalkOptions) -> Self {
        Self {
            root,
            base,
            options,
            filter: Box::new(|_, _| true),
            device: None,
            has_begun: false,
            waiting: Vec::new(),
            current: None,
        }
    }

    /// Leaves out what `filter` does not want.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    fn begin(&mut self) -> Result<Entry, Error> {
        // O_PATH opens anything without waking it up.
        let opened = self.root.look(&self.base)?;
        let failed = |errno: Errno| Error::io(self.base.display(), errno);
        let stat = rustix::fs::fstat(&opened).map_err(failed)?;
        let mut entry = entry(Vec::new(), &stat);
        self.add_xattrs(&mut entry, &self.base)?;
        if entry.kind == Kind::Folder && self.options.depth != Depth::Itself {
            self.device = Some(stat.st_dev);
            self.waiting.push(Waiting {
                path: Vec::new(),
                ancestors: Arc::new(Ancestor {
                    id: (stat.st_dev, stat.st_ino),
                    parent: None,
                }),
            });
        }
        Ok(entry)
    }

    /// What a folder has besides mode and time; of a file it is read with the content.
    fn add_xattrs(&self, entry: &mut Entry, path: &RemotePath) -> Result<(), Error> {
        if let (Some(privilege), Kind::Folder) = (self.options.xattrs, entry.kind) {
            entry.xattrs = Xattrs::read(self.root.folder(path)?, privilege, &path.display())?;
        }
        Ok(())
    }

    /// Opens the folder that was found last.
    fn open_next(&mut self) -> Option<Result<(), (Vec<u8>, Error)>> {
        let waiting = self.waiting.pop()?;
        let opened = self.resolve(&waiting.path).and_then(|path| {
            let folder = self.root.folder(&path)?;
            let entries = Dir::read_from(folder.as_fd());
            let entries = entries.map_err(|errno| Error::io(path.display(), errno))?;
            Ok((folder, entries))
        });
        Some(match opened {
            Ok((folder, entries)) => {
                self.current = Some(Current {
                    path: waiting.path,
                    ancestors: waiting.ancestors,
                    folder,
                    entries,
                });
                Ok(())
            }
            Err(error) => Err((waiting.path, error)),
        })
    }

    fn resolve(&self, path: &[u8]) -> Result<RemotePath, Error> {
        Ok(self.base.join(&RemotePath::parse_named(path)?))
    }

    /// The next thing in the folder that is open; `None` at its end.
    fn read_on(&mut self) -> Option<Found> {
        loop {
            let current = self.current.as_mut()?;
            let entry = match current.entries.read() {
                None => {
                    self.current = None;
                    return None;
                }
                Some(Err(errno)) => {
                    let path = current.path.clone();
                    self.current = None;
                    let error = Error::io(crate::path::printable_path(&path), errno);
                    return Some(Err((path, error)));
                }
                Some(Ok(entry)) => entry,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            //= spec/20-copy.md#lists
            //# A server MUST NOT tell of partial files.
            if name == "." || name == ".." || is_partial(name) {
                continue;
            }
            let path = join(&current.path, name);
            match self.look_at(path.clone(), name) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => return Some(Err((path, error))),
            }
        }
    }

    /// What `name` in the open folder is; `None` if it is not wanted.
    fn look_at(&mut self, path: Vec<u8>, name: &OsStr) -> Result<Option<Entry>, Error> {
        let Some(current) = &self.current else {
            return Ok(None);
        };
        let failed = |errno: Errno| Error::io(crate::path::printable_path(&path), errno);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let mut stat = match rustix::fs::statat(&current.folder, name, flags) {
            // Removed since its name was read.
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(failed)?,
        };
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        match self.options.links {
            Links::Skip if is_link => return Ok(None),
            Links::Follow if is_link && (self.filter)(&path, false) => {
                let target = self.root.look(&self.resolve(&path)?)?;
                stat = rustix::fs::fstat(&target).map_err(failed)?;
            }
            _ => {}
        }
        let mut entry = entry(path, &stat);
        let is_folder = entry.kind == Kind::Folder;
        if !(self.filter)(&entry.path, is_folder) {
            return Ok(None);
        }
        // A bad name is told of here, before somebody tries to make it elsewhere.
        let whole = self.resolve(&entry.path)?;
        if entry.kind == Kind::Link {
            let read = read_link(&current.folder, name);
            entry.target = read.map_err(|error| Error::io(whole.display(), error))?;
        }
        self.add_xattrs(&mut entry, &whole)?;
        if !is_folder || self.options.depth != Depth::All {
            return Ok(Some(entry));
        }
        //= spec/20-copy.md#lists
        //# A server that follows links MUST NOT go into a folder that is one of those it is in.
        let id = (stat.st_dev, stat.st_ino);
        if current.ancestors.contains(id) {
            return Err(Error::io(whole.display(), Errno::LOOP));
        }
        //= spec/20-copy.md#lists
        //# A server MUST tell of a folder before it tells of what is in it.
        //= spec/20-copy.md#lists
        //# A server that is sent *one-file-system* MUST NOT go into a folder on which another file system is
        //# mounted, and tells of it with *mount*.
        entry.is_mount = self.options.one_file_system && self.device != Some(stat.st_dev);
        if !entry.is_mount {
            self.waiting.push(Waiting {
                path: entry.path.clone(),
                ancestors: Arc::new(Ancestor {
                    id,
                    parent: Some(Arc::clone(&current.ancestors)),
                }),
            });
        }
        Ok(Some(entry))
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if !self.has_begun {
            self.has_begun = true;
            return Some(self.begin().map_err(|error| (Vec::new(), error)));
        }
        loop {
            if self.current.is_some() {
                if let Some(found) = self.read_on() {
                    return Some(found);
                }
                continue;
            }
            if let Err(failed) = self.open_next()? {
                return Some(Err(failed));
            }
        }
    }
}

/// Walks over several trees beneath one folder, one after the other; what is told of has its path beneath that
/// folder.
#[derive(Debug)]
pub struct Walks {
    root: Arc<Root>,
    base: RemotePath,
    options: WalkOptions,
    paths: std::vec::IntoIter<Vec<u8>>,
    current: Option<(Vec<u8>, Walk)>,
}

impl Walks {
    /// Begins at each of `paths` beneath `base` beneath `root`.
    pub fn new(
        root: Arc<Root>,
        base: RemotePath,
        options: WalkOptions,
        paths: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            root,
            base,
            options,
            paths: paths.into_iter(),
            current: None,
        }
    }
}

impl Iterator for Walks {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if let Some((path, walk)) = &mut self.current
                && let Some(found) = walk.next()
            {
                return Some(match found {
                    Ok(entry) => Ok(Entry {
                        path: beneath(path, &entry.path),
                        ..entry
                    }),
                    Err((below, error)) => Err((beneath(path, &below), error)),
                });
            }
            let path = self.paths.next()?;
            match RemotePath::parse_named(&path) {
                Ok(parsed) => {
                    let base = self.base.join(&parsed);
                    let walk = Walk::new(Arc::clone(&self.root), base, self.options);
                    self.current = Some((parsed.to_bytes(), walk));
                }
                Err(error) => return Some(Err((path, error))),
            }
        }
    }
}

/// `path` beneath `base`; either may be empty, which is the folder itself.
pub fn beneath(base: &[u8], path: &[u8]) -> Vec<u8> {
    match (base, path) {
        (b"", path) => path.to_vec(),
        (base, b"") => base.to_vec(),
        (base, path) => [base, b"/", path].concat(),
    }
}

fn join(folder: &[u8], name: &OsStr) -> Vec<u8> {
    match folder {
        b"" => name.as_bytes().to_vec(),
        folder => [folder, b"/", name.as_bytes()].concat(),
    }
}

/// What `stat` says of `path`.
pub(crate) fn entry(path: Vec<u8>, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    Entry {
        path,
        kind,
        attributes: attributes(stat, kind),
        version: (kind == Kind::File).then(|| version(stat)),
        same: (kind == Kind::File && stat.st_nlink > 1).then(|| identity(stat)),
        ..Entry::default()
    }
}

fn attributes(stat: &Stat, kind: Kind) -> Attributes {
    Attributes {
        size: (kind == Kind::File).then(|| u64::try_from(stat.st_size).unwrap_or(0)),
        mode: Some(told_mode(stat.st_mode, (stat.st_uid, stat.st_gid))),
        modified: Some(Modified {
            seconds: stat.st_mtime,
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }),
    }
}

//= spec/20-copy.md#files
//# A sender MUST NOT tell of set-user-id where a file is not root's, nor of set-group-id where its group is not
//# root's.
/// The permission bits that are told of: who gets the file owns it, and may not give the rights of another.
pub(crate) fn told_mode(mode: u32, (owner, group): (u32, u32)) -> u32 {
    let owners = if owner == 0 { 0o4000 } else { 0 };
    let groups = if group == 0 { 0o2000 } else { 0 };
    mode & (0o1777 | owners | groups)
}

/// The same value for all names of a file.
fn identity(stat: &Stat) -> Version {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stat.st_dev.to_le_bytes());
    hasher.update(&stat.st_ino.to_le_bytes());
    let mut identity = Version::default();
    hasher.finalize_xof().fill(&mut identity);
    identity
}

/// Another value for another file, size or time of modification.
pub(crate) fn version(stat: &Stat) -> Version {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    version_of(stat.st_ino, size, (stat.st_mtime, nanos))
}

/// The same from its parts; the time is seconds and nanoseconds.
pub(crate) fn version_of(inode: u64, size: u64, modified: (i64, i64)) -> Version {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&inode.to_le_bytes());
    hasher.update(&size.to_le_bytes());
    hasher.update(&modified.0.to_le_bytes());
    hasher.update(&modified.1.to_le_bytes());
    let mut version = Version::default();
    hasher.finalize_xof().fill(&mut version);
    version
}
