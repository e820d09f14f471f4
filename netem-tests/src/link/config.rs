//! What a link is like: the settings of one direction, and their changes over time.
//! The machine that obeys them is in the parent module.

use std::time::Duration;

use rp_protocol::units::Bandwidth;

use super::filter::{Blackout, Class};
use crate::{
    loss::Loss,
    queue::{BottleneckConfig, Codel, Policer, QueueLimit, nanos},
};

/// Random additions to the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter {
    /// How large and of what shape. Jitter only adds, so that the delay stays the minimum.
    pub spread: Spread,
    /// Whether a packet waits for the ones before it. Without it, jitter reorders.
    pub keep_order: bool,
}

/// The distribution of an addition to the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Uniform between nothing and this.
    Uniform(Duration),
    /// The absolute value of a normal distribution with this standard deviation.
    Normal(Duration),
}

/// Some packets take a longer way round and are overtaken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// Share of packets held back.
    pub probability: f64,
    /// Largest extra delay; the least is half of it.
    pub extra: Duration,
}

/// A change at a given time after the link's epoch; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// When.
    pub at: Duration,
    /// New rate; zero stops the link until the next step.
    pub rate: Option<Bandwidth>,
    /// New one-way delay.
    pub delay: Option<Duration>,
    /// New loss process.
    pub loss: Option<Loss>,
    /// New largest packet.
    pub mtu: Option<usize>,
}

/// One direction of an emulated link.
///
/// A packet passes: MTU, blackout, policer, queue, server at `rate`, loss, corruption, delay with jitter and
/// reordering, duplication. Loss sits behind the bottleneck: lost packets have used its capacity.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    pub(crate) rate: Option<Bandwidth>,
    pub(crate) delay: Duration,
    pub(crate) queue: QueueLimit,
    pub(crate) codel: Option<Codel>,
    pub(crate) policer: Option<Policer>,
    pub(crate) mark_above: Option<Duration>,
    pub(crate) loss: Loss,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) reorder: Option<Reorder>,
    pub(crate) duplicate: f64,
    pub(crate) corrupt: f64,
    pub(crate) mtu: usize,
    pub(crate) police_only: Option<Class>,
    pub(crate) blackout: Option<Blackout>,
    pub(crate) aggregate: Option<Duration>,
    pub(crate) steps: Vec<Step>,
}

impl LinkConfig {
    /// A clean link of this rate and one-way delay, with a drop-tail queue of one
    /// bandwidth-delay product and no other fault.
    pub fn new(rate: Bandwidth, delay: Duration) -> Self {
        Self {
            rate: Some(rate),
            delay,
            queue: QueueLimit::Bdp(1.0),
            codel: None,
            policer: None,
            mark_above: None,
            loss: Loss::None,
            jitter: None,
            reorder: None,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: usize::MAX,
            police_only: None,
            blackout: None,
            aggregate: None,
            steps: Vec::new(),
        }
    }

    /// A link that only delays.
    pub fn unlimited(delay: Duration) -> Self {
        Self {
            rate: None,
            ..Self::new(Bandwidth::MAX, delay)
        }
    }

    /// How much may wait. Default one bandwidth-delay product.
    #[must_use]
    pub fn queue(mut self, limit: QueueLimit) -> Self {
        self.queue = limit;
        self
    }

    /// Manage the queue by CoDel, within its limit. Default off.
    #[must_use]
    pub fn codel(mut self, codel: Codel) -> Self {
        self.codel = Some(codel);
        self
    }

    /// Drop what exceeds a token bucket, in front of the queue. Default off.
    #[must_use]
    pub fn policer(mut self, policer: Policer) -> Self {
        self.policer = Some(policer);
        self
    }

    /// Police packets of this class alone. Default all.
    #[must_use]
    pub fn police_only(mut self, class: Class) -> Self {
        self.police_only = Some(class);
        self
    }

    /// Let nothing pass, or nothing of a class, for a while. Default never.
    #[must_use]
    pub fn blackout(mut self, blackout: Blackout) -> Self {
        self.blackout = Some(blackout);
        self
    }

