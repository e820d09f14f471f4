//! Flows without the link they share: senders, receivers and return paths. The owner of the link tells them
//! what arrived and takes what they send: a [`Bottleneck`](super::Bottleneck) of flows alone, or a
//! [`World`](crate::world::World) with engines too.

use std::time::{Duration, Instant};

use rp_protocol::units::Bandwidth;

use super::{
    Packet, Record,
    config::FlowConfig,
    receiver::{Ack, Receiver},
    sender::Sender,
};
use crate::link::{Link, LinkConfig, Offer};

#[derive(Debug)]
struct Flow {
    config: FlowConfig,
    sender: Sender,
    receiver: Receiver,
    back: Link<Ack>,
    record: Record,
    /// Changes of the user's maximum rate that were made.
    changes: usize,
}

impl Flow {
    fn next_change(&self) -> Option<(Duration, Option<Bandwidth>)> {
        self.config.max_rates.get(self.changes).copied()
    }
}

/// Flows on a link that another type owns.
#[derive(Debug)]
pub(crate) struct Flows {
    epoch: Instant,
    seed: u64,
    flows: Vec<Flow>,
}

impl Flows {
    pub(crate) fn new(epoch: Instant, seed: u64) -> Self {
        Self {
            epoch,
            seed,
            flows: Vec::new(),
        }
    }

    /// Adds a flow over a link with the one-way `delay`; its ACKs return over a link of their own.
    pub(crate) fn add(&mut self, config: FlowConfig, delay: Duration) -> usize {
        let number = self.flows.len();
        let back_delay = delay + config.extra_rtt;
        let mut back = LinkConfig::unlimited(back_delay).loss(config.ack_loss);
        if let Some(spread) = config.ack_jitter {
            back = back.jitter(spread, true);
        }
        let seed = self.seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = self.epoch + config.start;
        let rtt = delay + back_delay;
        self.flows.push(Flow {
            sender: Sender::new(number, &config, rtt, start, seed),
            receiver: Receiver::new(config.acks, config.arrival_times, rtt, self.epoch),
            back: Link::new(back, seed).epoch(self.epoch),
            record: Record::new(config.trace),
            changes: 0,
            config,
        });
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(crate) fn record(&self, number: usize) -> &Record {
        &self.flows[number].record
    }

    /// When any flow has something to do.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.flows
            .iter()
            .flat_map(|flow| {
                [
                    flow.sender.next_at(),
                    flow.receiver.next_at(),
                    flow.back.next_at(),
                    flow.next_change().map(|(at, _)| self.epoch + at),
                ]
            })
            .flatten()
            .min()
    }

    /// A packet has crossed the link.
    pub(crate) fn on_delivery(&mut self, now: Instant, packet: &Packet, ce: bool) {
        let flow = &mut self.flows[packet.flow];
        flow.record.on_delivered(now - self.epoch, packet.bytes);
        flow.receiver.on_packet(now, packet, ce);
    }

    /// Runs all flows at `now`; what they send goes to `send`.
    pub(crate) fn act(&mut self, now: Instant, send: &mut impl FnMut(Offer, Packet)) {
        let since = now - self.epoch;
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
            while let Some((_, max_rate)) = flow.next_change().filter(|(at, _)| *at <= since) {
                flow.changes += 1;
                flow.sender.set_max_rate(now, max_rate);
            }
            flow.sender.on_timers(now);
            let stop = flow.config.stop.is_some_and(|stop| since >= stop);
            while let Some(packet) = flow.sender.poll(now, stop) {
                let offer = Offer {
                    is_ecn_capable: flow.config.ecn,
                    class: flow.config.class,
                    ..Offer::plain(usize::from(packet.bytes))
                };
                send(offer, packet);
            }
            if since >= flow.config.start {
                flow.record.on_state(since, &flow.sender);
            }
        }
    }
}
