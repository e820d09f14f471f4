//! The default controller: the rate follows what is delivered, the queue is held small, and loss is answered only
//! where sending less cures it. Each state of spec/04-congestion.md has a module of its own.
//!
//! 1. Every packet belongs to the round it was sent in (`rounds`).
//! 2. An ACK feeds `delay_model` (RTT) and `delivery` (receiver's clock), train reports feed `trains`.
//! 3. When a round ends, `model` turns these into capacity, share and queue target; `random_loss` judges
//!    the losses, `loss_response` answers them.
//! 4. The state (`start`, `delay`, `compete`) sets rate and window; `cross_traffic` says which of the last
//!    two it is; the next round begins.

use std::time::{Duration, Instant};

use self::{
    compete::Compete,
    cross_traffic::CrossTraffic,
    delay::Delay,
    delivery::NewestAcked,
    model::{Model, Round},
    rounds::Kind,
    solitude::Solitude,
    start::{INITIAL_PACKETS, INITIAL_WINDOW, Start},
};
use super::{
    AckSample, Controller, ControllerReport, LossSample, PacketSample, PathMemory, SentSample,
    TrainSample, pacer::send_quantum,
};
use crate::{config::Policy, units::Bandwidth};

mod compete;
mod cross_traffic;
mod delay;
mod delay_model;
mod delivery;
mod filters;
mod judge_losses;
mod loss_response;
mod low_rate_probe;
mod model;
mod random_loss;
mod resume;
mod rounds;
mod solitude;
mod start;
mod trains;
mod user_limits;

#[cfg(test)]
mod tests;

/// Packets that must be resolved before a round ends.
const ROUND_PACKETS: u64 = 8;
/// Bounds of every rate, in bytes per second: a packet a minute, 8 Tbit/s.
const LOWEST_RATE: f64 = 25.0;
const HIGHEST_RATE: f64 = 1e12;
/// Shortest time without an ACK, in seconds, after which the rate is halved.
const SILENCE: f64 = 0.1;
/// Largest rounding error of a time converted from seconds.
const ROUNDING: Duration = Duration::from_nanos(2);
/// Packets that may always be in flight.
const LEAST_WINDOW: f64 = 4.0;

#[derive(Clone, Copy, Debug)]
enum State {
    Start(Start),
    Delay(Delay),
    Compete(Compete),
}

/// The adaptive controller.
#[derive(Debug)]
pub struct Adaptive {
    epoch: Instant,
    mtu: u16,
    state: State,
    model: Model,
    cross_traffic: CrossTraffic,
    ce: u64,
    sent_at: Option<f64>,
    /// When a packet was acknowledged last, or the rate halved because none was.
    heard_at: f64,
    app_limited: bool,
    min_rtt: Option<Duration>,
    solitude: Solitude,
}

impl Adaptive {
    /// START from 32 packets of `mtu` bytes, paced over `initial_rtt`.
    pub fn new(mtu: u16, initial_rtt: Duration, now: Instant) -> Self {
        let rtt = initial_rtt.as_secs_f64().max(0.001);
        let mtu_bytes = f64::from(mtu);
        let (rate, window) = (
            INITIAL_PACKETS * mtu_bytes / rtt,
            INITIAL_WINDOW * mtu_bytes,
        );
        Self {
            epoch: now,
            mtu,
            state: State::Start(Start::default()),
            model: Model::new(0.0, mtu_bytes, rtt, rate, window),
            cross_traffic: CrossTraffic::new(),
            ce: 0,
            sent_at: None,
            heard_at: 0.0,
            app_limited: false,
            min_rtt: None,
            solitude: Solitude::default(),
        }
    }

