//! START: find the rate in a few round trips, without a queue to tell it.
//! The steady state is `delay`'s.

use super::model::{Model, Round};

/// Packets in the first round, sent as trains.
pub(super) const INITIAL_PACKETS: f64 = 32.0;
/// Packets that may be in flight in it: so many that its trains need not wait.
pub(super) const INITIAL_WINDOW: f64 = 40.0;
/// Packets in each train of START.
pub(super) const TRAIN_PACKETS: f64 = 8.0;
/// Packets that end the first round where no trains agree: four trains, one more than make an estimate.
const FIRST_ROUND_PACKETS: u64 = 32;
/// Packets that end a later round.
const ROUND_PACKETS: u64 = 8;
/// Rounds without growth after which the rate is taken for found, where no train says so.
const PLATEAU_ROUNDS: u32 = 3;
/// Most that the rate is multiplied by after the first round, where trains say that there is room.
const FIRST_STEP: f64 = 32.0;
/// Share of the rate in force that a round must have been sent at to justify a higher one.
const FULL_ROUND: f64 = 0.7;
/// Loss above that of the rounds before which the last one is blamed for.
const OWN_LOSS: f64 = 0.05;
/// The same of a round that need not end to be known for too much.
const GROSS_LOSS: f64 = 0.25;
/// Packets that chance takes of a small round: an application may keep a flow in START for hundreds of rounds.
const FEW_LOST: f64 = 2.0;
/// Most loss that START believes to be the path's own.
const WORST_BASELINE: f64 = 0.12;

/// The start-up state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    rounds: u32,
    /// The rate was chosen by trains.
    informed: bool,
    resolved: u64,
    lost: u64,
    best: f64,
    flat_rounds: u32,
}

impl Start {
    /// Packets that must be resolved before the present round ends.
    pub(super) fn round_packets(&self) -> u64 {
        if self.is_first_round() {
            FIRST_ROUND_PACKETS
        } else {
            ROUND_PACKETS
        }
    }

    /// Whether trains tell a capacity that the rate does not know of yet: no round's end tells more.
    pub(super) fn has_news(&self, m: &Model) -> bool {
        !self.informed && m.trains.valid().is_some()
    }

    /// Whether nothing has come back yet that the rate could follow.
    pub(super) fn is_first_round(&self) -> bool {
        self.rounds == 0
    }

    /// Time from train to train: the first ones in quick succession.
    pub(super) fn train_interval(&self, srtt: f64) -> f64 {
        if self.is_first_round() {
            (srtt / 16.0).clamp(0.002, 0.02)
        } else {
            (srtt / 4.0).max(0.01)
        }
    }

    /// Whether the present round need not end to know that START is over.
    ///
    /// A step to four times the rate sends as much in a quarter of a round as the step before did in
    /// all of it: waiting for the end would fill the queue.
    pub(super) fn is_overdone(&self, m: &Model, now: f64) -> bool {
        if self.rounds < 2 {
            return false;
        }
        let from = (now - m.delay.srtt / 4.0).max(m.rounds.started_at());
        let tally = m.rounds.tally();
        let resolved = tally.acked + tally.lost;
        m.delay.queue_since(from) > Self::exit_queue(m)
            || (resolved >= 40 && tally.lost as f64 > self.lost_by_chance(resolved, GROSS_LOSS))
    }

    /// The queue that ends START.
    fn exit_queue(m: &Model) -> f64 {
        // Not by the share: it is small only because the flow is new.
        (2.0 * m.queue_alone)
            .max(0.003)
            .max(0.06 * m.delay.base_rtt)
    }

    /// One round; true when START is over.
    pub(super) fn on_round(&mut self, m: &mut Model, round: &Round) -> bool {
        self.rounds += 1;
        let done = self.is_done(m, round);
        // A last step that was too long made its loss itself.
        if !(done && self.resolved > 0 && self.loses_more(round)) {
            self.resolved += round.acked + round.lost;
            self.lost += round.lost;
        }
        if done {
            self.finish(m, round);
        } else {
            self.grow(m, round);
        }
        m.cwnd = Self::window(m);
        done
    }

    /// The window of this state.
    pub(super) fn window(m: &Model) -> f64 {
        1.2 * m.rate * (m.delay.base_rtt + m.delay.slack()) + 16.0 * m.mtu
    }

