//! The bottleneck: a policer, one first-in-first-out queue with a limit, and a server whose rate may
//! change at given times. Delay, loss and reordering behind it belong to the link.
//!
//! Departures are computed when a packet arrives. That is exact, because the rate's schedule is known
//! beforehand and later arrivals never delay earlier ones; it costs no event per departure.

use std::{collections::VecDeque, time::Duration};

use hdrhistogram::Histogram;
use rp_protocol::units::Bandwidth;

/// How much may wait in front of the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueueLimit {
    /// Whole bytes, the packet being sent included.
    Bytes(u64),
    /// As much as the link sends in this time.
    Time(Duration),
    /// Multiples of rate x round trip, where the round trip is twice the link's own delay.
    Bdp(f64),
    /// No limit.
    Unlimited,
}

/// Drops from the queue's head when packets stay too long (RFC 8289).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codel {
    /// Acceptable standing delay; RFC 8289 section 4.2 recommends 5 ms.
    pub target: Duration,
    /// How long it may be exceeded; RFC 8289 section 4.3 recommends 100 ms.
    pub interval: Duration,
}

impl Default for Codel {
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
        }
    }
}

/// A token bucket that drops what exceeds it, without queueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policer {
    /// Rate at which tokens arrive.
    pub rate: Bandwidth,
    /// Size of the bucket.
    pub burst_bytes: u64,
}

/// What became of a packet at the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It leaves at this time; `mark` says that the queue exceeded the marking threshold.
    Departs { at_ns: u64, mark: bool },
    /// The policer had no tokens.
    Policed,
    /// The queue was full.
    Full,
    /// CoDel dropped it at the head of the queue.
    Late,
    /// The link stays at rate zero for ever.
    Stuck,
}

/// Waiting times of the packets that left the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDelay {
    /// Mean over packets.
    pub mean: Duration,
    /// 95th percentile over packets, to 1 %.
    pub p95: Duration,
    /// Largest.
    pub max: Duration,
}

#[derive(Debug)]
pub(crate) struct BottleneckConfig {
    /// `(from_ns, bytes per second)`, sorted, the first at 0; empty for no limit of rate.
    pub(crate) rates: Vec<(u64, u64)>,
    pub(crate) limit_bytes: u64,
    pub(crate) limit_ns: u64,
    pub(crate) mark_ns: u64,
    pub(crate) codel: Option<Codel>,
    pub(crate) policer: Option<Policer>,
}

/// Times are nanoseconds since the link's epoch.
#[derive(Debug)]
pub(crate) struct Bottleneck {
    config: BottleneckConfig,
    /// Index of the rate in force at `free_ns`.
    rate: usize,
    /// When everything accepted so far will have left.
    free_ns: u64,
    /// `(departure, bytes)` of what has not left yet.
    waiting: VecDeque<(u64, u64)>,
    waiting_bytes: u64,
    bucket: Option<Bucket>,
    codel: CodelState,
    waits: Waits,
}

impl Bottleneck {
    pub(crate) fn new(config: BottleneckConfig) -> Self {
        Self {
            rate: 0,
            free_ns: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            bucket: config.policer.map(Bucket::new),
            codel: CodelState::default(),
            waits: Waits::new(),
            config,
        }
    }

    /// Offers a packet, to the policer too if it is policed; times must not go backwards.
    pub(crate) fn offer(&mut self, now_ns: u64, bytes: u64, is_policed: bool) -> Admission {
        if is_policed
            && let Some(bucket) = &mut self.bucket
            && !bucket.take(now_ns, bytes)
        {
            return Admission::Policed;
        }
        if self.config.rates.is_empty() {
            self.waits.record(0);
            return Admission::Departs {
                at_ns: now_ns,
                mark: false,
            };
        }
        self.forget_departed(now_ns);
        let start_ns = self.free_ns.max(now_ns);
        let wait_ns = start_ns - now_ns;
        // An empty queue takes any packet, however small its limit.
        let is_full = self.waiting_bytes.saturating_add(bytes) > self.config.limit_bytes
            || wait_ns > self.config.limit_ns;
        if is_full && !self.waiting.is_empty() {
            return Admission::Full;
        }
        if let Some(codel) = self.config.codel
            && self.codel.drops(codel, start_ns, wait_ns)
        {
            return Admission::Late;
        }
        let Some(at_ns) = self.departure(start_ns, bytes) else {
            return Admission::Stuck;
        };
        self.free_ns = at_ns;
        self.waiting.push_back((at_ns, bytes));
        self.waiting_bytes += bytes;
        self.waits.record(wait_ns);
        Admission::Departs {
            at_ns,
            mark: wait_ns > self.config.mark_ns,
        }
    }

    /// Bytes accepted that have not left by `now_ns`.
    pub(crate) fn backlog_bytes(&mut self, now_ns: u64) -> u64 {
        self.forget_departed(now_ns);
        self.waiting_bytes
    }

    pub(crate) fn delay(&self) -> QueueDelay {
        self.waits.summary()
    }

    pub(crate) fn reset_delay(&mut self) {
        self.waits = Waits::new();
    }

    fn forget_departed(&mut self, now_ns: u64) {
        while let Some(&(at_ns, bytes)) = self.waiting.front()
            && at_ns <= now_ns
        {
            self.waiting.pop_front();
            self.waiting_bytes -= bytes;
        }
    }

