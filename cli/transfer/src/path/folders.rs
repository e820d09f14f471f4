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
    writer::kept_bits,
    xattrs::{Privilege, Xattrs},
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

    /// Gives a folder the permissions, the time and the extended attributes it had where it came from; false if it
    /// cannot have some of the last.
    pub fn set_folder_attributes(
        &self,
        path: &RemotePath,
        of: &Attributes,
        xattrs: &Xattrs,
        privilege: Privilege,
    ) -> Result<bool, Error> {
        let folder = self.folder(path)?;
        let mut kept = xattrs.apply(&folder, privilege, false);
        if let Some(mode) = of.mode {
            let mode = Mode::from_raw_mode(mode & kept_bits(privilege));
            let set = rustix::fs::fchmod(&folder, mode);
            set.map_err(|errno| refused(path, errno))?;
        }
        kept &= xattrs.apply(&folder, privilege, true);
        if let Some(modified) = of.modified {
            let set = rustix::fs::futimens(&folder, &timestamps(modified));
            set.map_err(|errno| refused(path, errno))?;
        }
        Ok(kept)
    }

    //= spec/20-copy.md#batches
    //# Another name of a file MUST NOT be given to anything but a regular file beneath the root.
    /// Gives the file at `target` another name, in place of a file or link that bears it.
    pub fn hard_link(&self, target: &RemotePath, to: &Destination) -> Result<(), Error> {
        let (parent, name) = split_file(target)?;
        let within = self.folder(&parent)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&within, name, flags);
        let stat = stat.map_err(|errno| refused(target, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotAFile(target.display()));
        }
        let failed = |errno: Errno| Error::io(&to.shown, errno);
        if let Ok(there) = rustix::fs::statat(&to.folder, &to.name, flags)
            && (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        if to.existing()? == Existing::Other {
            return Err(Error::NotAFile(to.shown.clone()));
        }
        let partial = partial_name(&to.name);
        let _ = rustix::fs::unlinkat(&to.folder, &partial, AtFlags::empty());
        rustix::fs::linkat(&within, name, &to.folder, &partial, AtFlags::empty())
            .map_err(failed)?;
        rustix::fs::renameat(&to.folder, &partial, &to.folder, &to.name).map_err(failed)
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
        if recursive && is_folder(&within, name).map_err(|errno| refused(path, errno))? {
            return remove_tree(&within, name, MAX_DEPTH).map_err(|errno| refused(path, errno));
        }
        remove_one(&within, name, path)
    }

    //= spec/20-copy.md#lists
    //# A server that removes a batch MUST NOT follow a symbolic link beneath its path.
    /// Removes a file, link or empty folder, and follows no link on the way there.
    pub fn remove_entry(&self, path: &RemotePath) -> Result<(), Error> {
        let (parent, name) = path.split().ok_or_else(|| refused(path, Errno::BUSY))?;
        let within = self.open_unlinked(&parent, folder_flags());
        remove_one(&within.map_err(|errno| refused(path, errno))?, name, path)
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

    /// Gives a link that stands there its time. Some file systems have none for links, and nobody misses it.
    pub(crate) fn set_link_time(&self, modified: Modified) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let _ = rustix::fs::utimensat(&self.folder, &self.name, &timestamps(modified), flags);
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

/// Removes a file, link or empty folder.
fn remove_one(within: &OwnedFd, name: &OsStr, path: &RemotePath) -> Result<(), Error> {
    let failed = |errno| refused(path, errno);
    if !is_folder(within, name).map_err(failed)? {
        return rustix::fs::unlinkat(within, name, AtFlags::empty()).map_err(failed);
    }
    match rustix::fs::unlinkat(within, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Error::IsFolder(path.display())),
        removed => removed.map_err(failed),
    }
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
