//! A controller like BBR version 1 (draft-cardwell-iccrg-bbr-congestion-control-00): its model, states, gains and
//! windows, without what kernels add. It is here to share links with others; the engine does not have it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rp_protocol::{
    congestion::{AckSample, Controller, ControllerReport, LossSample, SentSample},
    units::Bandwidth,
};

use self::filter::MaxFilter;

mod filter;

/// 2 / ln 2: doubles the rate every round (section 4.2.1).
const HIGH_GAIN: f64 = 2.885;

/// Window over the model's bandwidth-delay product while probing (section 4.2.3).
const WINDOW_GAIN: f64 = 2.0;

/// One cycle: probe, drain what that put into the queue, cruise (section 4.3.3.1).
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];

/// Rounds for which the highest delivery rate counts (section 4.1.1.5).
const BANDWIDTH_ROUNDS: u64 = 10;

/// How long the least round trip counts (section 4.1.2.3).
const RTT_LIFETIME: Duration = Duration::from_secs(10);

/// How long the queue is kept empty to measure it again (section 4.3.4).
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

/// Packets in flight meanwhile.
const PROBE_RTT_PACKETS: u64 = 4;

/// Growth in a round that says that the pipe is not full, and rounds without it that say that it is
/// (section 4.3.1.2).
const FULL_GROWTH: f64 = 1.25;
const FULL_ROUNDS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    ProbeBandwidth { phase: usize, since: Instant },
    ProbeRtt { until: Option<Instant> },
}

/// What was so when a packet left.
#[derive(Clone, Copy, Debug)]
struct Departure {
    sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Bbr {
    mtu: u16,
    rng: Xoshiro256PlusPlus,
    state: State,
    /// Bytes per second.
    bandwidth: MaxFilter,
    min_rtt: Duration,
    min_rtt_at: Instant,
    /// Packets not known to be delivered or lost; `base` is the index of the first.
    departures: VecDeque<Departure>,
    base: u64,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    round: u64,
    /// The round ends when a packet is acknowledged that left after so much had been delivered.
    round_ends: u64,
    full_bandwidth: f64,
    full_rounds: u32,
    is_full: bool,
    has_lost: bool,
}

impl Bbr {
    pub(super) fn new(mtu: u16, rtt: Duration, now: Instant, seed: u64) -> Self {
        let mut bandwidth = MaxFilter::new(BANDWIDTH_ROUNDS);
        // Ten packets in the handshake's round trip (section 4.2.1).
        bandwidth.put(0, f64::from(mtu) * 10.0 / rtt.as_secs_f64().max(1e-6));
        Self {
            mtu,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            state: State::Startup,
            bandwidth,
            min_rtt: rtt,
            min_rtt_at: now,
            departures: VecDeque::new(),
            base: 0,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            round: 0,
            round_ends: 0,
            full_bandwidth: 0.0,
            full_rounds: 0,
            is_full: false,
            has_lost: false,
        }
    }

    fn pacing_gain(&self) -> f64 {
        match self.state {
            State::Startup => HIGH_GAIN,
            State::Drain => 1.0 / HIGH_GAIN,
            State::ProbeBandwidth { phase, .. } => CYCLE[phase],
            State::ProbeRtt { .. } => 1.0,
        }
    }

