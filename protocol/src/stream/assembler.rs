//! The bytes one stream has received, until the application takes them: in order, or as blocks in
//! whatever order they came. Credit and final sizes live in `recv`.
//!
//! 1. Bytes that continue the stream go to the end of a queue; that is all, for most of them.
//! 2. Bytes beyond a hole wait in *islands*, contiguous runs sorted by offset.
//! 3. When the hole is filled, whole islands move to the queue.
//!
//! Bytes are slices of the datagrams they came in. A small slice would keep a large datagram alive,
//! so tiny ones are copied at once, and all loose ones when too much memory is pinned for what is
//! buffered.

mod fragment;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use bytes::Bytes;
use smallvec::SmallVec;

use self::fragment::{Fragment, compact, pop};
use crate::wire::RangeSet;

/// Memory pinned beyond twice the bytes buffered before fragments are copied together. Per stream,
/// so that it takes the reading of a packet or two before an idle stream costs a copy.
const COMPACT_SLACK_BYTES: u64 = 4096;

/// Holes any stream may have, and bytes between first and last hole that justify one more: a sender
/// of full packets makes at most one hole per two packets of 1200 bytes.
const FREE_HOLES: u64 = 1024;
const BYTES_PER_HOLE: u64 = 512;

/// The peer scattered its bytes so much that keeping track costs more than the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFragmented;

/// What a receiver may ask of bytes already taken as blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderIsGone;

/// Received bytes of one stream.
#[derive(Debug, Default)]
pub struct Assembler {
    /// What can be taken now: contiguous up to `contiguous` while reading is in order, as blocks came
    /// otherwise.
    ready: VecDeque<Fragment>,
    /// What lies beyond the first hole, while reading is in order.
    islands: BTreeMap<u64, Island>,
    /// One past the last byte before the first hole, while reading is in order.
    contiguous: u64,
    /// Everything ever received, once blocks are read in any order.
    received: Option<Box<RangeSet>>,
    /// Bytes buffered.
    buffered: u64,
    /// Bytes of memory kept alive for them, as far as is known.
    pinned: u64,
    /// The lowest `pinned` since the last compaction.
    least_pinned: u64,
}

/// Contiguous fragments beyond a hole, never empty, never touching the next island.
#[derive(Debug)]
struct Island {
    end: u64,
    parts: VecDeque<Fragment>,
}

impl Assembler {
    /// An empty assembler; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes received and not taken yet.
    pub const fn buffered(&self) -> u64 {
        self.buffered
    }

    /// Bytes of memory kept alive for them, as far as is known.
    pub const fn pinned(&self) -> u64 {
        self.pinned
    }

    /// Whether bytes can be taken now.
    pub fn is_readable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether every byte below `size` was received.
    pub fn has_all(&self, size: u64) -> bool {
        match &self.received {
            None => self.contiguous == size,
            Some(_) if size == 0 => true,
            Some(received) => received.range_of(0).is_some_and(|range| range.end == size),
        }
    }

    /// Takes in `data` at `offset`, a slice of a buffer of `pinned` bytes; parts known already are
    /// dropped.
    pub fn insert(&mut self, offset: u64, data: Bytes, pinned: usize) -> Result<(), TooFragmented> {
        if data.is_empty() {
            return Ok(());
        }
        let fragment = Fragment::new(offset, data, pinned);
        if self.received.is_some() {
            self.insert_block(fragment)?;
        } else if offset == self.contiguous && self.islands.is_empty() {
            self.contiguous = fragment.end();
            self.push_ready(fragment);
        } else {
            self.insert_island(fragment)?;
        }
        //= spec/05-streams.md#receiving
        //# A receiver SHOULD NOT keep more than twice the memory of the bytes it holds for long: a small
        //# slice must not keep a large buffer.
        // Compacting walks all fragments, so it must also be earned by growth since the last time.
        let wanted = 2 * self.buffered + COMPACT_SLACK_BYTES;
        if self.pinned > wanted.max(self.least_pinned + self.least_pinned / 4) {
            self.compact();
        }
        Ok(())
    }

    fn push_ready(&mut self, fragment: Fragment) {
        self.count(&fragment);
        self.ready.push_back(fragment);
    }

    fn count(&mut self, fragment: &Fragment) {
        self.buffered += fragment.len();
        self.pinned += fragment.pinned();
    }

    fn insert_block(&mut self, fragment: Fragment) -> Result<(), TooFragmented> {
        let Some(received) = &mut self.received else {
            return Ok(());
        };
        let range = fragment.range();
        let fresh: SmallVec<[Range<u64>; 4]> = received.gaps(range.clone()).collect();
        received.insert(range);
        let (holes, span) = match (received.iter().next(), received.max()) {
            (Some(first), Some(max)) => (received.len() as u64, max.saturating_sub(first.end)),
            _ => (0, 0),
        };
        check_holes(holes, span)?;
        for range in fresh {
            self.push_ready(fragment.part(&range));
        }
        Ok(())
    }

