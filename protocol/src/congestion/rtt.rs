//! Round-trip time of a path: latest, smoothed, deviation, minimum, and the probe timeout from them.
//! Samples are chosen in `path`; the queuing delay is the controller's.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Timer granularity in the probe timeout (RFC 9002 section 6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);

/// Time after which a minimum begins to be forgotten, and after twice which it is.
const MIN_PERIOD: Duration = Duration::from_secs(15);

/// The RTT estimator of RFC 9002 section 5, whose minimum ages.
#[derive(Clone, Debug)]
pub struct Rtt {
    latest: Duration,
    smoothed: Duration,
    var: Duration,
    /// Minimum of all samples.
    least: Duration,
    /// Minimum of the period before the current one and of the current one, and when that began.
    min_before: Duration,
    min: Duration,
    min_since: Option<Instant>,
    sampled_at: Option<Instant>,
}

impl Rtt {
    /// An estimator without samples: `initial`, with half of it as deviation.
    pub fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            smoothed: initial,
            var: initial / 2,
            least: initial,
            min_before: initial,
            min: initial,
            min_since: None,
            sampled_at: None,
        }
    }

    /// Adds a sample; the peer says that it delayed the ACK by `ack_delay`, which the caller has limited to the
    /// peer's maximum ACK delay.
    //= spec/04-congestion.md#round-trip-time
    //# An ACK delay MUST NOT lower a sample below the minimum RTT.
    pub fn update(&mut self, now: Instant, ack_delay: Duration, sample: Duration) {
        let first = self.sampled_at.is_none();
        self.sampled_at = Some(now);
        if first {
            self.least = sample;
            self.min_before = sample;
            self.min = sample;
            self.min_since = Some(now);
            self.latest = sample;
            self.smoothed = sample;
            self.var = sample / 2;
            return;
        }
        self.age_min(now, sample);
        self.min = self.min.min(sample);
        self.least = self.least.min(sample);
        let adjusted = match sample.checked_sub(ack_delay) {
            Some(adjusted) if adjusted >= self.least => adjusted,
            _ => sample,
        };
        self.latest = adjusted;
        let deviation = self.smoothed.abs_diff(adjusted);
        self.var = (self.var * 3 + deviation) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// Newest sample, less the ACK delay.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// Moving average with weight 1/8.
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// Mean deviation, weight 1/4.
    pub fn var(&self) -> Duration {
        self.var
    }

    /// Smallest sample of this path's life, ACK delay not deducted: what no sample may fall below. A standing queue
    /// of a minute must not pass for the path, so this one does not age.
    pub fn least(&self) -> Duration {
        self.least
    }

    /// Smallest sample of the last 15 to 30 s, ACK delay not deducted: what the path is like.
    pub fn min(&self) -> Duration {
        self.min.min(self.min_before)
    }

    //= spec/04-congestion.md#round-trip-time
    //# A sender SHOULD forget a minimum RTT that is older than 30 s.
    fn age_min(&mut self, now: Instant, sample: Duration) {
        let since = *self.min_since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < MIN_PERIOD {
            return;
        }
        self.min_before = if age < 2 * MIN_PERIOD {
            self.min
        } else {
            sample
        };
        self.min = sample;
        self.min_since = Some(now);
    }

    /// Whether any sample was taken, and when the newest was.
    pub fn sampled_at(&self) -> Option<Instant> {
        self.sampled_at
    }

    /// Silence after which a probe is due: smoothed + max(4 var, 1 ms) + `max_ack_delay`.
    pub fn pto(&self, max_ack_delay: Duration) -> Duration {
        self.smoothed + (self.var * 4).max(GRANULARITY) + max_ack_delay
    }
}
