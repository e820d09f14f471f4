//! What a sender tells of chunks, and what it is told to send of them (spec/20-copy.md, "Older destination"). It
//! reads nothing: what is read is said by `sender`.

use std::{collections::VecDeque, mem};

use rp_reduce::chunk::{Chunk, Chunker, Scale};

use crate::{
    error::Error,
    message::{Chunks, MAX_CHUNKS, Ranges, Want},
    older::AHEAD,
    source::PIECE,
};

/// Bytes of chunks that are told of in one message, at least: an answer to less is not worth a message.
const AT_ONCE: u64 = 1 << 20;

/// Bytes that are wanted and not sent, at which no more chunks are told of: the line has enough to do.
const MAX_BACKLOG: u64 = 64 << 20;

/// A file whose receiver decides chunk by chunk what of it is sent.
#[derive(Debug)]
pub(super) struct Telling {
    scale: Scale,
    /// Bytes of the file that this is not about.
    pub(super) before: u64,
    /// What is not read yet: offset and length of each piece.
    rest: VecDeque<(u64, u64)>,
    chunker: Chunker,
    chunks: Vec<Chunk>,
    /// What was read and not told of.
    untold: Segments,
    /// What was told of and is not decided.
    undecided: Segments,
    /// Offset before which all is decided.
    through: u64,
    /// Offset behind all that is to be decided.
    end: u64,
    /// What is to be sent.
    wanted: Segments,
    /// The receiver wants all that it was not told of.
    is_closed: bool,
    /// Offset before which bytes were read for chunks, and so were hashed.
    hashed: u64,
    /// Bytes that are decided and not wanted.
    found: u64,
    /// Bytes that were wanted and sent.
    sent: u64,
}

/// Pieces of a file in ascending order, neighbours joined.
#[derive(Debug, Default)]
struct Segments {
    pieces: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Segments {
    fn push(&mut self, offset: u64, length: u64) {
        match self.pieces.back_mut() {
            _ if length == 0 => {}
            Some(last) if last.0 + last.1 == offset => last.1 += length,
            _ => self.pieces.push_back((offset, length)),
        }
        self.bytes += length;
    }

    /// Takes up to `limit` bytes of the first piece.
    fn take(&mut self, limit: u64) -> Option<(u64, u64)> {
        let (offset, length) = self.pieces.pop_front()?;
        let taken = length.min(limit);
        if taken < length {
            self.pieces.push_front((offset + taken, length - taken));
        }
        self.bytes -= taken;
        (taken > 0).then_some((offset, taken))
    }

    /// Takes what lies before `end`.
    fn take_before(&mut self, end: u64) -> Self {
        let mut taken = Self::default();
        while let Some(&(offset, _)) = self.pieces.front()
            && offset < end
            && let Some((offset, length)) = self.take(end - offset)
        {
            taken.push(offset, length);
        }
        taken
    }

    /// Whether each of `ranges` lies in one of the pieces; both ascend.
    fn hold(&self, ranges: &Ranges) -> bool {
        let mut pieces = self.pieces.iter();
        let mut piece = pieces.next();
        ranges.iter().all(|&(offset, length)| {
            while piece.is_some_and(|piece| piece.0 + piece.1 <= offset) {
                piece = pieces.next();
            }
            piece.is_some_and(|piece| piece.0 <= offset && offset + length <= piece.0 + piece.1)
        })
    }
}

impl Telling {
    /// Of these ranges of a file of `size` bytes.
    pub(super) fn new(ranges: Ranges, size: u64, scale: Scale) -> Self {
        let bytes = ranges.iter().map(|range| range.1).sum();
        Self {
            scale,
            before: size.saturating_sub(bytes),
            end: ranges.last().map_or(0, |range| range.0 + range.1),
            rest: ranges.into(),
            chunker: Chunker::new(scale),
            chunks: Vec::new(),
            untold: Segments::default(),
            undecided: Segments::default(),
            through: 0,
            wanted: Segments::default(),
            is_closed: false,
            hashed: 0,
            found: 0,
            sent: 0,
        }
    }

    pub(super) fn scale(&self) -> Scale {
        self.scale
    }

