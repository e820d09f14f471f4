//! The largest value of the last so many rounds. What a round is, and what is measured, is the controller's matter.

use std::collections::VecDeque;

/// A windowed maximum.
#[derive(Clone, Debug)]
pub(super) struct MaxFilter {
    rounds: u64,
    /// Rounds and values, the values falling: an older one counts as long as it is larger.
    values: VecDeque<(u64, f64)>,
}

impl MaxFilter {
    pub(super) fn new(rounds: u64) -> Self {
        Self {
            rounds,
            values: VecDeque::new(),
        }
    }

    /// Adds a value of a round no earlier than the one before.
    pub(super) fn put(&mut self, round: u64, value: f64) {
        while self.values.back().is_some_and(|last| last.1 <= value) {
            self.values.pop_back();
        }
        self.values.push_back((round, value));
        while self
            .values
            .front()
            .is_some_and(|first| first.0 + self.rounds <= round)
        {
            self.values.pop_front();
        }
    }

    /// The largest, or zero if there was none.
    pub(super) fn max(&self) -> f64 {
        self.values.front().map_or(0.0, |first| first.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_lasts_for_its_rounds_and_the_next_one_follows() {
        let mut filter = MaxFilter::new(3);
        assert_eq!(filter.max(), 0.0);
        for (round, value, max) in [
            (0, 5.0, 5.0),
            (0, 9.0, 9.0),
            (1, 4.0, 9.0),
            (2, 6.0, 9.0),
            (3, 1.0, 6.0),
            (5, 2.0, 2.0),
        ] {
            filter.put(round, value);
            assert_eq!(filter.max(), max, "round {round}");
        }
    }
}
