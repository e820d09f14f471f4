//! What excess loss does to the rate: brake, ceiling, futility, emergency.
//! Which loss is excess is `baseline`'s to say; how the rate grows again is `delay`'s.

use super::{
    baseline::{Baseline, Verdict, WORST},
    filters::Windowed,
    rounds::Tag,
};

/// Shortest unit of holding time.
const HOLD_UNIT: f64 = 0.1;
/// Holding times in units of the RTT: after a raise, unprovoked, longest.
const HOLD_RAISED: f64 = 10.0;
const HOLD_UNPROVOKED: f64 = 5.0;
const HOLD_LONGEST: f64 = 40.0;
/// Rounds a ceiling is probed from above before it is forgotten.
const PROBE_ROUNDS: u32 = 4;
/// A row of brakes must have come down to this share of the rate to have been a test: a policer with
/// credit left looks like path loss for the first few per cent.
const FUTILE: f64 = 0.8;
/// A raise up to which the rate before is a better answer to loss than what arrives.
const SMALL_RAISE: f64 = 1.15;
/// How long a loss-free rate must last to be worth comparing with, and how long it is remembered.
const SUSTAINED: f64 = 1.2;
const REMEMBERED: f64 = 15.0;

/// A rate that made loss, and how it is kept away from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceiling {
    pub(super) rate: f64,
    pub(super) set_at: f64,
    hold_until: f64,
    hold_units: f64,
    probe_rounds: u32,
}

impl Ceiling {
    /// Found more than once in the same place.
    pub(super) fn is_confirmed(&self) -> bool {
        self.hold_units > HOLD_RAISED
    }

    /// Whether `rate`, found too high, is this ceiling again: probed from above, or met soon after where it was.
    fn is_met_again(&self, now: f64, rate: f64, raised: bool) -> bool {
        let ratio = rate / self.rate;
        let soon = now - self.hold_until < self.hold_until - self.set_at;
        (self.probe_rounds > 0 && (0.7..1.3).contains(&ratio))
            || (raised && soon && (0.9..1.1).contains(&ratio))
    }
}

/// What a round looked like to the brake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    pub(super) now: f64,
    pub(super) srtt: f64,
    /// Highest queue of the last rounds.
    pub(super) peak: f64,
    /// Queue below which loss cannot be called congestion: 4 % of the base RTT, scaled.
    pub(super) no_queue: bool,
    /// Rate in force.
    pub(super) rate: f64,
    /// Arrival rate of this round and of the one before.
    pub(super) arrivals: [f64; 2],
    pub(super) queue_target: f64,
}

/// What the brake wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) rate: f64,
    /// A shallow buffer: never aim at a queue longer than this.
    pub(super) queue_cap: Option<f64>,
    /// The delivered rate to believe from here on.
    pub(super) delivered: Option<f64>,
}

/// Memory of brakes.
#[derive(Debug)]
pub(super) struct Brake {
    ceiling: Option<Ceiling>,
    /// Best rate without excess.
    r_ok: f64,
    /// Best rate sent at without excess since the last brake: not assumed, as `r_ok` may be.
    proven: f64,
    /// What the last brake set.
    braked: f64,
    /// Rounds sent before this were sent before the last brake.
    since: u64,
    excess_rounds: u32,
    emergency_rounds: u32,
    /// Rate and loss at the first of a row of brakes, and how many followed.
    row: Option<(f64, f64, u32)>,
    clean_since: Option<(f64, f64)>,
    best: Windowed,
    low: (u64, u64),
}

impl Brake {
    pub(super) fn new() -> Self {
        Self {
            ceiling: None,
            r_ok: 0.0,
            proven: 0.0,
            braked: 0.0,
            since: 0,
            excess_rounds: 0,
            emergency_rounds: 0,
            row: None,
            clean_since: None,
            best: Windowed::maximum(REMEMBERED),
            low: (0, 0),
        }
    }

    pub(super) fn ceiling(&self) -> Option<&Ceiling> {
        self.ceiling.as_ref()
    }

