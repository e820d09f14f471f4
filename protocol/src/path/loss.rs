//! When a sent packet is declared lost, by time or by the receiver's NAK, and what a spurious loss teaches.
//! The owners of the frames repair what was lost.
//!
//! Only time decides, never a count of later packets: displacement in packets grows with the rate, and a
//! fixed threshold of three turns 5 ms of reordering at 1 Gbit/s into a collapse
//! (spec/03-reliability.md#loss-detection).

use std::time::{Duration, Instant};

use super::sent_packets::SentPackets;
use crate::congestion::Rtt;

/// Least reorder window; also the granularity of the timers that serve it.
const MIN_WINDOW: Duration = Duration::from_millis(1);
/// Longest wait between two probes, unless one probe interval is longer already: after an outage
/// the first probe should not be a minute away.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// RTTs without a spurious loss after which the window is halved.
const CLEAN_RTTS: u32 = 16;

/// How long a packet may be overtaken before it counts as lost.
#[derive(Debug)]
pub(crate) struct ReorderWindow {
    /// Doublings in force.
    widened: u32,
    clean_since: Option<Instant>,
}

impl ReorderWindow {
    fn new() -> Self {
        Self {
            widened: 0,
            clean_since: None,
        }
    }

    /// The window at the present RTT.
    pub(crate) fn get(&self, rtt: &Rtt) -> Duration {
        //= spec/03-reliability.md#loss-detection
        //# The reorder window starts at one eighth of the minimum RTT, but MUST NOT be below 1 ms.
        let start = (rtt.least() / 8).max(MIN_WINDOW);
        start
            .saturating_mul(1 << self.widened)
            .min(rtt.smoothed().max(start))
    }

    /// A packet declared lost arrived after all.
    fn on_spurious(&mut self, now: Instant, rtt: &Rtt) {
        //= spec/03-reliability.md#loss-detection
        //# When a packet declared lost is acknowledged, the sender MUST double the reorder window, up to the
        //# smoothed RTT.
        if self.get(rtt) < rtt.smoothed() {
            self.widened += 1;
        }
        self.clean_since = Some(now);
    }

    /// Time passed without a spurious loss.
    fn decay(&mut self, now: Instant, rtt: &Rtt) {
        let Some(since) = self.clean_since else {
            return;
        };
        if now.saturating_duration_since(since) < rtt.smoothed() * CLEAN_RTTS {
            return;
        }
        self.widened = self.widened.saturating_sub(1);
        self.clean_since = (self.widened > 0).then_some(now);
    }
}

/// Packets after which the older half of what was lost of late is forgotten.
const RECENT_PACKETS: u64 = 1000;

/// How many of the last packets were lost, of five hundred to a thousand.
#[derive(Debug, Default)]
struct Recent {
    sent: u64,
    lost: u64,
}

impl Recent {
    fn on_sent(&mut self) {
        self.sent += 1;
        if self.sent == RECENT_PACKETS {
            self.sent /= 2;
            self.lost /= 2;
        }
    }
}

/// The loss clock of one path.
#[derive(Debug)]
pub(crate) struct LossDetector {
    window: ReorderWindow,
    recent: Recent,
    largest_acked: Option<u64>,
    loss_at: Option<Instant>,
    last_eliciting: Option<Instant>,
    probe_count: u32,
    /// A widening counts once per round: one reordering event declares many packets lost at once.
    widened_at: Option<Instant>,
}

impl LossDetector {
    /// Nothing sent.
    pub(crate) fn new() -> Self {
        Self {
            window: ReorderWindow::new(),
            recent: Recent::default(),
            largest_acked: None,
            loss_at: None,
            last_eliciting: None,
            probe_count: 0,
            widened_at: None,
        }
    }

    /// Largest number acknowledged.
    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// Probe timeouts in a row.
    pub(crate) fn probe_count(&self) -> u32 {
        self.probe_count
    }

    /// The present reorder window.
    pub(crate) fn reorder_window(&self, rtt: &Rtt) -> Duration {
        self.window.get(rtt)
    }

