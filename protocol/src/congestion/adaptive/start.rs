//! START: find the rate in a few round trips, without a queue to tell it.
//! The steady state is `delay`'s.

use super::model::{Model, Round};

/// Packets in the first round, sent as trains.
pub(super) const INITIAL_PACKETS: f64 = 32.0;
/// Packets that may be in flight in it: so many that its trains need not wait.
pub(super) const INITIAL_WINDOW: f64 = 40.0;
/// Packets in each train of START.
pub(super) const TRAIN_PACKETS: f64 = 8.0;
/// Resolved packets that end the first round without valid trains: four trains, one more than make an estimate.
const FIRST_ROUND_PACKETS: u64 = 32;
/// Resolved packets that end a later round.
const ROUND_PACKETS: u64 = 8;
/// Rounds without growth after which START is over, without valid trains.
const PLATEAU_ROUNDS: u32 = 3;
/// Largest first step, as a factor, with valid trains.
const FIRST_STEP: f64 = 32.0;
/// Fraction of its rate that a round must have been sent at to justify a higher one.
const FULL_ROUND: f64 = 0.7;
/// Loss above that of the rounds before that counts as self-made.
const OWN_LOSS: f64 = 0.05;
/// The same, so much that it need not wait for the end of the round.
const GROSS_LOSS: f64 = 0.25;
/// Random losses of a small round: an application may keep a flow in START for hundreds of rounds.
const FEW_LOST: f64 = 2.0;
/// Largest random-loss estimate of START.
const WORST_RANDOM_LOSS: f64 = 0.12;

/// The start-up state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    rounds: u32,
    /// Valid trains have set the rate once.
    informed: bool,
    resolved: u64,
    lost: u64,
    best: f64,
    flat_rounds: u32,
}

impl Start {
    /// Packets that must be resolved before the current round ends.
    pub(super) fn round_packets(&self) -> u64 {
        if self.is_first_round() {
            FIRST_ROUND_PACKETS
        } else {
            ROUND_PACKETS
        }
    }

    /// Whether trains have become valid and the rate does not follow them yet: the round need not end.
    pub(super) fn has_news(&self, model: &Model) -> bool {
        !self.informed && model.trains.valid().is_some()
    }

    /// Whether no round has ended yet.
    pub(super) fn is_first_round(&self) -> bool {
        self.rounds == 0
    }

    /// Time between two trains, in seconds: shorter in the first round.
    pub(super) fn train_interval(&self, srtt: f64) -> f64 {
        if self.is_first_round() {
            (srtt / 16.0).clamp(0.002, 0.02)
        } else {
            (srtt / 4.0).max(0.01)
        }
    }

    /// Whether START has overshot, before the end of the round.
    ///
    /// A step to four times the rate sends as much in a quarter of a round as the step before did in
    /// all of it: waiting for the end would fill the queue.
    pub(super) fn is_overdone(&self, model: &Model, now: f64) -> bool {
        if self.rounds < 2 {
            return false;
        }
        let from = (now - model.delay.srtt / 4.0).max(model.rounds.started_at());
        let tally = model.rounds.tally();
        let resolved = tally.acked + tally.lost;
        model.delay.queue_since(from) > Self::exit_queue(model)
            || (resolved >= 40 && tally.lost as f64 > self.lost_by_chance(resolved, GROSS_LOSS))
    }

    /// The queuing delay that ends START, in seconds.
    fn exit_queue(model: &Model) -> f64 {
        // The share does not count: it is small only because the flow is new.
        (2.0 * model.queue_alone)
            .max(0.003)
            .max(0.06 * model.delay.min_rtt)
    }

    /// Handles the end of a round; true when START is over.
    pub(super) fn on_round(&mut self, model: &mut Model, round: &Round) -> bool {
        self.rounds += 1;
        let done = self.is_done(model, round);
        // If the last step was too large, its loss is self-made.
        if !(done && self.resolved > 0 && self.loses_more(round)) {
            self.resolved += round.acked + round.lost;
            self.lost += round.lost;
        }
        if done {
            self.finish(model, round);
        } else {
            self.grow(model, round);
        }
        model.cwnd = Self::window(model);
        done
    }

    /// The window in START, in bytes.
    pub(super) fn window(model: &Model) -> f64 {
        1.2 * model.rate * (model.delay.min_rtt + model.delay.slack()) + 16.0 * model.mtu
    }

