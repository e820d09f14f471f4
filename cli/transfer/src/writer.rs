//! A file that comes into being: written in any order under a partial name, whole under its own.
//! Where it may stand is decided in `path`; what its bytes must be, in `digest`.

mod flush;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::{File, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    sync::{Arc, OnceLock},
};

use rustix::{
    fs::{AtFlags, FallocateFlags, Mode, OFlags},
    io::Errno,
};

use self::flush::Flusher;
use crate::{
    error::Error,
    message::Attributes,
    path::{Destination, Existing, partial_name},
};

/// Where a receiver puts bytes.
pub trait Sink: Send {
    /// Puts bytes at an offset.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Fills the buffer with bytes written before.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether bytes must come from front to back.
    fn is_ordered(&self) -> bool;

    /// Everything is there and right: make it last, and give it its name.
    fn commit(self: Box<Self>, attributes: &Attributes, preserve: bool) -> Result<(), Error>;

    /// What is there is wrong: remove it.
    fn discard(self: Box<Self>);
}

/// Standard output and the like: bytes are gone once written.
#[derive(Debug)]
pub struct StreamSink<W> {
    to: W,
    name: String,
    written: u64,
}

impl<W: Write + Send> StreamSink<W> {
    /// Writes to `to`, called `name` in errors.
    pub fn new(to: W, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            to,
            name,
            written: 0,
        }
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.written {
            return Err(Error::Protocol("data out of order"));
        }
        self.written += bytes.len() as u64;
        let written = self.to.write_all(bytes);
        written.map_err(|error| Error::io(&self.name, error))
    }

    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn commit(mut self: Box<Self>, _: &Attributes, _: bool) -> Result<(), Error> {
        let flushed = self.to.flush();
        flushed.map_err(|error| Error::io(&self.name, error))
    }

    fn discard(self: Box<Self>) {}
}

/// A file under its partial name, locked against a second writer.
///
/// Dropped without [`Sink::commit`] or [`Sink::discard`] it stays, with what was written.
#[derive(Debug)]
pub struct Writer {
    file: Arc<File>,
    destination: Destination,
    partial: OsString,
    flusher: Flusher,
    over: bool,
}

impl Writer {
    /// Begins the file at `destination`, of `size` bytes where that is known.
    pub fn create(destination: Destination, size: Option<u64>) -> Result<Self, Error> {
        let partial = partial_name(&destination.name);
        let file = Arc::new(open_locked(&destination, &partial)?);
        let writer = Self {
            flusher: Flusher::new(Arc::clone(&file)),
            file,
            destination,
            partial,
            over: false,
        };
        let prepared = writer.file.set_len(0);
        let prepared = prepared
            .map_err(|error| Error::io(&writer.destination.shown, error))
            .and_then(|()| writer.reserve(size.unwrap_or(0)));
        match prepared {
            Ok(()) => Ok(writer),
            Err(error) => {
                Box::new(writer).discard();
                Err(error)
            }
        }
    }

