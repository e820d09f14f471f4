//! What every numbered packet of a path carried, until its fate is known and forgotten.
//! Deciding that a packet is lost lives in `loss.rs`; what a lost frame means lives with its owner.

use std::{collections::VecDeque, ops::Range, time::Instant};

use smallvec::SmallVec;

use crate::{
    congestion::PacketSample,
    stream::StreamSent,
    wire::{id::PathId, ranges::RangeSet},
};

/// A frame whose delivery matters to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentFrame {
    /// Stream data or a stream's control frame.
    Stream(StreamSent),
    /// An ACK of a path's packets up to `largest`.
    Ack { path: PathId, largest: u64 },
    /// A NAK naming gaps of a path up to `largest`.
    Nak { path: PathId, largest: u64 },
    /// The ACK policy with this sequence number.
    AckPolicy { path: PathId, sequence: u64 },
    /// HANDSHAKE_DONE.
    HandshakeDone,
    /// Our connection id with this sequence number.
    NewConnectionId { sequence: u64 },
    /// The peer's connection id with this sequence number.
    RetireConnectionId { sequence: u64 },
    /// The packet searches for a larger size.
    MtuProbe { bytes: u16 },
}

/// The frames of one packet; most carry one or two.
pub(crate) type SentFrames = SmallVec<[SentFrame; 2]>;

/// One packet that left.
#[derive(Debug)]
pub(crate) struct SentPacket {
    /// What the controller is told of it.
    pub(crate) sample: PacketSample,
    /// Counts against the window (carries more than ACK, NAK, CLOSE).
    pub(crate) in_flight: bool,
    /// The peer is to acknowledge it.
    pub(crate) ack_eliciting: bool,
    /// Declared lost at this time, kept so that a late ACK can show the loss to be spurious.
    pub(crate) lost_at: Option<Instant>,
    /// Marked ECT(0).
    pub(crate) ecn: bool,
    /// What it carried.
    pub(crate) frames: SentFrames,
}

impl SentPacket {
    /// Whether it searches for a larger packet size.
    pub(crate) fn is_mtu_probe(&self) -> bool {
        is_mtu_probe(&self.frames)
    }

    /// Whether it counts as lost, though news of its arrival came.
    pub(crate) fn is_spurious(&self) -> bool {
        self.in_flight && self.lost_at.is_some() && !self.is_mtu_probe()
    }
}

/// What was under way to an address that the peer has left.
#[derive(Debug)]
pub(crate) struct Abandoned {
    /// What the controller was told of it.
    pub(crate) sample: PacketSample,
    /// Whether it counted against the window.
    pub(crate) was_in_flight: bool,
    /// What it carried.
    pub(crate) frames: SentFrames,
}

/// Whether a packet of these frames searches for a larger packet size.
pub(crate) fn is_mtu_probe(frames: &[SentFrame]) -> bool {
    frames
        .iter()
        .any(|frame| matches!(frame, SentFrame::MtuProbe { .. }))
}

/// The path's memory of what it sent, by packet number.
///
/// A ring from `base` to the newest number: numbers are nearly dense, so a lookup is an index.
/// Two range sets answer "which of these are news?" without walking numbers already settled,
/// however long the ranges of an ACK are.
#[derive(Debug, Default)]
pub(crate) struct SentPackets {
    base: u64,
    ring: VecDeque<Option<SentPacket>>,
    /// Acknowledged, or never to be: skipped numbers. Numbers at or above `base` only.
    acked: RangeSet,
    /// `acked`, and those declared lost.
    settled: RangeSet,
    in_flight_bytes: u64,
    in_flight_packets: u64,
}

impl SentPackets {
    /// Remember `packet` as number `number`, which must be above all earlier ones.
    pub(crate) fn insert(&mut self, number: u64, packet: SentPacket) {
        let next = self.next_number();
        debug_assert!(number >= next, "packet numbers only grow");
        if number > next {
            // Skipped on purpose: an ACK naming one was made up (spec/03-reliability.md#skipped-numbers).
            self.ring.extend((next..number).map(|_| None));
            self.settled.insert(next..number);
        }
        if packet.in_flight {
            self.in_flight_bytes += u64::from(packet.sample.bytes);
            self.in_flight_packets += 1;
        }
        self.ring.push_back(Some(packet));
    }