    fn grow(&mut self, model: &mut Model, round: &Round) {
        let news = self.has_news(model);
        self.informed |= news;
        // A moment without data marks a whole round as limited by the application; what counts is
        // whether the round was sent at about the rate in force.
        let is_short = model.rounds.current().is_none_or(|sent| {
            sent.app_limited
                && sent
                    .sent_rate()
                    .is_none_or(|rate| rate < FULL_ROUND * model.rate)
        });
        // With a queue before any delivery was measured, it is too early to end and to step.
        let is_queued = model.delay.queuing_delay > Self::exit_queue(model);
        if !news && self.rounds > 1 && (is_short || is_queued) {
            return;
        }
        let first = INITIAL_PACKETS * model.mtu / model.delay.srtt;
        //= spec/04-congestion.md#start
        //# With a valid capacity estimate the rate MUST NOT be raised above 0.95 of it.
        match model.trains.valid() {
            Some(capacity) if model.scavenger => {
                model.rate = (2.0 * model.rate).min(0.95 * capacity)
            }
            Some(capacity) if news => {
                let step = (FIRST_STEP * first).min(capacity / 2.0);
                model.rate = if self.rounds == 1 {
                    step
                } else {
                    model.rate.max(step)
                };
            }
            Some(capacity) => {
                model.rate = (4.0 * model.rate).min(0.95 * capacity.max(model.delivery.rate))
            }
            None if self.rounds == 1 => model.rate = 2.0 * first,
            None => {
                model.rate = (2.0 * model.rate).min((4.0 * model.delivery.rate).max(2.0 * first))
            }
        }
        model.resume(round);
    }

    fn is_done(&mut self, model: &mut Model, round: &Round) -> bool {
        let queue = Self::exit_queue(model);
        if self.rounds < 2 {
            return false;
        }
        let rate = model.delivery.rate;
        let loss = self.loss();
        if round.overdone {
            let queue_ended_it =
                model.delay.queue_since(round.now - model.delay.srtt / 4.0) > queue;
            // With a queue, what came out of it is the capacity, whatever the sender could have sent.
            let measured = if queue_ended_it {
                round.spanned
            } else {
                round.arrival
            };
            let rate = if measured > 0.0 { measured } else { rate };
            // Cross traffic fills the queue, and the step before was far lower: begin nearer to a fair share.
            let fair = model
                .trains
                .valid()
                .map_or(0.0, |capacity| (2.0 * rate).min(capacity / 4.0));
            let rate = if queue_ended_it {
                (0.97 * rate).max(fair)
            } else {
                0.95 * rate / (1.0 - loss)
            };
            model.rate = rate.min(model.rate);
            model.delivery.set(model.rate);
            if !queue_ended_it {
                let srtt = model.delay.srtt;
                model
                    .loss_response
                    .note_loss_limit(round.now, srtt, model.rate / 0.95, true);
            }
            return true;
        }
        if (model.delay.queuing_delay > queue || round.ce > 0) && rate > 0.0 {
            model.rate = model.rate.min(0.97 * rate);
            return true;
        }
        let goal = model
            .trains
            .valid()
            .unwrap_or(f64::INFINITY)
            .min(model.max_rate);
        if rate > 0.85 * goal {
            return true;
        }
        if self.is_saturated(round) {
            model.rate = (0.95 * round.arrival / (1.0 - loss)).min(model.rate);
            model.delivery.set(model.rate);
            let srtt = model.delay.srtt;
            model
                .loss_response
                .note_loss_limit(round.now, srtt, model.rate / 0.95, true);
            return true;
        }
        self.is_flat(model, round)
    }

    /// Whether less arrives than was sent, and more is lost than at the lower rates before.
    fn is_saturated(&self, round: &Round) -> bool {
        let before = self.lost as f64 / (self.resolved as f64).max(1.0);
        self.rounds >= 3
            && round.arrival > 0.0
            && round.arrival < 0.7 * round.sent_rate * (1.0 - before.min(WORST_RANDOM_LOSS))
            && self.loses_more(round)
    }

    /// Whether significantly more is lost than in the rounds before.
    fn loses_more(&self, round: &Round) -> bool {
        let resolved = round.acked + round.lost;
        round.lost as f64 > self.lost_by_chance(resolved, OWN_LOSS) + FEW_LOST
    }

    /// Losses among `resolved` packets that the rounds before explain, with a `margin` on their mean.
    fn lost_by_chance(&self, resolved: u64, margin: f64) -> f64 {
        let before = self.lost as f64 / (self.resolved as f64).max(1.0);
        let n = resolved as f64;
        // The loss of the rounds before is a sample too, often no larger one.
        let samples = 1.0 + n / (self.resolved as f64).max(1.0);
        let sigma = (n * samples * before.max(0.01) * (1.0 - before)).sqrt();
        (before + margin) * n + 2.0 * sigma
    }

    /// Whether three full rounds brought no growth.
    fn is_flat(&mut self, model: &Model, round: &Round) -> bool {
        let rate = model.delivery.rate;
        if rate > 1.25 * self.best {
            self.best = rate;
            self.flat_rounds = 0;
        } else if !round.app_limited && model.rate > 1.25 * rate {
            self.flat_rounds += 1;
        }
        self.flat_rounds >= PLATEAU_ROUNDS
    }

    fn loss(&self) -> f64 {
        (self.lost as f64 / (self.resolved as f64).max(1.0)).min(WORST_RANDOM_LOSS)
    }

    //= spec/04-congestion.md#start
    //# The random-loss estimate START hands on MUST NOT be above 0.12.
    fn finish(&self, model: &mut Model, round: &Round) {
        model
            .random_loss
            .begin(round.now, self.loss(), self.resolved);
        let next = model.rounds.number() + 1;
        model.loss_response.begin(next);
    }
}