    /// The same controller as a scavenger (spec/04-congestion.md#low).
    pub fn scavenger(mtu: u16, initial_rtt: Duration, now: Instant) -> Self {
        let mut adaptive = Self::new(mtu, initial_rtt, now);
        adaptive.model.scavenger = true;
        adaptive
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.epoch).as_secs_f64()
    }

    /// Whether the current round is over: one of its packets is acknowledged and enough packets are resolved. In
    /// the steady states time ends it too, or a queue of ten round trips would delay the reaction as long.
    fn round_is_over(&self, now: f64) -> bool {
        let tally = self.model.rounds.tally();
        let age = now - self.model.rounds.started_at();
        let enough = match &self.state {
            State::Start(start) => start.round_packets(),
            _ => ROUND_PACKETS,
        };
        let known =
            tally.acked + tally.lost >= enough || age > (4.0 * self.model.delay.srtt).max(0.1);
        let overdone =
            matches!(&self.state, State::Start(start) if start.is_overdone(&self.model, now));
        let news = matches!(&self.state, State::Start(start) if start.has_news(&self.model));
        let min_rtt = self.model.delay.min_rtt;
        let timed = matches!(self.state, State::Delay(_))
            && age > (1.5 * min_rtt).max(min_rtt + 0.03)
            && tally.acked > 0;
        (tally.current_acked && known) || timed || overdone || (news && tally.acked > 0)
    }

    fn close_round(&mut self, now: f64) {
        let tally = self.model.rounds.tally();
        let overdone = match &self.state {
            State::Start(start) => start.is_overdone(&self.model, now),
            _ => false,
        };
        let returning = self.model.rounds.returning().copied();
        let steady = matches!(self.state, State::Delay(_));
        let started_at = self.model.rounds.started_at();
        let competing =
            matches!(self.state, State::Compete(_)) || self.cross_traffic.on_probation();
        self.model
            .delay
            .close_round(now, started_at, competing, steady);
        let app_limited = returning.is_some_and(|sent_round| sent_round.is_slowed());
        let unfilled =
            returning.and_then(|sent_round| sent_round.app_limited.then_some(sent_round.rate));
        let delivered = self
            .model
            .delivery
            .close_round(self.model.delay.window(), unfilled);
        let mut round = Round {
            now,
            acked: tally.acked,
            lost: tally.lost,
            arrival: delivered.map_or(0.0, |d| d.received),
            spanned: delivered.map_or(0.0, |d| d.spanned),
            sent_rate: returning.map_or(self.model.rate, |sent_round| sent_round.rate),
            app_limited: app_limited || self.app_limited,
            half_full: returning
                .is_some_and(|sent_round| sent_round.is_half_full(self.model.delay.min_rtt)),
            left_rate: returning.map_or(self.model.rate, |sent_round| {
                sent_round.sent_rate().unwrap_or(sent_round.rate)
            }),
            excess: false,
            ce: std::mem::take(&mut self.ce),
            overdone,
        };
        self.app_limited = false;
        self.judge_losses(&mut round);
        if let Some(d) = delivered {
            // START has no random-loss estimate yet: without a bound, what a tiny buffer drops would count as
            // delivered, and the rate would double for ever.
            let starting = matches!(self.state, State::Start(_));
            let own_loss = match self.model.random_loss.loss() {
                _ if starting => Some(random_loss::WORST),
                random_loss => round.excess.then_some(random_loss),
            };
            let sample = own_loss.map_or(d.spanned, |p| d.spanned.min(d.received / (1.0 - p)));
            if starting {
                self.model.delivery.raise(sample);
            } else {
                let unfilled = app_limited
                    || (steady && !competing && self.is_held_up(&round, d.left, sample));
                self.model.delivery.update(sample, unfilled);
            }
            self.model.trains.on_delivered(now, sample);
        }
        self.model.refresh(now);
        self.steer(&round);
        self.bound();
        let starting = matches!(self.state, State::Start(_));
        self.solitude.close_round(now, starting, &self.model);
        let model = &mut self.model;
        let may_probe = matches!(&self.state, State::Delay(delay) if !delay.is_draining());
        let packets = model.packets_per_round_trip().max(1.0);
        let probing = model.probe.on_round(
            now,
            model.random_loss.loss(),
            model.delay.min_rtt,
            packets,
            may_probe,
        );
        let rate = model.send_rate();
        let kind = match &self.state {
            _ if probing => Kind::Probe,
            State::Delay(delay) if delay.is_draining() => Kind::Drain,
            State::Compete(compete) if compete.is_testing() => Kind::Drain,
            _ => Kind::Usual,
        };
        model.rounds.start_next_round(now, rate, kind);
    }

    /// Whether the sender's machine, and not the path, was slow: what left has arrived, and there is no queue.
    /// Both rates are measured between the same two packets, so that a stall between rounds is in both.
    fn is_held_up(&self, round: &Round, left: f64, sample: f64) -> bool {
        left < 0.9 * round.sent_rate
            && sample > 0.9 * left
            && self.model.delay.queuing_delay < self.model.queue_target
    }

    fn steer(&mut self, round: &Round) {
        let model = &mut self.model;
        match &mut self.state {
            State::Start(start) => {
                if start.on_round(model, round) {
                    self.state = State::Delay(Delay::new(round.now));
                }
            }
            State::Delay(delay) => {
                delay.on_round(model, round);
                //= spec/04-congestion.md#low
                //# A flow under this policy MUST NOT enter COMPETE.
                if !model.scavenger
                    && let Some(compete) = self.cross_traffic.on_round(model, round)
                {
                    self.state = State::Compete(compete);
                }
            }
            State::Compete(compete) => {
                if let Some(held) = compete.on_round(model, round) {
                    self.cross_traffic.leave(model, round, compete.curve, held);
                    let next = model.rounds.number() + 1;
                    model.rate = held;
                    model.delivery.set(held);
                    model.loss_response.reset(next, held);
                    self.state = State::Delay(Delay::new(round.now));
                }
            }
        }
    }

    fn halve(&mut self) {
        self.model.rate /= 2.0;
        self.bound();
        let rate = self.model.rate;
        self.model.rounds.set_rate(rate);
    }

    //= spec/04-congestion.md#floor
    //# The rate MUST NOT fall below two packets per round trip.
    fn bound(&mut self) {
        let model = &mut self.model;
        let floor = (2.0 * model.mtu / model.delay.srtt).max(LOWEST_RATE);
        model.rate = model.rate.max(floor).min(model.max_rate).min(HIGHEST_RATE);
        model.cwnd = model.cwnd.max(LEAST_WINDOW * model.mtu).min(HIGHEST_RATE);
    }
}

