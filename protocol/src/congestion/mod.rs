//! Congestion control: the [`Controller`] trait, what it is told and what it answers.
//! Recovery, packet numbers and sockets live elsewhere; a controller sees only samples.
//!
//! A new controller is: one file, one line here, one [`Policy`] variant, one scenario.

use std::{
    fmt,
    time::{Duration, Instant},
};

pub use self::{
    adaptive::Adaptive, cubic::Cubic, fixed::Fixed, memory::PathMemory, pacer::Pacer, rtt::Rtt,
};
use crate::{config::Policy, units::Bandwidth};

mod adaptive;
mod arrivals;
mod cubic;
mod fixed;
mod memory;
pub mod pacer;
mod rtt;
#[cfg(test)]
pub(crate) mod testing;

/// The controller of `policy` for a path with packets of `mtu` bytes; `initial_rtt` is used until
/// there is a sample.
pub fn build(policy: Policy, mtu: u16, initial_rtt: Duration, now: Instant) -> Box<dyn Controller> {
    match policy {
        Policy::Fair => Box::new(Adaptive::new(mtu, initial_rtt, now)),
        Policy::Low => Box::new(Adaptive::scavenger(mtu, initial_rtt, now)),
        Policy::Cubic => Box::new(Cubic::new(mtu, initial_rtt, now)),
        Policy::Fixed(rate) => Box::new(Fixed::new(rate, mtu, initial_rtt)),
    }
}

/// One congestion-controlled packet, as controllers see it.
///
/// `index` counts the path's congestion-controlled packets without gaps, so that the span between two
/// indices is a number of packets even where packet numbers were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSample {
    /// Position among the path's congestion-controlled packets, from 0.
    pub index: u64,
    /// Size of the UDP payload.
    pub bytes: u16,
    /// When it was handed to the socket.
    pub sent_at: Instant,
    /// The application had too little data when this packet left.
    pub app_limited: bool,
}

/// A packet that is about to leave.
#[derive(Clone, Copy, Debug)]
pub struct SentSample {
    /// The packet.
    pub packet: PacketSample,
    /// Congestion-controlled bytes in flight, this packet included.
    pub in_flight_bytes: u64,
}

/// What one ACK frame reported.
#[derive(Debug)]
pub struct AckSample<'a> {
    /// When the ACK was processed.
    pub now: Instant,
    /// When the ACK arrived, which may be earlier.
    pub arrived_at: Instant,
    /// Newly acknowledged packets, oldest first; empty if only the ECN counts moved.
    pub acked: &'a [PacketSample],
    /// RTT of the newest packet less the peer's ACK delay, if this ACK gave a sample.
    pub rtt: Option<Duration>,
    /// Smoothed RTT after this sample.
    pub smoothed_rtt: Duration,
    /// Arrival of the newest acknowledged packet on the receiver's clock (arbitrary epoch). It may be a lie.
    pub received_at: Option<Duration>,
    /// Bytes in flight before this ACK.
    pub prior_in_flight_bytes: u64,
    /// Bytes in flight after this ACK.
    pub in_flight_bytes: u64,
    /// Packets newly reported as CE-marked.
    pub ce_packets: u64,
}

/// Packets newly declared lost.
#[derive(Debug)]
pub struct LossSample<'a> {
    /// When they were declared lost.
    pub now: Instant,
    /// The packets, oldest first; never empty.
    pub lost: &'a [PacketSample],
    /// Bytes in flight without them.
    pub in_flight_bytes: u64,
}

/// A packet train as the receiver timed it: back-to-back packets spread out by the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainSample {
    /// When the report was processed.
    pub now: Instant,
    /// Packets between the first and the last that arrived, losses included (indices, not arrivals).
    pub packets: u32,
    /// UDP payload bytes of those packets, the first one's excluded.
    pub bytes: u64,
    /// Receiver's time between those two arrivals.
    pub span: Duration,
}

/// Decides how fast and how much a path may send. Pure: told facts with `now`, asked for limits.
///
/// A rate is the first-class answer; the window only bounds what may be outstanding when feedback stops.
pub trait Controller: Send + fmt::Debug {
    /// A congestion-controlled packet left.
    fn on_sent(&mut self, sample: &SentSample);
    /// An ACK acknowledged packets or reported marks.
    fn on_ack(&mut self, sample: &AckSample<'_>);
    /// Packets were declared lost.
    fn on_loss(&mut self, sample: &LossSample<'_>);
    /// Packets declared lost earlier arrived after all.
    fn on_spurious_loss(&mut self, now: Instant, packets: &[PacketSample]) {
        let _ = (now, packets);
    }
    /// A packet was a probe of the packet size: its loss says nothing of congestion.
    fn on_discarded(&mut self, packet: &PacketSample) {
        let _ = packet;
    }
    /// Pacer and window would have allowed more, but the application had nothing to send.
    fn on_app_limited(&mut self, now: Instant, in_flight_bytes: u64);
    /// The probe timeout expired for the `count`-th time in a row without an ACK.
    fn on_probe_timeout(&mut self, now: Instant, count: u32);
    /// The receiver timed a train.
    fn on_train(&mut self, sample: &TrainSample) {
        let _ = sample;
    }
    /// The largest packet of this path is now `bytes` of UDP payload.
    fn on_mtu(&mut self, bytes: u16);
    /// How many packets should leave back to back as the next train, if one is due and `most` are
    /// enough for it.
    fn train_due(&mut self, now: Instant, most: u64) -> Option<u32> {
        let _ = (now, most);
        None
    }
    /// When the next train is due, if it should not wait until the pacer lets something go anyway.
    fn train_at(&self) -> Option<Instant> {
        None
    }
    /// Rate to pace at.
    fn pacing_rate(&self) -> Bandwidth;
    /// Most bytes in flight.
    fn window(&self) -> u64;
    /// Largest burst the pacer may release at once, in bytes.
    fn send_quantum(&self) -> u64;
    /// Time between two bursts when only the rate is in the way: the longer, the fewer wake-ups.
    fn burst_time(&self) -> Duration {
        pacer::BURST_TIME
    }
    /// Loss that is not congestion, 0 to 1, where the controller tells the two apart.
    fn random_loss(&self) -> f64 {
        0.0
    }
    /// Sets the user's maximum rate, which holds whatever the path would carry; `None` lifts it.
    fn set_max_rate(&mut self, max_rate: Option<Bandwidth>);
    /// Changes to `policy` and keeps what is known of the path; false if that takes another controller.
    fn adopt(&mut self, policy: Policy) -> bool {
        let _ = policy;
        false
    }
    /// Offers what is remembered of the path. Of use only in the first round trip.
    fn recall(&mut self, memory: &PathMemory) {
        let _ = memory;
    }
    /// What is worth remembering of the path, if anything.
    fn memory(&self) -> Option<PathMemory> {
        None
    }
    /// State, rate and estimates for stats and traces. Cheap: called at every ACK of a traced path.
    fn report(&self) -> ControllerReport;
    /// Visits the controller's own estimates, for traces only: each has a name in snake case that ends with its
    /// unit.
    fn estimates(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let _ = visit;
    }
}

/// State and estimates of a controller, for stats and traces.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ControllerReport {
    /// Name of the state, as in spec/04-congestion.md.
    pub state: &'static str,
    /// Estimated delivery rate.
    pub delivery_rate: Bandwidth,
    /// Smallest RTT sample.
    pub min_rtt: Option<Duration>,
    /// Queuing delay.
    pub queue_delay: Duration,
    /// Random-loss estimate: loss that is not congestion, 0 to 1.
    pub random_loss: f64,
}
