//! What may leave on a path now, and what is noted when it does. What to put into a packet is decided
//! in `connection/transmit.rs`.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::{
    Path,
    ack::AckPolicy,
    mtu::MIN_PAYLOAD,
    sent_packets::{SentFrames, SentPacket, is_mtu_probe},
};
use crate::{
    config::TransportConfig,
    congestion::{self, PacketSample, PathMemory, SentSample},
    trace::Event,
    units::{Bandwidth, EcnCodepoint},
};

/// Least packets between two skipped numbers; a NAK answers each skip, so they are kept rare.
const MIN_SKIP_DISTANCE: u64 = 2000;
/// From this many probe timeouts in a row packets are small: the path may have stopped carrying
/// large ones.
const SMALL_AFTER_PROBES: u32 = 2;
/// ECN is given up when so many marked packets were acknowledged without a count.
const ECN_UNCOUNTED_LIMIT: u64 = 10;

/// The path's packet numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u64,
    next_skip: u64,
}

impl Numbers {
    pub(super) fn new(first_skip: u64) -> Self {
        Self {
            next: 0,
            next_skip: 1 + first_skip % MIN_SKIP_DISTANCE,
        }
    }

    fn take(&mut self, rng: &mut impl Rng, in_flight_packets: u64) -> u64 {
        //= spec/03-reliability.md#skipped-numbers
        //# A sender SHOULD skip a packet number now and then, at distances the peer cannot predict.
        if self.next == self.next_skip {
            self.next += 1;
            let spread = MIN_SKIP_DISTANCE.max(in_flight_packets);
            self.next_skip = self.next + spread + rng.random_range(0..spread);
        }
        let number = self.next;
        self.next += 1;
        number
    }
}

/// Whether the sender, not the network, limits the rate: true from the moment it ran dry until all
/// that was in flight then is settled.
#[derive(Debug, Default)]
pub(super) struct AppLimit {
    until_index: Option<u64>,
    pub(super) next_index: u64,
}

impl AppLimit {
    fn is_limited(&self) -> bool {
        self.until_index.is_some()
    }

    fn on_dry(&mut self) {
        self.until_index = Some(self.next_index);
    }

    pub(super) fn on_acked(&mut self, index: u64) {
        if self.until_index.is_some_and(|until| index >= until) {
            self.until_index = None;
        }
    }
}

/// The ACK policy we set for the peer.
#[derive(Debug)]
pub(super) struct PolicyState {
    current: Option<AckPolicy>,
    changed_at: Option<Instant>,
    pending: bool,
}

impl PolicyState {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            changed_at: None,
            pending: false,
        }
    }

    pub(super) fn current(&self) -> Option<&AckPolicy> {
        self.current.as_ref()
    }
}

/// Whether the path carries ECN marks.
#[derive(Debug, Default)]
pub(super) struct EcnState {
    refused: bool,
    uncounted: u64,
    ce: u64,
}

impl EcnState {
    /// News of marks: `marked` packets we sent as ECT(0) were acknowledged together with `ce`
    /// reported, or no counts at all. Returns how many CE marks are new.
    pub(super) fn on_ack(&mut self, marked: u64, ce: Option<u64>) -> u64 {
        match ce {
            Some(ce) => {
                let news = ce.saturating_sub(self.ce);
                self.ce = self.ce.max(ce);
                self.uncounted = 0;
                news
            }
            None => {
                self.uncounted += marked;
                //= spec/07-paths.md#ecn
                //# An endpoint MUST stop marking packets when acknowledgements of marked packets carry no counts.
                if self.uncounted >= ECN_UNCOUNTED_LIMIT {
                    self.refused = true;
                }
                0
            }
        }
    }
}

/// A packet that has been written and is about to be handed to the socket.
#[derive(Debug)]
pub(crate) struct Departure {
    /// Its number.
    pub(crate) number: u64,
    /// Its size as UDP payload.
    pub(crate) bytes: u16,
    /// The peer is to acknowledge it.
    pub(crate) ack_eliciting: bool,
    /// It counts against window and pacer.
    pub(crate) in_flight: bool,
    /// What it carries.
    pub(crate) frames: SentFrames,
}

impl Departure {
    /// A packet outside the path's own traffic, of which only the number is kept: its fate says nothing of RTT,
    /// loss or rate.
    pub(crate) fn apart(number: u64, bytes: usize) -> Self {
        Self {
            number,
            bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
            ack_eliciting: false,
            in_flight: false,
            frames: SentFrames::new(),
        }
    }

    fn told(&self) -> Event {
        Event::PacketSent {
            number: self.number,
            bytes: self.bytes,
            in_flight: self.in_flight,
            is_mtu_probe: is_mtu_probe(&self.frames),
        }
    }
}

impl Path {
    /// Bytes that leave in `interval` at the present rate.
    pub(crate) fn bytes_in(&self, interval: Duration) -> u64 {
        self.controller.pacing_rate().bytes_in(interval)
    }

    /// A fresh packet number.
    pub(crate) fn take_number(&mut self, rng: &mut impl Rng) -> u64 {
        let in_flight = self.sent.in_flight_packets();
        self.numbers.take(rng, in_flight)
    }

