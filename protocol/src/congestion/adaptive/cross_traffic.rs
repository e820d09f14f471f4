//! Detects buffer-filling cross traffic, and keeps the rate on probation after it seems to have gone.
//! What the flow does meanwhile stands in `compete`.

use super::{
    compete::{Compete, WORST_RANDOM_LOSS},
    model::{Model, Round},
};
use crate::congestion::cubic::Curve;

/// Scores at which a standing queue counts as a buffer-filling flow's: usually, and on probation.
const ENTER: u32 = 50;
const ENTER_AGAIN: u32 = 20;
/// Highest score while the queue is falling.
const FALLING: u32 = 4;
/// Fraction of the rate held before the test that probation keeps.
const KEPT: f64 = 0.93;

/// Probation: the time after a buffer-filling flow seems to have gone.
#[derive(Clone, Copy, Debug)]
struct Probation {
    until: f64,
    /// Lowest rate, bytes per second.
    floor: f64,
    curve: Curve,
    aged_at: f64,
}

/// Evidence of cross traffic on the path.
#[derive(Debug)]
pub(super) struct CrossTraffic {
    score: u32,
    /// Delivered rate when the queue first rose.
    rate_before: f64,
    /// Queues and delivered rates of the last rounds, newest last.
    queues: [f64; 4],
    delivered: [f64; 4],
    probation: Option<Probation>,
}

impl CrossTraffic {
    pub(super) fn new() -> Self {
        Self {
            score: 0,
            rate_before: 0.0,
            queues: [0.0; 4],
            delivered: [0.0; 4],
            probation: None,
        }
    }

    pub(super) fn on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// Handles the end of a round of DELAY or DRAIN: applies probation, and returns the new state if it is time to
    /// compete.
    pub(super) fn on_round(&mut self, model: &mut Model, round: &Round) -> Option<Compete> {
        self.count(model);
        if let Some(probation) = &mut self.probation {
            let elapsed = (round.now - probation.aged_at).min(model.delay.srtt);
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
            return Some(self.enter(model, round));
        }
        if let Some(probation) = self.probation {
            model.rate = model.rate.max(probation.floor);
            let time = model.delay.srtt + model.delay.slack();
            model.cwnd = model.cwnd.max(1.1 * probation.floor * time);
        }
        None
    }

    fn count(&mut self, model: &Model) {
        let (queuing_delay, min_rtt) = (model.delay.queuing_delay, model.delay.min_rtt);
        self.queues = [
            self.queues[1],
            self.queues[2],
            self.queues[3],
            queuing_delay,
        ];
        let [_, rates @ ..] = self.delivered;
        self.delivered = [rates[0], rates[1], rates[2], model.delivery.rate];
        let some = (1.5 * model.queue_target)
            .max(0.09 * min_rtt)
            .min((0.2 * min_rtt).max(1.5 * model.delay.jitter()));
        let much = (0.13 * min_rtt).max(some);
        let before = self.score;
        self.score = match queuing_delay {
            queuing_delay if queuing_delay > much => before + 5,
            queuing_delay if queuing_delay > some => before + 2,
            _ => 0,
        };
        // Flows of our own kind drain a queue, loss-based ones do not.
        if queuing_delay < 0.7 * self.queues[0] {
            self.score = self.score.min(FALLING);
        }
        if before == 0 {
            // The newest rounds may have lost to the flow that makes the queue.
            self.rate_before = self.delivered.iter().copied().fold(0.0, f64::max);
        }
    }

    //= spec/04-congestion.md#compete
    //# The random-loss estimate MUST NOT count as more than 0.06 while competing.
    fn enter(&mut self, model: &mut Model, round: &Round) -> Compete {
        let (srtt, mtu) = (model.delay.srtt, model.mtu);
        let own_best = model.trains.best_delivered(round.now);
        let rate = model
            .delivery
            .rate
            .max(self.rate_before)
            .max((model.capacity / 2.0).min(own_best));
        let window = (srtt * rate / mtu).max(4.0);
        let curve = match self.probation.take() {
            Some(probation) => {
                let present = (srtt * model.delivery.rate / mtu).max(4.0);
                let mut curve = probation.curve;
                curve.set_window(curve.window().clamp(0.7 * present, 1.5 * present));
                curve
            }
            None => Curve::new(window, window.max(srtt * model.capacity / (2.0 * mtu))),
        };
        if model.random_loss.loss() > WORST_RANDOM_LOSS {
            model.random_loss.set(round.now, WORST_RANDOM_LOSS);
        }
        self.score = 0;
        Compete::new(round.now, curve, model)
    }

    /// Starts probation: the buffer-filling flow seems to have gone, `held` was delivered before the test.
    pub(super) fn leave(&mut self, model: &Model, round: &Round, curve: Curve, held: f64) {
        self.score = 0;
        self.queues = [0.0; 4];
        self.probation = Some(Probation {
            until: round.now + (40.0 * model.delay.srtt).max(8.0),
            floor: KEPT * held,
            curve,
            aged_at: round.now,
        });
    }
}
