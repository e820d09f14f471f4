//! ACK and NAK: sets of packet numbers, newest first.
//! When they are sent and what they prove lives in `path`.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
};

use bytes::Bytes;

use super::{FrameWriter, field::Field, kind, shared};
use crate::wire::{
    id::PathId,
    reader::{DecodeError, Reader},
    varint,
};

/// Packets received on one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Everything but the numbers.
    pub head: AckHead,
    /// The numbers received.
    pub ranges: AckRanges,
}

/// What an ACK says beside the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckHead {
    /// The path whose packets are meant.
    pub path: PathId,
    /// Microseconds between the arrival of the largest number and the sending of this frame.
    pub delay_us: u64,
    /// When the largest number arrived, in microseconds of the receiver's own clock.
    pub received_at_us: u64,
    /// Packets received with each ECN mark so far, if the receiver sees marks.
    pub ecn: Option<EcnCounts>,
}

/// Packets of one path received with each ECN codepoint, since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounts {
    /// With ECT(0).
    pub ect0: u64,
    /// With ECT(1).
    pub ect1: u64,
    /// With CE: congestion was experienced.
    pub ce: u64,
}

impl AckHead {
    const fn kind(&self) -> u8 {
        match self.ecn {
            None => kind::ACK,
            Some(_) => kind::ACK_ECN,
        }
    }

    /// Appends type and fields around `largest`, up to the count of ranges.
    fn encode(&self, largest: u64, out: &mut Vec<u8>) {
        out.push(self.kind());
        self.path.encode(out);
        varint::put(out, largest);
        varint::put(out, self.delay_us);
        varint::put(out, self.received_at_us);
        if let Some(EcnCounts { ect0, ect1, ce }) = self.ecn {
            varint::put(out, ect0);
            varint::put(out, ect1);
            varint::put(out, ce);
        }
    }

    fn encoded_len(&self, largest: u64) -> usize {
        let ecn = self.ecn.map_or(0, |EcnCounts { ect0, ect1, ce }| {
            varint::len(ect0) + varint::len(ect1) + varint::len(ce)
        });
        1 + self.path.encoded_len()
            + varint::len(largest)
            + varint::len(self.delay_us)
            + varint::len(self.received_at_us)
            + ecn
    }
}

impl Ack {
    pub(super) fn decode(
        kind: u8,
        payload: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let path = PathId::decode(reader)?;
        let largest = reader.varint()?;
        let delay_us = reader.varint()?;
        let received_at_us = reader.varint()?;
        let ecn = match kind {
            kind::ACK => None,
            _ => Some(EcnCounts {
                ect0: reader.varint()?,
                ect1: reader.varint()?,
                ce: reader.varint()?,
            }),
        };
        Ok(Self {
            head: AckHead {
                path,
                delay_us,
                received_at_us,
                ecn,
            },
            ranges: AckRanges::decode(largest, payload, reader)?,
        })
    }

    /// Writes an ACK of as many of `ranges` as fit, and says how many; 0 if nothing was written.
    ///
    /// `ranges` are half-open, disjoint, not adjacent, highest first: `set.iter().rev()`. A range
    /// that breaks this order ends the list.
    pub fn encode_from<I>(head: &AckHead, ranges: I, out: &mut FrameWriter<'_>) -> usize
    where
        I: Iterator<Item = Range<u64>> + Clone,
    {
        let Some(largest) = first_largest(&ranges) else {
            return 0;
        };
        let room = out.remaining().checked_sub(head.encoded_len(largest));
        let Some(fit) = room.and_then(|room| fitting(ranges.clone(), room)) else {
            return 0;
        };
        head.encode(largest, out.out);
        put_ranges(ranges, fit, out.out);
        fit
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.head.encode(self.ranges.largest, out);
        self.ranges.encode(out);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        self.head.encoded_len(self.ranges.largest) + self.ranges.encoded_len()
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        self.head.kind()
    }
}

/// Packets missing on one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nak {
    /// The path whose packets are meant.
    pub path: PathId,
    /// The numbers missing.
    pub ranges: AckRanges,
}

impl Nak {
    pub(super) fn decode(payload: &Bytes, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = PathId::decode(reader)?;
        let largest = reader.varint()?;
        let ranges = AckRanges::decode(largest, payload, reader)?;
        Ok(Self { path, ranges })
    }

    /// Writes a NAK of as many of `ranges` as fit, and says how many; 0 if nothing was written.
    /// `ranges` as in [`Ack::encode_from`].
    pub fn encode_from<I>(path: PathId, ranges: I, out: &mut FrameWriter<'_>) -> usize
    where
        I: Iterator<Item = Range<u64>> + Clone,
    {
        let Some(largest) = first_largest(&ranges) else {
            return 0;
        };
        let head_len = 1 + path.encoded_len() + varint::len(largest);
        let room = out.remaining().checked_sub(head_len);
        let Some(fit) = room.and_then(|room| fitting(ranges.clone(), room)) else {
            return 0;
        };
        Self::encode_head(path, largest, out.out);
        put_ranges(ranges, fit, out.out);
        fit
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Self::encode_head(self.path, self.ranges.largest, out);
        self.ranges.encode(out);
    }

    fn encode_head(path: PathId, largest: u64, out: &mut Vec<u8>) {
        out.push(kind::NAK);
        path.encode(out);
        varint::put(out, largest);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        1 + self.path.encoded_len() + varint::len(self.ranges.largest) + self.ranges.encoded_len()
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        kind::NAK
    }
}

/// A set of packet numbers as it stands in a packet: checked when decoded, read out of the
/// packet when iterated, so that it costs no memory of its own. Never empty.
#[derive(Clone)]
pub struct AckRanges {
    largest: u64,
    /// Length of the first range, less one.
    first: u64,
    /// Ranges after the first.
    extra: u64,
    /// Their (gap, length) pairs.
    pairs: Bytes,
}

impl AckRanges {
    /// The set of `ranges`: half-open, disjoint, not adjacent, highest first. `None` if there are
    /// none; a range that breaks the order ends the list.
    pub fn new<I>(ranges: I) -> Option<Self>
    where
        I: Iterator<Item = Range<u64>> + Clone,
    {
        let mut walk = Walk::new(ranges);
        let (largest, first) = walk.first()?;
        let (mut extra, mut pairs) = (0, Vec::new());
        while let Some((gap, len)) = walk.next_pair() {
            varint::put(&mut pairs, gap);
            varint::put(&mut pairs, len);
            extra += 1;
        }
        Some(Self {
            largest,
            first,
            extra,
            pairs: pairs.into(),
        })
    }