    //= spec/04-congestion.md#brake
    //# A sender MUST NOT answer the loss of rounds that were sent before its last brake.
    /// Was this round sent after the last brake?
    pub(super) fn is_fresh(&self, tag: &Tag) -> bool {
        tag.number >= self.since
    }

    /// The highest rate allowed at `now`.
    pub(super) fn cap(&self, now: f64) -> f64 {
        match self.ceiling {
            Some(ceiling) if now < ceiling.hold_until => 0.975 * ceiling.rate,
            Some(ceiling) if ceiling.probe_rounds > 0 => 1.04 * ceiling.rate,
            _ => f64::INFINITY,
        }
    }

    /// May a round sent at `rate` teach the baseline?
    pub(super) fn teaches(&self, now: f64, rate: f64) -> bool {
        self.ceiling
            .is_none_or(|ceiling| now - ceiling.set_at > REMEMBERED || rate <= 0.985 * ceiling.rate)
    }

    /// A round ends: the probing of an old ceiling advances.
    pub(super) fn on_round(&mut self, now: f64) {
        if let Some(ceiling) = &mut self.ceiling
            && now >= ceiling.hold_until
        {
            ceiling.probe_rounds = ceiling.probe_rounds.saturating_sub(1);
        }
    }

    /// `rate` is known to be too much.
    pub(super) fn note_ceiling(&mut self, now: f64, srtt: f64, rate: f64, raised: bool) {
        let usual = if raised { HOLD_RAISED } else { HOLD_UNPROVOKED };
        let hold_units = match self.ceiling {
            Some(old) if old.is_met_again(now, rate, raised) => {
                (2.0 * old.hold_units).clamp(usual, HOLD_LONGEST)
            }
            _ => usual,
        };
        self.ceiling = Some(Ceiling {
            rate,
            set_at: now,
            hold_until: now + hold_units * srtt.max(HOLD_UNIT),
            hold_units,
            probe_rounds: PROBE_ROUNDS,
        });
    }

    /// START is over: rounds from `next` on are judged. No rate is known yet to be free of excess.
    pub(super) fn begin(&mut self, next: u64) {
        self.since = next;
        self.r_ok = 0.0;
        self.proven = 0.0;
    }

    /// Start anew: rounds up to `next` belong to the past.
    pub(super) fn reset(&mut self, next: u64, rate: f64) {
        *self = Self::new();
        self.since = next;
        self.r_ok = rate;
        self.braked = rate;
    }

    /// A round without excess.
    pub(super) fn on_clean(&mut self, now: f64, tag: &Tag) {
        self.excess_rounds = 0;
        self.emergency_rounds = 0;
        if tag.is_slowed() {
            return;
        }
        self.r_ok = self.r_ok.max(tag.rate);
        self.proven = self.proven.max(tag.rate);
        let (since, lowest) = self.clean_since.unwrap_or((now, tag.rate));
        let lowest = lowest.min(tag.rate);
        self.clean_since = Some((since, lowest));
        if now - since >= SUSTAINED {
            self.best.insert(now, lowest);
            self.clean_since = Some((now, tag.rate));
            // The last brake did cure something.
            self.row = None;
        }
        if self.row.is_some_and(|(first, ..)| tag.rate > 0.95 * first) {
            self.row = None;
        }
    }

    /// Loss that stays when sending less is not ours (spec/04-congestion.md#futility).
    pub(super) fn futility(&mut self, p: &Pressure, tag: &Tag, baseline: &Baseline) -> Option<f64> {
        let best = self.best.over(p.now, REMEMBERED)?;
        if !p.no_queue || tag.rate > 0.8 * best {
            self.low = (0, 0);
            return None;
        }
        self.low.0 += tag.resolved();
        self.low.1 += tag.lost;
        let loss = self.low.1 as f64 / self.low.0 as f64;
        (self.low.0 > 300 && loss > baseline.loss() + 0.008).then(|| {
            self.low = (0, 0);
            loss.min(WORST)
        })
    }

