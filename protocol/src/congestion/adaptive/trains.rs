//! Packet trains: when to send one, and the capacity that their spacing at the receiver shows.
//! Trains are built and timed in `path`.

use std::collections::VecDeque;

use super::filters::Windowed;

/// Estimates kept (spec/04-congestion.md#trains).
const KEPT: usize = 12;
/// Shortest time between two trains of the steady states, in seconds.
const SHORTEST_SPACING: f64 = 0.1;
/// Factor of that time while no train is reported: a buffer of less than a packet drops all but the first of each.
const UNHEARD: f64 = 10.0;
/// Ratio of the quartiles below which the estimates are valid.
const AGREE: f64 = 1.6;
/// Most packets in a train.
pub(super) const LONGEST: f64 = 16.0;

/// The capacity by trains, in bytes per second.
#[derive(Debug)]
pub(super) struct Trains {
    samples: VecDeque<(f64, f64)>,
    due_at: f64,
    /// Largest delivered rate of the last 10 s: the estimate without valid trains.
    delivered: Windowed,
}

impl Trains {
    pub(super) fn new(now: f64) -> Self {
        Self {
            samples: VecDeque::with_capacity(KEPT),
            due_at: now,
            delivered: Windowed::maximum(10.0),
        }
    }

    /// Whether a train is due, `every` seconds after the last; if so, schedules the next.
    pub(super) fn due(&mut self, now: f64, every: f64) -> bool {
        if now < self.due_at {
            return false;
        }
        // A schedule, not an interval: a late train does not delay the next.
        self.due_at = (self.due_at + every).max(now + every / 2.0);
        true
    }

    /// Time between two trains of the steady states.
    //= spec/04-congestion.md#trains
    //# While none of the last trains told anything, they SHOULD come ten times as rarely: what buffers no packet drops all but their first.
    pub(super) fn spacing(&self, srtt: f64) -> f64 {
        let usual = srtt.max(SHORTEST_SPACING);
        if self.samples.is_empty() {
            UNHEARD * usual
        } else {
            usual
        }
    }

    /// When the next one is due.
    pub(super) fn due_at(&self) -> f64 {
        self.due_at
    }

    pub(super) fn on_train(&mut self, now: f64, rate: f64, srtt: f64) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back((now, rate));
        self.expire(now, srtt);
        self.drop_outdated();
    }

    pub(super) fn on_delivered(&mut self, now: f64, rate: f64) {
        self.delivered.insert(now, rate);
    }

    /// Largest delivered rate of the last 10 s.
    pub(super) fn best_delivered(&self, now: f64) -> f64 {
        self.delivered.over(now, 10.0).unwrap_or(0.0)
    }

    pub(super) fn expire(&mut self, now: f64, srtt: f64) {
        let age = (10.0 * srtt).max(5.0);
        while self.samples.front().is_some_and(|&(at, _)| at < now - age) {
            self.samples.pop_front();
        }
    }

    /// Drops older estimates if the newest three agree with each other and not with them: the capacity changed.
    fn drop_outdated(&mut self) {
        let Some(older) = self.samples.len().checked_sub(3).filter(|&n| n > 0) else {
            return;
        };
        let newest: Vec<f64> = self.samples.range(older..).map(|&(_, rate)| rate).collect();
        let low = newest.iter().copied().fold(f64::INFINITY, f64::min);
        let high = newest.iter().copied().fold(0.0, f64::max);
        let before = median(self.samples.range(..older).map(|&(_, rate)| rate));
        let middle = median(newest.into_iter());
        let moved = middle > 1.5 * before || before > 1.5 * middle;
        if high <= 1.25 * low && moved {
            self.samples.drain(..older);
        }
    }

    /// Median of the estimates, if they agree.
    pub(super) fn valid(&self) -> Option<f64> {
        if self.samples.len() < 3 {
            return None;
        }
        let sorted = sorted(self.samples.iter().map(|&(_, rate)| rate));
        let quartile = |q: usize| sorted[(sorted.len() - 1) * q / 4];
        (quartile(3) < AGREE * quartile(1)).then(|| quartile(2))
    }

    //= spec/04-congestion.md#trains
    //# The controller MUST work without valid trains.
    /// The capacity estimate: never below the delivered rate.
    pub(super) fn capacity(&self, now: f64, delivered: f64) -> f64 {
        let known = match self.valid() {
            Some(median) => median,
            None => self.best_delivered(now),
        };
        known.max(delivered)
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Whole packets, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a saturating cast of a number already clamped to the longest train"
)]
pub(super) fn whole(packets: f64) -> u32 {
    packets.ceil() as u32
}
