//! What is remembered of the path lets START take a larger first step, once the round-trip time agrees.
//! Trains stay the judges, and what ends START ends this too: nothing here counts as a measurement.

use super::model::{Model, Round};
use crate::congestion::PathMemory;

/// Share of the remembered rate that is gone for (RFC 9959: half of the saved window).
const STEP: f64 = 0.5;
/// The same where no trains say what the capacity is: a path that lost nine tenths of it since is then
/// sent a quarter too much for a round trip.
const BLIND_STEP: f64 = 0.125;
/// RTT over the remembered one within which the path is taken for the same.
const SAME_PATH: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// Share of a step that must have been delivered before the next.
const PROVEN: f64 = 0.7;

/// A memory and how far it has been used.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    rate: f64,
    min_rtt: f64,
    /// The rate it was used for; 0 before.
    step: f64,
}

/// Careful resume.
#[derive(Debug, Default)]
pub(super) struct Resume {
    memory: Option<Remembered>,
}

/// What the path shows of itself at the end of a round of START.
#[derive(Clone, Copy, Debug)]
struct Sight {
    base_rtt: f64,
    /// By valid trains.
    capacity: Option<f64>,
    delivered: f64,
    /// The rate START would go on with.
    usual: f64,
}

impl Resume {
    /// Before the first round.
    pub(super) fn recall(&mut self, memory: &PathMemory) {
        self.memory = memory.is_usable().then(|| Remembered {
            rate: memory.rate.bytes_per_second() as f64,
            min_rtt: memory.min_rtt.as_secs_f64(),
            step: 0.0,
        });
    }

    /// The path is not to be jumped on.
    pub(super) fn forget(&mut self) {
        self.memory = None;
    }

    /// The rate of the next round.
    fn step(&mut self, sight: &Sight) -> f64 {
        let Some(memory) = &mut self.memory else {
            return sight.usual;
        };
        //= spec/04-congestion.md#path-memory
        //# A sender MUST forget what it remembers of a path whose first RTT is not within half and twice of the
        //# remembered one.
        let is_same = memory.step > 0.0 || SAME_PATH.contains(&(sight.base_rtt / memory.min_rtt));
        //= spec/04-congestion.md#path-memory
        //# The rate MUST NOT be raised by memory above half of the remembered rate, nor above half of a valid
        //# capacity estimate.
        let most = STEP * memory.rate;
        if !is_same || sight.usual >= most {
            self.memory = None;
            return sight.usual;
        }
        let step = match sight.capacity {
            Some(capacity) => most.min(STEP * capacity),
            None if memory.step == 0.0 => BLIND_STEP * memory.rate,
            //= spec/04-congestion.md#path-memory
            //# Without a valid capacity estimate the rate MUST NOT be raised by memory above an eighth of the
            //# remembered rate before 0.7 of that eighth was delivered.
            None if sight.delivered >= PROVEN * memory.step => most,
            None => memory.step,
        };
        memory.step = memory.step.max(step);
        sight.usual.max(step)
    }
}

impl Model {
    /// START goes on after `round`: from `m.rate`, or from more where the path is known.
    pub(super) fn resume(&mut self, round: &Round) {
        let sight = Sight {
            base_rtt: self.delay.base_rtt,
            capacity: self.trains.valid(),
            delivered: round.spanned,
            usual: self.rate,
        };
        self.rate = self.resume.step(&sight);
    }
}

#[cfg(test)]
mod tests;
