//! Estimates from round-trip times: the minimum RTT, the queuing delay, the jitter, the spacing of ACKs.
//! What the path delivers is measured in `delivery`.

use std::collections::VecDeque;

use super::filters::{Ewma, Windowed};

/// Longest time, in seconds, over which a path with jitter takes its minimum.
const LONGEST_WINDOW: f64 = 0.080;
/// Longest memory of the minimum RTT, in seconds: beside cross traffic, where the queue never empties.
const CROSS_TRAFFIC_WINDOW: f64 = 60.0;
/// Range of RTTs, in seconds, that is not jitter: interrupt and timer granularity.
const QUIET_RANGE: f64 = 0.0012;

/// Round-trip times of the current and the last rounds. All times are in seconds.
#[derive(Debug)]
pub(super) struct DelayModel {
    /// Windowed minimum of single packets, and of the values that the queuing delay is taken of.
    packets: Windowed,
    minima: Windowed,
    /// Minimum RTTs of short slots, newest last.
    slots: VecDeque<(f64, f64)>,
    rtt_range: Ewma,
    /// Differences of the largest and the least RTT of the last rounds.
    rtt_ranges: [f64; 4],
    /// Mean RTTs of the last rounds.
    means: [f64; 3],
    /// Highest queuing delays of the last rounds.
    peaks: [f64; 4],
    ack_gap: Ewma,
    acked_at: Option<f64>,
    pub(super) srtt: f64,
    /// Windowed minimum RTT: a round trip with an empty queue.
    pub(super) min_rtt: f64,
    /// Queuing delay at the end of the last round.
    pub(super) queuing_delay: f64,
}

impl DelayModel {
    pub(super) fn new(initial_rtt: f64) -> Self {
        Self {
            packets: Windowed::minimum(CROSS_TRAFFIC_WINDOW),
            minima: Windowed::minimum(CROSS_TRAFFIC_WINDOW),
            slots: VecDeque::new(),
            rtt_range: Ewma::new(0.1),
            rtt_ranges: [0.0; 4],
            means: [0.0; 3],
            peaks: [0.0; 4],
            ack_gap: Ewma::new(0.125),
            acked_at: None,
            srtt: initial_rtt,
            min_rtt: initial_rtt,
            queuing_delay: 0.0,
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

    /// Closes the round that began at `started_at`. `competing` lengthens the memory of the minimum RTT, `steady`
    /// lets the range of this round's RTTs count as jitter.
    pub(super) fn close_round(&mut self, now: f64, started_at: f64, competing: bool, steady: bool) {
        let width = if competing {
            CROSS_TRAFFIC_WINDOW
        } else {
            (75.0 * self.min_rtt).clamp(12.0, CROSS_TRAFFIC_WINDOW)
        };
        let in_round = || self.slots.iter().filter(|&&(at, _)| at >= started_at);
        let low = in_round().fold(f64::INFINITY, |min, &(_, rtt)| min.min(rtt));
        let high = in_round().fold(0.0_f64, |max, &(_, rtt)| max.max(rtt));
        let count = in_round().count();
        if steady && count > 0 {
            let mean = in_round().map(|&(_, rtt)| rtt).sum::<f64>() / count as f64;
            self.means = [self.means[1], self.means[2], mean];
        }
        // A deep queue takes many rounds to run empty, and would look like jitter in each of them.
        let [first, second, third] = self.means;
        let has_trend = (first - second) * (second - third) > 0.0;
        if steady && high > low && !has_trend {
            // Jitter is there in every round; a queue that comes or goes is not.
            self.rtt_ranges = [
                self.rtt_ranges[1],
                self.rtt_ranges[2],
                self.rtt_ranges[3],
                high - low,
            ];
            let mut sorted = self.rtt_ranges;
            sorted.sort_by(f64::total_cmp);
            self.rtt_range.update(sorted[1]);
        }
        let peak = (high - self.min_rtt).max(0.0);
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
            // Without jitter, a single packet may meet an empty queue: every sample counts. With jitter the least
            // sample is an outlier, beside which all others would show a queue for ever: there the minimum RTT is
            // that of the filtered values which the queuing delay is taken of.
            let filter = match self.window() {
                Some(_) => &self.minima,
                None => &self.packets,
            };
            if let Some(min_rtt) = filter.over(now, width) {
                self.min_rtt = min_rtt.max(1e-6);
            }
            self.queuing_delay = (min - self.min_rtt).max(0.0);
        }
        let oldest = now - LONGEST_WINDOW;
        while self.slots.front().is_some_and(|&(at, _)| at < oldest) {
            self.slots.pop_front();
        }
    }

    /// Time that a minimum has to be taken over on a path with jitter; `None` without jitter.
    pub(super) fn window(&self) -> Option<f64> {
        let rtt_range = self.rtt_range.get().unwrap_or(0.0);
        (rtt_range > 0.002).then(|| (10.0 * rtt_range).min(LONGEST_WINDOW))
    }

    /// The least queuing delay since `from`; 0 with fewer than three samples.
    pub(super) fn queue_since(&self, from: f64) -> f64 {
        let recent = || self.slots.iter().rev().take_while(|&&(at, _)| at >= from);
        if recent().count() < 3 {
            return 0.0;
        }
        let min = recent().fold(f64::INFINITY, |min, &(_, rtt)| min.min(rtt));
        (min - self.min_rtt).max(0.0)
    }

    /// Highest queuing delay of the last four rounds.
    pub(super) fn peak(&self) -> f64 {
        self.peaks.iter().copied().fold(0.0, f64::max)
    }

    /// RTT jitter: the smoothed range of a round's RTTs above [`QUIET_RANGE`]. A queue target must be above it.
    pub(super) fn jitter(&self) -> f64 {
        (self.rtt_range.get().unwrap_or(0.0) - QUIET_RANGE).max(0.0)
    }

    /// Time the window must bridge because ACKs are sparse: twice their mean spacing.
    pub(super) fn slack(&self) -> f64 {
        2.0 * self.ack_gap.get().unwrap_or(0.0)
    }

    /// Leaves the idle time before the next ACK out of the spacing of ACKs.
    pub(super) fn forget_ack_gap(&mut self) {
        self.acked_at = None;
    }
}
