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
/// Part of the window that a cut takes, by the share of the capacity, and its bounds.
const CUT_PER_SHARE: f64 = 0.6;
const CUT_LEAST: f64 = 0.1;
const CUT_MOST: f64 = 0.3;
/// Mean loss, over about so many rounds, from which on a cut is a full one: who floods the path has no
/// share to defend.
const FLOOD_LOSS: f64 = 0.1;
const FLOOD_ROUNDS: f64 = 8.0;
/// Share of the capacity that the window aims at after a cut, whatever it was before.
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
    /// Mean loss of the last rounds.
    loss: f64,
    round: u64,
    cut_round: u64,
    test_round: u64,
    tested_at: f64,
    /// By the last valid trains; company spoils many.
    capacity: Option<f64>,
}

impl Compete {
    pub(super) fn new(now: f64, curve: Curve, m: &Model) -> Self {
        Self {
            curve,
            phase: Phase::Climb,
            grown_at: now,
            peak: m.delay.dq,
            loss: 0.0,
            round: 0,
            cut_round: 0,
            test_round: 0,
            tested_at: now,
            capacity: m.trains.valid(),
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
        //= spec/04-congestion.md#compete
        //# A window that delivers more than 0.6 of the capacity MUST NOT grow.
        let has_enough = self.share(m).is_some_and(|share| share > ENOUGH);
        if used && matches!(self.phase, Phase::Climb) && !has_enough {
            self.curve.grow(packets as f64, elapsed, m.delay.srtt);
            self.answer(m);
        }
    }

    /// One round; `Some` of the rate held before when the filler has gone.
    pub(super) fn on_round(&mut self, m: &mut Model, round: &Round) -> Option<f64> {
        self.round += 1;
        self.loss += (round.loss() - self.loss) / FLOOD_ROUNDS;
        let cut = self.must_cut(m, round);
        self.capacity = m.trains.valid().or(self.capacity);
        if cut {
            self.cut(m);
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
    //# A competing sender MUST cut its window when a round loses more than the baseline explains while
    //# the queue is above half of its recent peak.
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

    /// Share of the capacity, where trains told one.
    fn share(&self, m: &Model) -> Option<f64> {
        self.capacity.map(|capacity| m.delivery.rate / capacity)
    }

    //= spec/04-congestion.md#compete
    //# A cut MUST take 0.6 times the share of the capacity, 0.1 to 0.3 of the window, and aim at a third
    //# of the capacity at least.
    fn cut(&mut self, m: &Model) {
        let (part, aim) = match (self.share(m), self.capacity) {
            (Some(share), Some(capacity)) if self.loss < FLOOD_LOSS => (
                (CUT_PER_SHARE * share).clamp(CUT_LEAST, CUT_MOST),
                AIM * capacity * m.delay.srtt / m.mtu,
            ),
            _ => (CUT_MOST, 0.0),
        };
        self.curve.cut_to(1.0 - part, LEAST_WINDOW, aim);
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