    /// The model's bandwidth-delay product in bytes, `gain` times.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate; the model is positive"
    )]
    fn pipe(&self, gain: f64) -> u64 {
        (self.bandwidth.max() * self.min_rtt.as_secs_f64() * gain) as u64
    }

    fn departure(&self, index: u64) -> Option<Departure> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.departures.get(at).copied()
    }

    /// Delivery rate over the flight of the newest packet (section 4.1.1.2). Everything sent up to a
    /// packet that arrived is either known or given up.
    fn update_model(&mut self, sample: &AckSample<'_>) -> bool {
        let bytes: u64 = sample.acked.iter().map(|p| u64::from(p.bytes)).sum();
        self.delivered += bytes;
        self.delivered_at = sample.now;
        let Some(newest) = sample.acked.last() else {
            return false;
        };
        let Some(departure) = self.departure(newest.index) else {
            return false;
        };
        self.first_sent_at = departure.sent_at;
        let ends_round = departure.delivered >= self.round_ends;
        if ends_round {
            self.round_ends = self.delivered;
            self.round += 1;
        }
        let ack_elapsed = sample.now - departure.delivered_at;
        let send_elapsed = departure.sent_at - departure.first_sent_at;
        let elapsed = ack_elapsed.max(send_elapsed);
        if elapsed >= self.min_rtt {
            let rate = (self.delivered - departure.delivered) as f64 / elapsed.as_secs_f64();
            if !newest.app_limited || rate > self.bandwidth.max() {
                self.bandwidth.put(self.round, rate);
            }
        }
        if ends_round && !newest.app_limited {
            self.look_for_full_pipe();
        }
        ends_round
    }

    fn look_for_full_pipe(&mut self) {
        if self.is_full {
            return;
        }
        if self.bandwidth.max() >= self.full_bandwidth * FULL_GROWTH {
            self.full_bandwidth = self.bandwidth.max();
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
            self.is_full = self.full_rounds >= FULL_ROUNDS;
        }
    }

    /// Takes a lower round trip, or any when the old one is worn out; says whether it was worn out.
    fn update_min_rtt(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        let is_worn = now > self.min_rtt_at + RTT_LIFETIME;
        if let Some(rtt) = rtt
            && (rtt <= self.min_rtt || is_worn)
        {
            self.min_rtt = rtt.max(Duration::from_micros(1));
            self.min_rtt_at = now;
        }
        is_worn
    }

    fn enter_probe_bandwidth(&mut self, now: Instant) {
        // Any phase but the draining one, so that flows do not probe in step (section 4.3.3.2).
        let phase = (self.rng.random_range(0..CYCLE.len() - 1) + 2) % CYCLE.len();
        self.state = State::ProbeBandwidth { phase, since: now };
    }

    fn advance(&mut self, now: Instant, in_flight: u64, min_rtt_is_worn: bool, ends_round: bool) {
        match self.state {
            State::Startup if self.is_full => self.state = State::Drain,
            State::ProbeBandwidth { phase, since } => {
                let is_over = now - since > self.min_rtt;
                let gain = CYCLE[phase];
                let is_done = if gain > 1.0 {
                    is_over && (self.has_lost || in_flight >= self.pipe(gain))
                } else if gain < 1.0 {
                    is_over || in_flight <= self.pipe(1.0)
                } else {
                    is_over
                };
                if is_done {
                    self.has_lost = false;
                    let phase = (phase + 1) % CYCLE.len();
                    self.state = State::ProbeBandwidth { phase, since: now };
                }
            }
            _ => {}
        }
        if self.state == State::Drain && in_flight <= self.pipe(1.0) {
            self.enter_probe_bandwidth(now);
        }
        if min_rtt_is_worn && !matches!(self.state, State::ProbeRtt { .. }) {
            self.state = State::ProbeRtt { until: None };
        }
        if let State::ProbeRtt { until } = self.state {
            let low = PROBE_RTT_PACKETS * u64::from(self.mtu);
            match until {
                None if in_flight <= low => {
                    let until = Some(now + PROBE_RTT_TIME.max(self.min_rtt));
                    self.state = State::ProbeRtt { until };
                }
                Some(until) if now >= until && ends_round => {
                    self.min_rtt_at = now;
                    if self.is_full {
                        self.enter_probe_bandwidth(now);
                    } else {
                        self.state = State::Startup;
                    }
                }
                _ => {}
            }
        }
    }

    /// Forgets departures before the oldest packet that may still be of interest.
    fn forget(&mut self, upto: u64) {
        while self.base < upto && self.departures.pop_front().is_some() {
            self.base += 1;
        }
    }
}

/// Packets a flight may be overtaken by before its record is dropped: more than any window here.
const KEPT: u64 = 1 << 20;

impl Controller for Bbr {
    fn on_sent(&mut self, sample: &SentSample) {
        let packet = sample.packet;
        if sample.in_flight_bytes <= u64::from(packet.bytes) {
            // Nothing was in flight: idle time is nobody's delivery time.
            self.first_sent_at = packet.sent_at;
            self.delivered_at = packet.sent_at;
        }
        self.departures.push_back(Departure {
            sent_at: packet.sent_at,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
        });
        self.forget(packet.index.saturating_sub(KEPT));
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        let ends_round = self.update_model(sample);
        let is_worn = self.update_min_rtt(sample.now, sample.rtt);
        self.advance(sample.now, sample.in_flight_bytes, is_worn, ends_round);
    }

    fn on_loss(&mut self, _sample: &LossSample<'_>) {
        self.has_lost = true;
    }

    fn on_app_limited(&mut self, _now: Instant, _in_flight_bytes: u64) {}

    fn on_probe_timeout(&mut self, _now: Instant, _count: u32) {}

    fn on_mtu(&mut self, bytes: u16) {
        self.mtu = bytes;
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate; the model is positive"
    )]
    fn pacing_rate(&self) -> Bandwidth {
        Bandwidth::from_bytes_per_second((self.bandwidth.max() * self.pacing_gain()) as u64)
    }

    fn window(&self) -> u64 {
        let least = PROBE_RTT_PACKETS * u64::from(self.mtu);
        let gain = match self.state {
            State::ProbeRtt { .. } => return least,
            State::Startup | State::Drain => HIGH_GAIN,
            State::ProbeBandwidth { .. } => WINDOW_GAIN,
        };
        // Room for what delayed and bunched ACKs hold back (section 4.2.3.2).
        (self.pipe(gain) + 3 * self.send_quantum()).max(least)
    }

    fn send_quantum(&self) -> u64 {
        let a_millisecond = self.pacing_rate().bytes_in(Duration::from_millis(1));
        a_millisecond.clamp(2 * u64::from(self.mtu), 64_000)
    }

    fn set_max_rate(&mut self, _max_rate: Option<Bandwidth>) {}

    fn report(&self) -> ControllerReport {
        ControllerReport {
            state: match self.state {
                State::Startup => "startup",
                State::Drain => "drain",
                State::ProbeBandwidth { .. } => "probe bandwidth",
                State::ProbeRtt { .. } => "probe RTT",
            },
            delivery_rate: self.pacing_rate().scaled(1.0 / self.pacing_gain()),
            min_rtt: Some(self.min_rtt),
            ..ControllerReport::default()
        }
    }
}
