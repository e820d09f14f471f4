//! Scenario files as they are written, and what may not stand in them together.
//! Names, places and the rest of the format are in the parent module.

use std::time::Duration;

use rp_protocol::units::Bandwidth;
use serde::Deserialize;

use super::{
    budget::BudgetText,
    cross::{CrossKind, CrossText},
    error::Contradiction,
};
use crate::{
    link::{Blackout, Class, LinkConfig, Spread, Step},
    loss::{GilbertElliott, Loss},
    quantity::{Queue, Rate, Share, Size, Time},
    queue::{Codel, Policer, QueueLimit},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) about: String,
    /// Both ways, except where `back` differs.
    link: Direction,
    back: Option<Direction>,
    pub(super) cross: Option<Vec<CrossText>>,
    pub(super) budget: Option<BudgetText>,
}

impl Document {
    /// There and back, each with what it inherits.
    pub(super) fn directions(&self) -> (Direction, Direction) {
        let forward = self.link.clone();
        let back = self
            .back
            .clone()
            .map_or_else(|| forward.clone(), |over| over.or(&forward));
        (forward, back)
    }

    /// The first thing that cannot be meant as it stands.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let (forward, back) = self.directions();
        let own_back = self.back.as_ref();
        let mut found = self
            .link
            .contradictions("link", &forward)
            .into_iter()
            .chain(own_back.map_or_else(Vec::new, |own| own.contradictions("back", &back)))
            .chain(self.cross.iter().flatten().enumerate().filter_map(cross));
        found.next()
    }
}

fn cross((index, text): (usize, &CrossText)) -> Option<Contradiction> {
    let message = match (text.kind, text.load) {
        (CrossKind::Web, None) => "is missing: web traffic has a mean load",
        (CrossKind::Cubic | CrossKind::Reno | CrossKind::Bbr, Some(_)) => {
            "is for web traffic: bulk flows take what they get"
        }
        _ => return None,
    };
    Some(Contradiction {
        table: "cross".to_owned(),
        index,
        field: "load",
        message,
    })
}

