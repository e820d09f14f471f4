//! CUBIC (RFC 9438) with HyStart++ and pacing: the yardstick of fairness, not of speed.
//! The default controller lives in `adaptive`; it borrows the window curve from here.

use std::time::{Duration, Instant};

use self::hystart::HyStart;
use super::{
    AckSample, Controller, ControllerReport, LossSample, PacketSample, SentSample,
    pacer::send_quantum,
};
use crate::units::Bandwidth;

pub(in crate::congestion) use self::curve::Curve;

mod curve;
mod hystart;
#[cfg(test)]
mod tests;

/// Packets in the initial window (RFC 6928).
const INITIAL_WINDOW: f64 = 10.0;
/// Packets that may always be in flight (RFC 9002 section 7.2).
const MIN_WINDOW: f64 = 2.0;
/// Pacing above window/RTT: slow start must be able to double in a round, avoidance must never be
/// held up by the pacer.
const SLOW_START_PACING: f64 = 2.0;
const AVOIDANCE_PACING: f64 = 1.25;

#[derive(Clone, Copy, Debug)]
enum Phase {
    SlowStart(HyStart),
    Avoidance(Curve),
}

/// What a cut replaced, to be put back if its losses turn out not to be losses.
#[derive(Clone, Copy, Debug)]
struct Undo {
    window: f64,
    phase: Phase,
    lost: usize,
}

/// The CUBIC controller.
#[derive(Debug)]
pub struct Cubic {
    mtu: u16,
    /// Packets.
    window: f64,
    phase: Phase,
    smoothed_rtt: Duration,
    min_rtt: Option<Duration>,
    next_index: u64,
    grown_at: Instant,
    /// Losses of packets sent before this belong to the cut already made.
    recovery_start: Option<Instant>,
    undo: Option<Undo>,
    max_rate: Option<Bandwidth>,
}

impl Cubic {
    /// Slow start from ten packets of `mtu` bytes; `initial_rtt` paces the first round.
    pub fn new(mtu: u16, initial_rtt: Duration, now: Instant) -> Self {
        Self {
            mtu,
            window: INITIAL_WINDOW,
            phase: Phase::SlowStart(HyStart::default()),
            smoothed_rtt: initial_rtt,
            min_rtt: None,
            next_index: 0,
            grown_at: now,
            recovery_start: None,
            undo: None,
            max_rate: None,
        }
    }

    fn cut(&mut self, now: Instant, newest_sent_at: Instant, lost: usize) {
        if let Some(start) = self.recovery_start
            && newest_sent_at <= start
        {
            if let Some(undo) = &mut self.undo {
                undo.lost += lost;
            }
            return;
        }
        self.recovery_start = Some(now);
        self.undo = Some(Undo {
            window: self.window,
            phase: self.phase,
            lost,
        });
        let mut curve = match self.phase {
            Phase::SlowStart(_) => Curve::new(self.window, self.window),
            Phase::Avoidance(curve) => curve,
        };
        curve.cut(MIN_WINDOW);
        self.window = curve.window();
        self.phase = Phase::Avoidance(curve);
        self.grown_at = now;
    }

    fn grow(&mut self, sample: &AckSample<'_>, newest: &PacketSample) {
        let acked = sample.acked.len() as f64;
        let elapsed = sample.now.saturating_duration_since(self.grown_at);
        self.grown_at = sample.now;
        let used = !sample.acked.iter().all(|packet| packet.app_limited);
        match &mut self.phase {
            Phase::SlowStart(hystart) => {
                let packets = u32::try_from(sample.acked.len()).unwrap_or(u32::MAX);
                let done = hystart.on_ack(newest.index, self.next_index, packets, sample.rtt);
                if used {
                    self.window += hystart.growth(acked);
                }
                if done {
                    self.phase = Phase::Avoidance(Curve::new(self.window, self.window));
                }
            }
            Phase::Avoidance(curve) if used => {
                // The epoch stands still over idle time, or the curve would jump at its end.
                let elapsed = elapsed.min(sample.smoothed_rtt).as_secs_f64();
                curve.grow(acked, elapsed, sample.smoothed_rtt.as_secs_f64());
                self.window = curve.window();
            }
            Phase::Avoidance(_) => {}
        }
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, sample: &SentSample) {
        self.next_index = sample.packet.index + 1;
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.smoothed_rtt = sample.smoothed_rtt;
        if let Some(rtt) = sample.rtt {
            self.min_rtt = Some(self.min_rtt.map_or(rtt, |min| min.min(rtt)));
        }
        let Some(newest) = sample.acked.last() else {
            return;
        };
        if sample.ce_packets > 0 {
            self.cut(sample.now, newest.sent_at, 0);
            self.undo = None;
        }
        let recovering = self
            .recovery_start
            .is_some_and(|start| newest.sent_at <= start);
        if !recovering {
            self.grow(sample, newest);
        }
    }

    fn on_loss(&mut self, sample: &LossSample<'_>) {
        if let Some(newest) = sample.lost.last() {
            self.cut(sample.now, newest.sent_at, sample.lost.len());
        }
    }

    fn on_spurious_loss(&mut self, _now: Instant, packets: &[PacketSample]) {
        let Some(undo) = &mut self.undo else { return };
        undo.lost = undo.lost.saturating_sub(packets.len());
        if undo.lost == 0 {
            self.window = self.window.max(undo.window);
            self.phase = undo.phase;
            self.recovery_start = None;
            self.undo = None;
        }
    }

    fn on_app_limited(&mut self, _now: Instant, _in_flight_bytes: u64) {}

    fn on_probe_timeout(&mut self, now: Instant, count: u32) {
        // The first is the tail of a burst; silence for longer is persistent congestion
        // (RFC 9002 section 7.6).
        if count >= 3 {
            self.window = MIN_WINDOW;
            self.phase = Phase::SlowStart(HyStart::default());
            self.recovery_start = Some(now);
            self.undo = None;
        }
    }

    fn on_mtu(&mut self, bytes: u16) {
        self.mtu = bytes;
    }

    fn pacing_rate(&self) -> Bandwidth {
        let gain = match self.phase {
            Phase::SlowStart(_) => SLOW_START_PACING,
            Phase::Avoidance(_) => AVOIDANCE_PACING,
        };
        let rate = Bandwidth::from_delivery(self.window(), self.smoothed_rtt)
            .unwrap_or(Bandwidth::MAX)
            .scaled(gain);
        self.max_rate.map_or(rate, |max_rate| rate.min(max_rate))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate; the window is positive"
    )]
    fn window(&self) -> u64 {
        (self.window * f64::from(self.mtu)) as u64
    }

    fn send_quantum(&self) -> u64 {
        send_quantum(self.pacing_rate(), self.mtu)
    }

    fn set_max_rate(&mut self, max_rate: Option<Bandwidth>) {
        self.max_rate = max_rate;
    }

    fn report(&self) -> ControllerReport {
        ControllerReport {
            state: match self.phase {
                Phase::SlowStart(_) => "slow start",
                Phase::Avoidance(_) => "avoidance",
            },
            delivery_rate: Bandwidth::from_delivery(self.window(), self.smoothed_rtt)
                .unwrap_or_default(),
            min_rtt: self.min_rtt,
            queue_delay: self
                .min_rtt
                .map_or(Duration::ZERO, |min| self.smoothed_rtt.saturating_sub(min)),
            random_loss: 0.0,
        }
    }
}
