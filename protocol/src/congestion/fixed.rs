//! A typed rate for links one owns, limited to twice the delivered rate.
//! A rate is found in `adaptive`.

use std::time::{Duration, Instant};

use super::{
    AckSample, Controller, ControllerReport, LossSample, SentSample,
    arrivals::{Arrival, Arrivals},
    pacer::send_quantum,
};
use crate::{config::Policy, units::Bandwidth};

#[cfg(test)]
mod tests;

/// Sent over delivered that a typed rate may reach: half of what is sent may be lost.
const SENT_OVER_DELIVERED: f64 = 2.0;
/// The rate a path may always try, in packets per round trip.
const FLOOR_PACKETS: u64 = 32;
/// Packets sent in the first round trip, before anything is known to be delivered.
const FIRST_PACKETS: u64 = 128;
/// Packets that make a delivery sample worth something.
const SAMPLE_PACKETS: u64 = 16;
/// Shortest round: rates over less than this measure bunching.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);

/// The newest packet a delivery round began at.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    sent_at: Instant,
    arrival: Arrival,
}

/// The fixed-rate controller.
#[derive(Debug)]
pub struct Fixed {
    rate: Bandwidth,
    max_rate: Option<Bandwidth>,
    mtu: u16,
    smoothed_rtt: Duration,
    min_rtt: Option<Duration>,
    /// When the first ACK arrived.
    epoch: Option<Instant>,
    clock: Arrivals,
    mark: Option<Mark>,
    acked_packets: u64,
    acked_bytes: u64,
    app_limited: bool,
    /// Delivered rate of the last full round, and what it allows.
    delivered: Bandwidth,
    allowed: Bandwidth,
}

impl Fixed {
    /// Send at `rate`; `initial_rtt` sizes the window until a sample is there.
    pub fn new(rate: Bandwidth, mtu: u16, initial_rtt: Duration) -> Self {
        Self {
            rate,
            max_rate: None,
            mtu,
            smoothed_rtt: initial_rtt,
            min_rtt: None,
            epoch: None,
            clock: Arrivals::default(),
            mark: None,
            acked_packets: 0,
            acked_bytes: 0,
            app_limited: false,
            delivered: Bandwidth::ZERO,
            allowed: Bandwidth::from_delivery(FIRST_PACKETS * u64::from(mtu), initial_rtt)
                .unwrap_or(Bandwidth::MAX),
        }
    }

    fn floor(&self) -> Bandwidth {
        Bandwidth::from_delivery(FLOOR_PACKETS * u64::from(self.mtu), self.smoothed_rtt)
            .unwrap_or(Bandwidth::MAX)
    }

    //= spec/04-congestion.md#fixed-rate
    //# A sender with a typed rate MUST NOT send at more than twice the rate that is delivered, except
    //# for 32 packets per round trip.
    fn close_round(&mut self, mark: Mark) {
        let Some(from) = self.mark else {
            self.mark = Some(mark);
            return;
        };
        let span =
            Duration::try_from_secs_f64(mark.arrival.since(&from.arrival)).unwrap_or_default();
        let sent_span = mark.sent_at.saturating_duration_since(from.sent_at);
        let round = SHORTEST_ROUND.max(self.smoothed_rtt);
        if span < round || self.acked_packets < SAMPLE_PACKETS || mark.index <= from.index {
            return;
        }
        // No more can arrive than was sent.
        if let Some(rate) = Bandwidth::from_delivery(self.acked_bytes, span.max(sent_span / 2)) {
            let allowed = rate.scaled(SENT_OVER_DELIVERED);
            if !self.app_limited || allowed > self.allowed {
                self.delivered = rate;
                self.allowed = allowed;
            }
        }
        self.mark = Some(mark);
        self.acked_packets = 0;
        self.acked_bytes = 0;
        self.app_limited = false;
    }
}

impl Controller for Fixed {
    fn on_sent(&mut self, _sample: &SentSample) {}

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.smoothed_rtt = sample.smoothed_rtt;
        if let Some(rtt) = sample.rtt {
            self.min_rtt = Some(self.min_rtt.map_or(rtt, |min| min.min(rtt)));
        }
        for packet in sample.acked {
            self.acked_packets += 1;
            self.acked_bytes += u64::from(packet.bytes);
            self.app_limited |= packet.app_limited;
        }
        if let (Some(newest), Some(received_at)) = (sample.acked.last(), sample.received_at) {
            let epoch = *self.epoch.get_or_insert(sample.arrived_at);
            let acked_at = sample.arrived_at.saturating_duration_since(epoch);
            let arrival = self.clock.on_ack(
                received_at.as_secs_f64(),
                acked_at.as_secs_f64(),
                self.min_rtt.unwrap_or_default().as_secs_f64(),
            );
            self.close_round(Mark {
                index: newest.index,
                sent_at: newest.sent_at,
                arrival,
            });
        }
    }

    fn on_loss(&mut self, _sample: &LossSample<'_>) {}

    fn on_app_limited(&mut self, _now: Instant, _in_flight_bytes: u64) {
        self.app_limited = true;
    }

    fn on_probe_timeout(&mut self, _now: Instant, count: u32) {
        // Nothing at all comes back: the typed rate is not being delivered.
        if count >= 2 {
            self.allowed = self.pacing_rate().scaled(0.5);
        }
    }

    fn on_mtu(&mut self, bytes: u16) {
        self.mtu = bytes;
    }

    fn pacing_rate(&self) -> Bandwidth {
        let rate = self.rate.min(self.allowed.max(self.floor()));
        self.max_rate.map_or(rate, |max_rate| rate.min(max_rate))
    }

    fn window(&self) -> u64 {
        // Two round trips at the rate: the window only stops a sender that hears nothing.
        let packets = FLOOR_PACKETS * u64::from(self.mtu);
        self.pacing_rate()
            .bytes_in(self.smoothed_rtt * 2 + SHORTEST_ROUND)
            .saturating_add(packets)
    }

    fn send_quantum(&self) -> u64 {
        send_quantum(self.pacing_rate(), self.mtu)
    }

    fn set_max_rate(&mut self, max_rate: Option<Bandwidth>) {
        self.max_rate = max_rate;
    }

    fn adopt(&mut self, policy: Policy) -> bool {
        if let Policy::Fixed(rate) = policy {
            self.rate = rate;
        }
        matches!(policy, Policy::Fixed(_))
    }

    fn report(&self) -> ControllerReport {
        ControllerReport {
            state: "fixed",
            delivery_rate: self.delivered,
            min_rtt: self.min_rtt,
            queue_delay: self
                .min_rtt
                .map_or(Duration::ZERO, |min| self.smoothed_rtt.saturating_sub(min)),
            random_loss: 0.0,
        }
    }
}
