//! What round-trip times tell: the base, the standing queue, the jitter, the spacing of ACKs.
//! What the path delivers is `delivery`'s.

use std::collections::VecDeque;

use super::filters::{Ewma, Windowed};

/// Longest time over which a jittery round takes its minimum.
const LONGEST_WINDOW: f64 = 0.080;
/// Longest memory of the base RTT: in company, where the queue never empties.
const COMPANY_WINDOW: f64 = 60.0;
/// Jitter below this does not count: interrupt and timer granularity.
const QUIET_SPREAD: f64 = 0.0012;

/// Round-trip times of the present and the last rounds.
#[derive(Debug)]
pub(super) struct DelayModel {
    /// Least RTT of single packets, and of what rounds are judged by.
    packets: Windowed,
    minima: Windowed,
    /// Minima of short slots, newest last.
    slots: VecDeque<(f64, f64)>,
    spread: Ewma,
    /// Spreads of the last rounds.
    spreads: [f64; 4],
    /// Mean RTTs of the last rounds.
    means: [f64; 3],
    /// Highest queue of the last rounds.
    peaks: [f64; 4],
    ack_gap: Ewma,
    acked_at: Option<f64>,
    pub(super) srtt: f64,
    /// Peer to us and back with an empty queue.
    pub(super) base_rtt: f64,
    /// Standing queue at the end of the last round.
    pub(super) dq: f64,
}

impl DelayModel {
    pub(super) fn new(initial_rtt: f64) -> Self {
        Self {
            packets: Windowed::minimum(COMPANY_WINDOW),
            minima: Windowed::minimum(COMPANY_WINDOW),
            slots: VecDeque::new(),
            spread: Ewma::new(0.1),
            spreads: [0.0; 4],
            means: [0.0; 3],
            peaks: [0.0; 4],
            ack_gap: Ewma::new(0.125),
            acked_at: None,
            srtt: initial_rtt,
            base_rtt: initial_rtt,
            dq: 0.0,
        }
    }

    /// An ACK arrived with data in flight.
    pub(super) fn on_ack(&mut self, now: f64, rtt: Option<f64>, srtt: f64) {
        self.srtt = srtt.max(1e-6);
        if let Some(before) = self.acked_at {
            self.ack_gap.update((now - before).min(self.srtt));
        }
        self.acked_at = Some(now);
        let Some(rtt) = rtt else { return };
        self.packets.insert(now, rtt);
        let width = self.srtt / 64.0;
        match self.slots.back_mut() {
            Some((at, min)) if now - *at < width => *min = min.min(rtt),
            _ => self.slots.push_back((now, rtt)),
        }
    }

    /// Close the round that began at `started_at`. `company` lengthens the memory of the base,
    /// `steady` lets the spread of this round count as jitter.
    pub(super) fn close_round(&mut self, now: f64, started_at: f64, company: bool, steady: bool) {
        let width = if company {
            COMPANY_WINDOW
        } else {
            (75.0 * self.base_rtt).clamp(12.0, COMPANY_WINDOW)
        };
        let in_round = || self.slots.iter().filter(|&&(at, _)| at >= started_at);
        let low = in_round().fold(f64::INFINITY, |min, &(_, rtt)| min.min(rtt));
        let high = in_round().fold(0.0_f64, |max, &(_, rtt)| max.max(rtt));
        let count = in_round().count();
        if steady && count > 0 {
            let mean = in_round().map(|&(_, rtt)| rtt).sum::<f64>() / count as f64;
            self.means = [self.means[1], self.means[2], mean];
        }
        // A deep queue that runs empty takes many rounds, and would pass for jitter in each of them.
        let [first, second, third] = self.means;
        let has_trend = (first - second) * (second - third) > 0.0;
        if steady && high > low && !has_trend {
            // Jitter is there in every round; a queue that comes or goes is not.
            self.spreads = [
                self.spreads[1],
                self.spreads[2],
                self.spreads[3],
                high - low,
            ];
            let mut sorted = self.spreads;
            sorted.sort_by(f64::total_cmp);
            self.spread.update(sorted[1]);
        }
        let peak = (high - self.base_rtt).max(0.0);
        self.peaks = [self.peaks[1], self.peaks[2], self.peaks[3], peak];
        let half = if in_round().count() < 3 {
            started_at
        } else {
            (started_at + now) / 2.0
        };
        let from = self.window().map_or(half, |window| half.min(now - window));
        let newest = self.slots.iter().filter(|&&(at, _)| at >= from);
        let min = newest.fold(f64::INFINITY, |min, &(_, rtt)| min.min(rtt));
        if min.is_finite() {
            self.minima.insert(now, min);
            // A single packet sees the moment in which somebody's queue is empty. Where there is jitter it
            // sees the luckiest packet, and all others a queue that never goes away: there, the base is
            // taken of what the queue is taken of.
            let filter = match self.window() {
                Some(_) => &self.minima,
                None => &self.packets,
            };
            if let Some(base) = filter.over(now, width) {
                self.base_rtt = base.max(1e-6);
            }
            self.dq = (min - self.base_rtt).max(0.0);
        }
        let oldest = now - LONGEST_WINDOW;
        while self.slots.front().is_some_and(|&(at, _)| at < oldest) {
            self.slots.pop_front();
        }
    }

    /// Over how long a jittery path must be looked at; none if the path is quiet.
    pub(super) fn window(&self) -> Option<f64> {
        let spread = self.spread.get().unwrap_or(0.0);
        (spread > 0.002).then(|| (10.0 * spread).min(LONGEST_WINDOW))
    }

    /// The queue that all of at least three samples since `from` stood above.
    pub(super) fn queue_since(&self, from: f64) -> f64 {
        let recent = || self.slots.iter().rev().take_while(|&&(at, _)| at >= from);
        if recent().count() < 3 {
            return 0.0;
        }
        let min = recent().fold(f64::INFINITY, |min, &(_, rtt)| min.min(rtt));
        (min - self.base_rtt).max(0.0)
    }

    /// Highest queue of the last four rounds.
    pub(super) fn peak(&self) -> f64 {
        self.peaks.iter().copied().fold(0.0, f64::max)
    }

    /// Jitter that a queue target must stand above.
    pub(super) fn noise(&self) -> f64 {
        (self.spread.get().unwrap_or(0.0) - QUIET_SPREAD).max(0.0)
    }

    /// Time the window must bridge because ACKs come in bunches.
    pub(super) fn slack(&self) -> f64 {
        2.0 * self.ack_gap.get().unwrap_or(0.0)
    }

    /// Time since the last ACK, for idle tests.
    pub(super) fn forget_ack_gap(&mut self) {
        self.acked_at = None;
    }
}
