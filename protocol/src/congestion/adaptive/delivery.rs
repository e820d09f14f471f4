//! Measures the delivered rate from round to round: by the receiver's clock, as far as its ACKs confirm it.
//! Which losses are congestion is decided in `random_loss`.

use std::collections::VecDeque;

use super::filters::Ewma;
use crate::congestion::arrivals::{Arrival, Arrivals};

/// Shortest time, in seconds, that a delivery sample may span: arrival times come in bunches.
const SHORTEST: f64 = 0.000_5;
/// Packets a delivery sample must span.
const FEWEST: u64 = 4;

/// The newest acknowledged packet at the end of a round, and the totals by then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    sent_at: f64,
    arrival: Arrival,
    received: u64,
    bytes: u64,
}

/// One round's delivered rate in bytes per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    /// Packets that arrived, over time; in a round that the application could not fill, scaled to a full one.
    pub(super) received: f64,
    /// Packets that left the bottleneck, those lost behind it included, over time.
    pub(super) spanned: f64,
    /// Rate at which the same packets left the sender.
    pub(super) left: f64,
}

/// The newest packet of an ACK.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewestAcked {
    pub(super) index: u64,
    /// By the sender's clock.
    pub(super) sent_at: f64,
    /// When its ACK arrived, by the sender's clock.
    pub(super) acked_at: f64,
    /// By the receiver's clock, if the ACK has it.
    pub(super) received_at: Option<f64>,
}

/// Delivery marks and the smoothed rate.
#[derive(Debug)]
pub(super) struct Delivery {
    clock: Arrivals,
    marks: VecDeque<Mark>,
    newest: Option<Mark>,
    received: u64,
    bytes: u64,
    /// Rounds whose samples are not to be used, after idling.
    discard: u32,
    rate_ewma: Ewma,
    /// Smoothed delivered rate, bytes per second; 0 until known.
    pub(super) rate: f64,
    /// The last two rates of arrival.
    pub(super) arrivals: [f64; 2],
}

impl Delivery {
    pub(super) fn new() -> Self {
        Self {
            clock: Arrivals::default(),
            marks: VecDeque::new(),
            newest: None,
            received: 0,
            bytes: 0,
            discard: 0,
            rate_ewma: Ewma::new(0.5),
            rate: 0.0,
            arrivals: [0.0; 2],
        }
    }

    /// Handles an ACK of so many packets on a path with this minimum RTT.
    pub(super) fn on_acked(&mut self, packets: u64, bytes: u64, newest: NewestAcked, min_rtt: f64) {
        self.received += packets;
        self.bytes += bytes;
        let Some(received_at) = newest.received_at else {
            return;
        };
        let arrival = self.clock.on_ack(received_at, newest.acked_at, min_rtt);
        if self.newest.is_none_or(|mark| newest.index > mark.index) {
            self.newest = Some(Mark {
                index: newest.index,
                sent_at: newest.sent_at,
                arrival,
                received: self.received,
                bytes: self.bytes,
            });
        }
    }

    /// Discards the samples of two rounds, which span idle time.
    //= spec/04-congestion.md#rounds
    //# After an idle time of more than half a round trip the delivery samples of two rounds MUST be
    //# discarded.
    pub(super) fn on_idle(&mut self) {
        self.discard = 2;
        self.marks.clear();
    }

    /// Closes the round. `window` is the least time to measure over on a path with jitter, `unfilled` the rate of a
    /// round that the application could not fill.
    pub(super) fn close_round(
        &mut self,
        window: Option<f64>,
        unfilled: Option<f64>,
    ) -> Option<Delivered> {
        let newest = self.newest?;
        let least = window.unwrap_or(0.0).max(SHORTEST);
        let from = self
            .marks
            .iter()
            .rev()
            .find(|mark| {
                newest.arrival.since(&mark.arrival) >= least && newest.index >= mark.index + FEWEST
            })
            .copied();
        if self
            .marks
            .back()
            .is_none_or(|mark| newest.index > mark.index)
        {
            self.marks.push_back(newest);
        }
        while self.marks.len() > 2 && newest.arrival.since(&self.marks[1].arrival) > least {
            self.marks.pop_front();
        }
        while self.marks.len() > 64 {
            self.marks.pop_front();
        }
        if self.discard > 0 {
            self.discard -= 1;
            return None;
        }
        let from = from?;
        let span = newest.arrival.since(&from.arrival);
        let received = newest.received - from.received;
        if received == 0 {
            return None;
        }
        let size = (newest.bytes - from.bytes) as f64 / received as f64;
        let left = (newest.index - from.index) as f64 * size
            / (newest.sent_at - from.sent_at).max(SHORTEST);
        let arrived = received as f64 * size / span;
        //= spec/04-congestion.md#rounds
        //# Of a round that the application could not fill, the arrival MUST be counted at the rate of the round.
        let received = match unfilled {
            Some(rate) if left < rate => arrived.max((arrived / left).min(1.0) * rate),
            _ => arrived,
        };
        let delivered = Delivered {
            received,
            spanned: (newest.index - from.index) as f64 * size / span,
            left,
        };
        self.arrivals = [self.arrivals[1], delivered.received];
        Some(delivered)
    }

    /// In START, takes the fastest round: no average.
    pub(super) fn raise(&mut self, sample: f64) {
        if sample > self.rate {
            self.set(sample);
        }
    }

    /// Adds `sample` to the smoothed rate; with `only_up`, for rounds that were not full, only a higher one.
    pub(super) fn update(&mut self, sample: f64, only_up: bool) {
        //= spec/04-congestion.md#rounds
        //# Delivery in a round that the application could not fill, or that was sent slower on purpose,
        //# MUST NOT lower the smoothed rate.
        if only_up && sample <= self.rate {
            return;
        }
        if sample < 0.7 * self.rate {
            self.set(sample);
        } else {
            self.rate_ewma.update(sample);
            self.rate = self.rate_ewma.get().unwrap_or(sample);
        }
    }

    /// Replaces the smoothed rate.
    pub(super) fn set(&mut self, rate: f64) {
        self.rate_ewma = Ewma::new(0.5);
        self.rate_ewma.update(rate);
        self.rate = rate;
    }
}