/// One direction as written; what is absent is taken from the other or is the default.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Direction {
    rate: Option<Rate>,
    /// One way.
    delay: Option<Time>,
    queue: Option<Queue>,
    codel: Option<bool>,
    policer: Option<PolicerText>,
    mark_above: Option<Time>,
    blackout: Option<BlackoutText>,
    loss: Option<Share>,
    /// Mean length of loss bursts in packets.
    burst: Option<f64>,
    gilbert_elliott: Option<GilbertElliottText>,
    jitter: Option<Time>,
    jitter_shape: Option<Shape>,
    jitter_reorders: Option<bool>,
    reorder: Option<Share>,
    reorder_by: Option<Time>,
    duplicate: Option<Share>,
    corrupt: Option<Share>,
    aggregate: Option<Time>,
    mtu: Option<Size>,
    step: Option<Vec<StepText>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    Uniform,
    Normal,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicerText {
    rate: Rate,
    burst: Size,
    only: Option<ClassText>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlackoutText {
    from: Time,
    until: Option<Time>,
    only: Option<ClassText>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClassText {
    Udp,
    Tcp,
}

impl From<ClassText> for Class {
    fn from(text: ClassText) -> Self {
        match text {
            ClassText::Udp => Self::Udp,
            ClassText::Tcp => Self::Tcp,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GilbertElliottText {
    enter_bad: Share,
    leave_bad: Share,
    loss_good: Share,
    loss_bad: Share,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    at: Time,
    rate: Option<Rate>,
    delay: Option<Time>,
    loss: Option<Share>,
    burst: Option<f64>,
    mtu: Option<Size>,
}

/// Largest delay added to reordered packets where a scenario does not say.
const DEFAULT_REORDER_BY: Duration = Duration::from_millis(10);

impl Direction {
    /// This direction, with `other`'s settings where it has none.
    pub(super) fn or(self, other: &Self) -> Self {
        let other = other.clone();
        // Loss is one setting of three spellings: an own rate of loss must not inherit a burst.
        let own_loss = self.loss.is_some() || self.gilbert_elliott.is_some();
        let inherited_loss = if own_loss { None } else { other.loss };
        let inherited_burst = if own_loss { None } else { other.burst };
        let inherited_states = if own_loss {
            None
        } else {
            other.gilbert_elliott
        };
        Self {
            rate: self.rate.or(other.rate),
            delay: self.delay.or(other.delay),
            queue: self.queue.or(other.queue),
            codel: self.codel.or(other.codel),
            policer: self.policer.or(other.policer),
            mark_above: self.mark_above.or(other.mark_above),
            blackout: self.blackout.or(other.blackout),
            loss: self.loss.or(inherited_loss),
            burst: self.burst.or(inherited_burst),
            gilbert_elliott: self.gilbert_elliott.or(inherited_states),
            jitter: self.jitter.or(other.jitter),
            jitter_shape: self.jitter_shape.or(other.jitter_shape),
            jitter_reorders: self.jitter_reorders.or(other.jitter_reorders),
            reorder: self.reorder.or(other.reorder),
            reorder_by: self.reorder_by.or(other.reorder_by),
            duplicate: self.duplicate.or(other.duplicate),
            corrupt: self.corrupt.or(other.corrupt),
            aggregate: self.aggregate.or(other.aggregate),
            mtu: self.mtu.or(other.mtu),
            step: self.step.or(other.step),
        }
    }

    /// The settings, where `back` is the other direction of the round trip.
    pub(super) fn config(&self, back: &Self) -> LinkConfig {
        let time = |field: Option<Time>| field.map_or(Duration::ZERO, |time| time.0);
        let share = |field: Option<Share>| field.map_or(0.0, |share| share.0);
        let delay = time(self.delay);
        let mut config = match self.rate {
            Some(Rate(rate)) => LinkConfig::new(rate, delay).queue(round_trip_limit(
                self.queue.map_or(QueueLimit::Bdp(1.0), |queue| queue.0),
                rate,
                delay + time(back.delay),
            )),
            None => LinkConfig::unlimited(delay),
        };
        config = config
            .loss(self.loss())
            .duplicate(share(self.duplicate))
            .corrupt(share(self.corrupt))
            .steps(self.step.iter().flatten().map(StepText::step).collect());
        if self.codel == Some(true) {
            config = config.codel(Codel::default());
        }
        if let Some(policer) = &self.policer {
            config = config.policer(Policer {
                rate: policer.rate.0,
                burst_bytes: policer.burst.0,
            });
            if let Some(only) = policer.only {
                config = config.police_only(only.into());
            }
        }
        if let Some(blackout) = &self.blackout {
            config = config.blackout(Blackout {
                from: blackout.from.0,
                until: blackout.until.map(|until| until.0),
                only: blackout.only.map(Class::from),
            });
        }
        if let Some(Time(wait)) = self.mark_above {
            config = config.mark_above(wait);
        }
        if let Some(Time(width)) = self.jitter {
            let spread = match self.jitter_shape {
                Some(Shape::Normal) => Spread::Normal(width),
                Some(Shape::Uniform) | None => Spread::Uniform(width),
            };
            config = config.jitter(spread, self.jitter_reorders != Some(true));
        }
        if let Some(Share(probability)) = self.reorder {
            let extra = self.reorder_by.map_or(DEFAULT_REORDER_BY, |time| time.0);
            config = config.reorder(probability, extra);
        }
        if let Some(Time(period)) = self.aggregate {
            config = config.aggregate(period);
        }
        if let Some(mtu) = self.mtu {
            config = config.mtu(whole(mtu));
        }
        config
    }

    /// What cannot be meant of what is written in `table`, where `all` is what it comes to.
    fn contradictions(&self, table: &str, all: &Self) -> Vec<Contradiction> {
        let of_table = |index: usize, table: &str, field, message| Contradiction {
            table: table.to_owned(),
            index,
            field,
            message,
        };
        let mut found: Vec<Contradiction> = self
            .rules(all)
            .into_iter()
            .filter(|(is_broken, _, _)| *is_broken)
            .map(|(_, field, message)| of_table(0, table, field, message))
            .collect();
        let steps = self.step.iter().flatten().enumerate();
        found.extend(steps.filter_map(|(index, step)| {
            let (field, message) = step.contradiction(all.rate.is_none())?;
            Some(of_table(index, &format!("{table}.step"), field, message))
        }));
        found
    }

    /// Whether a rule is broken, by which field, and the rule.
    fn rules(&self, all: &Self) -> [(bool, &'static str, &'static str); 14] {
        let no_rate = all.rate.is_none();
        let short = |burst: Option<f64>| burst.is_some_and(|burst| burst < 1.0);
        [
            (
                self.rate.is_some_and(|rate| is_zero(rate.0)),
                "rate",
                "must be above zero",
            ),
            (
                self.queue.is_some() && no_rate,
                "queue",
                "needs a rate to wait for",
            ),
            (
                self.codel == Some(true) && no_rate,
                "codel",
                "needs a rate to wait for",
            ),
            (
                self.mark_above.is_some() && no_rate,
                "mark-above",
                "needs a rate to wait for",
            ),
            (
                self.policer.as_ref().is_some_and(|p| is_zero(p.rate.0)),
                "policer",
                "must have a rate above zero",
            ),
            (
                self.blackout
                    .as_ref()
                    .is_some_and(|b| b.until.is_some_and(|until| until.0 <= b.from.0)),
                "blackout",
                "must end after it begins",
            ),
            (
                self.loss.is_some() && self.gilbert_elliott.is_some(),
                "loss",
                "and `gilbert-elliott` exclude each other",
            ),
            (
                self.burst.is_some() && self.loss.is_none(),
                "burst",
                "needs a `loss` to come in bursts",
            ),
            (short(self.burst), "burst", "must be at least 1 packet"),
            (
                self.jitter_shape.is_some() && all.jitter.is_none(),
                "jitter-shape",
                "needs a `jitter`",
            ),
            (
                self.jitter_reorders.is_some() && all.jitter.is_none(),
                "jitter-reorders",
                "needs a `jitter`",
            ),
            (
                self.reorder_by.is_some() && all.reorder.is_none(),
                "reorder-by",
                "needs a share to `reorder`",
            ),
            (
                self.aggregate.is_some_and(|period| period.0.is_zero()),
                "aggregate",
                "must be above zero",
            ),
            (is_small(self.mtu), "mtu", TOO_SMALL),
        ]
    }

    fn loss(&self) -> Loss {
        match (&self.gilbert_elliott, self.loss) {
            (Some(states), _) => Loss::GilbertElliott(GilbertElliott {
                enter_bad: states.enter_bad.0,
                leave_bad: states.leave_bad.0,
                loss_good: states.loss_good.0,
                loss_bad: states.loss_bad.0,
            }),
            (None, Some(Share(p))) => loss_of(p, self.burst),
            (None, None) => Loss::None,
        }
    }
}

/// No IPv4 packet need be smaller (RFC 791 section 3.2).
const LEAST_MTU: u64 = 68;

const TOO_SMALL: &str = "must be at least 68 bytes";

fn is_small(mtu: Option<Size>) -> bool {
    mtu.is_some_and(|mtu| mtu.0 < LEAST_MTU)
}

fn is_zero(rate: Bandwidth) -> bool {
    rate.bits_per_second() == 0
}

impl StepText {
    /// The field that cannot be meant, and why.
    fn contradiction(&self, no_rate: bool) -> Option<(&'static str, &'static str)> {
        let changes = self.rate.is_some()
            || self.delay.is_some()
            || self.loss.is_some()
            || self.mtu.is_some();
        if !changes {
            Some(("at", "is a time at which nothing changes"))
        } else if self.rate.is_some() && no_rate {
            Some(("rate", "changes where the link has none"))
        } else if self.burst.is_some() && self.loss.is_none() {
            Some(("burst", "needs a `loss` to come in bursts"))
        } else if self.burst.is_some_and(|burst| burst < 1.0) {
            Some(("burst", "must be at least 1 packet"))
        } else if is_small(self.mtu) {
            Some(("mtu", TOO_SMALL))
        } else {
            None
        }
    }

    fn step(&self) -> Step {
        Step {
            at: self.at.0,
            rate: self.rate.map(|rate| rate.0),
            delay: self.delay.map(|delay| delay.0),
            loss: self.loss.map(|Share(p)| loss_of(p, self.burst)),
            mtu: self.mtu.map(whole),
        }
    }
}

fn whole(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

fn loss_of(p: f64, burst: Option<f64>) -> Loss {
    burst.map_or_else(|| Loss::bernoulli(p), |packets| Loss::bursts(p, packets))
}

/// A limit in bandwidth-delay products in bytes: the link knows only its own delay, not the way back's.
fn round_trip_limit(limit: QueueLimit, rate: Bandwidth, round_trip: Duration) -> QueueLimit {
    match limit {
        QueueLimit::Bdp(factor) => QueueLimit::Bytes(rate.scaled(factor).bytes_in(round_trip)),
        other => other,
    }
}
