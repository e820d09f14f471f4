//! What arrived on a path: numbers to acknowledge, gaps to name, ECN counts.
//! Opening packets and reading their frames happens before, in `connection/receive.rs`.

use std::time::{Duration, Instant};

use super::{
    ack::{AckPolicy, AckSchedule},
    nak::NakSchedule,
    train::TrainTimer,
};
use crate::{
    crypto::replay::Replay,
    units::EcnCodepoint,
    wire::{frame::EcnCounts, ranges::RangeSet},
};

/// Ranges remembered for ACKs, 64 KB; beyond it the oldest go, which costs at most a needless repair.
const MAX_RANGES: usize = 4096;

/// The receiving half of a path.
#[derive(Debug)]
pub(crate) struct Receiver {
    epoch: Instant,
    replay: Replay,
    ranges: RangeSet,
    largest: Option<u64>,
    largest_at: Instant,
    ecn: EcnCounts,
    last_prompt: Option<Instant>,
    /// When to acknowledge.
    pub(crate) ack: AckSchedule,
    /// What to name as missing.
    pub(crate) nak: NakSchedule,
    /// Trains of the peer.
    pub(crate) trains: TrainTimer,
}

/// A packet that was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Its number.
    pub(crate) number: u64,
    /// The peer wants it acknowledged.
    pub(crate) ack_eliciting: bool,
    /// The peer wants it acknowledged now.
    pub(crate) at_once: bool,
    /// ECN bits of its datagram.
    pub(crate) ecn: Option<EcnCodepoint>,
    /// When its datagram arrived, as exactly as the system tells.
    pub(crate) at: Instant,
}

impl Receiver {
    /// Nothing received; `now` becomes the zero of the path's arrival clock.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            replay: Replay::default(),
            ranges: RangeSet::default(),
            largest: None,
            largest_at: now,
            ecn: EcnCounts::default(),
            last_prompt: None,
            ack: AckSchedule::new(),
            nak: NakSchedule::default(),
            trains: TrainTimer::default(),
        }
    }

    /// Largest number received.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// Whether a packet with this number may still be believed; checked before the costly opening.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        self.replay.check(number)
    }

    /// Record a packet that was opened.
    pub(crate) fn on_packet(&mut self, now: Instant, arrival: Arrival) {
        let number = arrival.number;
        self.replay.insert(number);
        self.ranges.insert(number..number + 1);
        while self.ranges.len() > MAX_RANGES {
            self.ranges.pop_min();
        }
        match arrival.ecn {
            Some(EcnCodepoint::Ect0) => self.ecn.ect0 += 1,
            Some(EcnCodepoint::Ect1) => self.ecn.ect1 += 1,
            Some(EcnCodepoint::Ce) => self.ecn.ce += 1,
            None => {}
        }
        let expected = self.largest.map_or(0, |largest| largest + 1);
        if number >= expected {
            if number > expected {
                let window = self.ack.policy().reorder_window;
                self.nak.on_gap(now, expected..number, window);
            }
            self.largest = Some(number);
            self.largest_at = arrival.at;
        } else {
            self.nak.on_late_arrival(number);
        }
        if arrival.ack_eliciting {
            //= spec/03-reliability.md#ack-policy
            //# A packet marked CE, and a packet that carries a PING frame, MUST be acknowledged at once.
            let at_once = arrival.at_once || arrival.ecn == Some(EcnCodepoint::Ce);
            self.ack.on_packet(now, at_once);
        }
    }

    /// The peer sets how to acknowledge.
    pub(crate) fn set_policy(&mut self, policy: AckPolicy) {
        self.ack.set_policy(policy);
    }

    /// Numbers to acknowledge.
    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// ECN counts to report, once there are any.
    pub(crate) fn ecn(&self) -> Option<EcnCounts> {
        (self.ecn != EcnCounts::default()).then_some(self.ecn)
    }

    /// How long ago the newest packet arrived.
    pub(crate) fn ack_delay(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.largest_at)
    }

    /// Arrival of the newest packet on the path's arrival clock.
    pub(crate) fn largest_at(&self) -> Duration {
        self.largest_at.saturating_duration_since(self.epoch)
    }

    /// An ACK that named numbers up to `largest` was itself acknowledged: older ranges are known.
    pub(crate) fn on_ack_acked(&mut self, largest: u64) {
        self.ranges.remove_below(largest);
    }

    /// Whether an ACK leaving now should ask to be acknowledged, so that its ranges can be dropped:
    /// once per `interval`, and only while there are gaps to repeat.
    pub(crate) fn wants_prompt(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.ranges.len() > 1 && self.last_prompt.is_none_or(|at| at + interval <= now);
        if due {
            self.last_prompt = Some(now);
        }
        due
    }
}