impl Controller for Adaptive {
    fn on_sent(&mut self, sample: &SentSample) {
        let now = self.seconds(sample.packet.sent_at);
        if self
            .sent_at
            .is_some_and(|before| now - before > self.model.idle_time())
        {
            self.model.delivery.on_idle();
            self.model.delay.forget_ack_gap();
        }
        self.sent_at = Some(now);
        let packet = &sample.packet;
        if sample.in_flight_bytes <= u64::from(packet.bytes) {
            // Nothing was in flight before, so there was nothing to acknowledge.
            self.heard_at = now;
        }
        self.model.rounds.on_sent(
            now,
            packet.index,
            u64::from(packet.bytes),
            packet.app_limited,
        );
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        let now = self.seconds(sample.now);
        let Some(newest) = sample.acked.last() else {
            return;
        };
        self.heard_at = now;
        if let Some(rtt) = sample.rtt {
            self.min_rtt = Some(self.min_rtt.map_or(rtt, |min| min.min(rtt)));
        }
        let rtt = sample.rtt.map(|rtt| rtt.as_secs_f64());
        self.model
            .delay
            .on_ack(now, rtt, sample.smoothed_rtt.as_secs_f64());
        let mut bytes = 0;
        for packet in sample.acked {
            bytes += u64::from(packet.bytes);
            self.model.rounds.on_acked(packet.index);
        }
        self.ce += sample.ce_packets;
        if let State::Compete(compete) = &mut self.state {
            let used = !self.app_limited && !newest.app_limited && !self.model.is_at_max_rate();
            compete.on_ack(&mut self.model, now, sample.acked.len() as u64, used);
        }
        let newest = NewestAcked {
            index: newest.index,
            sent_at: self.seconds(newest.sent_at),
            acked_at: self.seconds(sample.arrived_at),
            received_at: sample.received_at.map(|at| at.as_secs_f64()),
        };
        let packets = sample.acked.len() as u64;
        let min_rtt = self.model.delay.min_rtt;
        self.model
            .delivery
            .on_acked(packets, bytes, newest, min_rtt);
        if self.round_is_over(now) {
            self.close_round(now);
        }
    }

    fn on_loss(&mut self, sample: &LossSample<'_>) {
        for packet in sample.lost {
            self.model.rounds.on_lost(packet.index);
        }
        let now = self.seconds(sample.now);
        if matches!(&self.state, State::Start(start) if start.is_overdone(&self.model, now)) {
            self.close_round(now);
        }
        //= spec/04-congestion.md#probe-timeout
        //# While nothing but losses is heard of for two round trips, the rate MUST be halved, again and
        //# again.
        if now - self.heard_at > (2.0 * self.model.delay.srtt).max(SILENCE) {
            self.heard_at = now;
            self.halve();
        }
    }

