//! Thresholds for the controller in virtual time: cells of the steady grid and named scenarios.
//! Tests, the `controller` command and the report share them; the scenarios themselves stand in `named`.

use super::{
    named::{self, StepFigures, plain},
    scenario::{Cell, Solo},
};

/// A measured figure and its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, in words.
    pub what: &'static str,
    /// The measured value.
    pub value: f64,
    /// The threshold it has to meet.
    pub threshold: Threshold,
}

/// A lower or an upper limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// No less than this.
    Least(f64),
    /// No more than this.
    Most(f64),
}

impl Figure {
    /// Whether the value meets the threshold.
    pub fn is_met(&self) -> bool {
        match self.threshold {
            Threshold::Least(least) => self.value >= least,
            Threshold::Most(most) => self.value <= most,
        }
    }
}

/// A scenario with thresholds.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Name of the scenario.
    pub name: &'static str,
    /// Round trip in milliseconds.
    pub rtt_ms: u64,
    run: fn(u64, u64) -> Vec<Figure>,
}

impl Goal {
    /// Runs the scenario with a seed.
    pub fn figures(&self, seed: u64) -> Vec<Figure> {
        (self.run)(self.rtt_ms, seed)
    }
}

const fn goal(name: &'static str, rtt_ms: u64, run: fn(u64, u64) -> Vec<Figure>) -> Goal {
    Goal { name, rtt_ms, run }
}

/// All scenarios with thresholds.
pub const GOALS: &[Goal] = &[
    goal(POLICER, 20, policer),
    goal(POLICER, 50, policer),
    goal(POLICER, 100, policer),
    goal(POLICER_LOSS, 50, policer_loss),
    goal(REORDERING, 20, reordering),
    goal(REORDERING, 50, reordering),
    goal(REORDERING, 100, reordering),
    goal(STEP, 20, step),
    goal(STEP, 100, step),
    goal(STEP, 200, step),
    goal(STEP_GIGABIT, 50, step_gigabit),
    goal(STEP_GIGABIT, 200, step_gigabit),
];

/// A policer on a fast line.
pub const POLICER: &str = "policer of 50 Mbit/s, bucket of 20 ms, on 1 Gbit/s";
/// The same, with 1 % of loss behind it.
pub const POLICER_LOSS: &str = "policer of 50 Mbit/s, bucket of 20 ms, on 1 Gbit/s, 1 % of loss";
/// Reordering at a high rate.
pub const REORDERING: &str = "1 Gbit/s, 3 % reordered by up to 5 ms";
/// A path whose rate changes.
pub const STEP: &str = "100 to 10 Mbit/s at 10 s, back at 20 s";
/// The same, ten times as fast.
pub const STEP_GIGABIT: &str = "1000 to 100 Mbit/s at 10 s, back at 20 s";

fn policer(rtt_ms: u64, seed: u64) -> Vec<Figure> {
    policed(named::police_20_ms(rtt_ms, 0.0, seed))
}

fn policer_loss(rtt_ms: u64, seed: u64) -> Vec<Figure> {
    policed(named::police_20_ms(rtt_ms, 0.01, seed))
}

fn policed(solo: Solo) -> Vec<Figure> {
    vec![
        least("goodput", solo.goodput, 0.9),
        most("dropped, start included", solo.drops, 0.03),
    ]
}

fn reordering(rtt_ms: u64, seed: u64) -> Vec<Figure> {
    let solo = named::reordered_gigabit(rtt_ms, seed);
    vec![
        least("goodput", solo.goodput, 0.93),
        most("spurious losses", solo.spurious, 0.01),
    ]
}

fn step(rtt_ms: u64, seed: u64) -> Vec<Figure> {
    stepped(named::step(&plain(100.0, rtt_ms, 1.0, 0.0), 10, seed))
}

fn step_gigabit(rtt_ms: u64, seed: u64) -> Vec<Figure> {
    stepped(named::step(&plain(1000.0, rtt_ms, 1.0, 0.0), 10, seed))
}

fn stepped(figures: StepFigures) -> Vec<Figure> {
    vec![
        most("seconds to 0.9 of the low rate", figures.low_after, 3.0),
        least("goodput from 3 s after the fall on", figures.low, 0.9),
        most("seconds to 0.9 of the rate again", figures.back_after, 3.0),
        least("goodput from 3 s after the return on", figures.back, 0.9),
    ]
}

const fn least(what: &'static str, value: f64, threshold: f64) -> Figure {
    Figure {
        what,
        value,
        threshold: Threshold::Least(threshold),
    }
}

const fn most(what: &'static str, value: f64, threshold: f64) -> Figure {
    Figure {
        what,
        value,
        threshold: Threshold::Most(threshold),
    }
}

/// Buffers below this are shallow: a fraction of a round trip's packets.
const SHALLOW: f64 = 0.25;

/// Least steady goodput of one flow alone, over rate x (1 - loss); `None` where nothing is promised.
pub fn least_goodput(cell: &Cell) -> Option<f64> {
    let shallow = cell.bdp < SHALLOW;
    match cell.loss {
        loss if loss <= 0.05 => Some(if shallow { 0.9 } else { 0.95 }),
        loss if loss <= 0.1 && !shallow => Some(0.92),
        loss if loss <= 0.3 && !shallow => Some(0.75),
        _ => None,
    }
}

/// Largest mean queuing delay of one flow alone, over the RTT.
pub const QUEUE_MEAN: f64 = 0.1;
/// Largest 95th percentile of the same.
pub const QUEUE_P95: f64 = 0.25;
