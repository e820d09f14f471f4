//! Small filters over measurements: moving average, windowed minimum and maximum.
//! What is measured, and what follows from it, stands in the modules that use them.

use std::collections::VecDeque;

/// Exponentially weighted moving average; the first sample is taken as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ewma {
    weight: f64,
    value: Option<f64>,
}

impl Ewma {
    pub(super) const fn new(weight: f64) -> Self {
        Self {
            weight,
            value: None,
        }
    }

    pub(super) fn update(&mut self, sample: f64) {
        self.value = Some(match self.value {
            Some(value) => value + self.weight * (sample - value),
            None => sample,
        });
    }

    pub(super) fn get(&self) -> Option<f64> {
        self.value
    }
}

/// Extreme of the samples of the last while; the width is chosen at each question, up to `keep`.
///
/// Samples closer than `keep`/512 share a slot, so memory is bounded however fast they come.
#[derive(Clone, Debug)]
pub(super) struct Windowed {
    /// +1 looks for the minimum, -1 for the maximum.
    sign: f64,
    keep: f64,
    /// Times ascend, and so do the values times `sign`: each entry is the extreme of all after it.
    entries: VecDeque<(f64, f64)>,
}

impl Windowed {
    pub(super) const fn minimum(keep: f64) -> Self {
        Self {
            sign: 1.0,
            keep,
            entries: VecDeque::new(),
        }
    }

    pub(super) const fn maximum(keep: f64) -> Self {
        Self {
            sign: -1.0,
            keep,
            entries: VecDeque::new(),
        }
    }

    pub(super) fn insert(&mut self, now: f64, sample: f64) {
        let key = sample * self.sign;
        while self.entries.back().is_some_and(|&(_, last)| last >= key) {
            self.entries.pop_back();
        }
        // A worse sample right after a better one adds nothing until the better one leaves.
        let crowded = self
            .entries
            .back()
            .is_some_and(|&(at, _)| now - at < self.keep / 512.0);
        if !crowded {
            self.entries.push_back((now, key));
        }
        while self.entries.len() > 1 && self.entries[1].0 <= now - self.keep {
            self.entries.pop_front();
        }
    }

    /// Extreme of the last `width` seconds; the newest sample if all are older.
    pub(super) fn over(&self, now: f64, width: f64) -> Option<f64> {
        let first = self.entries.partition_point(|&(at, _)| at < now - width);
        let entry = self.entries.get(first).or_else(|| self.entries.back());
        entry.map(|&(_, key)| key * self.sign)
    }
}