    /// Makes sure that `size` bytes fit, and reserves the space where the file system can.
    fn reserve(&self, size: u64) -> Result<(), Error> {
        //= spec/20-copy.md#files
        //# A receiver that knows the size MUST refuse a file that does not fit the free space
        //# before it takes any data.
        let shown = &self.destination.shown;
        let no_space = |free| Error::NoSpace {
            name: shown.clone(),
            needed: size,
            free,
        };
        let stat = rustix::fs::fstatvfs(&*self.file).map_err(|errno| Error::io(shown, errno))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        // Some file systems do not know their size and say 0 of 0.
        if stat.f_blocks > 0 && size > free {
            return Err(no_space(free));
        }
        if size == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&*self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => Err(no_space(free)),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) | Ok(()) => Ok(()),
            Err(errno) => Err(Error::io(shown, errno)),
        }
    }

    /// The permission bits the whole file gets.
    fn final_mode(&self, attributes: &Attributes, preserve: bool) -> Result<u32, Error> {
        //= spec/20-copy.md#files
        //# A receiver MUST NOT give a file set-user-id, set-group-id or sticky bits.
        let wanted = attributes.mode.unwrap_or(0o666) & 0o777;
        if preserve && attributes.mode.is_some() {
            return Ok(wanted);
        }
        // As with scp, a file that is replaced keeps its mode, a new one gets the source's less
        // the umask.
        Ok(match self.destination.existing()? {
            Existing::File { mode: Some(mode) } => mode,
            _ => wanted & !umask(),
        })
    }

    fn finish(&mut self, attributes: &Attributes, preserve: bool) -> Result<(), Error> {
        let mode = self.final_mode(attributes, preserve)?;
        let failed = |error: io::Error| Error::io(&self.destination.shown, error);
        self.flusher.finish().map_err(failed)?;
        // Drops what was set aside and not used, when the source was shorter than announced.
        let length = self.file.metadata().map_err(failed)?.len();
        self.file.set_len(length).map_err(failed)?;
        self.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(failed)?;
        let modified = attributes.modified.and_then(|time| time.to_system_time());
        if let Some(modified) = modified.filter(|_| preserve) {
            self.file.set_modified(modified).map_err(failed)?;
        }
        //= spec/20-copy.md#files
        //# A receiver MUST make the data durable before it renames the partial file.
        self.file.sync_all().map_err(failed)?;
        //= spec/20-copy.md#files
        //# An existing file of the same name MUST stay as it is until the rename replaces it in
        //# one step.
        let Destination { folder, name, .. } = &self.destination;
        let renamed = rustix::fs::renameat(folder, &self.partial, folder, name);
        renamed.map_err(|errno| failed(errno.into()))?;
        self.over = true;
        // The file is whole and named; a folder that cannot be synced does not undo that.
        let _ = rustix::fs::fsync(folder);
        Ok(())
    }
}

impl Sink for Writer {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let written = self
            .file
            .write_all_at(bytes, offset)
            .and_then(|()| self.flusher.on_written(bytes.len() as u64));
        written.map_err(|error| Error::io(&self.destination.shown, error))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn is_ordered(&self) -> bool {
        false
    }

    fn commit(mut self: Box<Self>, attributes: &Attributes, preserve: bool) -> Result<(), Error> {
        self.finish(attributes, preserve)
    }

    fn discard(mut self: Box<Self>) {
        self.over = true;
        let flags = AtFlags::empty();
        let _ = rustix::fs::unlinkat(&self.destination.folder, &self.partial, flags);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        //= spec/20-copy.md#files
        //# A partial file of an interrupted copy MAY stay, so that a later copy can go on from it.
        // Cutting at the end gives back what was set aside beyond it.
        if let Ok(metadata) = self.file.metadata() {
            let _ = self.file.set_len(metadata.len());
        }
    }
}

/// Opens the partial file for this writer alone.
fn open_locked(destination: &Destination, partial: &OsString) -> Result<File, Error> {
    let Destination { folder, shown, .. } = destination;
    let failed = |error: io::Error| Error::io(shown, error);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    //= spec/20-copy.md#files
    //# A partial file MUST be readable and writable by its owner alone.
    let owner_only = Mode::RUSR | Mode::WUSR;
    let opened = rustix::fs::openat(folder, partial, flags, owner_only);
    let file = File::from(opened.map_err(|errno| failed(errno.into()))?);
    //= spec/20-copy.md#files
    //# A receiver MUST hold an exclusive lock on the partial file while it writes.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Busy(shown.clone())),
        // Some network file systems have no locks: better to copy without than not at all.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Between open and lock another writer may have finished: then this is its whole file.
    let metadata = file.metadata().map_err(failed)?;
    let named = rustix::fs::statat(folder, partial, AtFlags::SYMLINK_NOFOLLOW);
    let same =
        named.is_ok_and(|named| (named.st_dev, named.st_ino) == (metadata.dev(), metadata.ino()));
    if !same {
        return Err(Error::Busy(shown.clone()));
    }
    // A file planted here by somebody else, or with a second name, could be read or changed by them.
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.nlink() != 1 || !ours {
        return Err(failed(io::ErrorKind::PermissionDenied.into()));
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed)?;
    Ok(file)
}

/// The process's umask. Reading it means setting it, so this is done once, and what is set for
/// that instant is the strictest.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let mask = rustix::process::umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits() & 0o777
    })
}
