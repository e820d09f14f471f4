//! What a path tells its trace beyond single packets. Nothing here changes what the path does.

use std::time::{Duration, Instant};

use super::Path;
use crate::{
    congestion::PacketSample,
    trace::{Event, Metrics},
};

/// Least time between two looks at the controller: a loopback path has thousands of rounds a second.
const LEAST_INTERVAL: Duration = Duration::from_millis(5);

impl Path {
    /// The handshake is complete.
    pub(crate) fn on_established(&mut self, now: Instant) {
        self.trace.emit(now, || Event::Established);
        self.trace_state(now);
    }

    /// An ACK was processed: bytes, times and rate may have moved.
    pub(super) fn trace_acked(&mut self, now: Instant, acked: &[PacketSample]) {
        if let Some(active) = self.trace.active() {
            let bytes = acked.iter().map(|sample| u64::from(sample.bytes));
            active.acked_bytes += bytes.sum::<u64>();
            self.trace_state(now);
        }
    }

    /// Where the path stands, as far as it was not said before.
    pub(super) fn trace_state(&mut self, now: Instant) {
        let Some(active) = self.trace.active() else {
            return;
        };
        let max_payload = self.mtu.current();
        if active.max_payload != Some(max_payload) {
            let old = active.max_payload.replace(max_payload);
            let new = max_payload;
            active.record(now, Event::MtuUpdated { old, new });
        }
        let report = self.controller.report();
        let is_new_state = active.state != Some(report.state);
        if is_new_state {
            let old = active.state.replace(report.state);
            let new = report.state;
            active.record(now, Event::State { old, new });
        }
        let interval = (self.rtt.smoothed() / 2).max(LEAST_INTERVAL);
        let is_due = active.estimates_at.is_none_or(|at| at + interval <= now);
        if is_new_state || is_due {
            active.estimates_at = Some(now);
            let mut estimates = Vec::new();
            self.controller
                .estimates(&mut |name, value| estimates.push((name, value)));
            active.record(
                now,
                Event::Controller {
                    delivery_rate: report.delivery_rate,
                    queue_delay: report.queue_delay,
                    random_loss: report.random_loss,
                    estimates: estimates.into(),
                },
            );
        }
        let metrics = Metrics {
            min_rtt: self.rtt.min(),
            smoothed_rtt: self.rtt.smoothed(),
            latest_rtt: self.rtt.latest(),
            rtt_variation: self.rtt.var(),
            probe_count: self.loss.probe_count(),
            window: self.controller.window(),
            in_flight_bytes: self.sent.in_flight_bytes(),
            in_flight_packets: self.sent.in_flight_packets(),
            pacing_rate: self.controller.pacing_rate(),
            acked_bytes: active.acked_bytes,
        };
        active.record(now, Event::Metrics(metrics));
    }
}
