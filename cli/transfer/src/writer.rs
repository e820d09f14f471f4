//! A file that comes into being: written in any order under a partial name, whole under its own.
//! Where it may stand is decided in `path`; what its bytes must be, in `digest`.

mod extras;
mod flush;
mod metadata;
mod noted;
mod older;
mod open;
mod reservation;
pub mod shortfall;
mod sink;
mod sparse;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    sync::Arc,
};

use blake3::hazmat::ChainingValue;
use rustix::fs::AtFlags;

pub(crate) use self::extras::kept_bits;
use self::{
    flush::Flusher,
    metadata::{is_of, umask, wanted_time},
    open::{FileId, Opened, named, open_locked},
    reservation::Reservation,
    shortfall::{Shortfall, Shortfalls, is_refusal},
};
pub(crate) use self::{flush::HUGE, metadata::check_space};
pub use self::{noted::Noted, sink::Sink, stream::StreamSink};
use crate::{
    digest::{GROUP, group_value},
    error::Error,
    journal::{Journal, Known},
    message::{Attributes, Durability, Resume, Status, Version, coarsened},
    path::{Destination, Existing, journal_name, partial_name},
    tree_journal::Identity,
    xattrs::{Privilege, Xattrs},
};

/// A file under its partial name, locked against a second writer.
///
/// Dropped without [`Sink::commit`] or [`Sink::discard`] it stays, with what was written.
#[derive(Debug)]
pub struct Writer {
    file: Arc<File>,
    id: FileId,
    /// It is written in one piece and takes its name at once: nothing need be looked at twice.
    is_brief: bool,
    /// The permission bits that it is to have.
    mode: Option<u32>,
    /// What it was when it took its name.
    identity: Option<Identity>,
    destination: Destination,
    partial: OsString,
    journal: OsString,
    /// What an interrupted copy left here.
    known: Option<Known>,
    /// What it left was of another content.
    restarted: bool,
    flusher: Flusher,
    reservation: Reservation,
    shortfalls: Shortfalls,
    durability: Durability,
    privilege: Privilege,
    xattrs: Xattrs,
    sparse: bool,
    over: bool,
}

impl Writer {
    /// Begins the file at `destination`, of `size` bytes where that is known.
    pub fn create(destination: Destination, size: Option<u64>) -> Result<Self, Error> {
        Self::start(destination, None, Resume::Never)?.announce(size, None)
    }

    /// Begins a small file that is there already and is written in one piece, by who has made sure that there is
    /// space for it.
    pub(crate) fn create_brief(destination: Destination) -> Result<Self, Error> {
        // Not by update syntax: what ends a writer early must see it whole.
        let mut writer = Self::start(destination, None, Resume::Never)?;
        writer.is_brief = true;
        Ok(writer)
    }

    /// Begins the file at `destination`, or goes on with what an interrupted copy of it left there. What it is
    /// to be is then said to [`Writer::announce`].
    pub fn begin(destination: Destination, resume: Resume) -> Result<Self, Error> {
        let journal = journal_name(&destination.name);
        let known = match resume {
            Resume::Never => {
                Journal::remove(&destination.folder, &journal);
                None
            }
            _ => Journal::load(&destination.folder, &journal),
        };
        Self::start(destination, known, resume)
    }

    fn start(
        destination: Destination,
        known: Option<Known>,
        resume: Resume,
    ) -> Result<Self, Error> {
        let (partial, journal) = (
            partial_name(&destination.name),
            journal_name(&destination.name),
        );
        let mut shortfalls = Shortfalls::default();
        let keep = known.is_some();
        let Opened { file, is_old, id } =
            open_locked(&destination, &partial, keep, &mut shortfalls)?;
        let file = Arc::new(file);
        if known.is_some() && !is_old {
            // What it tells of is gone.
            Journal::remove(&destination.folder, &journal);
        }
        let known = known.filter(|_| is_old);
        let mut writer = Self {
            flusher: Flusher::new(Arc::clone(&file)),
            reservation: Reservation::new(0),
            file,
            id,
            is_brief: false,
            mode: None,
            identity: None,
            destination,
            partial,
            journal,
            known: None,
            restarted: false,
            shortfalls,
            durability: Durability::default(),
            privilege: Privilege::default(),
            xattrs: Xattrs::default(),
            sparse: false,
            over: false,
        };
        writer.known = known.map(|known| writer.believable(known, resume));
        Ok(writer)
    }

