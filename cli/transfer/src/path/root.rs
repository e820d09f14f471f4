//! Opening beneath a folder whatever the links in the way; the spelling of paths is checked in
//! `path`.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags},
    io::Errno,
};

use super::{PathError, RemotePath};
use crate::error::Error;

/// How often an open that a concurrent rename disturbed is tried again before it is an error.
const ATTEMPTS: usize = 16;

/// A folder that files are opened beneath, and never outside of.
///
/// On Linux 5.6 and later the kernel itself keeps every step of the resolution beneath the folder
/// (`openat2` with `RESOLVE_BENEATH`), so links may be used as long as they stay inside. Elsewhere
/// the path is walked one component at a time and no link is followed at all.
#[derive(Debug)]
pub struct Root {
    pub(super) folder: OwnedFd,
    confinement: Confinement,
}

/// What keeps an open beneath the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confinement {
    /// The kernel.
    Kernel,
    /// Walking one component at a time.
    Walking,
    /// Nothing: what is in the folder is the user's own.
    None,
}

/// What a name already stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A regular file with these permission bits, or a link, which a rename replaces.
    File {
        /// Permission bits of a regular file.
        mode: Option<u32>,
    },
    /// A folder, device, pipe or socket.
    Other,
}

/// Where a file is to appear: a name in an open folder.
#[derive(Debug)]
pub struct Destination {
    /// The folder.
    pub(crate) folder: Arc<OwnedFd>,
    /// The name in it.
    pub(crate) name: OsString,
    /// The whole path for messages.
    pub(crate) shown: String,
    /// What stood there when this was made.
    pub(crate) found: Existing,
}

impl Root {
    /// Opens the folder at `path`, which is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = open_folder(path)?;
        let confinement = match confined(&folder, OsStr::new("."), folder_flags()) {
            Ok(_) => Confinement::Kernel,
            Err(_) => Confinement::Walking,
        };
        Ok(Self {
            folder,
            confinement,
        })
    }

    /// The folder at `path` beneath this one.
    pub fn within(&self, path: &RemotePath) -> Result<Self, Error> {
        Ok(Self {
            folder: self.folder(path)?,
            confinement: self.confinement,
        })
    }

    /// Opens the folder at `path` with links that may lead anywhere, because both are the user's own
    /// words: what is read here goes where this user sends it.
    pub fn open_trusted(path: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: open_folder(path)?,
            confinement: Confinement::None,
        })
    }

    /// The same folder, walked one component at a time.
    #[cfg(test)]
    pub(super) fn open_walking(path: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: open_folder(path)?,
            confinement: Confinement::Walking,
        })
    }

    #[cfg(test)]
    pub(super) fn kernel_confines(&self) -> bool {
        self.confinement == Confinement::Kernel
    }

    /// Opens a regular file for reading.
    pub fn source(&self, path: &RemotePath) -> Result<File, Error> {
        let failed = |errno| refused(path, errno);
        if path.is_folder() {
            return Err(Error::NotAFile(path.display()));
        }
        // Opening a pipe must not wait for its other end, a terminal must not become ours.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open_beneath(path, flags).map_err(failed)?;
        //= spec/20-copy.md#paths
        //# A server MUST serve regular files only.
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).map_err(failed)?.st_mode);
        match kind {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Error::NotAFile(path.display())),
        }
    }

    /// Resolves where a file goes: `path` itself, or `name` in it where it is a folder.
    pub fn destination(&self, path: &RemotePath, name: &[u8]) -> Result<Destination, Error> {
        match self.open_beneath(path, folder_flags()) {
            Ok(folder) if name.is_empty() => {
                drop(folder);
                Err(Error::NeedsName(path.display()))
            }
            Ok(folder) => {
                let name = RemotePath::parse_name(name)?;
                let shown = path.components_with(&name).display();
                Destination::new(folder.into(), name, shown)
            }
            Err(errno) if path.is_folder() => Err(refused(path, errno)),
            Err(Errno::NOENT | Errno::NOTDIR) => self.destination_in_parent(path),
            Err(errno) => Err(refused(path, errno)),
        }
    }

    fn destination_in_parent(&self, path: &RemotePath) -> Result<Destination, Error> {
        let (parent, name) = path.split().ok_or_else(|| refused(path, Errno::NOENT))?;
        let folder = self.open_beneath(&parent, folder_flags());
        let folder = folder.map_err(|errno| refused(&parent, errno))?;
        let destination = Destination::new(folder.into(), name.to_owned(), path.display())?;
        // Walking does not follow links, so a link to a folder looks like a file's name here.
        match destination.found {
            Existing::File { mode: None } if self.confinement == Confinement::Walking => {
                Err(refused(path, Errno::LOOP))
            }
            _ => Ok(destination),
        }
    }

    //= spec/20-copy.md#paths
    //# Opening a path MUST NOT leave the root, whatever symbolic links stand or are put in its way.
    pub(super) fn open_beneath(
        &self,
        path: &RemotePath,
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        match self.confinement {
            Confinement::Kernel => return confined(&self.folder, &path.joined(), flags),
            Confinement::None => {
                return rustix::fs::openat(&self.folder, path.joined(), flags, Mode::empty());
            }
            Confinement::Walking => {}
        }
        self.open_unlinked(path, flags)
    }

    /// Opens beneath the folder without following any link.
    pub(super) fn open_unlinked(
        &self,
        path: &RemotePath,
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let here = OsString::from(".");
        let (last, parents) = path.components.split_last().unwrap_or((&here, &[]));
        let mut folder = None;
        for name in parents {
            let within = folder.as_ref().unwrap_or(&self.folder).as_fd();
            let next = rustix::fs::openat(within, name, unlinked(folder_flags()), Mode::empty())?;
            folder = Some(next);
        }
        let within = folder.as_ref().unwrap_or(&self.folder).as_fd();
        rustix::fs::openat(within, last, unlinked(flags), Mode::empty())
    }
}

