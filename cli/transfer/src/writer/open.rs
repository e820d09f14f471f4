//! Opens the partial file so that nobody else writes to it or reads it, as far as the file system
//! lets that be known. What is written to it lies in `writer`.

use std::{
    ffi::OsStr,
    fs::{File, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat},
    io::Errno,
};

use super::shortfall::{Shortfall, Shortfalls};
use crate::{error::Error, path::Destination};

/// How often a partial file that comes and goes under our hands is tried for.
const ATTEMPTS: usize = 8;

/// Permission bits of a partial file.
const PRIVATE: u32 = 0o600;

/// A partial file that is open for this writer alone.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// It was there before, with what is in it.
    pub(super) is_old: bool,
    /// What its names stand for.
    pub(super) id: FileId,
}

/// Tells a file from all others that are open: device and inode.
pub(super) type FileId = (u64, u64);

/// Opens the partial file for this writer alone; it is empty then, unless what is in it is to be kept.
pub(super) fn open_locked(
    destination: &Destination,
    partial: &OsStr,
    keep: bool,
    shortfalls: &mut Shortfalls,
) -> Result<Opened, Error> {
    let Destination { folder, shown, .. } = destination;
    let failed = |errno: Errno| Error::io(shown, errno);
    for _ in 0..ATTEMPTS {
        match open(destination, partial, OFlags::CREATE | OFlags::EXCL) {
            Ok(file) => {
                if lock(&file, shown)? == Lock::Unknown {
                    shortfalls.add(Shortfall::Lock);
                }
                let metadata = file.metadata().map_err(|error| Error::io(shown, error))?;
                let id = (metadata.dev(), metadata.ino());
                if !is_named(id, destination, partial) {
                    return Err(Error::Busy(shown.clone()));
                }
                if metadata.mode() & 0o7777 != PRIVATE {
                    make_private(&file, shortfalls);
                }
                let is_old = false;
                return Ok(Opened { file, is_old, id });
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        match open(destination, partial, OFlags::empty()) {
            Ok(file) => {
                if let Some((file, id)) = adopt(file, destination, partial, keep)? {
                    let is_old = keep;
                    return Ok(Opened { file, is_old, id });
                }
                match rustix::fs::unlinkat(folder, partial, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Err(Error::Busy(shown.clone()))
}

fn open(destination: &Destination, partial: &OsStr, how: OFlags) -> rustix::io::Result<File> {
    let flags = how | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    //= spec/20-copy.md#files
    //# A partial file MUST be readable and writable by its owner alone, where the file system has
    //# such permissions.
    let private = Mode::from_raw_mode(PRIVATE);
    rustix::fs::openat(&destination.folder, partial, flags, private).map(File::from)
}

/// Goes on with a partial file that was there before, emptied unless it is to be kept; `None` if it has to make
/// way for a new one.
fn adopt(
    file: File,
    destination: &Destination,
    partial: &OsStr,
    keep: bool,
) -> Result<Option<(File, FileId)>, Error> {
    let shown = &destination.shown;
    let failed = |error: io::Error| Error::io(shown, error);
    let locked = lock(&file, shown)?;
    let metadata = file.metadata().map_err(failed)?;
    let id = (metadata.dev(), metadata.ino());
    // Between open and lock another writer may have finished: then this is its whole file.
    if !is_named(id, destination, partial) {
        return Err(Error::Busy(shown.clone()));
    }
    // Left by a copy that got its name by a link and could not remove this one.
    if is_named(id, destination, &destination.name) {
        return Ok(None);
    }
    // A file with a second name, or one that somebody else put here, could be read or changed by
    // others. Where owners mean nothing, a new file is no more ours than this one.
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let refused = !metadata.is_file() || metadata.nlink() > 1;
    if refused || !(ours || has_foreign_owners(&file)) {
        let partial = partial.display();
        return Err(Error::Io {
            what: format!("{shown}: {partial} is not ours to write to, remove it"),
            source: io::ErrorKind::PermissionDenied.into(),
        });
    }
    //= spec/20-copy.md#files
    //# Where it has none, a receiver MUST NOT write to a partial file that it did not create itself.
    if locked == Lock::Unknown || !ours {
        return Ok(None);
    }
    let mut shortfalls = Shortfalls::default();
    make_private(&file, &mut shortfalls);
    let emptied = keep || metadata.len() == 0 || file.set_len(0).is_ok();
    Ok((emptied && shortfalls.is_empty()).then_some((file, id)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Held,
    /// The file system has no locks, or none that work.
    Unknown,
}

//= spec/20-copy.md#files
//# A receiver MUST hold an exclusive lock on the partial file while it writes, where the file
//# system has locks.
fn lock(file: &File, shown: &str) -> Result<Lock, Error> {
    match file.try_lock() {
        Ok(()) => Ok(Lock::Held),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(shown.to_owned())),
        // Better to copy without than not at all.
        Err(TryLockError::Error(_)) => Ok(Lock::Unknown),
    }
}

/// Whether `name` in the folder of the destination stands for this file.
fn is_named(id: FileId, destination: &Destination, name: &OsStr) -> bool {
    named(id, destination, name).is_some()
}

/// What the file is whose name in the folder of the destination this is; `None` if that is another file.
pub(super) fn named(id: FileId, destination: &Destination, name: &OsStr) -> Option<Stat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let named = rustix::fs::statat(&destination.folder, name, flags).ok()?;
    ((named.st_dev, named.st_ino) == id).then_some(named)
}

/// Takes away everybody else's permissions, if they have any.
fn make_private(file: &File, shortfalls: &mut Shortfalls) {
    if set_mode(file, PRIVATE).is_err() {
        shortfalls.add(Shortfall::Privacy);
    }
}

/// Sets the permission bits, if they are others. Some file systems without any say yes and do nothing.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    match file.metadata()?.mode() & 0o777 == mode & 0o777 {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether the owner of a file may be another than whoever created it, because the file system has
/// no owners, or a server or a user program decides about them.
#[cfg(target_os = "linux")]
fn has_foreign_owners(file: &File) -> bool {
    /// `f_type` as in statfs(2): vfat, exFAT, NTFS (two drivers), SMB (three), NFS, FUSE, 9P,
    /// VirtualBox, Ceph, UDF, HFS+.
    const TYPES: [u64; 13] = [
        0x4d44,
        0x2011_bab0,
        0x5346_544e,
        0x7366_746e,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6969,
        0x6573_5546,
        0x0102_1997,
        0x786f_4256,
        0x00c3_6400,
        0x482b,
    ];
    rustix::fs::fstatfs(file).is_ok_and(|stat| {
        // Signed and 32 bits wide on some systems.
        let kind = stat.f_type as u64 & 0xffff_ffff;
        TYPES.contains(&kind)
    })
}

#[cfg(not(target_os = "linux"))]
fn has_foreign_owners(_: &File) -> bool {
    false
}