    /// Largest number acknowledged; packet numbers are truncated against it.
    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.loss.largest_acked()
    }

    /// Bytes of new data or repair that may leave at `now`.
    pub(crate) fn budget(&mut self, now: Instant) -> u64 {
        let packet = u64::from(self.packet_size());
        self.pacer.set_rtt(self.rtt.smoothed());
        self.pacer.set(
            self.controller.pacing_rate(),
            self.controller.send_quantum(),
            self.packet_size(),
        );
        self.pacer.set_burst_time(self.controller.burst_time());
        let window = self
            .controller
            .window()
            .saturating_sub(self.sent.in_flight_bytes());
        if window < packet {
            0
        } else {
            window.min(self.pacer.budget(now))
        }
    }

    /// Whether the window allows another packet, so that only the pacer may be in the way.
    pub(crate) fn has_room(&self) -> bool {
        let packet = u64::from(self.packet_size());
        self.sent.in_flight_bytes() + packet <= self.controller.window()
    }

    /// When the pacer lets the next burst go.
    pub(crate) fn paced_at(&mut self, now: Instant) -> Instant {
        self.pacer.next_at(now, self.pacer.burst())
    }

    /// Whether more than one probe timeout has passed without an answer.
    pub(crate) fn is_silent(&self) -> bool {
        self.loss.probe_count() >= SMALL_AFTER_PROBES
    }

    /// Largest UDP payload a packet may have now.
    pub(crate) fn packet_size(&self) -> u16 {
        if self.is_silent() {
            MIN_PAYLOAD
        } else {
            self.mtu.current()
        }
    }

    /// How packets are to be marked.
    pub(crate) fn ecn(&self) -> Option<EcnCodepoint> {
        (!self.ecn.refused).then_some(EcnCodepoint::Ect0)
    }

    /// A packet leaves.
    pub(crate) fn on_departure(&mut self, now: Instant, departure: Departure) {
        let index = self.app_limit.next_index;
        let sample = PacketSample {
            index,
            bytes: departure.bytes,
            sent_at: now,
            app_limited: self.app_limit.is_limited(),
        };
        self.counters.sent_packets += 1;
        self.counters.sent_bytes += u64::from(departure.bytes);
        self.trace.emit(now, || departure.told());
        self.sent.insert(
            departure.number,
            SentPacket {
                sample,
                in_flight: departure.in_flight,
                ack_eliciting: departure.ack_eliciting,
                lost_at: None,
                ecn: self.ecn().is_some(),
                frames: departure.frames,
            },
        );
        if departure.in_flight {
            self.loss.on_sent(now);
            self.app_limit.next_index += 1;
            self.pacer.on_sent(now, u64::from(departure.bytes));
            self.controller.on_sent(&SentSample {
                packet: sample,
                in_flight_bytes: self.sent.in_flight_bytes(),
            });
        }
    }

    /// Room was left and nothing wanted to be sent.
    pub(crate) fn on_dry(&mut self, now: Instant) {
        self.app_limit.on_dry();
        self.controller
            .on_app_limited(now, self.sent.in_flight_bytes());
    }

    /// Recompute the policy for the peer's ACKs, at most once per RTT. The pure receiver of data never
    /// needs one: nothing of its own is in flight.
    pub(crate) fn refresh_policy(&mut self, now: Instant) {
        let interval = self.rtt.smoothed();
        if self.policy.changed_at.is_some_and(|at| at + interval > now) {
            return;
        }
        let size = self.packet_size();
        let fresh = AckPolicy::for_path(
            self.controller.pacing_rate(),
            self.rtt.smoothed(),
            self.controller.window() / u64::from(size),
            size,
            self.loss.reorder_window(&self.rtt),
        );
        let sequence = self.policy.current.map_or(0, |policy| policy.sequence) + 1;
        if self
            .policy
            .current
            .is_none_or(|current| current.differs_from(&fresh))
        {
            self.policy.current = Some(AckPolicy { sequence, ..fresh });
            self.policy.changed_at = Some(now);
            self.policy.pending = true;
        }
    }

    /// The policy to send now, if one is waiting.
    pub(crate) fn pending_policy(&self) -> Option<AckPolicy> {
        self.policy.current.filter(|_| self.policy.pending)
    }

    /// The policy left in a packet.
    pub(crate) fn on_policy_sent(&mut self) {
        self.policy.pending = false;
    }

    /// A packet with the policy `sequence` was lost.
    pub(crate) fn on_policy_lost(&mut self, sequence: u64) {
        if self
            .policy
            .current
            .is_some_and(|policy| policy.sequence == sequence)
        {
            self.policy.pending = true;
        }
    }

    /// Set or lift the maximum rate.
    pub(crate) fn set_max_rate(&mut self, max_rate: Option<Bandwidth>) {
        self.controller.set_max_rate(max_rate);
    }

    /// Go over to `policy`, anew where the controller is another one: the rate is then found again, with what was
    /// learnt so far as memory.
    pub(crate) fn set_policy(&mut self, now: Instant, config: &TransportConfig) {
        if self.controller.adopt(config.policy) {
            return;
        }
        let memory = self.controller.memory();
        let size = self.mtu.current();
        self.controller = congestion::build(config.policy, size, self.rtt.smoothed(), now);
        self.controller.set_max_rate(config.max_rate);
        if let Some(memory) = memory {
            self.controller.recall(&memory);
        }
    }

    /// This path may be one known from before.
    pub(crate) fn recall(&mut self, memory: &PathMemory) {
        self.controller.recall(memory);
    }

    /// What was learnt of this path.
    pub(crate) fn memory(&self) -> Option<PathMemory> {
        self.controller.memory()
    }

    /// What the controller would have in flight, in bytes.
    pub(crate) fn window(&self) -> u64 {
        self.controller.window()
    }
}