    /// Takes in a fragment when there are holes, or when parts of it may be known.
    fn insert_island(&mut self, mut fragment: Fragment) -> Result<(), TooFragmented> {
        if fragment.end() <= self.contiguous {
            return Ok(());
        }
        fragment.skip_to(self.contiguous);
        if let Some(mut last) = self.islands.last_entry()
            && last.get().end == fragment.offset()
        {
            // Behind a hole, too, bytes mostly come in order.
            self.buffered += fragment.len();
            self.pinned += fragment.pinned();
            let island = last.get_mut();
            island.end = fragment.end();
            island.parts.push_back(fragment);
            return Ok(());
        }
        // Cut it at the islands it overlaps: what lies between them is new.
        let mut at = fragment.offset();
        let end = fragment.end();
        while at < end {
            let before = self.islands.range(..=at).next_back();
            if let Some((_, island)) = before
                && island.end > at
            {
                at = island.end;
                continue;
            }
            let next = self
                .islands
                .range(at..)
                .next()
                .map_or(end, |(&start, _)| start.min(end));
            let part = fragment.part(&(at..next));
            at = next;
            self.place(part);
        }
        self.join_ready();
        let span = self
            .islands
            .last_key_value()
            .map_or(0, |(_, island)| island.end - self.contiguous);
        check_holes(self.islands.len() as u64, span)
    }

    /// Puts a fragment that overlaps nothing beside what it touches.
    fn place(&mut self, fragment: Fragment) {
        self.count(&fragment);
        let (start, end) = (fragment.offset(), fragment.end());
        let right = self.islands.remove(&end);
        let left = self
            .islands
            .range_mut(..start)
            .next_back()
            .map(|(_, island)| island)
            .filter(|island| island.end == start);
        match (left, right) {
            (Some(left), right) => {
                left.parts.push_back(fragment);
                left.end = end;
                if let Some(right) = right {
                    left.end = right.end;
                    join(&mut left.parts, right.parts);
                }
            }
            (None, Some(mut right)) => {
                right.parts.push_front(fragment);
                self.islands.insert(start, right);
            }
            (None, None) => {
                let mut parts = VecDeque::with_capacity(1);
                parts.push_back(fragment);
                self.islands.insert(start, Island { end, parts });
            }
        }
    }

    /// Moves the first island to the queue if no hole is before it.
    fn join_ready(&mut self) {
        if let Some(entry) = self.islands.first_entry()
            && *entry.key() == self.contiguous
        {
            let island = entry.remove();
            self.contiguous = island.end;
            self.ready.extend(island.parts);
        }
    }

    /// Takes up to `max` of the next bytes in order; `None` when none are there yet.
    pub fn read(&mut self, max: usize) -> Result<Option<Bytes>, OrderIsGone> {
        if self.received.is_some() {
            return Err(OrderIsGone);
        }
        Ok(self.take(max).map(|(_, data)| data))
    }

    /// Takes bytes with their offset, in any order; `None` when none are there. From the first call
    /// on, order is gone.
    pub fn read_block(&mut self) -> Option<(u64, Bytes)> {
        if self.received.is_none() {
            self.forget_order();
        }
        self.take(usize::MAX)
    }

    fn take(&mut self, max: usize) -> Option<(u64, Bytes)> {
        let taken = pop(&mut self.ready, max)?;
        self.buffered -= taken.data.len() as u64;
        self.pinned -= taken.unpinned;
        self.least_pinned = self.least_pinned.min(self.pinned);
        if self.ready.is_empty() {
            fragment::shrink(&mut self.ready);
        }
        Some((taken.offset, taken.data))
    }

    fn forget_order(&mut self) {
        let mut received = Box::new(RangeSet::new());
        received.insert(0..self.contiguous);
        for (start, island) in std::mem::take(&mut self.islands) {
            received.insert(start..island.end);
            self.ready.extend(island.parts);
        }
        self.received = Some(received);
    }

    /// Drops everything buffered; how many bytes that were.
    pub fn clear(&mut self) -> u64 {
        let dropped = self.buffered;
        *self = Self {
            contiguous: self.contiguous,
            ..Self::default()
        };
        dropped
    }

    /// Copies loose fragments together.
    fn compact(&mut self) {
        compact(&mut self.ready);
        let mut pinned = fragment::pinned(&self.ready);
        for island in self.islands.values_mut() {
            compact(&mut island.parts);
            pinned += fragment::pinned(&island.parts);
        }
        self.pinned = pinned;
        self.least_pinned = pinned;
    }
}

//= spec/05-streams.md#receiving
//# A receiver MUST close the connection with PROTOCOL_VIOLATION when the received ranges of a stream
//# have more than 1024 holes plus one per 512 bytes between the first missing and the last received
//# byte.
const fn check_holes(holes: u64, span: u64) -> Result<(), TooFragmented> {
    if holes > FREE_HOLES + span / BYTES_PER_HOLE {
        Err(TooFragmented)
    } else {
        Ok(())
    }
}

/// Appends `right` to `left` by moving the shorter one.
fn join(left: &mut VecDeque<Fragment>, mut right: VecDeque<Fragment>) {
    if left.len() < right.len() {
        while let Some(fragment) = left.pop_back() {
            right.push_front(fragment);
        }
        std::mem::swap(left, &mut right);
    } else {
        left.append(&mut right);
    }
}
