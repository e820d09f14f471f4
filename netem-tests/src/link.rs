//! One direction of an emulated link: pure, seeded, generic over what it carries.
//! It knows no protocol, no clock and no socket; `world`, `udp_relay` and `tun` drive it.
//!
//! 1. [`Link::send`] offers a packet; its whole fate is decided there, in offered order, from one
//!    random sequence: the same seed and the same offers give the same deliveries, bit for bit.
//! 2. [`Link::next_at`] says when the next packet arrives at the far end.
//! 3. [`Link::poll`] hands out what has arrived.

mod config;
mod counters;
mod filter;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

pub use self::{
    config::{Jitter, LinkConfig, Reorder, Spread, Step},
    counters::LinkCounters,
    filter::{Blackout, Class, Offer},
};
use crate::{
    loss::{Loss, LossProcess, chance, normal},
    queue::{Admission, Bottleneck, nanos},
};

/// A packet at the far end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<T> {
    /// What was sent.
    pub payload: T,
    /// When it arrived.
    pub at: Instant,
    /// It was ECN-capable and met congestion.
    pub ce: bool,
    /// Its bits were damaged on the way; the carrier decides what that does to the payload.
    pub corrupt: bool,
}

/// One direction of an emulated link.
#[derive(Debug)]
pub struct Link<T> {
    config: LinkConfig,
    epoch: Option<Instant>,
    rng: Xoshiro256PlusPlus,
    bottleneck: Bottleneck,
    loss: LossProcess,
    /// Delay and loss in force, and the first step that is not.
    delay_ns: u64,
    loss_model: Loss,
    next_step: usize,
    /// Time of the latest offer: time does not go backwards.
    latest_ns: u64,
    /// Latest arrival scheduled, for jitter that keeps order.
    last_arrival_ns: u64,
    sequence: u64,
    /// Arrivals no earlier than the one before: nearly all.
    in_order: VecDeque<InFlight<T>>,
    /// Arrivals that overtake something in `in_order`.
    overtaking: BinaryHeap<Reverse<InFlight<T>>>,
    counters: LinkCounters,
}

