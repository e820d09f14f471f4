//! Where a receiver puts bytes, be it a file that comes into being or something else.

use std::{fs::File, io, os::unix::fs::FileExt};

use blake3::hazmat::ChainingValue;

use super::{Writer, older, sparse};
use crate::{error::Error, journal::Groups, message::Attributes};

/// Where a receiver puts bytes.
pub trait Sink: Send {
    /// Groups of the file that are there already, and right.
    fn known(&self) -> Vec<(u64, ChainingValue)> {
        Vec::new()
    }

    /// These groups were written and are right.
    fn on_right(&mut self, _groups: &[(u64, ChainingValue)]) -> Result<(), Error> {
        Ok(())
    }

    /// All of the file is there and right, and this is its digest.
    fn on_whole(&mut self, _digest: &[u8; 32]) {}

    /// The file that stands where this one goes, and its size.
    fn older(&self) -> Option<(File, u64)> {
        None
    }

    /// Puts bytes of an older file, from an offset in it, at an offset; gives how many it had.
    fn copy_from(
        &mut self,
        _older: &File,
        _offsets: (u64, u64),
        _length: u64,
    ) -> Result<u64, Error> {
        Ok(0)
    }

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

impl Sink for Writer {
    fn known(&self) -> Groups {
        let known = self.known.as_ref();
        known.map_or_else(Groups::new, |known| known.groups.clone())
    }

    fn on_right(&mut self, groups: &[(u64, ChainingValue)]) -> Result<(), Error> {
        let noted = self.flusher.on_right(&groups.to_vec());
        noted.map_err(|error| Error::io(&self.destination.shown, error))
    }

    fn older(&self) -> Option<(File, u64)> {
        // What is copied from there would have no holes.
        let older = (!self.sparse).then(|| older::open(&self.destination));
        older.flatten()
    }

    fn copy_from(&mut self, from: &File, offsets: (u64, u64), length: u64) -> Result<u64, Error> {
        self.put(offsets.1, length, |file| {
            older::copy(from, file, offsets, length)
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let (length, is_sparse) = (bytes.len() as u64, self.sparse);
        self.put(offset, length, |file| match is_sparse {
            true => sparse::write_at(file, offset, bytes),
            false => file.write_all_at(bytes, offset),
        })
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
        self.commit_in_place(attributes, preserve)
    }

    fn discard(mut self: Box<Self>) {
        self.remove();
    }
}
