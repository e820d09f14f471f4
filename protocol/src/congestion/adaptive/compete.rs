//! COMPETE and TEST: beside a buffer-filling flow the rate comes from a CUBIC window whose cuts need evidence
//! of congestion; tests show now and then whether the other flow has gone.
//! How such a flow is recognised, and what happens after leaving, stands in `cross_traffic`.

use super::model::{Model, Round};
use crate::congestion::cubic::Curve;

/// Largest random-loss estimate that loss is compared with in this state: an estimate that includes congestion
/// losses would let the window grow without bound.
pub(super) const WORST_RANDOM_LOSS: f64 = 0.06;
/// Rounds between two cuts.
const CUT_ROUNDS: u64 = 2;
/// Loss ratio that counts as congestion whatever the queue.
const GROSS_LOSS: f64 = 0.2;
/// Fraction of the window that a cut removes, per share of the capacity, and its bounds.
const CUT_PER_SHARE: f64 = 0.6;
const CUT_LEAST: f64 = 0.1;
const CUT_MOST: f64 = 0.3;
/// Mean loss ratio, over about [`FLOOD_ROUNDS`], from which on a cut takes the most: a flow that floods the path has
/// no share to defend.
const FLOOD_LOSS: f64 = 0.1;
const FLOOD_ROUNDS: f64 = 8.0;
/// Share of the capacity that the window grows towards after a cut, at least.
const AIM: f64 = 1.0 / 3.0;
/// Share of the capacity at which the window stops growing.
const ENOUGH: f64 = 0.6;
/// Least of a window, in packets.
const LEAST_WINDOW: f64 = 4.0;
/// Rounds between two tests, and the longest time without one.
const TEST_SPACING: u64 = 6;
const TEST_ROUNDS: u64 = 40;
const TEST_SECONDS: f64 = 5.0;
/// Length of a test in rounds: usual, and while the queue keeps falling.
const TEST_LENGTH: u32 = 3;
const TEST_LONGEST: u32 = 8;

#[derive(Clone, Copy, Debug)]
enum Phase {
    Climb,
    Test {
        rounds: u32,
        held: f64,
        queuing_delay: f64,
    },
}

/// The competing state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compete {
    pub(super) curve: Curve,
    phase: Phase,
    grown_at: f64,
    /// Highest recent queuing delay, decaying by 1 % a round.
    peak: f64,
    /// Mean loss of the last rounds.
    loss: f64,
    round: u64,
    cut_round: u64,
    test_round: u64,
    tested_at: f64,
    /// Capacity by the last valid trains: cross traffic makes many of them invalid.
    capacity: Option<f64>,
}

impl Compete {
    pub(super) fn new(now: f64, curve: Curve, model: &Model) -> Self {
        Self {
            curve,
            phase: Phase::Climb,
            grown_at: now,
            peak: model.delay.queuing_delay,
            loss: 0.0,
            round: 0,
            cut_round: 0,
            test_round: 0,
            tested_at: now,
            capacity: model.trains.valid(),
        }
    }

    pub(super) fn is_testing(&self) -> bool {
        matches!(self.phase, Phase::Test { .. })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.phase {
            Phase::Climb => "compete",
            Phase::Test { .. } => "test",
        }
    }

    /// The window grows with every ACK while it is in use.
    pub(super) fn on_ack(&mut self, model: &mut Model, now: f64, packets: u64, used: bool) {
        let elapsed = (now - self.grown_at).min(model.delay.srtt);
        self.grown_at = now;
        //= spec/04-congestion.md#compete
        //# A window that delivers more than 0.6 of the capacity MUST NOT grow.
        let has_enough = self.share(model).is_some_and(|share| share > ENOUGH);
        if used && matches!(self.phase, Phase::Climb) && !has_enough {
            self.curve.grow(packets as f64, elapsed, model.delay.srtt);
            self.set_limits(model);
        }
    }