    /// Deliver in bunches, this far apart, as radios do that send many packets in one frame. Default singly.
    #[must_use]
    pub fn aggregate(mut self, period: Duration) -> Self {
        self.aggregate = Some(period);
        self
    }

    /// Mark ECN-capable packets that waited longer than this. Default never.
    #[must_use]
    pub fn mark_above(mut self, wait: Duration) -> Self {
        self.mark_above = Some(wait);
        self
    }

    /// Loss behind the bottleneck. Default none.
    #[must_use]
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// Random additions to the delay. Default none.
    #[must_use]
    pub fn jitter(mut self, spread: Spread, keep_order: bool) -> Self {
        self.jitter = Some(Jitter { spread, keep_order });
        self
    }

    /// Hold some packets back. Default none.
    #[must_use]
    pub fn reorder(mut self, probability: f64, extra: Duration) -> Self {
        self.reorder = Some(Reorder { probability, extra });
        self
    }

    /// Share of packets delivered twice. Default none.
    #[must_use]
    pub fn duplicate(mut self, probability: f64) -> Self {
        self.duplicate = probability;
        self
    }

    /// Share of packets delivered with their corruption flag set. Default none.
    #[must_use]
    pub fn corrupt(mut self, probability: f64) -> Self {
        self.corrupt = probability;
        self
    }

    /// Largest packet carried, in bytes as the caller counts them. Default no limit.
    #[must_use]
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// Change settings at given times; sorted here.
    #[must_use]
    pub fn steps(mut self, mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| step.at);
        self.steps = steps;
        self
    }

    /// The rate before any step; `None` if unlimited.
    pub fn rate(&self) -> Option<Bandwidth> {
        self.rate
    }

    /// The one-way delay before any step.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// The loss process before any step.
    pub fn loss_model(&self) -> Loss {
        self.loss
    }

    /// The queue's limit in bytes before any step; `None` if it has none.
    pub fn queue_bytes(&self) -> Option<u64> {
        let rate = self.rate?;
        match self.queue {
            QueueLimit::Bytes(bytes) => Some(bytes),
            QueueLimit::Time(time) => Some(rate.bytes_in(time)),
            QueueLimit::Bdp(factor) => Some(rate.scaled(factor).bytes_in(2 * self.delay)),
            QueueLimit::Unlimited => None,
        }
    }

    /// The rate at each time it changes, from time zero; empty if it is unlimited.
    pub fn rates(&self) -> Vec<(Duration, Bandwidth)> {
        let later = self
            .steps
            .iter()
            .filter_map(|step| step.rate.map(|rate| (step.at, rate)));
        self.rate.map_or_else(Vec::new, |rate| {
            std::iter::once((Duration::ZERO, rate))
                .chain(later)
                .collect()
        })
    }

    /// The largest packet carried at `at`.
    pub(super) fn mtu_at(&self, at: Duration) -> usize {
        self.steps
            .iter()
            .take_while(|step| step.at <= at)
            .filter_map(|step| step.mtu)
            .last()
            .unwrap_or(self.mtu)
    }

    pub(crate) fn bottleneck(&self) -> BottleneckConfig {
        let rates = self.rate.map_or_else(Vec::new, |rate| {
            let first = (0, rate.bytes_per_second());
            let later = self.steps.iter().filter_map(|step| {
                step.rate
                    .map(|rate| (nanos(step.at), rate.bytes_per_second()))
            });
            std::iter::once(first).chain(later).collect()
        });
        let (limit_bytes, limit_ns) = match self.queue {
            // A limit in time follows the rate's steps; one in bytes does not.
            QueueLimit::Time(time) => (u64::MAX, nanos(time)),
            _ => (self.queue_bytes().unwrap_or(u64::MAX), u64::MAX),
        };
        BottleneckConfig {
            rates,
            limit_bytes,
            limit_ns,
            mark_ns: self.mark_above.map_or(u64::MAX, nanos),
            codel: self.codel,
            policer: self.policer,
        }
    }
}
