//! The random-loss estimate: how much the path loses by itself, and which loss exceeds that.
//! How the rate answers excess loss stands in `loss_response`.

use std::collections::VecDeque;

use super::{filters::Ewma, rounds::SentRound};

/// Buckets that the estimate is taken from (spec/04-congestion.md#random-loss-estimate).
const BUCKETS: usize = 12;
/// How many of ten buckets count: those with the least loss.
const LOWER_PER_TEN: usize = 7;
const BUCKET_PACKETS: u64 = 200;
const BUCKET_ERROR: f64 = 0.01;
const BUCKET_SECONDS: f64 = 0.5;
const BUCKET_RTTS: f64 = 4.0;
/// Largest estimate.
pub(super) const WORST: f64 = 0.45;
/// Packets after which the sum since the last backoff starts anew.
const SUM_PACKETS: u64 = 2000;
/// Relative error of START's estimate, which is a little low.
const START_ERROR: f64 = 0.25;
/// Most that START's small sample adds to the variance, as a factor.
const MOST_DOUBT: f64 = 3.0;
/// Bounds of the dispersion.
const LEAST_DISPERSION: f64 = 1.3;
const MOST_DISPERSION: f64 = 40.0;
/// Seconds for which a low-rate probe bounds the estimate.
const PROBE_VALID: f64 = 12.0;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    resolved: u64,
    lost: u64,
}

impl Counts {
    fn add(&mut self, resolved: u64, lost: u64) {
        self.resolved += resolved;
        self.lost += lost;
    }

    fn loss(self) -> f64 {
        self.lost as f64 / (self.resolved as f64).max(1.0)
    }
}

/// Whether a round's loss exceeds the random-loss estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// More was lost than the estimate explains.
    pub(super) is_excess: bool,
    /// More was lost since the last backoff than the estimate explains.
    pub(super) by_sum: bool,
}

/// Loss statistics of one path.
#[derive(Debug)]
pub(super) struct RandomLoss {
    buckets: VecDeque<Counts>,
    filling: Counts,
    filling_since: f64,
    /// Variance over that of independent losses, and the mean it is taken about: not the estimate, or loss above it
    /// would count as scatter and hide itself.
    dispersion: f64,
    mean: Ewma,
    sum: Counts,
    estimate: f64,
    /// Packets that START's estimate was taken from; `None` once a bucket has replaced it.
    start_packets: Option<f64>,
    /// Loss of the low-rate probes, its weight in packets, and when it was measured.
    probe: Option<(f64, f64, f64)>,
}

impl RandomLoss {
    pub(super) fn new(now: f64) -> Self {
        Self {
            buckets: VecDeque::with_capacity(BUCKETS),
            filling: Counts::default(),
            filling_since: now,
            dispersion: LEAST_DISPERSION,
            mean: Ewma::new(0.1),
            sum: Counts::default(),
            estimate: 0.0,
            start_packets: None,
            probe: None,
        }
    }

