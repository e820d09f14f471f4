//! COMPETE and TEST: beside a buffer filler the flow is a CUBIC window whose cuts need evidence of
//! congestion, and looks now and then whether the filler has gone.
//! Who is a filler, and what happens after leaving, stands in `company`.

use super::model::{Model, Round};
use crate::congestion::cubic::Curve;

/// Most of the baseline that loss is compared with here: a polluted one would let the window grow
/// without bound.
pub(super) const WORST_BASELINE: f64 = 0.06;
/// Rounds between two cuts.
const CUT_ROUNDS: u64 = 2;
/// Loss that is congestion whatever the queue says.
const GROSS_LOSS: f64 = 0.2;
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
    Test { rounds: u32, held: f64, dq: f64 },
}

/// The competing state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compete {
    pub(super) curve: Curve,
    phase: Phase,
    grown_at: f64,
    /// Highest queue of late.
    peak: f64,
    round: u64,
    cut_round: u64,
    test_round: u64,
    tested_at: f64,
}

impl Compete {
    pub(super) fn new(now: f64, curve: Curve, dq: f64) -> Self {
        Self {
            curve,
            phase: Phase::Climb,
            grown_at: now,
            peak: dq,
            round: 0,
            cut_round: 0,
            test_round: 0,
            tested_at: now,
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
    pub(super) fn on_ack(&mut self, m: &mut Model, now: f64, packets: u64, used: bool) {
        let elapsed = (now - self.grown_at).min(m.delay.srtt);
        self.grown_at = now;
        if used && matches!(self.phase, Phase::Climb) {
            self.curve.grow(packets as f64, elapsed, m.delay.srtt);
            self.answer(m);
        }
    }

    /// One round; `Some` of the rate held before when the filler has gone.
    pub(super) fn on_round(&mut self, m: &mut Model, round: &Round) -> Option<f64> {
        self.round += 1;
        let cut = self.must_cut(m, round);
        if cut {
            self.curve.cut(4.0);
            self.cut_round = self.round;
        }
        let left = match self.phase {
            Phase::Climb => {
                self.consider_test(m, round, cut);
                None
            }
            Phase::Test { rounds, held, dq } => self.test(m, round, (rounds, held, dq)),
        };
        self.peak = (0.99 * self.peak).max(m.delay.dq);
        self.answer(m);
        left
    }

    //= spec/04-congestion.md#compete
    //# A competing sender MUST cut its window to 0.7 when a round loses more than the baseline explains
    //# while the queue is above half of its recent peak.
    fn must_cut(&self, m: &Model, round: &Round) -> bool {
        if self.round < self.cut_round + CUT_ROUNDS {
            return false;
        }
        let n = (round.acked + round.lost) as f64;
        let lost = round.lost as f64;
        let pb = m.baseline.loss().min(WORST_BASELINE);
        let more = lost > 1.5 * pb * n + 2.0 * (n * pb).sqrt();
        let filled = m.delay.dq > 0.5 * self.peak;
        round.ce > 0 || (more && filled) || lost > GROSS_LOSS * n
    }

    fn consider_test(&mut self, m: &Model, round: &Round, cut: bool) {
        let since = self.round - self.test_round;
        let others_backed_off = m.delay.dq < 0.75 * self.peak;
        let overdue = since >= TEST_ROUNDS && round.now - self.tested_at >= TEST_SECONDS;
        if since >= TEST_SPACING && (cut || others_backed_off || overdue) {
            self.phase = Phase::Test {
                rounds: 0,
                held: m.delivery.rate,
                dq: f64::INFINITY,
            };
        }
    }

    fn test(
        &mut self,
        m: &Model,
        round: &Round,
        (rounds, held, dq): (u32, f64, f64),
    ) -> Option<f64> {
        let now = m.delay.dq;
        if now < m.queue_target.max(0.1 * self.peak) && rounds > 0 {
            return Some(held);
        }
        let rounds = rounds + 1;
        let falling = now < 0.9 * dq && rounds < TEST_LONGEST;
        self.phase = if rounds < TEST_LENGTH || falling {
            Phase::Test {
                rounds,
                held,
                dq: now,
            }
        } else {
            self.test_round = self.round;
            self.tested_at = round.now;
            Phase::Climb
        };
        None
    }

    /// Rate and window from the state.
    fn answer(&self, m: &mut Model) {
        let slack = m.delay.slack();
        match self.phase {
            Phase::Climb => {
                let window = self.curve.window() * m.mtu;
                m.cwnd = window + slack * m.delivery.rate;
                m.rate = 1.2 * window / m.delay.srtt;
            }
            Phase::Test { held, .. } => {
                m.cwnd = 0.8 * held * m.delay.base_rtt + slack * held;
                m.rate = held;
            }
        }
    }
}
