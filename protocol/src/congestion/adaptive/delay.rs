//! DELAY and DRAIN: hold a small queue at the rate that is delivered, grow where there is no queue, and let it
//! run empty now and then so that every flow sees the minimum RTT.
//! Losses are answered in `loss_response`, cross traffic in `compete`.

use super::model::{Model, Round};

/// A queuing delay above this many times the jitter is a queue for sure, and so is one above this share of the
/// minimum RTT.
const SURE: f64 = 1.2;
const SURE_MOST: f64 = 0.08;
/// Share of the capacity above which a flow counts as alone.
const ALONE: f64 = 0.6;
/// Largest growth per round while a queue may be jitter.
const GROWTH_UNSURE: f64 = 0.12;
/// Growth per round without a queue: at first, and at most.
const GROWTH: f64 = 0.03;
const GROWTH_FASTEST: f64 = 0.25;
/// The same for a scavenger: slow enough to see other flows come back.
const SCAVENGER_FASTEST: f64 = 0.15;
/// Growing rounds in which delivery must keep up before the growth doubles.
const GROWTH_ROUNDS: u32 = 3;
/// The same where trains say that there is room for twice the rate.
const ROOMY_ROUNDS: u32 = 2;
/// Gain of the queue controller per RTT.
const GAIN: f64 = 0.7;
/// Longest DRAIN.
const DRAIN_ROUNDS: u32 = 2;

/// The steady state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    growth: f64,
    growing_rounds: u32,
    /// When the queue was last seen empty.
    emptied_at: f64,
    drain: Option<Drain>,
    last_delivered: f64,
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    rounds: u32,
    before: f64,
}

