//! A file that comes into being: written in any order under a partial name, whole under its own.
//! Where it may stand is decided in `path`; what its bytes must be, in `digest`.

mod flush;
mod open;
mod reservation;
pub mod shortfall;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, Mode};

use self::{
    flush::Flusher,
    open::{is_named, open_locked, set_mode},
    reservation::Reservation,
    shortfall::{Shortfall, Shortfalls, is_refusal},
};
use crate::{
    error::Error,
    message::{Attributes, Durability, Status},
    path::{Destination, Existing, partial_name},
};

/// Coarsest step of a file's time: that of FAT.
const TIME_STEP: Duration = Duration::from_secs(2);

/// Where a receiver puts bytes.
pub trait Sink: Send {
    /// Puts bytes at an offset.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Fills the buffer with bytes written before.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether bytes must come from front to back.
    fn is_ordered(&self) -> bool;

    /// Everything is there and right: make it last, and give it its name. Says what could not be
    /// done for it, as a line for people.
    fn commit(self: Box<Self>, attributes: &Attributes, preserve: bool) -> Result<String, Error>;

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

    fn commit(mut self: Box<Self>, _: &Attributes, _: bool) -> Result<String, Error> {
        let flushed = self.to.flush();
        flushed.map_err(|error| Error::io(&self.name, error))?;
        Ok(String::new())
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
    reservation: Reservation,
    shortfalls: Shortfalls,
    durability: Durability,
    over: bool,
}

impl Writer {
    /// Begins the file at `destination`, of `size` bytes where that is known.
    pub fn create(destination: Destination, size: Option<u64>) -> Result<Self, Error> {
        let partial = partial_name(&destination.name);
        let mut shortfalls = Shortfalls::default();
        let file = Arc::new(open_locked(&destination, &partial, &mut shortfalls)?);
        let writer = Self {
            flusher: Flusher::new(Arc::clone(&file)),
            reservation: Reservation::new(size.unwrap_or(0)),
            file,
            destination,
            partial,
            shortfalls,
            durability: Durability::default(),
            over: false,
        };
        match writer.check_space(size.unwrap_or(0)) {
            Ok(()) => Ok(writer),
            Err(error) => {
                Box::new(writer).discard();
                Err(error)
            }
        }
    }

    /// When the file has to be on the disk.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        // Not by update syntax: what ends a writer early must see it whole.
        let mut writer = self;
        writer.durability = durability;
        writer
    }

    /// Makes sure that `size` bytes fit.
    fn check_space(&self, size: u64) -> Result<(), Error> {
        //= spec/20-copy.md#files
        //# A receiver that knows the size MUST refuse a file that does not fit the free space
        //# before it takes any data.
        let shown = &self.destination.shown;
        let no_space = |free| Error::NoSpace {
            name: shown.clone(),
            needed: size,
            free,
        };
        // Some file systems do not know their size and say 0 of 0, or nothing at all.
        if let Ok(stat) = rustix::fs::fstatvfs(&*self.file) {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if stat.f_blocks > 0 && size > free {
                return Err(no_space(free));
            }
        }
        Ok(())
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
        self.prepare(attributes, preserve)?;
        if self.durability != Durability::None {
            //= spec/20-copy.md#files
            //# A receiver MUST make the data durable before it renames the partial file, where the file
            //# system can.
            self.sync()?;
        }
        self.check_time(attributes, preserve);
        self.publish()?;
        if self.durability != Durability::None {
            // The file is whole and named; a folder that cannot be synced does not undo that.
            let _ = rustix::fs::fsync(&self.destination.folder);
        }
        Ok(())
    }

    /// Gives the file what it has besides its content.
    pub(crate) fn prepare(&mut self, attributes: &Attributes, preserve: bool) -> Result<(), Error> {
        let mode = self.final_mode(attributes, preserve)?;
        let flushed = self.flusher.finish();
        self.note_refusal(Shortfall::Durability, flushed)
            .map_err(|error| Error::io(&self.destination.shown, error))?;
        // Drops what was set aside and not used, when the source was shorter than announced.
        if let Ok(metadata) = self.file.metadata() {
            let _ = self.file.set_len(metadata.len());
        }
        if set_mode(&self.file, mode).is_err() {
            self.shortfalls.add(Shortfall::Mode);
        }
        if let Some(time) = wanted_time(attributes, preserve) {
            // Whether it lasted is looked at in the end.
            let _ = self.file.set_modified(time);
        }
        Ok(())
    }

