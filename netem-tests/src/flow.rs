//! Flows that share one emulated bottleneck in virtual time, each driven by a congestion controller.
//! There is no protocol here, only packets, ACKs and clocks: controllers are tested apart from the engine.
//!
//! 1. [`Bottleneck::new`] takes the shared [`LinkConfig`]; [`Bottleneck::add`] puts a flow on it.
//! 2. [`Bottleneck::run`] jumps from event to event: departures, arrivals, ACKs, timers.
//! 3. [`Bottleneck::flow`] and [`Bottleneck::queue`] answer what happened between two times.

mod algorithm;
mod bbr;
mod config;
mod flows;
pub mod goals;
pub mod named;
mod receiver;
mod record;
mod reno;
pub mod scenario;
mod sender;
mod source;

use std::{
    ops::Range,
    time::{Duration, Instant},
};

pub(crate) use self::flows::Flows;
use self::record::QueueRecord;
pub use self::{
    algorithm::Algorithm,
    config::{AckPolicy, Application, ArrivalTimes, FlowConfig},
    record::{Queue, Record, State},
};
use crate::link::{Link, LinkConfig, LinkCounters};

/// A packet on the shared link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    flow: usize,
    index: u64,
    pub(crate) bytes: u16,
    train: Option<TrainPart>,
}

/// Which train a packet belongs to, and where in it it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TrainPart {
    train: u32,
    position: u32,
    count: u32,
}

/// A bottleneck link and the flows that share it.
#[derive(Debug)]
pub struct Bottleneck {
    epoch: Instant,
    now: Instant,
    link: Link<Packet>,
    flows: Flows,
    queue: QueueRecord,
}

impl Bottleneck {
    /// A bottleneck as described by `link`; `seed` fixes all random numbers.
    pub fn new(link: LinkConfig, seed: u64) -> Self {
        // The origin of virtual time may be any instant: only differences are ever used.
        let epoch = Instant::now();
        Self {
            epoch,
            now: epoch,
            queue: QueueRecord::new(&link),
            link: Link::new(link, seed).epoch(epoch),
            flows: Flows::new(epoch, seed),
        }
    }

    /// Puts a flow on the link; its number is what [`flow`](Self::flow) takes.
    pub fn add(&mut self, config: FlowConfig) -> usize {
        self.flows.add(config, self.link.config().delay())
    }

    /// Runs until `until` after the beginning.
    pub fn run(&mut self, until: Duration) {
        let end = self.epoch + until;
        while let Some(next) = self.next_at().filter(|&at| at <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Record of a flow.
    pub fn flow(&self, number: usize) -> &Record {
        self.flows.record(number)
    }

    /// Flows on the link.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The standing queue between two times.
    pub fn queue(&self, range: Range<Duration>) -> Queue {
        self.queue.between(range)
    }

    /// Drops, losses and deliveries of the shared link.
    pub fn link(&self) -> LinkCounters {
        self.link.counters()
    }

    fn next_at(&self) -> Option<Instant> {
        [
            Some(self.epoch + self.queue.due_at()),
            self.link.next_at(),
            self.flows.next_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn step(&mut self) {
        let now = self.now;
        let since = now - self.epoch;
        if self.queue.due_at() <= since {
            self.queue.sample(since, self.link.backlog_bytes(now));
        }
        while let Some(delivery) = self.link.poll(now) {
            self.flows.on_delivery(now, &delivery.payload, delivery.ce);
        }
        let link = &mut self.link;
        self.flows
            .act(now, &mut |offer, packet| link.send(now, offer, packet));
    }
}

#[cfg(test)]
mod tests;
