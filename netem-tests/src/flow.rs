//! Flows that share one emulated bottleneck in virtual time, each driven by a congestion controller.
//! There is no protocol here, only packets, ACKs and clocks: laws are tested apart from the engine.
//!
//! 1. [`Arena::new`] takes the shared [`LinkConfig`]; [`Arena::add`] puts a flow on it.
//! 2. [`Arena::run`] jumps from event to event: departures, arrivals, ACKs, timers.
//! 3. [`Arena::flow`] and [`Arena::queue`] answer what happened between two times.

mod config;
pub mod named;
mod receiver;
mod record;
pub mod scenario;
mod sender;

use std::{
    ops::Range,
    time::{Duration, Instant},
};

pub use self::{
    config::{AckPolicy, Application, FlowConfig},
    record::{Queue, Record, State},
};
use self::{
    receiver::{Ack, Receiver},
    record::QueueRecord,
    sender::Sender,
};
use crate::link::{Link, LinkConfig, LinkCounters, Offer};

/// A packet on the shared link.
#[derive(Clone, Copy, Debug)]
struct Packet {
    flow: usize,
    index: u64,
    bytes: u16,
    train: Option<TrainPart>,
}

/// Which train a packet belongs to, and where in it it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TrainPart {
    train: u32,
    position: u32,
    count: u32,
}

#[derive(Debug)]
struct Flow {
    config: FlowConfig,
    sender: Sender,
    receiver: Receiver,
    back: Link<Ack>,
    record: Record,
}

/// One bottleneck and the flows on it.
#[derive(Debug)]
pub struct Arena {
    epoch: Instant,
    now: Instant,
    link: Link<Packet>,
    flows: Vec<Flow>,
    queue: QueueRecord,
    seed: u64,
}

impl Arena {
    /// A bottleneck as `link` says; all chances follow from `seed`.
    pub fn new(link: LinkConfig, seed: u64) -> Self {
        // The origin of virtual time may be any instant: only differences are ever used.
        let epoch = Instant::now();
        Self {
            epoch,
            now: epoch,
            queue: QueueRecord::new(&link),
            link: Link::new(link, seed).epoch(epoch),
            flows: Vec::new(),
            seed,
        }
    }

    /// Puts a flow on the link; its number is what [`flow`](Self::flow) takes.
    pub fn add(&mut self, config: FlowConfig) -> usize {
        let number = self.flows.len();
        let delay = self.link.config().delay() + config.extra_rtt;
        let mut back = LinkConfig::unlimited(delay).loss(config.ack_loss);
        if let Some(spread) = config.ack_jitter {
            back = back.jitter(spread, true);
        }
        let seed = self.seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = self.epoch + config.start;
        let rtt = self.link.config().delay() + delay;
        self.flows.push(Flow {
            sender: Sender::new(number, &config, rtt, start),
            receiver: Receiver::new(config.acks, rtt, self.epoch),
            back: Link::new(back, seed).epoch(self.epoch),
            record: Record::new(config.trace),
            config,
        });
        number
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

    /// What a flow did.
    pub fn flow(&self, number: usize) -> &Record {
        &self.flows[number].record
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
        let mut next = self.link.next_at();
        let mut consider = |at: Option<Instant>| {
            next = match (next, at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        consider(Some(self.epoch + self.queue.due_at()));
        for flow in &self.flows {
            consider(flow.sender.next_at());
            consider(flow.receiver.next_at());
            consider(flow.back.next_at());
        }
        next
    }

    fn step(&mut self) {
        let now = self.now;
        let since = now - self.epoch;
        if self.queue.due_at() <= since {
            self.queue.sample(since, self.link.backlog_bytes(now));
        }
        while let Some(delivery) = self.link.poll(now) {
            let packet = delivery.payload;
            let flow = &mut self.flows[packet.flow];
            flow.record.on_delivered(since, packet.bytes);
            flow.receiver.on_packet(now, &packet, delivery.ce);
        }
        for flow in &mut self.flows {
            if flow.receiver.next_at().is_some_and(|at| at <= now)
                && let Some(ack) = flow.receiver.ack(now)
            {
                flow.back.send(now, Offer::plain(64), ack);
            }
            while let Some(delivery) = flow.back.poll(now) {
                let received = flow.receiver.log(&delivery.payload);
                flow.sender.on_ack(now, &delivery.payload, &received);
            }
            flow.sender.on_timers(now);
            let stop = flow.config.stop.is_some_and(|stop| since >= stop);
            while let Some(packet) = flow.sender.poll(now, stop) {
                let offer = Offer {
                    is_ecn_capable: flow.config.ecn,
                    class: flow.config.class,
                    ..Offer::plain(usize::from(packet.bytes))
                };
                self.link.send(now, offer, packet);
            }
            if since >= flow.config.start {
                flow.record.on_state(since, &flow.sender);
            }
        }
    }
}
