//! Answers excess loss: backoff, loss limit, emergency, and the test for loss that is not congestion.
//! Which loss is excess is decided in `random_loss`; how the rate grows again, in `delay`.

use super::{
    filters::Windowed,
    random_loss::{Judgement, RandomLoss, WORST},
    rounds::SentRound,
};

/// Shortest unit of holding time, in seconds.
const HOLD_UNIT: f64 = 0.1;
/// Holding times of a loss limit, in RTTs: after the rate was raised, if it was not, and at most.
const HOLD_RAISED: f64 = 10.0;
const HOLD_UNPROVOKED: f64 = 5.0;
const HOLD_LONGEST: f64 = 40.0;
/// Rounds in which 1.04 of a loss limit is tried before it is forgotten.
const PROBE_ROUNDS: u32 = 4;
/// A series of backoffs must have reduced the rate to this fraction to tell random loss from congestion: a policer
/// with credit left looks like random loss for the first few per cent.
const STREAK_REDUCTION: f64 = 0.8;
/// A raise up to which the rate before it is a better loss limit than what arrives.
const SMALL_RAISE: f64 = 1.15;
/// Seconds that a rate must be without excess loss to be compared with, and for which it is remembered.
const SUSTAINED: f64 = 1.2;
const REMEMBERED: f64 = 15.0;

/// A rate that made loss, and how long to stay below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossLimit {
    pub(super) rate: f64,
    pub(super) set_at: f64,
    hold_until: f64,
    hold_units: f64,
    probe_rounds: u32,
}

impl LossLimit {
    /// Whether it was found more than once.
    pub(super) fn is_confirmed(&self) -> bool {
        self.hold_units > HOLD_RAISED
    }

    /// Whether `rate`, found too high, is this limit again: found while it was probed, or soon after its hold.
    fn is_met_again(&self, now: f64, rate: f64, raised: bool) -> bool {
        let ratio = rate / self.rate;
        let soon = now - self.hold_until < self.hold_until - self.set_at;
        (self.probe_rounds > 0 && (0.7..1.3).contains(&ratio))
            || (raised && soon && (0.9..1.1).contains(&ratio))
    }
}

/// What the loss response is told of the path at the end of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathState {
    pub(super) now: f64,
    pub(super) srtt: f64,
    /// Highest queuing delay of the last rounds.
    pub(super) peak: f64,
    /// The queue is too short for losses to be congestion.
    pub(super) no_queue: bool,
    /// Rate in force.
    pub(super) rate: f64,
    /// Arrival rates of the round before and of this one.
    pub(super) arrivals: [f64; 2],
    pub(super) queue_target: f64,
}

/// A backoff, or its withdrawal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) rate: f64,
    /// The longest queue to aim at, if the buffer is shallow.
    pub(super) queue_cap: Option<f64>,
    /// A new value for the smoothed delivered rate.
    pub(super) delivered: Option<f64>,
}

/// The loss response of one path.
#[derive(Debug)]
pub(super) struct LossResponse {
    loss_limit: Option<LossLimit>,
    /// Best rate without excess loss, in bytes per second; after a backoff, what it set.
    best_clean_rate: f64,
    /// Best rate that was really sent at without excess loss since the last backoff.
    clean_since_backoff: f64,
    /// Rate that the last backoff set.
    backoff_rate: f64,
    /// Number of the first round sent after the last backoff.
    since: u64,
    excess_rounds: u32,
    emergency_rounds: u32,
    /// Rate and loss at the first of a series of backoffs, and their number.
    streak: Option<(f64, f64, u32)>,
    clean_since: Option<(f64, f64)>,
    best: Windowed,
    low: (u64, u64),
}

impl LossResponse {
    pub(super) fn new() -> Self {
        Self {
            loss_limit: None,
            best_clean_rate: 0.0,
            clean_since_backoff: 0.0,
            backoff_rate: 0.0,
            since: 0,
            excess_rounds: 0,
            emergency_rounds: 0,
            streak: None,
            clean_since: None,
            best: Windowed::maximum(REMEMBERED),
            low: (0, 0),
        }
    }

    pub(super) fn loss_limit(&self) -> Option<&LossLimit> {
        self.loss_limit.as_ref()
    }