    /// Size of the file that stands at `destination`.
    pub fn older_size(destination: &Destination) -> Option<u64> {
        older::open(destination).map(|(_, size)| size)
    }

    /// Whether an interrupted copy left something at `destination` that can be gone on with.
    pub fn is_left(destination: &Destination) -> bool {
        Journal::load(&destination.folder, &journal_name(&destination.name)).is_some()
    }

    /// What of `known` can be: the groups that lie in the file, and if wanted only those that are right there.
    fn believable(&self, mut known: Known, resume: Resume) -> Known {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        let end = |index: u64| ((index + 1) * GROUP).min(known.size);
        known.groups.retain(|(index, value)| {
            end(*index) <= length
                && (resume != Resume::Verify || self.holds(*index, end(*index), value))
        });
        known
    }

    /// Whether the bytes up to `end` of the group at `index` have this value.
    fn holds(&self, index: u64, end: u64, value: &ChainingValue) -> bool {
        let start = index * GROUP;
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let read = self.file.read_exact_at(&mut bytes, start);
        read.is_ok() && group_value(index, &bytes) == *value
    }

    /// What can be gone on with: the content that it is of, and what is missing of it.
    pub fn resumable(&self) -> Option<(Version, Vec<(u64, u64)>)> {
        let known = self
            .known
            .as_ref()
            .filter(|known| !known.groups.is_empty())?;
        Some((known.version, coarsened(known.missing())))
    }

    /// Says what the file is to be. What is there is kept if it is of this same content; where an interrupted
    /// copy left another, that is said in the end.
    pub fn announce(mut self, size: Option<u64>, version: Option<Version>) -> Result<Self, Error> {
        //= spec/20-copy.md#resuming
        //# A receiver MUST NOT go on with a partial file of another size or version.
        let is_same = |known: &Known| Some(known.size) == size && Some(known.version) == version;
        if self.known.as_ref().is_some_and(|known| !is_same(known)) {
            self.restarted = self.resumable().is_some();
            self.known = None;
            let emptied = self.file.set_len(0);
            emptied.map_err(|error| Error::io(&self.destination.shown, error))?;
            Journal::remove(&self.destination.folder, &self.journal);
        }
        let there = self.known.as_ref().map_or(0, Known::bytes);
        self.reservation = Reservation::new(size.unwrap_or(0));
        self.flusher.set_size(size.unwrap_or(0));
        let needed = size.unwrap_or(0).saturating_sub(there);
        if let Err(error) = check_space(&self.file, needed, &self.destination.shown) {
            if there == 0 {
                Box::new(self).discard();
            }
            return Err(error);
        }
        if let (Some(size), Some(version)) = (size, version)
            && size > GROUP
        {
            let folder = Arc::clone(&self.destination.folder);
            let journal = Journal::new(folder, self.journal.clone(), size, version);
            self.flusher.set_journal(journal);
        }
        Ok(self)
    }