impl Delay {
    pub(super) fn new(now: f64) -> Self {
        Self {
            growth: GROWTH,
            growing_rounds: 0,
            emptied_at: now,
            drain: None,
            last_delivered: 0.0,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn name(&self) -> &'static str {
        if self.drain.is_some() {
            "drain"
        } else {
            "delay"
        }
    }

    pub(super) fn on_round(&mut self, model: &mut Model, round: &Round) {
        if model.delay.queuing_delay <= model.queue_target / 4.0 {
            self.emptied_at = round.now;
        }
        if !self.draining(model, round) {
            self.steer(model, round);
        }
        //= spec/04-congestion.md#marks
        //# After a round with CE marks the rate MUST NOT be above 0.95 of the delivered rate.
        if round.ce > 0 && model.delivery.rate > 0.0 {
            model.rate = model.rate.min(0.95 * model.delivery.rate);
        }
        model.rate = model.rate.min(model.loss_response.cap(round.now));
        self.set_window(model);
    }

    fn steer(&mut self, model: &mut Model, round: &Round) {
        let (min_rtt, rate) = (model.delay.min_rtt, model.delivery.rate);
        if model.delay.queuing_delay > model.queue_target / 4.0 && rate > 0.0 {
            let before = model.rate;
            let may_be_jitter =
                model.delay.queuing_delay <= (SURE * model.delay.jitter()).min(SURE_MOST * min_rtt);
            if may_be_jitter && model.share > ALONE {
                // A lower rate does not remove jitter. Beside other flows the delay varies because they come and
                // go: there the smaller flows could not catch up if this one grew.
                self.growth = self.growth.min(GROWTH_UNSURE);
                self.grow(model, round);
            } else {
                self.growing_rounds = 0;
                self.growth = GROWTH;
            }
            // Adds what was sent since the measured queue was built (a Smith predictor): without it the loop
            // reacts twice to the same queue.
            let ahead = (model.rate / rate - 1.0).clamp(-0.3, 0.3);
            let queuing_delay =
                model.delay.queuing_delay + 0.8 * model.share * model.delay.srtt * ahead;
            let (least, most) = if model.scavenger {
                (-0.5, 0.05)
            } else {
                (-0.3, 0.05 + 0.2 * (1.0 - model.share))
            };
            let change = (GAIN * (model.queue_target - queuing_delay) / min_rtt).clamp(least, most);
            let next = rate * (1.0 + change);
            if model.rate > before {
                model.rate = model.rate.max(next);
            } else if !(round.app_limited && next > before) {
                model.rate = next;
            }
        } else {
            self.grow(model, round);
        }
    }

    //= spec/04-congestion.md#growth
    //# The rate MUST NOT grow after a round in which the application, and not the rate, was the limit.
    fn grow(&mut self, model: &mut Model, round: &Round) {
        if round.excess {
            self.growth = GROWTH;
            self.growing_rounds = 0;
            return;
        }
        // A burst shows its queue for a moment only.
        let has_filled = round.half_full && model.delay.peak() < model.queue_target;
        let is_short = round.app_limited && !has_filled;
        if is_short || round.is_kept_back() {
            return;
        }
        let has_room = model.trains.valid().is_some_and(|c| 2.0 * model.rate < c);
        let needed = if has_room {
            ROOMY_ROUNDS
        } else {
            GROWTH_ROUNDS
        };
        let keeps_up = round.spanned > 0.9 * round.sent_rate;
        self.growing_rounds = if keeps_up { self.growing_rounds + 1 } else { 0 };
        if self.growing_rounds >= needed {
            self.growth *= 2.0;
            self.growing_rounds = 0;
        }
        let fastest = if model.scavenger {
            SCAVENGER_FASTEST
        } else if 2.0 * model.rate < model.capacity {
            1.0
        } else {
            GROWTH_FASTEST
        };
        self.growth = self.growth.min(fastest);
        let mut growth = self.growth;
        if model.rate > 0.96 * model.capacity && model.trains.valid().is_some() {
            growth = growth.min(0.015);
        }
        if let Some(loss_limit) = model.loss_response.loss_limit()
            && round.now - loss_limit.set_at < 12.0
        {
            growth = growth.min(0.1);
            if (0.6..1.3).contains(&(model.rate / loss_limit.rate)) {
                let most = if loss_limit.is_confirmed() {
                    0.02
                } else {
                    0.06
                };
                growth = growth.min(most * (model.delay.srtt / 0.1).min(1.0));
            }
        }
        model.rate *= 1.0 + growth;
    }

    //= spec/04-congestion.md#drain
    //# A sender that has not seen the queue empty for the longer of 5 s and 30 minimum RTTs MUST let it
    //# run empty.
    fn draining(&mut self, model: &mut Model, round: &Round) -> bool {
        let (min_rtt, rate) = (model.delay.min_rtt, model.delivery.rate);
        if let Some(drain) = &mut self.drain {
            drain.rounds += 1;
            if drain.rounds < DRAIN_ROUNDS && model.delay.queuing_delay >= 0.3 * model.queue_target
            {
                return true;
            }
            model.rate = rate.max(0.95 * drain.before);
            model.delivery.set(model.rate);
            self.drain = None;
            self.emptied_at = round.now;
            return true;
        }
        let max_delay = (30.0 * min_rtt).max(5.0) * model.random_factor();
        if round.now - self.emptied_at < max_delay || rate <= 0.0 {
            return false;
        }
        let depth =
            (1.3 * model.delay.queuing_delay / (min_rtt * model.share) + 0.03).clamp(0.05, 0.6);
        self.drain = Some(Drain {
            rounds: 0,
            before: rate,
        });
        model.rate = rate * (1.0 - depth);
        true
    }

    fn set_window(&mut self, model: &mut Model) {
        let rate = model.rate.max(model.delivery.rate);
        let time = model.delay.min_rtt + 1.5 * model.queue_target + model.delay.slack();
        let window = 1.1 * rate * time + 6.0 * model.mtu;
        let halved = model.delivery.rate < 0.5 * self.last_delivered;
        self.last_delivered = model.delivery.rate;
        //= spec/04-congestion.md#window
        //# The window MUST NOT fall by more than a quarter in a round unless the delivered rate halved.
        model.cwnd = if halved {
            window
        } else {
            window.max(0.75 * model.cwnd)
        };
    }
}
