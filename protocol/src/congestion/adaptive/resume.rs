//! Careful resume (RFC 9959): a memory of the path lets START take a larger step, if the RTT agrees.
//! A memory is no measurement: trains bound the step, and what ends START ends it.

use super::model::{Model, Round};
use crate::congestion::PathMemory;

/// Fraction of the remembered rate that a step may reach (RFC 9959: half of the saved window).
const STEP: f64 = 0.5;
/// The same without a valid capacity estimate: if the path has lost nine tenths of its capacity since, it is sent
/// a quarter too much for one round trip.
const BLIND_STEP: f64 = 0.125;
/// RTT over the remembered one within which the path counts as the same.
const SAME_PATH: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// Fraction of a step that must have been delivered before the next.
const PROVEN: f64 = 0.7;

/// A memory, and the step it has been used for.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    rate: f64,
    min_rtt: f64,
    /// The rate it raised START to; 0 before.
    step: f64,
}

/// Careful resume.
#[derive(Debug, Default)]
pub(super) struct Resume {
    memory: Option<Remembered>,
}

/// What a round of START has measured.
#[derive(Clone, Copy, Debug)]
struct Measured {
    min_rtt: f64,
    /// Capacity by valid trains.
    capacity: Option<f64>,
    delivered: f64,
    /// The rate START would go on with by itself.
    usual: f64,
}

impl Resume {
    /// Sets the memory, before the first round.
    pub(super) fn recall(&mut self, memory: &PathMemory) {
        self.memory = memory.is_usable().then(|| Remembered {
            rate: memory.rate.bytes_per_second() as f64,
            min_rtt: memory.min_rtt.as_secs_f64(),
            step: 0.0,
        });
    }

    /// Drops the memory.
    pub(super) fn forget(&mut self) {
        self.memory = None;
    }

    /// Returns the rate of the next round.
    fn step(&mut self, measured: &Measured) -> f64 {
        let Some(memory) = &mut self.memory else {
            return measured.usual;
        };
        //= spec/04-congestion.md#path-memory
        //# A sender MUST forget what it remembers of a path whose first RTT is not within half and twice of the
        //# remembered one.
        let is_same = memory.step > 0.0 || SAME_PATH.contains(&(measured.min_rtt / memory.min_rtt));
        //= spec/04-congestion.md#path-memory
        //# The rate MUST NOT be raised by memory above half of the remembered rate, nor above half of a valid
        //# capacity estimate.
        let most = STEP * memory.rate;
        if !is_same || measured.usual >= most {
            self.memory = None;
            return measured.usual;
        }
        let step = match measured.capacity {
            Some(capacity) => most.min(STEP * capacity),
            None if memory.step == 0.0 => BLIND_STEP * memory.rate,
            //= spec/04-congestion.md#path-memory
            //# Without a valid capacity estimate the rate MUST NOT be raised by memory above an eighth of the
            //# remembered rate before 0.7 of that eighth was delivered.
            None if measured.delivered >= PROVEN * memory.step => most,
            None => memory.step,
        };
        memory.step = memory.step.max(step);
        measured.usual.max(step)
    }
}

impl Model {
    /// Raises the rate after a round of START, if the path is remembered.
    pub(super) fn resume(&mut self, round: &Round) {
        let measured = Measured {
            min_rtt: self.delay.min_rtt,
            capacity: self.trains.valid(),
            delivered: round.spanned,
            usual: self.rate,
        };
        self.rate = self.resume.step(&measured);
    }
}

#[cfg(test)]
mod tests;