    /// Has the file on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.file.sync_all();
        self.note_refusal(Shortfall::Durability, synced)
            .map_err(|error| Error::io(&self.destination.shown, error))
    }

    /// Has all that was written to the file system of this file on the disk: many small files at once.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.file)?)
    }

    /// Sets the time once more where it did not last.
    fn check_time(&mut self, attributes: &Attributes, preserve: bool) {
        let Some(time) = wanted_time(attributes, preserve) else {
            return;
        };
        // What writes late, as FUSE's exFAT does, takes that for a modification.
        let is_kept = is_of(&self.file, time)
            || self.file.set_modified(time).is_ok()
                && (self.durability == Durability::None || self.file.sync_all().is_ok())
                && is_of(&self.file, time);
        if !is_kept {
            self.shortfalls.add(Shortfall::Time);
        }
    }

    /// Gives the file its name; says what could not be done for it.
    pub(crate) fn publish(&mut self) -> Result<String, Error> {
        self.take_name()?;
        self.over = true;
        Ok(self.shortfalls.describe(&self.destination.shown))
    }

    /// Passes an error on, unless it only says that there is no such operation here.
    fn note_refusal(&mut self, shortfall: Shortfall, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if is_refusal(&error) => {
                self.shortfalls.add(shortfall);
                Ok(())
            }
            result => result,
        }
    }

    //= spec/20-copy.md#files
    //# An existing file of the same name MUST stay as it is until the rename replaces it in one
    //# step.
    fn take_name(&mut self) -> Result<(), Error> {
        let Destination {
            folder,
            name,
            shown,
        } = &self.destination;
        //= spec/20-copy.md#files
        //# A receiver MUST NOT rename a partial file that another writer has put in place of its own.
        if !is_named(&self.file, &self.destination, &self.partial) {
            return Err(Error::Busy(shown.clone()));
        }
        let Err(refused) = rustix::fs::renameat(folder, &self.partial, folder, name) else {
            return Ok(());
        };
        // A second name in place of the rename: that never replaces a file, so there must be none.
        let link = rustix::fs::linkat(folder, &self.partial, folder, name, AtFlags::empty());
        if link.is_err() {
            let partial = self.partial.display();
            return Err(Error::Io {
                what: format!(
                    "{shown}: what was copied is whole and called {partial}; renaming it"
                ),
                source: refused.into(),
            });
        }
        let _ = rustix::fs::unlinkat(folder, &self.partial, AtFlags::empty());
        self.shortfalls.add(Shortfall::Rename);
        Ok(())
    }
}

impl Sink for Writer {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset.saturating_add(bytes.len() as u64);
        let mut written = self
            .reservation
            .extend(&self.file, end)
            .and_then(|()| self.file.write_all_at(bytes, offset));
        if written.is_ok() {
            let flushed = self.flusher.on_written(bytes.len() as u64);
            written = self.note_refusal(Shortfall::Durability, flushed);
        }
        written.map_err(|error| Error::io(&self.destination.shown, error))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn is_ordered(&self) -> bool {
        false
    }

    fn commit(
        mut self: Box<Self>,
        attributes: &Attributes,
        preserve: bool,
    ) -> Result<String, Error> {
        match self.finish(attributes, preserve) {
            Ok(()) => Ok(self.shortfalls.describe(&self.destination.shown)),
            Err(error) => {
                if error.status() == Status::NoSpace {
                    self.discard();
                }
                Err(error)
            }
        }
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

/// The time the file is to have, where it has to be that of its source.
fn wanted_time(attributes: &Attributes, preserve: bool) -> Option<SystemTime> {
    let modified = attributes.modified.filter(|_| preserve)?;
    modified.to_system_time()
}

/// Whether `file` was modified at `time`, as far as its file system can tell.
fn is_of(file: &File, time: SystemTime) -> bool {
    let found = file.metadata().and_then(|metadata| metadata.modified());
    found.is_ok_and(|found| {
        let apart = found.duration_since(time);
        apart.unwrap_or_else(|earlier| earlier.duration()) <= TIME_STEP
    })
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
