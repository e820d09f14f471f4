//! The loss baseline: how much loss is the path's own, and which loss exceeds it.
//! What excess loss does to the rate stands in `brake`.

use std::collections::VecDeque;

use super::{filters::Ewma, rounds::Tag};

/// Buckets the baseline is taken from (spec/04-congestion.md#loss-baseline).
const BUCKETS: usize = 12;
/// Of ten of them, so many count, the best ones.
const LOWER_PER_TEN: usize = 7;
const BUCKET_PACKETS: u64 = 200;
const BUCKET_ERROR: f64 = 0.01;
const BUCKET_SECONDS: f64 = 0.5;
const BUCKET_RTTS: f64 = 4.0;
/// No path is believed worse than this.
pub(super) const WORST: f64 = 0.45;
/// Packets after which the sum since the last brake starts anew.
const SUM_PACKETS: u64 = 2000;
/// Part of itself that the baseline of START may be too low by.
const START_ERROR: f64 = 0.25;
/// Most that the smallness of its sample adds to the variance.
const MOST_DOUBT: f64 = 3.0;
/// Bounds of the dispersion.
const LEAST_DISPERSION: f64 = 1.3;
const MOST_DISPERSION: f64 = 40.0;
/// How long a low-rate probe bounds the baseline.
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

/// How a round's loss compares with the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// More than the baseline explains.
    pub(super) excess: bool,
    /// The sum since the last brake says so.
    pub(super) by_sum: bool,
}

/// Loss statistics of one path.
#[derive(Debug)]
pub(super) struct Baseline {
    buckets: VecDeque<Counts>,
    filling: Counts,
    filling_since: f64,
    /// Variance over what independent losses would have, and the mean it is taken about: not the baseline,
    /// or loss that stands above it would pass for scatter and hide itself.
    dispersion: f64,
    mean: Ewma,
    sum: Counts,
    pb: f64,
    /// Packets it was taken from, if it is that of START: no later one rests on so few.
    start_packets: Option<f64>,
    /// Loss at the low rate, its weight in packets, and when.
    probe: Option<(f64, f64, f64)>,
}

impl Baseline {
    pub(super) fn new(now: f64) -> Self {
        Self {
            buckets: VecDeque::with_capacity(BUCKETS),
            filling: Counts::default(),
            filling_since: now,
            dispersion: LEAST_DISPERSION,
            mean: Ewma::new(0.1),
            sum: Counts::default(),
            pb: 0.0,
            start_packets: None,
            probe: None,
        }
    }

    /// Loss believed not to be congestion.
    pub(super) fn loss(&self) -> f64 {
        self.pb
    }

    pub(super) fn dispersion(&self) -> f64 {
        self.dispersion
    }

    /// Compare a resolved round with the baseline.
    pub(super) fn judge(&mut self, tag: &Tag) -> Verdict {
        let (pb, dispersion, start) = (self.pb, self.dispersion, self.start_packets);
        let explained = |n: f64| {
            let variance = n * dispersion * pb * (1.0 - pb);
            // The baseline of START is a sample too, of a hundred packets perhaps, and a little low: when the
            // rate grows fast, many of the lost are not known yet when the arrivals are.
            let (variance, low) = match start {
                Some(packets) => (
                    variance * (1.0 + (n / packets).min(MOST_DOUBT)),
                    START_ERROR * pb * n,
                ),
                None => (variance, 0.0),
            };
            pb * n + low + 2.5 * variance.sqrt()
        };
        let (n, lost) = (tag.resolved() as f64, tag.lost as f64);
        let excess = lost > 0.012 * n + explained(n) + 1.0;
        if self.sum.resolved > SUM_PACKETS {
            self.sum = Counts::default();
        }
        self.sum.add(tag.resolved(), tag.lost);
        let (n, lost) = (self.sum.resolved as f64, self.sum.lost as f64);
        let by_sum = n > 100.0 && lost > 0.01 * n + explained(n) + 2.0;
        Verdict {
            excess: excess || by_sum,
            by_sum,
        }
    }

    /// A round that was sent slowly enough to be free of self-made loss counts for the baseline.
    ///
    //= spec/04-congestion.md#loss-baseline
    //# Rounds MUST be chosen for the baseline by the rate they were sent at, never by the loss they
    //# had.
    pub(super) fn learn(&mut self, now: f64, srtt: f64, tag: &Tag) {
        let n = tag.resolved() as f64;
        if n >= 8.0 {
            let mean = self.mean.get().unwrap_or(self.pb);
            let p = mean.clamp(0.002, WORST);
            let deviation = tag.lost as f64 - mean * n;
            let ratio = (deviation * deviation / (n * p * (1.0 - p))).min(100.0);
            self.dispersion = (self.dispersion + 0.1 * (ratio - self.dispersion))
                .clamp(LEAST_DISPERSION, MOST_DISPERSION);
            self.mean.update(tag.loss());
        }
        self.filling.add(tag.resolved(), tag.lost);
        // So many that a bucket is right to one per cent: the mean of the lower ones is biased by what
        // it is wrong.
        let needed =
            (self.pb * (1.0 - self.pb) / (BUCKET_ERROR * BUCKET_ERROR)).max(BUCKET_PACKETS as f64);
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
            self.pb = total.loss();
            self.start_packets = None;
        }
        self.bound(now);
    }

    fn bound(&mut self, now: f64) {
        self.pb = self.pb.min(WORST);
        if let Some((loss, weight, at)) = self.probe
            && now - at < PROBE_VALID
        {
            let sigma = (self.dispersion * loss.max(0.002) * (1.0 - loss) / weight).sqrt();
            self.pb = self.pb.min(loss + 1.2 * sigma);
        }
    }

    //= spec/04-congestion.md#low-rate-probe
    //# The baseline MUST NOT stand above the loss of the last low-rate probe by more than 1.2 standard
    //# deviations for 12 s.
    pub(super) fn on_probe(&mut self, now: f64, tag: &Tag) {
        let n = tag.resolved() as f64;
        let fresh = (tag.loss(), n, now);
        self.probe = Some(match self.probe {
            Some((loss, weight, at)) if now - at < 2.0 * PROBE_VALID => {
                let weight = weight.min(600.0);
                (
                    (loss * weight + tag.lost as f64) / (weight + n),
                    weight + n,
                    now,
                )
            }
            _ => fresh,
        });
        self.bound(now);
    }

    /// START hands on what it saw of so many packets.
    pub(super) fn begin(&mut self, now: f64, loss: f64, packets: u64) {
        self.set(now, loss);
        self.start_packets = Some((packets as f64).max(1.0));
    }

    /// Losses of rounds already judged were none.
    pub(super) fn on_spurious(&mut self, packets: u64) {
        self.filling.lost = self.filling.lost.saturating_sub(packets);
        self.sum.lost = self.sum.lost.saturating_sub(packets);
    }

    /// The rate was cut: what was counted at the old rate says nothing of the new.
    pub(super) fn restart_sum(&mut self) {
        self.sum = Counts::default();
    }

    /// Believe `loss` from here on.
    pub(super) fn set(&mut self, now: f64, loss: f64) {
        self.pb = loss.min(WORST);
        self.start_packets = None;
        self.buckets.clear();
        let resolved = BUCKET_PACKETS;
        let lost = rounded(self.pb * resolved as f64);
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