    //= spec/20-copy.md#older-destination
    //# A sender MUST NOT tell of chunks while more than 256 MiB of what it told of are not decided.
    /// Whether more may be told of; how far it may be ahead is a matter of the receiver's memory and of the
    /// sender's page cache.
    pub(super) fn may_tell(&self) -> bool {
        !self.rest.is_empty()
            && self.untold.bytes + self.undecided.bytes + PIECE + self.scale.max() <= AHEAD
            && self.wanted.bytes <= MAX_BACKLOG
    }

    /// What is to be read next for chunks.
    pub(super) fn next_to_tell(&self) -> Option<(u64, u64)> {
        let (offset, length) = *self.rest.front()?;
        Some((offset, length.min(PIECE)))
    }

    /// Takes what was to be read; gives chunks to tell of when there are enough of them.
    pub(super) fn on_read(&mut self, offset: u64, bytes: &[u8]) -> Option<Chunks> {
        let read = bytes.len() as u64;
        if let Some((start, length)) = self.rest.pop_front()
            && length > read
        {
            self.rest.push_front((start + read, length - read));
        }
        self.hashed = offset + read;
        self.untold.push(offset, read);
        self.chunker.push(bytes, &mut self.chunks);
        // The next range begins with a chunk of its own.
        let next = self.rest.front().map(|range| range.0);
        if next != Some(self.hashed) {
            self.chunks.extend(self.chunker.finish());
        }
        let cut: u64 = self.chunks.iter().map(|chunk| chunk.length).sum();
        let is_last = self.rest.is_empty();
        if self.chunks.is_empty() || !(is_last || cut >= AT_ONCE) {
            return None;
        }
        let told = self.chunks.len().min(MAX_CHUNKS);
        let chunks: Vec<_> = self.chunks.drain(..told).collect();
        for chunk in &chunks {
            let mut length = chunk.length;
            while let Some((offset, taken)) = self.untold.take(length) {
                self.undecided.push(offset, taken);
                length -= taken;
            }
        }
        Some(Chunks { chunks })
    }

    //= spec/20-copy.md#older-destination
    //# A sender MUST refuse a Want whose ranges do not lie between the *through* of the Want before and its own,
    //# in what it was to send.
    /// Takes what is wanted.
    pub(super) fn on_want(&mut self, want: Want) -> Result<(), Error> {
        let refused = Err(Error::Protocol("ranges that the sender did not tell of"));
        if want.through <= self.through || want.through > self.end {
            return refused;
        }
        let told = self.undecided.pieces.back();
        let told = told.map_or(self.through, |last| last.0 + last.1);
        if want.through > told {
            if want.through != self.end || self.is_closed {
                return refused;
            }
            self.close();
        }
        let decided = self.undecided.take_before(want.through);
        if !decided.hold(&want.ranges) {
            return refused;
        }
        self.through = want.through;
        self.found += decided.bytes;
        for (offset, length) in want.ranges {
            self.wanted.push(offset, length);
            self.found -= length;
        }
        Ok(())
    }

    /// Nothing more is told of: what is left is wanted as it is.
    fn close(&mut self) {
        self.is_closed = true;
        self.chunks.clear();
        let untold = mem::take(&mut self.untold);
        for (offset, length) in untold.pieces.into_iter().chain(mem::take(&mut self.rest)) {
            self.undecided.push(offset, length);
        }
    }

    /// Takes what is to be read and sent next, of `window` bytes at most; it is to be hashed where that has not
    /// been done.
    pub(super) fn next_to_send(&mut self, window: u64) -> Option<(u64, u64, bool)> {
        let (offset, _) = *self.wanted.pieces.front()?;
        let is_hashed = offset < self.hashed;
        let known = match is_hashed {
            true => self.hashed - offset,
            false => u64::MAX,
        };
        let (offset, length) = self.wanted.take(window.min(PIECE).min(known))?;
        if !is_hashed {
            self.hashed = offset + length;
        }
        self.sent += length;
        Some((offset, length, !is_hashed))
    }

    /// Whether something is to be sent.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.bytes > 0
    }

    /// Bytes that the receiver has, or will have when they arrive.
    pub(super) fn done(&self) -> u64 {
        self.found + self.sent
    }

    /// Whether all is decided and sent.
    pub(super) fn is_over(&self) -> bool {
        self.through == self.end && self.wanted.bytes == 0
    }
}