    /// One above the newest number remembered.
    pub(crate) fn next_number(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    /// Bytes that count against the window.
    pub(crate) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Packets that count against the window.
    pub(crate) fn in_flight_packets(&self) -> u64 {
        self.in_flight_packets
    }

    /// The packet `number`, if it is still remembered.
    pub(crate) fn get(&self, number: u64) -> Option<&SentPacket> {
        let slot = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.ring.get(slot)?.as_ref()
    }

    /// Parts of `range` that were not acknowledged before; what is below memory is dropped.
    pub(crate) fn unacked_in(&self, range: Range<u64>) -> SmallVec<[Range<u64>; 4]> {
        let start = range.start.max(self.base);
        if start >= range.end {
            return SmallVec::new();
        }
        self.acked.gaps(start..range.end).collect()
    }

    /// Parts of `range` whose fate is open.
    pub(crate) fn open_in(&self, range: Range<u64>) -> SmallVec<[Range<u64>; 4]> {
        let start = range.start.max(self.base);
        if start >= range.end {
            return SmallVec::new();
        }
        self.settled.gaps(start..range.end).collect()
    }

    /// The newest `most` numbers whose fate is open, newest first.
    pub(crate) fn newest_open(&self, most: usize) -> impl Iterator<Item = u64> + '_ {
        let next = self.next_number();
        (self.base..next)
            .rev()
            .filter(|&number| !self.settled.contains(number))
            .take(most)
    }

    /// Take `number` out as acknowledged. A packet declared lost before comes back with its
    /// `lost_at`.
    pub(crate) fn acknowledge(&mut self, number: u64) -> Option<SentPacket> {
        let slot = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let packet = self.ring.get_mut(slot)?.take()?;
        if packet.lost_at.is_none() {
            self.release(&packet);
        }
        self.acked.insert(number..number + 1);
        self.settled.insert(number..number + 1);
        Some(packet)
    }

    /// Declare `number` lost at `now`; its record stays for a late ACK.
    pub(crate) fn declare_lost(&mut self, number: u64, now: Instant) -> Option<&mut SentPacket> {
        let slot = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let packet = self
            .ring
            .get_mut(slot)?
            .as_mut()
            .filter(|packet| packet.lost_at.is_none())?;
        packet.lost_at = Some(now);
        if packet.in_flight {
            self.in_flight_bytes -= u64::from(packet.sample.bytes);
            self.in_flight_packets -= 1;
        }
        self.settled.insert(number..number + 1);
        Some(packet)
    }

    /// Take everything whose fate is open for lost at `now`, oldest first: the peer has moved. The records stay, so
    /// that a late ACK settles their frames, but no longer count for anything else.
    pub(crate) fn abandon(&mut self, now: Instant) -> Vec<Abandoned> {
        let open = self.open_in(self.base..self.next_number());
        let mut abandoned = Vec::new();
        for number in open.into_iter().flatten() {
            let Some(packet) = self.declare_lost(number, now) else {
                continue;
            };
            abandoned.push(Abandoned {
                sample: packet.sample,
                was_in_flight: packet.in_flight,
                frames: packet.frames.clone(),
            });
            packet.in_flight = false;
            packet.ack_eliciting = false;
        }
        abandoned
    }

    /// Forget settled packets from the old end: acknowledged ones, and those lost before `horizon`.
    pub(crate) fn forget(&mut self, horizon: Instant) {
        while let Some(front) = self.ring.front() {
            match front {
                None => {}
                Some(packet) if packet.lost_at.is_some_and(|at| at < horizon) => {}
                // A packet of reports only: nothing depends on its fate.
                Some(packet) if !packet.in_flight && packet.sample.sent_at < horizon => {}
                Some(_) => break,
            }
            self.ring.pop_front();
            self.base += 1;
        }
        self.acked.remove_below(self.base);
        self.settled.remove_below(self.base);
    }

    fn release(&mut self, packet: &SentPacket) {
        if packet.in_flight {
            self.in_flight_bytes -= u64::from(packet.sample.bytes);
            self.in_flight_packets -= 1;
        }
    }
}