    //= spec/04-congestion.md#loss-response
    //# A sender MUST NOT answer the loss of rounds that were sent before its last backoff.
    /// Whether this round was sent after the last backoff.
    pub(super) fn is_fresh(&self, sent_round: &SentRound) -> bool {
        sent_round.number >= self.since
    }

    /// The highest rate allowed at `now`.
    pub(super) fn cap(&self, now: f64) -> f64 {
        match self.loss_limit {
            Some(loss_limit) if now < loss_limit.hold_until => 0.975 * loss_limit.rate,
            Some(loss_limit) if loss_limit.probe_rounds > 0 => 1.04 * loss_limit.rate,
            _ => f64::INFINITY,
        }
    }

    /// Whether a round sent at `rate` counts for the random-loss estimate.
    pub(super) fn teaches(&self, now: f64, rate: f64) -> bool {
        self.loss_limit.is_none_or(|loss_limit| {
            now - loss_limit.set_at > REMEMBERED || rate <= 0.985 * loss_limit.rate
        })
    }

    /// Handles the end of a round: the probing of an old loss limit advances.
    pub(super) fn on_round(&mut self, now: f64) {
        if let Some(loss_limit) = &mut self.loss_limit
            && now >= loss_limit.hold_until
        {
            loss_limit.probe_rounds = loss_limit.probe_rounds.saturating_sub(1);
        }
    }

    /// Notes that `rate` is too high.
    pub(super) fn note_loss_limit(&mut self, now: f64, srtt: f64, rate: f64, raised: bool) {
        let usual = if raised { HOLD_RAISED } else { HOLD_UNPROVOKED };
        let hold_units = match self.loss_limit {
            Some(old) if old.is_met_again(now, rate, raised) => {
                (2.0 * old.hold_units).clamp(usual, HOLD_LONGEST)
            }
            _ => usual,
        };
        self.loss_limit = Some(LossLimit {
            rate,
            set_at: now,
            hold_until: now + hold_units * srtt.max(HOLD_UNIT),
            hold_units,
            probe_rounds: PROBE_ROUNDS,
        });
    }

    /// Begins after START: rounds from `next` on are judged, and no rate is known to be without excess loss.
    pub(super) fn begin(&mut self, next: u64) {
        self.since = next;
        self.best_clean_rate = 0.0;
        self.clean_since_backoff = 0.0;
    }

    /// Forgets everything: rounds from `next` on, sent at `rate`, are judged.
    pub(super) fn reset(&mut self, next: u64, rate: f64) {
        *self = Self::new();
        self.since = next;
        self.best_clean_rate = rate;
        self.backoff_rate = rate;
    }

    /// Handles a round without excess loss.
    pub(super) fn on_clean(&mut self, now: f64, sent_round: &SentRound) {
        self.excess_rounds = 0;
        self.emergency_rounds = 0;
        if sent_round.is_slowed() {
            return;
        }
        self.best_clean_rate = self.best_clean_rate.max(sent_round.rate);
        self.clean_since_backoff = self.clean_since_backoff.max(sent_round.rate);
        let (since, lowest) = self.clean_since.unwrap_or((now, sent_round.rate));
        let lowest = lowest.min(sent_round.rate);
        self.clean_since = Some((since, lowest));
        if now - since >= SUSTAINED {
            self.best.insert(now, lowest);
            self.clean_since = Some((now, sent_round.rate));
            // The last backoff cured the loss.
            self.streak = None;
        }
        if self
            .streak
            .is_some_and(|(first, ..)| sent_round.rate > 0.95 * first)
        {
            self.streak = None;
        }
    }

    /// The loss of the path itself, if it stays while much less is sent
    /// (spec/04-congestion.md#non-congestion-loss).
    pub(super) fn non_congestion_loss(
        &mut self,
        path: &PathState,
        sent_round: &SentRound,
        random_loss: &RandomLoss,
    ) -> Option<f64> {
        let best = self.best.over(path.now, REMEMBERED)?;
        if !path.no_queue || sent_round.rate > 0.8 * best {
            self.low = (0, 0);
            return None;
        }
        self.low.0 += sent_round.resolved();
        self.low.1 += sent_round.lost;
        let loss = self.low.1 as f64 / self.low.0 as f64;
        (self.low.0 > 300 && loss > random_loss.loss() + 0.008).then(|| {
            self.low = (0, 0);
            loss.min(WORST)
        })
    }

