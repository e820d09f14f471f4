//! A file of a tree that has a request of its own: when it is whole, the copy of the tree takes note of it.

use std::{fs::File, io};

use blake3::hazmat::ChainingValue;

use super::{Sink, Writer};
use crate::{
    batch::Report,
    error::Error,
    message::{Attributes, Version},
    tree_copy::Member,
    tree_journal::Finished,
};

/// A [`Writer`] whose file belongs to a tree.
#[derive(Debug)]
pub struct Noted {
    writer: Box<Writer>,
    member: Member,
    /// Beneath the folder that the tree is copied into.
    path: Vec<u8>,
    version: Option<Version>,
    digest: [u8; 32],
}

impl Noted {
    /// `writer`'s file is at `path` of the tree that `member` is a request of.
    pub fn new(writer: Writer, member: Member, path: Vec<u8>, version: Option<Version>) -> Self {
        Self {
            writer: Box::new(writer),
            member,
            path,
            version,
            digest: [0; 32],
        }
    }
}

impl Sink for Noted {
    fn known(&self) -> Vec<(u64, ChainingValue)> {
        self.writer.known()
    }

    fn on_right(&mut self, groups: &[(u64, ChainingValue)]) -> Result<(), Error> {
        self.writer.on_right(groups)
    }

    fn on_whole(&mut self, digest: &[u8; 32]) {
        self.digest = *digest;
    }

    fn older(&self) -> Option<(File, u64)> {
        self.writer.older()
    }

    fn copy_from(&mut self, older: &File, offsets: (u64, u64), length: u64) -> Result<u64, Error> {
        self.writer.copy_from(older, offsets, length)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_at(offset, bytes)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.writer.read_at(offset, buffer)
    }

    fn is_ordered(&self) -> bool {
        self.writer.is_ordered()
    }

    fn commit(self: Box<Self>, attributes: &Attributes, preserve: bool) -> Result<String, Error> {
        let mut noted = self;
        let note = noted.writer.commit_in_place(attributes, preserve)?;
        if let (Some(version), Some(identity)) = (noted.version, noted.writer.identity()) {
            noted.member.note(&[Finished {
                path: noted.path,
                version,
                digest: noted.digest,
                identity,
            }]);
        }
        // What goes wrong with folders is said by the request that named them, or not at all.
        noted.member.over(None, &Report::default());
        Ok(note)
    }

    fn discard(self: Box<Self>) {
        self.writer.discard();
    }
}