impl<T: Clone> Link<T> {
    /// A link as `config` says, whose chances follow from `seed`.
    ///
    /// Steps count from the first packet, unless [`epoch`](Self::epoch) sets another origin.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            epoch: None,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            bottleneck: Bottleneck::new(config.bottleneck()),
            loss: LossProcess::default(),
            delay_ns: nanos(config.delay),
            loss_model: config.loss,
            next_step: 0,
            latest_ns: 0,
            last_arrival_ns: 0,
            sequence: 0,
            in_order: VecDeque::new(),
            overtaking: BinaryHeap::new(),
            counters: LinkCounters::default(),
            config,
        }
    }

    /// Counts steps from `epoch`; to be called before the first packet.
    #[must_use]
    pub fn epoch(mut self, epoch: Instant) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Offers a packet.
    ///
    /// A `now` before an earlier call's is taken as that call's.
    pub fn send(&mut self, now: Instant, offer: Offer, payload: T) {
        let now_ns = self.since_epoch(now);
        let size = offer.bytes as u64;
        self.counters.offered += 1;
        self.counters.offered_bytes += size;
        let at = Duration::from_nanos(now_ns);
        if offer.bytes > self.config.mtu_at(at) {
            self.counters.too_big += 1;
            return;
        }
        if let Some(blackout) = &self.config.blackout
            && blackout.stops(at, offer.class)
        {
            self.counters.blocked += 1;
            return;
        }
        let is_policed = filter::concerns(self.config.police_only, offer.class);
        let (departs_ns, mark) = match self.bottleneck.offer(now_ns, size, is_policed) {
            Admission::Departs { at_ns, mark } => (at_ns, mark),
            Admission::Policed => {
                self.counters.policed += 1;
                return;
            }
            Admission::Full | Admission::Late | Admission::Stuck => {
                self.counters.queue_dropped += 1;
                return;
            }
        };
        self.apply_steps(departs_ns);
        if self.loss.is_lost(&self.loss_model, &mut self.rng) {
            self.counters.lost += 1;
            return;
        }
        let ce = mark && offer.is_ecn_capable;
        self.counters.marked += u64::from(ce);
        let corrupt = chance(&mut self.rng, self.config.corrupt);
        self.counters.corrupted += u64::from(corrupt);
        let at_ns = self.arrival(departs_ns);
        let in_flight = InFlight {
            at_ns,
            sequence: self.sequence,
            size,
            ce,
            corrupt,
            payload,
        };
        self.sequence += 2;
        if chance(&mut self.rng, self.config.duplicate) {
            self.counters.duplicated += 1;
            let copy = InFlight {
                sequence: in_flight.sequence + 1,
                ..in_flight.clone()
            };
            self.schedule(in_flight);
            self.schedule(copy);
        } else {
            self.schedule(in_flight);
        }
    }

    /// When the next packet arrives; `None` if none is on its way.
    pub fn next_at(&self) -> Option<Instant> {
        let in_order = self.in_order.front().map(|p| p.at_ns);
        let overtaking = self.overtaking.peek().map(|p| p.0.at_ns);
        let at_ns = match (in_order, overtaking) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(self.epoch? + Duration::from_nanos(at_ns))
    }

    /// Hands out the next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery<T>> {
        let epoch = self.epoch?;
        let overtakes = match (self.in_order.front(), self.overtaking.peek()) {
            (Some(front), Some(early)) => early.0 < *front,
            (front, _) => front.is_none(),
        };
        let at_ns = if overtakes {
            self.overtaking.peek()?.0.at_ns
        } else {
            self.in_order.front()?.at_ns
        };
        let at = epoch + Duration::from_nanos(at_ns);
        if at > now {
            return None;
        }
        let packet = if overtakes {
            self.overtaking.pop()?.0
        } else {
            self.in_order.pop_front()?
        };
        self.counters.delivered += 1;
        self.counters.delivered_bytes += packet.size;
        Some(Delivery {
            payload: packet.payload,
            at,
            ce: packet.ce,
            corrupt: packet.corrupt,
        })
    }

    /// Bytes waiting at the bottleneck at `now`, the packet being sent included.
    pub fn backlog_bytes(&mut self, now: Instant) -> u64 {
        let now_ns = self.since_epoch(now);
        self.bottleneck.backlog_bytes(now_ns)
    }

    /// Packets accepted that have not been handed out.
    pub fn in_flight(&self) -> usize {
        self.in_order.len() + self.overtaking.len()
    }

    /// What has happened so far.
    pub fn counters(&self) -> LinkCounters {
        LinkCounters {
            queue_delay: self.bottleneck.delay(),
            ..self.counters
        }
    }

    /// Forgets the waiting times seen so far, so that a start-up phase can be left out.
    pub fn reset_queue_delay(&mut self) {
        self.bottleneck.reset_delay();
    }

    /// The settings it was made with.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    fn since_epoch(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        let now_ns = nanos(now.saturating_duration_since(epoch));
        self.latest_ns = self.latest_ns.max(now_ns);
        self.latest_ns
    }

    /// Brings delay and loss up to date; departures are in order, so steps are met in order.
    fn apply_steps(&mut self, now_ns: u64) {
        while let Some(step) = self.config.steps.get(self.next_step)
            && nanos(step.at) <= now_ns
        {
            if let Some(delay) = step.delay {
                self.delay_ns = nanos(delay);
            }
            if let Some(loss) = step.loss {
                self.loss_model = loss;
            }
            self.next_step += 1;
        }
    }

    fn arrival(&mut self, departs_ns: u64) -> u64 {
        let mut at_ns = departs_ns.saturating_add(self.delay_ns);
        if let Some(jitter) = self.config.jitter {
            at_ns = at_ns.saturating_add(spread_ns(jitter.spread, &mut self.rng));
            if jitter.keep_order {
                at_ns = at_ns.max(self.last_arrival_ns);
            }
        }
        if let Some(period) = self.config.aggregate {
            at_ns = at_ns.next_multiple_of(nanos(period).max(1));
        }
        self.last_arrival_ns = self.last_arrival_ns.max(at_ns);
        if let Some(reorder) = self.config.reorder
            && chance(&mut self.rng, reorder.probability)
        {
            self.counters.reordered += 1;
            let most = nanos(reorder.extra);
            at_ns = at_ns.saturating_add(self.rng.random_range(most / 2..=most));
        }
        at_ns
    }

    fn schedule(&mut self, packet: InFlight<T>) {
        match self.in_order.back() {
            Some(back) if packet < *back => self.overtaking.push(Reverse(packet)),
            _ => self.in_order.push_back(packet),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float-to-integer casts saturate; a jitter of centuries is not meant"
)]
fn spread_ns(spread: Spread, rng: &mut Xoshiro256PlusPlus) -> u64 {
    match spread {
        Spread::Uniform(width) => rng.random_range(0..=nanos(width)),
        Spread::Normal(sigma) => (normal(rng).abs() * nanos(sigma) as f64) as u64,
    }
}

#[derive(Clone, Debug)]
struct InFlight<T> {
    at_ns: u64,
    sequence: u64,
    size: u64,
    ce: bool,
    corrupt: bool,
    payload: T,
}

impl<T> InFlight<T> {
    fn key(&self) -> (u64, u64) {
        (self.at_ns, self.sequence)
    }
}

impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for InFlight<T> {}

impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests;