    fn decode(largest: u64, payload: &Bytes, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const BELOW_ZERO: DecodeError = DecodeError::new("ranges: below packet number 0");
        let extra = reader.varint()?;
        let first = reader.varint()?;
        let mut smallest = largest.checked_sub(first).ok_or(BELOW_ZERO)?;
        //= spec/01-packet.md#ranges
        //# A receiver MUST refuse a Range Count for which the rest of the packet is too short
        //# before it reserves memory for the ranges.
        if extra > (reader.remaining() / 2) as u64 {
            return Err(DecodeError::new("ranges: more than the packet holds"));
        }
        let before = reader.clone().rest();
        for _ in 0..extra {
            let gap = reader.varint()?;
            let len = reader.varint()?;
            //= spec/01-packet.md#ranges
            //# A receiver MUST refuse ranges that reach below packet number 0.
            smallest = smallest
                .checked_sub(gap)
                .and_then(|s| s.checked_sub(2))
                .and_then(|s| s.checked_sub(len))
                .ok_or(BELOW_ZERO)?;
        }
        let pairs = &before[..before.len() - reader.remaining()];
        Ok(Self {
            largest,
            first,
            extra,
            pairs: shared(payload, pairs),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.extra);
        varint::put(out, self.first);
        out.extend_from_slice(&self.pairs);
    }

    fn encoded_len(&self) -> usize {
        varint::len(self.extra) + varint::len(self.first) + self.pairs.len()
    }

    /// The largest number in the set.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// How many ranges there are; at least one.
    pub const fn count(&self) -> u64 {
        self.extra + 1
    }

    /// The ranges, highest first.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + Clone + '_ {
        let mut reader = Reader::new(&self.pairs);
        let mut smallest = self.largest - self.first;
        std::iter::once(smallest..=self.largest).chain(std::iter::from_fn(move || {
            // The arithmetic was checked when the set was made.
            let gap = reader.varint().ok()?;
            let len = reader.varint().ok()?;
            let largest = smallest - gap - 2;
            smallest = largest - len;
            Some(smallest..=largest)
        }))
    }
}

impl PartialEq for AckRanges {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AckRanges {}

impl fmt::Debug for AckRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Turns half-open ranges, highest first, into what stands on the wire.
#[derive(Clone)]
struct Walk<I> {
    ranges: I,
    smallest: u64,
}

impl<I: Iterator<Item = Range<u64>>> Walk<I> {
    const fn new(ranges: I) -> Self {
        Self {
            ranges,
            smallest: 0,
        }
    }

    /// Largest number and length less one of the first range.
    fn first(&mut self) -> Option<(u64, u64)> {
        let range = self.ranges.next()?;
        let largest = range.end.checked_sub(1)?;
        let len = largest.checked_sub(range.start)?;
        self.smallest = range.start;
        Some((largest, len))
    }

    /// Gap less one before the next range, and its length less one.
    fn next_pair(&mut self) -> Option<(u64, u64)> {
        let range = self.ranges.next()?;
        let gap = self.smallest.checked_sub(range.end)?.checked_sub(1)?;
        let len = range.end.checked_sub(range.start)?.checked_sub(1)?;
        self.smallest = range.start;
        Some((gap, len))
    }
}

fn first_largest<I: Iterator<Item = Range<u64>> + Clone>(ranges: &I) -> Option<u64> {
    Walk::new(ranges.clone())
        .first()
        .map(|(largest, _)| largest)
}

/// How many of `ranges` fit into `room` bytes with their count; `None` if not even the first.
fn fitting<I: Iterator<Item = Range<u64>>>(ranges: I, room: usize) -> Option<usize> {
    let mut walk = Walk::new(ranges);
    let (_, first) = walk.first()?;
    let mut used = varint::len(first);
    let mut fit = 0;
    if used + varint::len(0) > room {
        return None;
    }
    while let Some((gap, len)) = walk.next_pair() {
        used += varint::len(gap) + varint::len(len);
        if used + varint::len(fit + 1) > room {
            break;
        }
        fit += 1;
    }
    usize::try_from(fit + 1).ok()
}

/// Appends the first `fit` ranges from their count on.
fn put_ranges<I: Iterator<Item = Range<u64>>>(ranges: I, fit: usize, out: &mut Vec<u8>) {
    let mut walk = Walk::new(ranges);
    let Some((_, first)) = walk.first() else {
        return;
    };
    varint::put(out, fit as u64 - 1);
    varint::put(out, first);
    for _ in 1..fit {
        let Some((gap, len)) = walk.next_pair() else {
            return;
        };
        varint::put(out, gap);
        varint::put(out, len);
    }
}
