//! Reno (RFC 5681): doubles until something is lost, then adds a packet a round and halves at each loss.
//! It is here to share links with others; the engine does not have it.

use std::time::{Duration, Instant};

use rp_protocol::{
    congestion::{AckSample, Controller, ControllerReport, LossSample, SentSample},
    units::Bandwidth,
};

/// Packets in the initial window (RFC 6928).
const INITIAL_WINDOW: f64 = 10.0;

/// Packets the window never falls below (RFC 5681 section 3.1).
const MIN_WINDOW: f64 = 2.0;

/// The Reno controller.
#[derive(Debug)]
pub(super) struct Reno {
    mtu: u16,
    /// Packets.
    window: f64,
    threshold: f64,
    smoothed_rtt: Duration,
    /// Losses of packets sent before this belong to the cut already made (RFC 6582).
    recovery_start: Option<Instant>,
}

impl Reno {
    pub(super) fn new(mtu: u16, rtt: Duration) -> Self {
        Self {
            mtu,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            smoothed_rtt: rtt,
            recovery_start: None,
        }
    }

    fn has_been_cut_since(&self, sent_at: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent_at <= start)
    }

    fn cut(&mut self, now: Instant, sent_at: Instant) {
        if !self.has_been_cut_since(sent_at) {
            self.window = (self.window / 2.0).max(MIN_WINDOW);
            self.threshold = self.window;
            self.recovery_start = Some(now);
        }
    }
}

impl Controller for Reno {
    fn on_sent(&mut self, _sample: &SentSample) {}

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.smoothed_rtt = sample.smoothed_rtt;
        let Some(newest) = sample.acked.last() else {
            return;
        };
        if sample.ce_packets > 0 {
            self.cut(sample.now, newest.sent_at);
        }
        let is_used = !sample.acked.iter().all(|packet| packet.app_limited);
        if self.has_been_cut_since(newest.sent_at) || !is_used {
            return;
        }
        let acked = sample.acked.len() as f64;
        self.window += if self.window < self.threshold {
            acked
        } else {
            acked / self.window
        };
    }

    fn on_loss(&mut self, sample: &LossSample<'_>) {
        if let Some(newest) = sample.lost.last() {
            self.cut(sample.now, newest.sent_at);
        }
    }

    fn on_app_limited(&mut self, _now: Instant, _in_flight_bytes: u64) {}

    fn on_probe_timeout(&mut self, now: Instant, count: u32) {
        // The first is the tail of a burst; silence for longer is a timeout (RFC 5681 section 3.1).
        if count >= 2 {
            self.threshold = (self.window / 2.0).max(MIN_WINDOW);
            self.window = MIN_WINDOW;
            self.recovery_start = Some(now);
        }
    }

    fn on_mtu(&mut self, bytes: u16) {
        self.mtu = bytes;
    }

    fn pacing_rate(&self) -> Bandwidth {
        Bandwidth::from_delivery(self.window(), self.smoothed_rtt)
            .unwrap_or(Bandwidth::MAX)
            .scaled(2.0)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate; the window is positive"
    )]
    fn window(&self) -> u64 {
        (self.window * f64::from(self.mtu)) as u64
    }

    fn send_quantum(&self) -> u64 {
        2 * u64::from(self.mtu)
    }

    fn set_max_rate(&mut self, _max_rate: Option<Bandwidth>) {}

    fn report(&self) -> ControllerReport {
        ControllerReport {
            state: if self.window < self.threshold {
                "slow start"
            } else {
                "avoidance"
            },
            delivery_rate: Bandwidth::from_delivery(self.window(), self.smoothed_rtt)
                .unwrap_or_default(),
            ..ControllerReport::default()
        }
    }
}

#[cfg(test)]
mod tests;