    /// A round with excess loss. `next` is the first round sent at a new rate.
    pub(super) fn on_excess(
        &mut self,
        p: &Pressure,
        tag: &Tag,
        verdict: Verdict,
        baseline: &mut Baseline,
        next: u64,
    ) -> Option<Decision> {
        self.clean_since = None;
        let arrival = p.arrivals[1];
        // What hardly buffers anything drops every other packet as soon as there are too many: so little arrives of
        // what is a little too much.
        let is_near_proven = tag.rate < SMALL_RAISE * self.proven;
        let has_overstepped = is_near_proven && tag.rate > self.proven;
        if !has_overstepped && let Some(decision) = self.emergency(p, tag, baseline, next) {
            return Some(decision);
        }
        let raised = tag.rate > 1.015 * self.r_ok;
        self.excess_rounds += 1;
        if !(raised || verdict.by_sum || self.excess_rounds >= 2) {
            return None;
        }
        if let Some(rate) = self.futile_row(p, tag, baseline, next) {
            return Some(Decision {
                rate,
                queue_cap: None,
                delivered: Some(rate),
            });
        }
        let pb = baseline.loss();
        let flat = p.arrivals[0] > 0.0 && (arrival / p.arrivals[0] - 1.0).abs() < 0.07;
        let floor = if is_near_proven {
            0.95 * self.proven
        } else if flat {
            0.0
        } else if !raised {
            0.8 * p.rate
        } else if tag.loss() - pb < 0.2 {
            0.95 * self.r_ok
        } else {
            0.0
        };
        let c = (arrival / (1.0 - pb)).max(floor);
        if p.rate < 0.97 * c {
            // Its queue has brought the rate down already: this is the loss of the time before.
            self.since = next;
            self.excess_rounds = 0;
            baseline.restart_sum();
            return None;
        }
        let c = c.min(p.rate);
        let climbed = self.proven > 1.015 * self.braked;
        self.note_ceiling(p.now, p.srtt, c, raised || climbed);
        self.since = next;
        self.excess_rounds = 0;
        self.r_ok = 0.97 * c;
        self.proven = 0.0;
        self.braked = 0.97 * c;
        baseline.restart_sum();
        let shallow = p.peak > 0.000_5 && p.peak < 1.5 * p.queue_target;
        Some(Decision {
            rate: 0.97 * c,
            queue_cap: shallow.then_some(0.6 * p.peak),
            delivered: None,
        })
    }

    /// More than half is lost: nothing believed so far holds.
    fn emergency(
        &mut self,
        p: &Pressure,
        tag: &Tag,
        baseline: &mut Baseline,
        next: u64,
    ) -> Option<Decision> {
        let resolved = tag.resolved();
        if resolved < 12 || tag.loss() <= 0.5 {
            self.emergency_rounds = 0;
            return None;
        }
        self.emergency_rounds += 1;
        if self.emergency_rounds < 2 && resolved < 300 {
            return None;
        }
        let rate = (1.1 * p.arrivals[1]).min(p.rate);
        let loss = baseline.loss().min(0.02);
        baseline.set(p.now, loss);
        self.reset(next, rate);
        Some(Decision {
            rate,
            queue_cap: None,
            delivered: Some(rate),
        })
    }

    /// The third brake of a row that cured nothing: take the loss for the path's own and go back.
    fn futile_row(
        &mut self,
        p: &Pressure,
        tag: &Tag,
        baseline: &mut Baseline,
        next: u64,
    ) -> Option<f64> {
        let (first_rate, first_loss, brakes) = match self.row {
            Some(row) if p.no_queue => row,
            _ => (p.rate, tag.loss(), 0),
        };
        self.row = Some((first_rate, first_loss, brakes + 1));
        let futile = p.no_queue
            && brakes + 1 >= 3
            && tag.rate < FUTILE * first_rate
            && tag.loss() > 0.7 * first_loss;
        futile.then(|| {
            baseline.set(p.now, tag.loss());
            let rate = (0.85 * first_rate).max(p.rate);
            self.reset(next, rate);
            rate
        })
    }
}
