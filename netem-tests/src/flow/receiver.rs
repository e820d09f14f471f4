//! The receiving end of a flow: when to acknowledge, and how far a train was spread.
//! What the ACK does is the sender's matter.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{
    Packet, TrainPart,
    config::{AckPolicy, ArrivalTimes},
};

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) index: u64,
    pub(super) ce: bool,
}

/// A train as timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrainReport {
    pub(super) packets: u32,
    pub(super) bytes: u64,
    pub(super) span: Duration,
}

/// Everything up to `upto` in the receiver's log has arrived. Ranges are repeated in several ACKs, so
/// losing one ACK loses no news but its train report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) upto: u64,
    /// Newest packet, when it arrived, and for how long the answer was held.
    pub(super) largest: u64,
    pub(super) received_at: Duration,
    pub(super) delay: Duration,
    pub(super) train: Option<TrainReport>,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    part: TrainPart,
    first: (u32, Instant),
    last: (u32, Instant),
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Receiver {
    policy: AckPolicy,
    times: ArrivalTimes,
    rtt: Duration,
    epoch: Instant,
    /// Arrivals not yet taken by the sender; `base` is the position of the first.
    log: VecDeque<Arrival>,
    base: u64,
    acked: u64,
    largest: Option<(u64, Instant)>,
    due_at: Option<Instant>,
    train: Option<Train>,
    report: Option<TrainReport>,
}

impl Receiver {
    pub(super) fn new(
        policy: AckPolicy,
        times: ArrivalTimes,
        rtt: Duration,
        epoch: Instant,
    ) -> Self {
        Self {
            policy,
            times,
            rtt,
            epoch,
            log: VecDeque::new(),
            base: 0,
            acked: 0,
            largest: None,
            due_at: None,
            train: None,
            report: None,
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.due_at
    }

    pub(super) fn on_packet(&mut self, now: Instant, packet: &Packet, ce: bool) {
        let expected = self.largest.map_or(0, |(index, _)| index + 1);
        self.log.push_back(Arrival {
            index: packet.index,
            ce,
        });
        self.time_train(now, packet);
        if packet.index >= expected {
            self.largest = Some((packet.index, now));
        }
        let pending = self.base + self.log.len() as u64 - self.acked;
        let (packets, delay) = match self.policy {
            AckPolicy::Sparse => (
                8,
                (self.rtt / 8).clamp(Duration::from_millis(2), Duration::from_millis(10)),
            ),
            AckPolicy::Tcp => (2, Duration::from_millis(40)),
            AckPolicy::Every(period) => (u64::MAX, period),
        };
        let reordering = (self.rtt / 8).max(Duration::from_millis(1));
        let by = if pending >= packets {
            now
        } else if packet.index > expected && !matches!(self.policy, AckPolicy::Every(_)) {
            // A gap: told as soon as it outlives the reorder window.
            now + reordering.min(delay)
        } else {
            now + delay
        };
        self.due_at = Some(self.due_at.map_or(by, |at| at.min(by)));
    }

    /// The ACK that is due.
    pub(super) fn ack(&mut self, now: Instant) -> Option<Ack> {
        self.due_at = None;
        let (largest, at) = self.largest?;
        self.acked = self.base + self.log.len() as u64;
        let received_at = self.written(at);
        Some(Ack {
            upto: self.acked,
            largest,
            received_at: Duration::from_micros(
                u64::try_from(received_at.as_micros()).unwrap_or(u64::MAX),
            ),
            delay: now - at,
            train: self.report.take(),
        })
    }

    /// The arrivals an ACK tells that no earlier one told, oldest index first.
    pub(super) fn log(&mut self, ack: &Ack) -> Vec<Arrival> {
        let fresh = usize::try_from(ack.upto.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut fresh: Vec<Arrival> = self.log.drain(..fresh.min(self.log.len())).collect();
        self.base += fresh.len() as u64;
        fresh.sort_by_key(|arrival| arrival.index);
        fresh
    }

    /// What is written for the time `at`.
    fn written(&self, at: Instant) -> Duration {
        let at = at - self.epoch;
        match self.times {
            ArrivalTimes::True => at,
            ArrivalTimes::Divided(by) => at / by,
            ArrivalTimes::Equal => Duration::ZERO,
            ArrivalTimes::Backwards => Duration::from_secs(1_000_000).saturating_sub(at),
            ArrivalTimes::Random => {
                let seed = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
                at.mul_f64(Xoshiro256PlusPlus::seed_from_u64(seed).random::<f64>())
            }
            ArrivalTimes::Leaping(period) => {
                let into = Duration::from_nanos_u128(at.as_nanos() % period.as_nanos().max(1));
                at - into + into / 4
            }
        }
    }

    fn time_train(&mut self, now: Instant, packet: &Packet) {
        let Some(part) = packet.train else {
            self.close_train();
            return;
        };
        match &mut self.train {
            // A train out of order tells nothing.
            Some(train) if train.part.train == part.train && part.position <= train.last.0 => {
                self.train = None;
            }
            Some(train) if train.part.train == part.train => {
                train.last = (part.position, now);
                train.bytes = u64::from(part.position - train.first.0) * u64::from(packet.bytes);
            }
            _ => {
                self.close_train();
                self.train = Some(Train {
                    part,
                    first: (part.position, now),
                    last: (part.position, now),
                    bytes: 0,
                });
            }
        }
        if part.position + 1 == part.count {
            self.close_train();
        }
    }

    fn close_train(&mut self) {
        if let Some(train) = self.train.take()
            && train.last.0 > train.first.0
        {
            self.report = Some(TrainReport {
                packets: train.last.0 - train.first.0,
                bytes: train.bytes,
                span: self
                    .written(train.last.1)
                    .saturating_sub(self.written(train.first.1)),
            });
        }
    }
}
