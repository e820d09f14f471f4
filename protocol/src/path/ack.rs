//! When to acknowledge: the receiver's schedule, and the policy the sender sets for it.
//! Which ranges an ACK lists is decided in `recv.rs`.

use std::time::{Duration, Instant};

use crate::units::Bandwidth;

/// How a receiver is to acknowledge (spec/03-reliability.md#ack-policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckPolicy {
    /// Grows with every change; an older policy never replaces a newer one.
    pub(crate) sequence: u64,
    /// Acknowledge at the latest after so many ack-eliciting packets.
    pub(crate) packets: u64,
    /// Acknowledge at the latest after this long.
    pub(crate) delay: Duration,
    /// A gap in the numbers is not reported before this.
    pub(crate) reorder_window: Duration,
}

/// The policy before the sender has set one: every other packet, as in RFC 9000 section 13.2.2.
pub(crate) const INITIAL_POLICY: AckPolicy = AckPolicy {
    sequence: 0,
    packets: 2,
    delay: Duration::from_millis(10),
    reorder_window: Duration::from_millis(5),
};

/// Longest delay a policy may ask for; a larger one is taken for this.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(25);
/// Longest reorder window a policy may ask for.
const MAX_REORDER: Duration = Duration::from_secs(2);
/// Packets per ACK below which fewer ACKs save nothing worth having (R3: bulk default).
const BULK_PACKETS: u64 = 8;
/// Rate from which system calls, not bytes, are what ACKs cost.
const FAST: Bandwidth = Bandwidth::from_bits_per_second(1_000_000_000);

impl AckPolicy {
    /// What a receiver makes of numbers from the wire.
    pub(crate) fn from_wire(sequence: u64, packets: u64, delay_us: u64, reorder_us: u64) -> Self {
        Self {
            sequence,
            packets: packets.max(1),
            delay: Duration::from_micros(delay_us).min(MAX_DELAY),
            reorder_window: Duration::from_micros(reorder_us).min(MAX_REORDER),
        }
    }

    /// The policy for a path at `rate` with `smoothed_rtt` and a window of `window_packets`.
    ///
    /// One ACK per interval of RTT/8, at most 10 ms (2 ms from 1 Gbit/s on), but not more often than every
    /// eight packets, unless the window is so small that eight are a large part of it.
    pub(crate) fn for_path(
        rate: Bandwidth,
        smoothed_rtt: Duration,
        window_packets: u64,
        packet_bytes: u16,
        reorder_window: Duration,
    ) -> Self {
        //= spec/03-reliability.md#ack-policy
        //# A sender SHOULD ask for one ACK per RTT/8, at most 10 ms (2 ms from 1 Gbit/s on), but
        //# not for more than one per eight packets unless eight packets are more than an eighth of
        //# its window.
        let longest = if rate >= FAST { 2 } else { 10 };
        let interval = (smoothed_rtt / 8).min(Duration::from_millis(longest));
        let few = (window_packets / 8).clamp(2, BULK_PACKETS);
        let packets = (rate.bytes_in(interval) / u64::from(packet_bytes)).max(few);
        let spread = rate.time_for(few * u64::from(packet_bytes));
        let delay = interval
            .max(spread)
            .clamp(Duration::from_millis(1), MAX_DELAY);
        Self {
            sequence: 0,
            packets,
            delay,
            reorder_window,
        }
    }

    /// Whether `other` is different enough to be worth telling the peer.
    pub(crate) fn differs_from(&self, other: &Self) -> bool {
        let apart = |a: u128, b: u128| a * 4 > b * 5 || b * 4 > a * 5;
        apart(u128::from(self.packets), u128::from(other.packets))
            || apart(self.delay.as_micros(), other.delay.as_micros())
            || apart(
                self.reorder_window.as_micros(),
                other.reorder_window.as_micros(),
            )
    }
}

/// The receiver's side: whether an ACK is owed, and when.
#[derive(Debug)]
pub(crate) struct AckSchedule {
    policy: AckPolicy,
    owed_packets: u64,
    due: Option<Instant>,
}

impl AckSchedule {
    /// Nothing owed, [`INITIAL_POLICY`].
    pub(crate) fn new() -> Self {
        Self {
            policy: INITIAL_POLICY,
            owed_packets: 0,
            due: None,
        }
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> &AckPolicy {
        &self.policy
    }

    /// The peer asks for `policy`.
    pub(crate) fn set_policy(&mut self, policy: AckPolicy) {
        //= spec/03-reliability.md#ack-policy
        //# A receiver MUST ignore an ACK_POLICY whose sequence number is not above that of the
        //# policy in force.
        if policy.sequence > self.policy.sequence {
            self.policy = policy;
        }
    }

    /// An ack-eliciting packet arrived; `at_once` if it wants its ACK now.
    pub(crate) fn on_packet(&mut self, now: Instant, at_once: bool) {
        self.owed_packets += 1;
        //= spec/03-reliability.md#ack-policy
        //# A receiver MUST send an ACK at the latest when the number of unacknowledged ack-eliciting packets
        //# reaches the policy's packet count, or when the policy's delay has passed since the first of
        //# them.
        let due = if at_once || self.owed_packets >= self.policy.packets {
            now
        } else {
            now + self.policy.delay
        };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// There is news that should not wait: what is owed is due now.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// When an ACK is owed.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due
    }

    /// Whether an ACK is owed now.
    pub(crate) fn interest(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether an ACK should ride along in a packet that leaves anyway: half of its delay is over.
    pub(crate) fn is_ripe(&self, now: Instant) -> bool {
        self.due
            .is_some_and(|due| due <= now + self.policy.delay / 2)
    }

    /// An ACK left.
    pub(crate) fn on_sent(&mut self) {
        self.owed_packets = 0;
        self.due = None;
    }
}

#[cfg(test)]
mod tests;
