//! The bytes one stream has been given to send, until they are acknowledged.
//! Credit and packets live elsewhere; here are only offsets, chunks and what became of them.
//!
//! Bytes lie in chunks in offset order. A chunk's memory is let go as soon as all of *its* bytes
//! are acknowledged, wherever it lies: one hole does not pin the window behind it.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::wire::RangeSet;

/// Largest chunk made when bytes are copied in: about a dozen packets, so that a lost packet pins
/// little beside itself, yet one allocation serves many packets.
const CHUNK_BYTES: usize = 16 << 10;

/// Shared bytes shorter than this are copied: a chunk of its own would cost more than the bytes.
const SMALL_BYTES: usize = 512;

/// Unacknowledged and unsent bytes of one stream.
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// In offset order, without gaps, from the chunk that holds `acked_to` to `end`.
    chunks: VecDeque<Chunk>,
    /// Index of the chunk that holds byte `sent`, so that new data is found without a search.
    unsent_chunk: usize,
    /// Every byte below is acknowledged.
    acked_to: u64,
    /// Every byte below was sent at least once.
    sent: u64,
    /// One past the last byte written.
    end: u64,
    /// What is acknowledged above `acked_to`.
    acked: RangeSet,
    /// What was declared lost and not sent again yet; disjoint from everything acknowledged.
    lost: RangeSet,
    /// Where the next probe takes up.
    probed: u64,
    /// Bytes written and not acknowledged.
    unacked: u64,
    /// Bytes of memory the chunks hold.
    held: u64,
}

#[derive(Debug)]
struct Chunk {
    /// Stream offset of the first byte.
    offset: u64,
    /// Bytes of it not acknowledged yet.
    unacked: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// Bytes copied in; spare capacity takes the next write.
    Copied(Vec<u8>),
    /// Bytes taken over from the application.
    Shared(Bytes),
    /// All acknowledged; a later chunk is not.
    Freed,
}

impl Data {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Freed => &[],
        }
    }

    fn held(&self) -> u64 {
        match self {
            Self::Copied(bytes) => bytes.capacity() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::Freed => 0,
        }
    }
}

impl SendBuffer {
    /// An empty buffer at offset 0; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One past the last byte written.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// One past the last byte sent at least once.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes written and not acknowledged.
    pub const fn unacked(&self) -> u64 {
        self.unacked
    }

    /// Bytes of memory held; above [`unacked`](Self::unacked) where chunks are partly acknowledged.
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Whether every byte written is acknowledged.
    pub const fn is_all_acked(&self) -> bool {
        self.acked_to == self.end
    }

    /// Whether bytes wait to be sent again.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether the last byte written is among those to be sent again.
    pub fn has_lost_tail(&self) -> bool {
        self.lost.max().is_some_and(|last| last + 1 == self.end)
    }

    /// Whether bytes sent are not acknowledged.
    pub const fn is_in_flight(&self) -> bool {
        self.acked_to < self.sent
    }

    /// Appends a copy of `data`.
    pub fn push_copy(&mut self, mut data: &[u8]) {
        if let Some(Chunk {
            unacked,
            data: Data::Copied(bytes),
            ..
        }) = self.chunks.back_mut()
        {
            let fits = data.len().min(bytes.capacity() - bytes.len());
            bytes.extend_from_slice(&data[..fits]);
            *unacked += fits;
            self.grew(fits);
            data = &data[fits..];
        }
        while !data.is_empty() {
            let (piece, rest) = data.split_at(data.len().min(CHUNK_BYTES));
            // A stream that keeps writing little gets room for more of it at once.
            let backlog = usize::try_from(self.unacked).unwrap_or(CHUNK_BYTES);
            let mut bytes = Vec::with_capacity(piece.len().max(backlog.min(CHUNK_BYTES)));
            bytes.extend_from_slice(piece);
            self.push_chunk(piece.len(), Data::Copied(bytes));
            data = rest;
        }
    }

    /// Appends `data` without copying it, unless it is tiny.
    pub fn push_shared(&mut self, data: Bytes) {
        if data.len() < SMALL_BYTES {
            self.push_copy(&data);
        } else {
            self.push_chunk(data.len(), Data::Shared(data));
        }
    }

    fn push_chunk(&mut self, len: usize, data: Data) {
        self.held += data.held();
        self.chunks.push_back(Chunk {
            offset: self.end,
            unacked: len,
            data,
        });
        self.grew(len);
    }

    fn grew(&mut self, bytes: usize) {
        self.end += bytes as u64;
        self.unacked += bytes as u64;
    }

    /// Takes up to `max` bytes never sent before; they count as sent from here on.
    pub fn take_unsent(&mut self, max: u64) -> Range<u64> {
        let start = self.sent;
        self.sent = self.end.min(start.saturating_add(max));
        start..self.sent
    }

    /// Offset and number of the lowest contiguous lost bytes.
    pub fn first_lost(&self) -> Option<(u64, u64)> {
        let range = self.lost.iter().next()?;
        Some((range.start, range.end - range.start))
    }

    /// Takes up to `max` of the lowest lost bytes; they count as in flight from here on.
    pub fn take_lost(&mut self, max: u64) -> Option<Range<u64>> {
        let (start, len) = self.first_lost()?;
        let range = start..start + len.min(max);
        self.lost.remove(range.clone());
        Some(range)
    }