    /// When the file has to be on the disk.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        // Not by update syntax: what ends a writer early must see it whole.
        let mut writer = self;
        writer.durability = durability;
        writer
    }

    /// The permission bits the whole file gets.
    fn final_mode(&self, attributes: &Attributes, preserve: bool) -> Result<u32, Error> {
        if let (true, Some(mode)) = (preserve, attributes.mode) {
            return Ok(mode & kept_bits(self.privilege));
        }
        let wanted = attributes.mode.unwrap_or(0o666) & 0o777;
        // As with scp, a file that is replaced keeps its mode, a new one gets the source's less
        // the umask.
        let existing = match self.is_brief {
            true => self.destination.found,
            false => self.destination.existing()?,
        };
        Ok(match existing {
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
        if !self.is_brief
            && let Ok(metadata) = self.file.metadata()
        {
            let _ = self.file.set_len(metadata.len());
        }
        // Once the owner may not write any more, attributes of users cannot be set. ACLs count with the mode.
        let mut kept = self.xattrs.apply(&self.file, self.privilege, false);
        // Whether it was done is looked at when the file takes its name: some file systems only say so.
        let _ = self.file.set_permissions(Permissions::from_mode(mode));
        self.mode = Some(mode);
        kept &= self.xattrs.apply(&self.file, self.privilege, true);
        if !kept {
            self.shortfalls.add(Shortfall::Xattrs);
        }
        if let Some(time) = wanted_time(attributes, preserve) {
            // Whether it lasted is looked at in the end.
            let _ = self.file.set_modified(time);
        }
        Ok(())
    }

    /// Has `write` put `length` bytes at `offset`.
    fn put<T>(
        &mut self,
        offset: u64,
        length: u64,
        write: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, Error> {
        let end = offset.saturating_add(length);
        let reserved = match self.sparse {
            true => Ok(()),
            false => self.reservation.extend(&self.file, end),
        };
        let written = reserved
            .and_then(|()| write(&self.file))
            .and_then(|written| {
                let flushed = self.flusher.on_written(length);
                self.note_refusal(Shortfall::Durability, flushed)?;
                Ok(written)
            });
        written.map_err(|error| Error::io(&self.destination.shown, error))
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
        if self.known.is_some() || self.flusher.has_journal() {
            Journal::remove(&self.destination.folder, &self.journal);
        }
        Ok(self.note())
    }

    /// What there is to say of a file that is whole.
    fn note(&self) -> String {
        let shown = &self.destination.shown;
        match self.restarted {
            true => format!(
                "{shown}: copied from its beginning, because the source is another than that of the \
                 interrupted copy"
            ),
            false => self.shortfalls.describe(shown),
        }
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
            ..
        } = &self.destination;
        //= spec/20-copy.md#files
        //# A receiver MUST NOT rename a partial file that another writer has put in place of its own.
        let Some(stat) = named(self.id, &self.destination, &self.partial) else {
            return Err(Error::Busy(shown.clone()));
        };
        self.identity = Some(Identity::of(&stat));
        if self.mode.is_some_and(|mode| stat.st_mode & 0o777 != mode) {
            self.shortfalls.add(Shortfall::Mode);
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

impl Writer {
    /// What the file was when it took its name; `None` before.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Makes the file last and gives it its name, as [`Sink::commit`].
    fn commit_in_place(
        &mut self,
        attributes: &Attributes,
        preserve: bool,
    ) -> Result<String, Error> {
        match self.finish(attributes, preserve) {
            Ok(()) => Ok(self.note()),
            Err(error) => {
                if error.status() == Status::NoSpace {
                    self.remove();
                }
                Err(error)
            }
        }
    }

    fn remove(&mut self) {
        self.over = true;
        let folder = Arc::clone(&self.destination.folder);
        let _ = rustix::fs::unlinkat(&folder, &self.partial, AtFlags::empty());
        Journal::remove(&folder, &self.journal);
        // A sync under way takes its time, and may write the journal anew behind it.
        if self.flusher.is_running() {
            let _ = self.flusher.finish();
            Journal::remove(&folder, &self.journal);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        //= spec/20-copy.md#files
        //# A partial file of an interrupted copy MAY stay, so that a later copy can go on from it.
        self.flusher.note_rest();
        // Cutting at the end gives back what was set aside beyond it.
        if let Ok(metadata) = self.file.metadata() {
            let _ = self.file.set_len(metadata.len());
        }
    }
}