    //= spec/04-congestion.md#spurious-loss
    //# A packet that arrives after it was declared lost MUST be taken off the losses of its round.
    fn on_spurious_loss(&mut self, _now: Instant, packets: &[PacketSample]) {
        for packet in packets {
            if !self.model.rounds.on_spurious(packet.index) {
                self.model.random_loss.on_spurious(1);
            }
        }
    }

    fn on_discarded(&mut self, packet: &PacketSample) {
        self.model.rounds.on_discarded(packet.index);
    }

    fn on_app_limited(&mut self, _now: Instant, _in_flight_bytes: u64) {
        self.app_limited = true;
    }

    //= spec/04-congestion.md#probe-timeout
    //# A single probe timeout MUST NOT change the rate.
    fn on_probe_timeout(&mut self, _now: Instant, count: u32) {
        if count >= 2 {
            self.halve();
        }
    }

    fn on_train(&mut self, sample: &TrainSample) {
        let now = self.seconds(sample.now);
        let span = sample.span.as_secs_f64();
        if sample.packets < 2 || sample.bytes == 0 || span <= 0.0 {
            return;
        }
        let rate = sample.bytes as f64 / span;
        let srtt = self.model.delay.srtt;
        self.model.trains.on_train(now, rate, srtt);
    }

    fn on_mtu(&mut self, bytes: u16) {
        self.mtu = bytes;
        self.model.mtu = f64::from(bytes);
        self.bound();
    }

    fn train_due(&mut self, now: Instant, most: u64) -> Option<u32> {
        let now = self.seconds(now);
        let model = &mut self.model;
        let (every, packets) = match self.state {
            //= spec/04-congestion.md#trains
            //# In START, a sender held by the user's maximum rate SHOULD NOT send trains: they leave faster than it.
            State::Start(_) if model.is_at_max_rate() => return None,
            State::Start(start) => (start.train_interval(model.delay.srtt), start::TRAIN_PACKETS),
            State::Delay(_) | State::Compete(_) => {
                let packets = (0.002 * model.rate / model.mtu).clamp(3.0, trains::LONGEST);
                (model.trains.spacing(model.delay.srtt), packets)
            }
        };
        let packets = trains::whole(packets);
        // `due` schedules the next train, so it is asked last.
        let is_due = u64::from(packets) <= most && model.trains.due(now, every);
        is_due.then(|| {
            model.rounds.begin_train(packets);
            packets
        })
    }

    fn train_at(&self) -> Option<Instant> {
        let State::Start(start) = &self.state else {
            return None;
        };
        // Rounded up: a nanosecond early it would not be due, and the timer would fire again at once.
        let due_at = Duration::try_from_secs_f64(self.model.trains.due_at()).ok()? + ROUNDING;
        let is_first = start.is_first_round() && !self.model.is_at_max_rate();
        is_first.then(|| self.epoch + due_at)
    }

    fn pacing_rate(&self) -> Bandwidth {
        bandwidth(self.model.send_rate().min(self.model.max_rate))
    }

    fn window(&self) -> u64 {
        bandwidth(self.model.cwnd).bytes_per_second()
    }

    fn send_quantum(&self) -> u64 {
        send_quantum(self.pacing_rate(), self.mtu)
    }

    fn burst_time(&self) -> Duration {
        self.solitude.burst_time(&self.model)
    }

    fn set_max_rate(&mut self, max_rate: Option<Bandwidth>) {
        self.limit(max_rate);
    }

    fn adopt(&mut self, policy: Policy) -> bool {
        self.go_over(policy)
    }

    fn recall(&mut self, memory: &PathMemory) {
        self.remember(memory);
    }

    fn memory(&self) -> Option<PathMemory> {
        self.learnt()
    }

    fn report(&self) -> ControllerReport {
        ControllerReport {
            state: match &self.state {
                State::Start(_) => "start",
                State::Delay(_) if self.cross_traffic.on_probation() => "probation",
                State::Delay(delay) => delay.name(),
                State::Compete(compete) => compete.name(),
            },
            delivery_rate: bandwidth(self.model.delivery.rate),
            min_rtt: self.min_rtt,
            queue_delay: Duration::try_from_secs_f64(self.model.delay.queuing_delay)
                .unwrap_or_default(),
            random_loss: self.random_loss(),
        }
    }

    fn random_loss(&self) -> f64 {
        self.model.random_loss.loss()
    }

    fn estimates(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        self.model.estimates(visit);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a saturating cast of a rate already bounded"
)]
fn bandwidth(rate: f64) -> Bandwidth {
    Bandwidth::from_bytes_per_second(rate as u64)
}
