//! Company: when a queue is somebody else's doing, and the time after he seems to have gone.
//! What the flow does meanwhile is `compete`'s.

use super::{
    compete::{Compete, WORST_BASELINE},
    model::{Model, Round},
};
use crate::congestion::cubic::Curve;

/// Score at which a filler is believed in: at first, and on probation.
const ENTER: u32 = 50;
const ENTER_AGAIN: u32 = 20;
/// Score is held here while the queue is falling.
const FALLING: u32 = 4;
/// Share of the rate held before the test that is kept on probation.
const KEPT: f64 = 0.93;

/// The time after a filler seems to have gone.
#[derive(Clone, Copy, Debug)]
struct Probation {
    until: f64,
    /// Rate to be kept.
    floor: f64,
    curve: Curve,
    aged_at: f64,
}

/// What is known of others on the path.
#[derive(Debug)]
pub(super) struct Company {
    score: u32,
    /// Delivered rate when the queue first rose.
    began: f64,
    /// Queues and delivered rates of the last rounds, newest last.
    queues: [f64; 4],
    delivered: [f64; 4],
    probation: Option<Probation>,
}

impl Company {
    pub(super) fn new() -> Self {
        Self {
            score: 0,
            began: 0.0,
            queues: [0.0; 4],
            delivered: [0.0; 4],
            probation: None,
        }
    }

    pub(super) fn on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// A round of DELAY or DRAIN has been steered: keep what probation promises, and tell whether to
    /// compete.
    pub(super) fn on_round(&mut self, m: &mut Model, round: &Round) -> Option<Compete> {
        self.count(m);
        if let Some(probation) = &mut self.probation {
            let elapsed = (round.now - probation.aged_at).min(m.delay.srtt);
            probation.curve.age(elapsed);
            probation.aged_at = round.now;
            if round.now > probation.until {
                self.probation = None;
            }
        }
        let needed = if self.on_probation() {
            ENTER_AGAIN
        } else {
            ENTER
        };
        if self.score >= needed {
            return Some(self.enter(m, round));
        }
        if let Some(probation) = self.probation {
            m.rate = m.rate.max(probation.floor);
            let time = m.delay.srtt + m.delay.slack();
            m.cwnd = m.cwnd.max(1.1 * probation.floor * time);
        }
        None
    }

    fn count(&mut self, m: &Model) {
        let (dq, base) = (m.delay.dq, m.delay.base_rtt);
        self.queues = [self.queues[1], self.queues[2], self.queues[3], dq];
        let [_, rates @ ..] = self.delivered;
        self.delivered = [rates[0], rates[1], rates[2], m.delivery.rate];
        let some = (1.5 * m.queue_target)
            .max(0.09 * base)
            .min((0.2 * base).max(1.5 * m.delay.noise()));
        let much = (0.13 * base).max(some);
        let before = self.score;
        self.score = match dq {
            dq if dq > much => before + 5,
            dq if dq > some => before + 2,
            _ => 0,
        };
        // A queue that sinks is being taken care of: own flows do that, fillers do not.
        if dq < 0.7 * self.queues[0] {
            self.score = self.score.min(FALLING);
        }
        if before == 0 {
            // What made the queue has taken from the newest of them.
            self.began = self.delivered.iter().copied().fold(0.0, f64::max);
        }
    }

    //= spec/04-congestion.md#compete
    //# The baseline MUST NOT count as more than 0.06 while competing.
    fn enter(&mut self, m: &mut Model, round: &Round) -> Compete {
        let (srtt, mtu) = (m.delay.srtt, m.mtu);
        let own_best = m.trains.best_delivered(round.now);
        let rate = m
            .delivery
            .rate
            .max(self.began)
            .max((m.capacity / 2.0).min(own_best));
        let window = (srtt * rate / mtu).max(4.0);
        let curve = match self.probation.take() {
            Some(probation) => {
                let present = (srtt * m.delivery.rate / mtu).max(4.0);
                let mut curve = probation.curve;
                curve.set_window(curve.window().clamp(0.7 * present, 1.5 * present));
                curve
            }
            None => Curve::new(window, window.max(srtt * m.capacity / (2.0 * mtu))),
        };
        if m.baseline.loss() > WORST_BASELINE {
            m.baseline.set(round.now, WORST_BASELINE);
        }
        self.score = 0;
        Compete::new(round.now, curve, m)
    }

    /// The filler has gone, or so it seems: `held` was delivered before the test.
    pub(super) fn leave(&mut self, m: &Model, round: &Round, curve: Curve, held: f64) {
        self.score = 0;
        self.queues = [0.0; 4];
        self.probation = Some(Probation {
            until: round.now + (40.0 * m.delay.srtt).max(8.0),
            floor: KEPT * held,
            curve,
            aged_at: round.now,
        });
    }
}