impl AsFd for Root {
    /// The folder itself.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl AsFd for Destination {
    /// The folder that the file is to appear in.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl RemotePath {
    fn components_with(&self, name: &OsStr) -> Self {
        let mut components = self.components.clone();
        components.push(name.to_owned());
        Self {
            components,
            folder: false,
        }
    }
}

impl Destination {
    /// A name in a folder of this machine, trusted as the user's own words.
    pub fn local(path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(path.display(), error);
        let name = path
            .file_name()
            .ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = open_folder(&parent).map_err(failed)?;
        Self::new(folder.into(), name.to_owned(), path.display().to_string())
    }

    pub(super) fn new(folder: Arc<OwnedFd>, name: OsString, shown: String) -> Result<Self, Error> {
        let mut destination = Self {
            folder,
            name,
            shown,
            found: Existing::Nothing,
        };
        destination.found = destination.existing()?;
        match destination.found {
            Existing::Other => Err(Error::NotAFile(destination.shown)),
            _ => Ok(destination),
        }
    }

    /// What stands there.
    pub fn existing(&self) -> Result<Existing, Error> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = match rustix::fs::statat(&self.folder, &self.name, flags) {
            Err(Errno::NOENT) => return Ok(Existing::Nothing),
            other => other.map_err(|errno| Error::io(&self.shown, errno))?,
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Existing::File {
                mode: Some(stat.st_mode & 0o777),
            },
            FileType::Symlink => Existing::File { mode: None },
            _ => Existing::Other,
        })
    }

    /// The path for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// An error for `path`, an escape told apart from what is merely missing.
pub(super) fn refused(path: &RemotePath, errno: Errno) -> Error {
    match errno {
        // RESOLVE_BENEATH answers EXDEV to an escape, O_NOFOLLOW answers ELOOP to a link.
        Errno::XDEV | Errno::LOOP => Error::Path {
            path: path.display(),
            source: PathError::Escapes,
        },
        errno => Error::io(path.display(), errno),
    }
}

pub(super) fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn unlinked(flags: OFlags) -> OFlags {
    flags | OFlags::NOFOLLOW
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        folder_flags(),
        Mode::empty(),
    )?)
}

/// Opens beneath `folder` by the kernel's own confinement.
#[cfg(target_os = "linux")]
fn confined(folder: &OwnedFd, path: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 1..=ATTEMPTS;
    loop {
        // EAGAIN: something was renamed meanwhile and the kernel could not be sure.
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts.next().is_some() => {}
            result => return result,
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn confined(_: &OwnedFd, _: &OsStr, _: OFlags) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}