    /// Handles a round with excess loss; `next` is the first round sent at a new rate.
    pub(super) fn on_excess(
        &mut self,
        path: &PathState,
        sent_round: &SentRound,
        judgement: Judgement,
        random_loss: &mut RandomLoss,
        next: u64,
    ) -> Option<Decision> {
        self.clean_since = None;
        let arrival = path.arrivals[1];
        // A buffer of a packet or two drops every other packet of a rate that is a little too high: what arrives
        // then says little of the capacity.
        let is_near_clean = sent_round.rate < SMALL_RAISE * self.clean_since_backoff;
        let has_overstepped = is_near_clean && sent_round.rate > self.clean_since_backoff;
        if !has_overstepped
            && let Some(decision) = self.emergency(path, sent_round, random_loss, next)
        {
            return Some(decision);
        }
        let raised = sent_round.rate > 1.015 * self.best_clean_rate;
        self.excess_rounds += 1;
        if !(raised || judgement.by_sum || self.excess_rounds >= 2) {
            return None;
        }
        if let Some(rate) = self.non_congestion_streak(path, sent_round, random_loss, next) {
            return Some(Decision {
                rate,
                queue_cap: None,
                delivered: Some(rate),
            });
        }
        let expected = random_loss.loss();
        let flat = path.arrivals[0] > 0.0 && (arrival / path.arrivals[0] - 1.0).abs() < 0.07;
        let floor = if is_near_clean {
            0.95 * self.clean_since_backoff
        } else if flat {
            0.0
        } else if !raised {
            0.8 * path.rate
        } else if sent_round.loss() - expected < 0.2 {
            0.95 * self.best_clean_rate
        } else {
            0.0
        };
        let limit = (arrival / (1.0 - expected)).max(floor);
        if path.rate < 0.97 * limit {
            // The queue has brought the rate down already: these losses are older.
            self.since = next;
            self.excess_rounds = 0;
            random_loss.restart_sum();
            return None;
        }
        let limit = limit.min(path.rate);
        let has_risen = self.clean_since_backoff > 1.015 * self.backoff_rate;
        self.note_loss_limit(path.now, path.srtt, limit, raised || has_risen);
        self.since = next;
        self.excess_rounds = 0;
        self.best_clean_rate = 0.97 * limit;
        self.clean_since_backoff = 0.0;
        self.backoff_rate = 0.97 * limit;
        random_loss.restart_sum();
        let shallow = path.peak > 0.000_5 && path.peak < 1.5 * path.queue_target;
        Some(Decision {
            rate: 0.97 * limit,
            queue_cap: shallow.then_some(0.6 * path.peak),
            delivered: None,
        })
    }

    /// The answer to the loss of more than half: all estimates start anew.
    fn emergency(
        &mut self,
        path: &PathState,
        sent_round: &SentRound,
        random_loss: &mut RandomLoss,
        next: u64,
    ) -> Option<Decision> {
        let resolved = sent_round.resolved();
        if resolved < 12 || sent_round.loss() <= 0.5 {
            self.emergency_rounds = 0;
            return None;
        }
        self.emergency_rounds += 1;
        if self.emergency_rounds < 2 && resolved < 300 {
            return None;
        }
        let rate = (1.1 * path.arrivals[1]).min(path.rate);
        let loss = random_loss.loss().min(0.02);
        random_loss.set(path.now, loss);
        self.reset(next, rate);
        Some(Decision {
            rate,
            queue_cap: None,
            delivered: Some(rate),
        })
    }

    /// The rate to go back to at the third backoff of a series that did not reduce the loss: it is the path's own.
    fn non_congestion_streak(
        &mut self,
        path: &PathState,
        sent_round: &SentRound,
        random_loss: &mut RandomLoss,
        next: u64,
    ) -> Option<f64> {
        let (first_rate, first_loss, backoffs) = match self.streak {
            Some(streak) if path.no_queue => streak,
            _ => (path.rate, sent_round.loss(), 0),
        };
        self.streak = Some((first_rate, first_loss, backoffs + 1));
        let is_not_congestion = path.no_queue
            && backoffs + 1 >= 3
            && sent_round.rate < STREAK_REDUCTION * first_rate
            && sent_round.loss() > 0.7 * first_loss;
        is_not_congestion.then(|| {
            random_loss.set(path.now, sent_round.loss());
            let rate = (0.85 * first_rate).max(path.rate);
            self.reset(next, rate);
            rate
        })
    }
}