    /// Offset and number of the contiguous bytes the next probe takes; empty when nothing is in
    /// flight.
    pub fn first_probe(&self) -> (u64, u64) {
        let range = self.probe();
        (range.start, range.end - range.start)
    }

    /// Up to `max` bytes that are in flight unacknowledged, lowest first and from call to call
    /// further on, beginning again at the lowest when an ACK came or the end is reached.
    pub fn take_probe(&mut self, max: u64) -> Range<u64> {
        let range = self.probe();
        let range = range.start..range.end.min(range.start.saturating_add(max));
        self.probed = range.end;
        range
    }

    /// The lowest contiguous part of `range` that was sent and is not acknowledged.
    pub fn first_in_flight(&self, range: Range<u64>) -> Option<Range<u64>> {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return None;
        }
        self.acked.gaps(range).next()
    }

    fn probe(&self) -> Range<u64> {
        let from = self.probed.clamp(self.acked_to, self.sent);
        self.acked
            .gaps(from..self.sent)
            .chain(self.acked.gaps(self.acked_to..self.sent))
            .next()
            .unwrap_or(self.sent..self.sent)
    }

    //= spec/05-streams.md#sending-states
    //# A sender MUST NOT change a byte it has sent: a receiver takes whichever copy comes first.
    /// Appends the bytes of `range` to `out`. All of it must be written and unacknowledged.
    pub fn copy(&mut self, range: &Range<u64>, out: &mut Vec<u8>) {
        let mut index = self.locate(range.start);
        let mut at = range.start;
        while at < range.end {
            let chunk = &self.chunks[index];
            let bytes = chunk.data.as_slice();
            let from = index_of(at - chunk.offset);
            let len = (bytes.len() - from).min(index_of(range.end - at));
            out.extend_from_slice(&bytes[from..from + len]);
            at += len as u64;
            if from + len == bytes.len() {
                index += 1;
            }
        }
        // New data is taken in order, so the next search for it ends where this copy did. The last
        // chunk may still grow: stay on it.
        if range.end == self.sent {
            self.unsent_chunk = index.min(self.chunks.len().saturating_sub(1));
        }
    }

    /// Index of the chunk that holds `offset`.
    fn locate(&self, offset: u64) -> usize {
        for guess in [self.unsent_chunk, self.unsent_chunk + 1, 0] {
            if let Some(chunk) = self.chunks.get(guess)
                && chunk.offset <= offset
                && offset < self.chunk_end(guess)
            {
                return guess;
            }
        }
        self.chunks
            .partition_point(|chunk| chunk.offset <= offset)
            .saturating_sub(1)
    }

    fn chunk_end(&self, index: usize) -> u64 {
        self.chunks
            .get(index + 1)
            .map_or(self.end, |next| next.offset)
    }

    /// Notes that the peer has `range`; parts it had before are ignored.
    pub fn ack(&mut self, range: Range<u64>) {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return;
        }
        if range.start == self.acked_to && self.acked.is_empty() {
            self.release(&range);
            self.acked_to = range.end;
        } else {
            let fresh: SmallVec<[Range<u64>; 4]> = self.acked.gaps(range.clone()).collect();
            for part in &fresh {
                self.release(part);
            }
            self.acked.insert(range.clone());
            if self.acked.min() == Some(self.acked_to)
                && let Some(prefix) = self.acked.pop_min()
            {
                self.acked_to = prefix.end;
            }
        }
        if !self.lost.is_empty() {
            // It was late, not lost.
            self.lost.remove(range);
        }
        self.probed = self.acked_to;
        self.drop_front();
        self.shrink();
    }

    /// Counts `range`, unacknowledged so far, as acknowledged in its chunks.
    fn release(&mut self, range: &Range<u64>) {
        let mut index = self.locate(range.start);
        let mut at = range.start;
        while at < range.end {
            let end = self.chunk_end(index);
            let len = end.min(range.end) - at;
            let chunk = &mut self.chunks[index];
            chunk.unacked -= index_of(len);
            if chunk.unacked == 0 {
                self.held -= chunk.data.held();
                chunk.data = Data::Freed;
            }
            at += len;
            index += 1;
        }
        self.unacked -= range.end - range.start;
    }

    fn drop_front(&mut self) {
        while let Some(front) = self.chunks.front()
            && front.unacked == 0
            && self.chunk_end(0) <= self.acked_to
        {
            self.chunks.pop_front();
            self.unsent_chunk = self.unsent_chunk.saturating_sub(1);
        }
    }

    /// Gives back bookkeeping memory: streams are idle more often than not.
    fn shrink(&mut self) {
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        if self.acked.is_empty() && self.acked.allocated_bytes() > 0 {
            self.acked = RangeSet::new();
        }
        if self.lost.is_empty() && self.lost.allocated_bytes() > 0 {
            self.lost = RangeSet::new();
        }
    }

    /// Notes that a packet with `range` is lost; parts acknowledged since are not sent again.
    pub fn lose(&mut self, range: Range<u64>) {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return;
        }
        if self.acked.is_empty() {
            self.lost.insert(range);
        } else {
            self.lost.extend(self.acked.gaps(range));
        }
    }

    /// Drops all bytes, sent or not; the number of bytes sent stays.
    pub fn abandon(&mut self) {
        *self = Self {
            acked_to: self.sent,
            sent: self.sent,
            end: self.sent,
            ..Self::default()
        };
    }
}

/// A distance inside one chunk: chunks are slices, so it always fits.
fn index_of(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}