    /// When `bytes` whose turn comes at `start_ns` have left; `None` if never.
    fn departure(&mut self, start_ns: u64, bytes: u64) -> Option<u64> {
        let rates = &self.config.rates;
        let mut at_ns = start_ns;
        // Work left, in byte-nanoseconds per second, so that no rounding happens at a step.
        let mut work = u128::from(bytes) * 1_000_000_000;
        loop {
            while let Some(&(from, _)) = rates.get(self.rate + 1)
                && from <= at_ns
            {
                self.rate += 1;
            }
            let rate = rates[self.rate].1;
            let until = rates.get(self.rate + 1).map(|&(from, _)| from);
            let need_ns = if rate == 0 {
                None
            } else {
                u64::try_from(work)
                    .map_or_else(
                        |_| u64::try_from(work.div_ceil(u128::from(rate))),
                        |work| Ok(work.div_ceil(rate)),
                    )
                    .ok()
            };
            match (need_ns.and_then(|need| at_ns.checked_add(need)), until) {
                (Some(end), None) => return Some(end),
                (Some(end), Some(until)) if end <= until => return Some(end),
                (_, Some(until)) => {
                    work -= u128::from(rate) * u128::from(until - at_ns);
                    at_ns = until;
                }
                (None, None) => return None,
            }
        }
    }
}

#[derive(Debug)]
struct Bucket {
    policer: Policer,
    tokens: u64,
    filled_ns: u64,
}

impl Bucket {
    fn new(policer: Policer) -> Self {
        Self {
            policer,
            tokens: policer.burst_bytes,
            filled_ns: 0,
        }
    }

    fn take(&mut self, now_ns: u64, bytes: u64) -> bool {
        let gained = self
            .policer
            .rate
            .bytes_in(Duration::from_nanos(now_ns - self.filled_ns));
        // Time is only used up where whole tokens came of it, or slow buckets would never fill.
        if gained > 0 {
            self.tokens = self
                .tokens
                .saturating_add(gained)
                .min(self.policer.burst_bytes);
            self.filled_ns = if self.tokens == self.policer.burst_bytes {
                now_ns
            } else {
                let used = self.policer.rate.time_for(gained);
                self.filled_ns
                    .saturating_add(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX))
                    .min(now_ns)
            };
        }
        let has_room = self.tokens >= bytes;
        if has_room {
            self.tokens -= bytes;
        }
        has_room
    }
}

/// RFC 8289 section 5's state, told of each packet as it reaches the head.
#[derive(Debug, Default)]
struct CodelState {
    first_above_ns: Option<u64>,
    dropping: bool,
    drop_next_ns: u64,
    count: u32,
    last_count: u32,
}

impl CodelState {
    fn drops(&mut self, codel: Codel, at_ns: u64, wait_ns: u64) -> bool {
        let interval_ns = nanos(codel.interval);
        if wait_ns < nanos(codel.target) {
            self.first_above_ns = None;
            self.dropping = false;
            return false;
        }
        let above_since = *self.first_above_ns.get_or_insert(at_ns + interval_ns);
        if at_ns < above_since {
            return false;
        }
        if self.dropping {
            if at_ns < self.drop_next_ns {
                return false;
            }
            self.count += 1;
        } else {
            self.dropping = true;
            // A recent dropping phase is taken up where it ended (RFC 8289 section 5.5).
            let delta = self.count - self.last_count;
            let is_recent = at_ns.saturating_sub(self.drop_next_ns) < 16 * interval_ns;
            self.count = if delta > 1 && is_recent { delta } else { 1 };
            self.last_count = self.count;
            self.drop_next_ns = at_ns;
        }
        self.drop_next_ns += (Duration::from_nanos(interval_ns)
            .div_f64(f64::from(self.count).sqrt()))
        .as_nanos()
        .try_into()
        .unwrap_or(u64::MAX);
        true
    }
}

#[derive(Debug)]
struct Waits {
    histogram: Histogram<u64>,
    sum_ns: u128,
    max_ns: u64,
}

/// Longest waiting time told apart, in microseconds: 100 s, more than any buffer of the lab.
const LONGEST_WAIT_US: u64 = 100_000_000;

impl Waits {
    fn new() -> Self {
        Self {
            histogram: Histogram::new_with_max(LONGEST_WAIT_US, 2)
                .expect("two significant digits up to a fixed maximum are valid bounds"),
            sum_ns: 0,
            max_ns: 0,
        }
    }

    fn record(&mut self, wait_ns: u64) {
        self.histogram.saturating_record(wait_ns / 1000);
        self.sum_ns += u128::from(wait_ns);
        self.max_ns = self.max_ns.max(wait_ns);
    }

    fn summary(&self) -> QueueDelay {
        let packets = u128::from(self.histogram.len().max(1));
        QueueDelay {
            mean: Duration::from_nanos(u64::try_from(self.sum_ns / packets).unwrap_or(u64::MAX)),
            p95: Duration::from_micros(self.histogram.value_at_quantile(0.95)),
            max: Duration::from_nanos(self.max_ns),
        }
    }
}

/// A duration in whole nanoseconds, saturating after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