    fn grow(&mut self, m: &mut Model, round: &Round) {
        let news = self.has_news(m);
        self.informed |= news;
        // A moment without data marks a whole round as limited by the application; what counts is
        // whether the round was sent at about the rate in force.
        let is_short = m.rounds.present().is_none_or(|sent| {
            sent.app_limited
                && sent
                    .sent_rate()
                    .is_none_or(|rate| rate < FULL_ROUND * m.rate)
        });
        // A queue before anything was measured to have been delivered: it is too early to end, and to step.
        let is_queued = m.delay.dq > Self::exit_queue(m);
        if !news && self.rounds > 1 && (is_short || is_queued) {
            return;
        }
        let first = INITIAL_PACKETS * m.mtu / m.delay.srtt;
        //= spec/04-congestion.md#start
        //# With a valid capacity estimate the rate MUST NOT be raised above 0.95 of it.
        match m.trains.valid() {
            Some(capacity) if m.yields => m.rate = (2.0 * m.rate).min(0.95 * capacity),
            Some(capacity) if news => {
                let step = (FIRST_STEP * first).min(capacity / 2.0);
                m.rate = if self.rounds == 1 {
                    step
                } else {
                    m.rate.max(step)
                };
            }
            Some(capacity) => m.rate = (4.0 * m.rate).min(0.95 * capacity.max(m.delivery.rate)),
            None if self.rounds == 1 => m.rate = 2.0 * first,
            None => m.rate = (2.0 * m.rate).min((4.0 * m.delivery.rate).max(2.0 * first)),
        }
        m.resume(round);
    }

    fn is_done(&mut self, m: &mut Model, round: &Round) -> bool {
        let queue = Self::exit_queue(m);
        if self.rounds < 2 {
            return false;
        }
        let rate = m.delivery.rate;
        let loss = self.loss();
        if round.overdone {
            let lossless = m.delay.queue_since(round.now - m.delay.srtt / 4.0) > queue;
            // A queue shows what came out of it, whatever the sender could have sent.
            let measured = if lossless {
                round.spanned
            } else {
                round.arrival
            };
            let rate = if measured > 0.0 { measured } else { rate };
            // There is company, and the step before was far below it: begin nearer to a fair share.
            let fair = m
                .trains
                .valid()
                .map_or(0.0, |capacity| (2.0 * rate).min(capacity / 4.0));
            let rate = if lossless {
                (0.97 * rate).max(fair)
            } else {
                0.95 * rate / (1.0 - loss)
            };
            m.rate = rate.min(m.rate);
            m.delivery.set(m.rate);
            if !lossless {
                let srtt = m.delay.srtt;
                m.brake.note_ceiling(round.now, srtt, m.rate / 0.95, true);
            }
            return true;
        }
        if (m.delay.dq > queue || round.ce > 0) && rate > 0.0 {
            m.rate = m.rate.min(0.97 * rate);
            return true;
        }
        let goal = m
            .trains
            .valid()
            .unwrap_or(f64::INFINITY)
            .min(m.user_ceiling);
        if rate > 0.85 * goal {
            return true;
        }
        if self.is_saturated(round) {
            m.rate = (0.95 * round.arrival / (1.0 - loss)).min(m.rate);
            m.delivery.set(m.rate);
            let srtt = m.delay.srtt;
            m.brake.note_ceiling(round.now, srtt, m.rate / 0.95, true);
            return true;
        }
        self.is_flat(m, round)
    }

    /// Less arrives than was sent, and more is lost than at the lower rates before.
    fn is_saturated(&self, round: &Round) -> bool {
        let before = self.lost as f64 / (self.resolved as f64).max(1.0);
        self.rounds >= 3
            && round.arrival > 0.0
            && round.arrival < 0.7 * round.sent_rate * (1.0 - before.min(WORST_BASELINE))
            && self.loses_more(round)
    }

    /// More is lost than in the rounds before, by more than chance.
    fn loses_more(&self, round: &Round) -> bool {
        let resolved = round.acked + round.lost;
        round.lost as f64 > self.lost_by_chance(resolved, OWN_LOSS) + FEW_LOST
    }

    /// Losses among `resolved` packets that the rounds before explain, with a `margin` to their mean.
    fn lost_by_chance(&self, resolved: u64, margin: f64) -> f64 {
        let before = self.lost as f64 / (self.resolved as f64).max(1.0);
        let n = resolved as f64;
        // What was lost before is a sample too, often no larger one.
        let samples = 1.0 + n / (self.resolved as f64).max(1.0);
        let sigma = (n * samples * before.max(0.01) * (1.0 - before)).sqrt();
        (before + margin) * n + 2.0 * sigma
    }

    /// Without trains: no growth for three rounds that were full.
    fn is_flat(&mut self, m: &Model, round: &Round) -> bool {
        let rate = m.delivery.rate;
        if rate > 1.25 * self.best {
            self.best = rate;
            self.flat_rounds = 0;
        } else if !round.app_limited && m.rate > 1.25 * rate {
            self.flat_rounds += 1;
        }
        self.flat_rounds >= PLATEAU_ROUNDS
    }

    fn loss(&self) -> f64 {
        (self.lost as f64 / (self.resolved as f64).max(1.0)).min(WORST_BASELINE)
    }

    //= spec/04-congestion.md#start
    //# The baseline START hands on MUST NOT be above 0.12.
    fn finish(&self, m: &mut Model, round: &Round) {
        m.baseline.begin(round.now, self.loss(), self.resolved);
        let next = m.rounds.number() + 1;
        m.brake.begin(next);
    }
}