    /// Handles the end of a round; returns the rate held before the test when the buffer-filling flow has gone.
    pub(super) fn on_round(&mut self, model: &mut Model, round: &Round) -> Option<f64> {
        self.round += 1;
        self.loss += (round.loss() - self.loss) / FLOOD_ROUNDS;
        let cut = self.must_cut(model, round);
        self.capacity = model.trains.valid().or(self.capacity);
        if cut {
            self.cut(model);
            self.cut_round = self.round;
        }
        let left = match self.phase {
            Phase::Climb => {
                self.consider_test(model, round, cut);
                None
            }
            Phase::Test {
                rounds,
                held,
                queuing_delay,
            } => self.test(model, round, (rounds, held, queuing_delay)),
        };
        self.peak = (0.99 * self.peak).max(model.delay.queuing_delay);
        self.set_limits(model);
        left
    }

    //= spec/04-congestion.md#compete
    //# A competing sender MUST cut its window when a round loses more than the random-loss estimate explains while
    //# the queue is above half of its recent peak.
    fn must_cut(&self, model: &Model, round: &Round) -> bool {
        if self.round < self.cut_round + CUT_ROUNDS {
            return false;
        }
        let n = (round.acked + round.lost) as f64;
        let lost = round.lost as f64;
        let random_loss = model.random_loss.loss().min(WORST_RANDOM_LOSS);
        let more = lost > 1.5 * random_loss * n + 2.0 * (n * random_loss).sqrt();
        let filled = model.delay.queuing_delay > 0.5 * self.peak;
        round.ce > 0 || (more && filled) || lost > GROSS_LOSS * n
    }

    /// Share of the capacity, if trains measured one.
    fn share(&self, model: &Model) -> Option<f64> {
        self.capacity.map(|capacity| model.delivery.rate / capacity)
    }

    //= spec/04-congestion.md#compete
    //# A cut MUST take 0.6 times the share of the capacity, 0.1 to 0.3 of the window, and aim at a third
    //# of the capacity at least.
    fn cut(&mut self, model: &Model) {
        let (part, aim) = match (self.share(model), self.capacity) {
            (Some(share), Some(capacity)) if self.loss < FLOOD_LOSS => (
                (CUT_PER_SHARE * share).clamp(CUT_LEAST, CUT_MOST),
                AIM * capacity * model.delay.srtt / model.mtu,
            ),
            _ => (CUT_MOST, 0.0),
        };
        self.curve.cut_to(1.0 - part, LEAST_WINDOW, aim);
    }

    fn consider_test(&mut self, model: &Model, round: &Round, cut: bool) {
        let since = self.round - self.test_round;
        let others_backed_off = model.delay.queuing_delay < 0.75 * self.peak;
        let overdue = since >= TEST_ROUNDS && round.now - self.tested_at >= TEST_SECONDS;
        if since >= TEST_SPACING && (cut || others_backed_off || overdue) {
            self.phase = Phase::Test {
                rounds: 0,
                held: model.delivery.rate,
                queuing_delay: f64::INFINITY,
            };
        }
    }

    fn test(
        &mut self,
        model: &Model,
        round: &Round,
        (rounds, held, queuing_delay): (u32, f64, f64),
    ) -> Option<f64> {
        let now = model.delay.queuing_delay;
        if now < model.queue_target.max(0.1 * self.peak) && rounds > 0 {
            return Some(held);
        }
        let rounds = rounds + 1;
        let falling = now < 0.9 * queuing_delay && rounds < TEST_LONGEST;
        self.phase = if rounds < TEST_LENGTH || falling {
            Phase::Test {
                rounds,
                held,
                queuing_delay: now,
            }
        } else {
            self.test_round = self.round;
            self.tested_at = round.now;
            Phase::Climb
        };
        None
    }

    /// Sets rate and window.
    fn set_limits(&self, model: &mut Model) {
        let slack = model.delay.slack();
        match self.phase {
            Phase::Climb => {
                let window = self.curve.window() * model.mtu;
                model.cwnd = window + slack * model.delivery.rate;
                model.rate = 1.2 * window / model.delay.srtt;
            }
            Phase::Test { held, .. } => {
                model.cwnd = 0.8 * held * model.delay.min_rtt + slack * held;
                model.rate = held;
            }
        }
    }
}