    /// An ack-eliciting packet left.
    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.last_eliciting = Some(now);
        self.recent.on_sent();
    }

    /// So many packets were declared lost.
    pub(crate) fn on_lost(&mut self, packets: u64) {
        self.recent.lost += packets;
    }

    /// Whether at least one packet in two hundred was lost of late.
    pub(crate) fn is_lossy(&self) -> bool {
        self.recent.lost > 0 && self.recent.lost * 200 >= self.recent.sent
    }

    /// Something was acknowledged, `largest` the newest in that ACK.
    pub(crate) fn on_ack(&mut self, now: Instant, largest: u64, rtt: &Rtt) {
        self.largest_acked = Some(
            self.largest_acked
                .map_or(largest, |known| known.max(largest)),
        );
        self.probe_count = 0;
        self.window.decay(now, rtt);
    }

    /// `packets` that were declared lost arrived after all.
    pub(crate) fn on_spurious(&mut self, now: Instant, packets: u64, rtt: &Rtt) {
        self.recent.lost = self.recent.lost.saturating_sub(packets);
        let recent = |at: Instant| now.saturating_duration_since(at) < rtt.smoothed();
        if !self.widened_at.is_some_and(recent) {
            self.window.on_spurious(now, rtt);
            self.widened_at = Some(now);
        }
    }

    /// The peer moved: what was sent before is settled, and the new address has not been silent yet.
    pub(crate) fn on_moved(&mut self) {
        self.loss_at = None;
        self.probe_count = 0;
    }

    /// Numbers that count as lost by `now`, oldest first; arms the timer for the next.
    pub(crate) fn detect(&mut self, now: Instant, sent: &SentPackets, rtt: &Rtt) -> Vec<u64> {
        self.loss_at = None;
        let Some(largest) = self.largest_acked else {
            return Vec::new();
        };
        //= spec/03-reliability.md#loss-detection
        //# A sender MUST declare a packet lost when a later packet was acknowledged and the packet was sent
        //# longer ago than the larger of the latest and the smoothed RTT plus the reorder window.
        let max_age = rtt.latest().max(rtt.smoothed()) + self.window.get(rtt);
        let mut lost = Vec::new();
        for number in sent.open_in(0..largest).into_iter().flatten() {
            let Some(packet) = sent.get(number) else {
                continue;
            };
            let at = packet.sample.sent_at + max_age;
            if at > now {
                self.loss_at = Some(at);
                break;
            }
            lost.push(number);
        }
        lost
    }

    /// The probe interval in force.
    fn probe_interval(&self, rtt: &Rtt, max_ack_delay: Duration) -> Duration {
        let base = rtt.pto(max_ack_delay);
        base.saturating_mul(1 << self.probe_count.min(16))
            .min(MAX_PROBE_INTERVAL.max(base))
    }

    /// When the loss clock wants attention next.
    pub(crate) fn due_at(
        &self,
        sent: &SentPackets,
        rtt: &Rtt,
        ack_delay: Duration,
    ) -> Option<Instant> {
        if self.loss_at.is_some() {
            return self.loss_at;
        }
        if sent.in_flight_packets() == 0 {
            return None;
        }
        Some(self.last_eliciting? + self.probe_interval(rtt, ack_delay))
    }

    /// On timeout at `now`. Returns whether a probe is wanted, as opposed to `detect`.
    pub(crate) fn on_timeout(
        &mut self,
        now: Instant,
        sent: &SentPackets,
        rtt: &Rtt,
        ack_delay: Duration,
    ) -> bool {
        if self.loss_at.is_some() || sent.in_flight_packets() == 0 {
            return false;
        }
        let due = self
            .last_eliciting
            .map(|at| at + self.probe_interval(rtt, ack_delay));
        if due.is_some_and(|due| due <= now) {
            self.probe_count += 1;
            // The next interval counts from here, whether or not a probe can leave at once.
            self.last_eliciting = Some(now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