    /// The estimate: the share of packets that the path loses by itself, 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        self.estimate
    }

    pub(super) fn dispersion(&self) -> f64 {
        self.dispersion
    }

    /// Compares a resolved round with the estimate.
    pub(super) fn judge(&mut self, sent_round: &SentRound) -> Judgement {
        let (estimate, dispersion, start) = (self.estimate, self.dispersion, self.start_packets);
        let explained = |n: f64| {
            let variance = n * dispersion * estimate * (1.0 - estimate);
            // START's estimate rests on a hundred packets perhaps, and is a little low: when the rate grows fast,
            // arrivals are known before losses are.
            let (variance, low) = match start {
                Some(packets) => (
                    variance * (1.0 + (n / packets).min(MOST_DOUBT)),
                    START_ERROR * estimate * n,
                ),
                None => (variance, 0.0),
            };
            estimate * n + low + 2.5 * variance.sqrt()
        };
        let (n, lost) = (sent_round.resolved() as f64, sent_round.lost as f64);
        let excess = lost > 0.012 * n + explained(n) + 1.0;
        if self.sum.resolved > SUM_PACKETS {
            self.sum = Counts::default();
        }
        self.sum.add(sent_round.resolved(), sent_round.lost);
        let (n, lost) = (self.sum.resolved as f64, self.sum.lost as f64);
        let by_sum = n > 100.0 && lost > 0.01 * n + explained(n) + 2.0;
        Judgement {
            is_excess: excess || by_sum,
            by_sum,
        }
    }

    /// Adds a round that was sent slowly enough to be free of self-made loss.
    ///
    //= spec/04-congestion.md#random-loss-estimate
    //# Rounds MUST be chosen for the random-loss estimate by the rate they were sent at, never by the loss they
    //# had.
    pub(super) fn learn(&mut self, now: f64, srtt: f64, sent_round: &SentRound) {
        let n = sent_round.resolved() as f64;
        if n >= 8.0 {
            let mean = self.mean.get().unwrap_or(self.estimate);
            let p = mean.clamp(0.002, WORST);
            let deviation = sent_round.lost as f64 - mean * n;
            let ratio = (deviation * deviation / (n * p * (1.0 - p))).min(100.0);
            self.dispersion = (self.dispersion + 0.1 * (ratio - self.dispersion))
                .clamp(LEAST_DISPERSION, MOST_DISPERSION);
            self.mean.update(sent_round.loss());
        }
        self.filling.add(sent_round.resolved(), sent_round.lost);
        // So many that a bucket is right to one per cent: the mean of the best ones is biased by their error.
        let needed = (self.estimate * (1.0 - self.estimate) / (BUCKET_ERROR * BUCKET_ERROR))
            .max(BUCKET_PACKETS as f64);
        let full = self.filling.resolved as f64 >= needed
            && now - self.filling_since >= (BUCKET_RTTS * srtt).max(BUCKET_SECONDS);
        if full {
            if self.buckets.len() == BUCKETS {
                self.buckets.pop_front();
            }
            self.buckets.push_back(self.filling);
            self.filling = Counts::default();
            self.filling_since = now;
            self.refresh(now);
        }
    }

    fn refresh(&mut self, now: f64) {
        if !self.buckets.is_empty() {
            let mut sorted: Vec<Counts> = self.buckets.iter().copied().collect();
            sorted.sort_by(|a, b| a.loss().total_cmp(&b.loss()));
            let keep = (sorted.len() * LOWER_PER_TEN).div_ceil(10);
            let mut total = Counts::default();
            for counts in sorted.iter().take(keep) {
                total.add(counts.resolved, counts.lost);
            }
            self.estimate = total.loss();
            self.start_packets = None;
        }
        self.bound(now);
    }

    fn bound(&mut self, now: f64) {
        self.estimate = self.estimate.min(WORST);
        if let Some((loss, weight, at)) = self.probe
            && now - at < PROBE_VALID
        {
            let sigma = (self.dispersion * loss.max(0.002) * (1.0 - loss) / weight).sqrt();
            self.estimate = self.estimate.min(loss + 1.2 * sigma);
        }
    }

    //= spec/04-congestion.md#low-rate-probe
    //# The random-loss estimate MUST NOT stand above the loss of the last low-rate probe by more than 1.2 standard
    //# deviations for 12 s.
    pub(super) fn on_probe(&mut self, now: f64, sent_round: &SentRound) {
        let n = sent_round.resolved() as f64;
        let fresh = (sent_round.loss(), n, now);
        self.probe = Some(match self.probe {
            Some((loss, weight, at)) if now - at < 2.0 * PROBE_VALID => {
                let weight = weight.min(600.0);
                (
                    (loss * weight + sent_round.lost as f64) / (weight + n),
                    weight + n,
                    now,
                )
            }
            _ => fresh,
        });
        self.bound(now);
    }

    /// Takes over START's estimate, of so many packets.
    pub(super) fn begin(&mut self, now: f64, loss: f64, packets: u64) {
        self.set(now, loss);
        self.start_packets = Some((packets as f64).max(1.0));
    }

    /// Takes back losses of judged rounds that were spurious.
    pub(super) fn on_spurious(&mut self, packets: u64) {
        self.filling.lost = self.filling.lost.saturating_sub(packets);
        self.sum.lost = self.sum.lost.saturating_sub(packets);
    }

    /// Restarts the sum after a backoff: losses at the old rate say nothing of the new one.
    pub(super) fn restart_sum(&mut self) {
        self.sum = Counts::default();
    }

    /// Replaces the estimate.
    pub(super) fn set(&mut self, now: f64, loss: f64) {
        self.estimate = loss.min(WORST);
        self.start_packets = None;
        self.buckets.clear();
        let resolved = BUCKET_PACKETS;
        let lost = rounded(self.estimate * resolved as f64);
        self.buckets.push_back(Counts { resolved, lost });
        self.filling = Counts::default();
        self.filling_since = now;
        self.sum = Counts::default();
        self.probe = None;
    }
}

/// Nearest whole number of packets.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a saturating cast of a small positive count"
)]
fn rounded(packets: f64) -> u64 {
    packets.round() as u64
}
