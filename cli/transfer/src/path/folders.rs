//! Folders, links and removals beneath a root. How a path is kept beneath it lies in `root`.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};

use super::{
    Destination, Existing, PathError, RemotePath, Root, partial_name,
    root::{folder_flags, refused},
};
use crate::{
    error::Error,
    message::{Attributes, Modified},
};

/// How deep a tree is removed: each level holds two descriptors.
const MAX_DEPTH: usize = 512;

impl Root {
    /// Opens a folder, to read what is in it or to put something there.
    pub fn folder(&self, path: &RemotePath) -> Result<OwnedFd, Error> {
        let opened = self.open_beneath(path, folder_flags());
        opened.map_err(|errno| refused(path, errno))
    }

    /// Opens whatever it is for a look from outside, which wakes nothing up; links are followed as far as they
    /// stay inside.
    pub(crate) fn look(&self, path: &RemotePath) -> Result<OwnedFd, Error> {
        let opened = self.open_beneath(path, OFlags::PATH | OFlags::CLOEXEC);
        opened.map_err(|errno| refused(path, errno))
    }

    /// Opens a folder, which is made where it is missing, with those that it is in.
    pub fn make_folders(&self, path: &RemotePath) -> Result<OwnedFd, Error> {
        match self.open_beneath(path, folder_flags()) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(|errno| refused(path, errno)),
        }
        let (parent, name) = path.split().ok_or_else(|| refused(path, Errno::NOENT))?;
        let within = self.make_folders(&parent)?;
        match rustix::fs::mkdirat(&within, name, Mode::from_raw_mode(0o777)) {
            // Another request may have made it meanwhile.
            Ok(()) | Err(Errno::EXIST) => self.folder(path),
            Err(errno) => Err(refused(path, errno)),
        }
    }

    /// Makes one folder; it is an error if something of the name is there.
    pub fn make_folder(&self, path: &RemotePath) -> Result<(), Error> {
        let (parent, name) = path.split().ok_or_else(|| refused(path, Errno::EXIST))?;
        let within = self.folder(&parent)?;
        let made = rustix::fs::mkdirat(&within, name, Mode::from_raw_mode(0o777));
        made.map_err(|errno| refused(path, errno))
    }

    /// Where a file of a tree goes: exactly there, in folders that are made where they are missing.
    pub fn tree_destination(&self, path: &RemotePath) -> Result<Destination, Error> {
        let (parent, name) = split_file(path)?;
        let folder = Arc::new(self.make_folders(&parent)?);
        Destination::new(folder, name.to_owned(), path.display())
    }

    /// The same in a folder that is open already.
    pub(crate) fn destination_in(
        folder: Arc<OwnedFd>,
        path: &RemotePath,
    ) -> Result<Destination, Error> {
        let (_, name) = split_file(path)?;
        Destination::new(folder, name.to_owned(), path.display())
    }

    /// Gives a folder the permissions and the time it had where it came from.
    pub fn set_folder_attributes(&self, path: &RemotePath, of: &Attributes) -> Result<(), Error> {
        let folder = self.folder(path)?;
        if let Some(mode) = of.mode {
            let set = rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode & 0o777));
            set.map_err(|errno| refused(path, errno))?;
        }
        if let Some(modified) = of.modified {
            let set = rustix::fs::futimens(&folder, &timestamps(modified));
            set.map_err(|errno| refused(path, errno))?;
        }
        Ok(())
    }

    /// Removes a file, link or folder; a folder that is not empty only if that is wanted.
    pub fn remove(&self, path: &RemotePath, recursive: bool) -> Result<(), Error> {
        let Some((parent, name)) = path.split() else {
            return Err(Error::Path {
                path: path.display(),
                source: PathError::NoName,
            });
        };
        let within = self.folder(&parent)?;
        let removed = match (recursive, is_folder(&within, name)) {
            (_, Err(errno)) => Err(errno),
            (_, Ok(false)) => rustix::fs::unlinkat(&within, name, AtFlags::empty()),
            (true, Ok(true)) => remove_tree(&within, name, MAX_DEPTH),
            (false, Ok(true)) => return Err(Error::IsFolder(path.display())),
        };
        removed.map_err(|errno| refused(path, errno))
    }
}

impl Destination {
    /// Puts a symbolic link there, in place of a file or link that is there already.
    pub fn link(&self, target: &[u8]) -> Result<(), Error> {
        let failed = |errno: Errno| Error::io(&self.shown, errno);
        let target = OsStr::from_bytes(target);
        match rustix::fs::symlinkat(target, &self.folder, &self.name) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(failed),
        }
        if self.existing()? == Existing::Other {
            return Err(Error::NotAFile(self.shown.clone()));
        }
        let partial = partial_name(&self.name);
        let _ = rustix::fs::unlinkat(&self.folder, &partial, AtFlags::empty());
        rustix::fs::symlinkat(target, &self.folder, &partial).map_err(failed)?;
        rustix::fs::renameat(&self.folder, &partial, &self.folder, &self.name).map_err(failed)
    }
}

fn split_file(path: &RemotePath) -> Result<(RemotePath, &OsStr), Error> {
    path.split()
        .filter(|_| !path.is_folder())
        .ok_or_else(|| Error::Path {
            path: path.display(),
            source: PathError::NoName,
        })
}

fn is_folder(within: &OwnedFd, name: &OsStr) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

//= spec/20-copy.md#lists
//# Removing a folder MUST NOT follow a symbolic link.
/// Removes a folder with all that is in it, following no link.
fn remove_tree(within: &OwnedFd, name: &OsStr, depth: usize) -> rustix::io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let folder = rustix::fs::openat(
        within,
        name,
        folder_flags() | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    for entry in Dir::read_from(folder.as_fd())? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if is_folder(&folder, name)? {
            remove_tree(&folder, name, depth)?;
        } else {
            rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(within, name, AtFlags::REMOVEDIR)
}

/// The time of last modification, with the time of last access left alone.
fn timestamps(modified: Modified) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanos.into(),
        },
    }
}

/// Reads a link that is in an open folder.
pub(crate) fn read_link(folder: &OwnedFd, name: &OsStr) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes())
}
