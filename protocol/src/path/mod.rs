//! One path: everything that depends on the way the packets go. Stream bytes live elsewhere.
//!
//! - `send.rs`: numbers, budget, what is noted of a packet that leaves
//! - `feedback.rs`: what ACKs, NAKs and timeouts say became of it
//! - `recv.rs`, `ack.rs`, `nak.rs`: what arrived, and when to say so
//! - `sent_packets.rs`, `loss.rs`: what was sent and when it is declared lost, behind `feedback.rs`
//! - `trace_hooks.rs`: what a trace is told
//! - `train.rs`: packet trains, sent and timed
//! - `mtu.rs`: how large a packet may be
//! - `validation.rs`, `migration.rs`: whether the peer is there; how the path follows it elsewhere

mod ack;
mod feedback;
mod loss;
mod migration;
mod mtu;
mod nak;
mod recv;
mod send;
mod sent_packets;
mod trace_hooks;
mod train;
mod validation;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

pub(crate) use self::{
    ack::AckPolicy,
    feedback::Feedback,
    mtu::MIN_PAYLOAD,
    recv::Arrival,
    send::Departure,
    sent_packets::{SentFrame, SentFrames},
    validation::Candidate,
};
use self::{
    ack::INITIAL_POLICY, loss::LossDetector, mtu::MtuSearch, recv::Receiver,
    sent_packets::SentPackets, validation::Validation,
};
use crate::{
    config::TransportConfig,
    congestion::{self, Controller, Pacer, Rtt},
    stats::PathStats,
    trace::Trace,
    wire::id::PathId,
};

/// One way between two endpoints.
#[derive(Debug)]
pub(crate) struct Path {
    /// Its name in frames and nonces.
    pub(crate) id: PathId,
    /// Where packets go.
    pub(crate) remote: SocketAddr,
    /// Where they leave from, once a packet has told.
    pub(crate) local_ip: Option<IpAddr>,
    /// Whether the peer is at `remote`.
    pub(crate) validation: Validation,
    /// Largest number that came from there.
    heard_here: Option<u64>,
    /// Where it may have moved to, newest last.
    pub(crate) candidates: Vec<Candidate>,
    /// What arrived.
    pub(crate) recv: Receiver,
    /// How large packets are.
    pub(crate) mtu: MtuSearch,
    /// RTT estimate.
    pub(crate) rtt: Rtt,
    /// Counters.
    pub(crate) counters: PathCounters,
    /// Who is told what happens here.
    pub(crate) trace: Trace,
    sent: SentPackets,
    loss: LossDetector,
    controller: Box<dyn Controller>,
    pacer: Pacer,
    numbers: send::Numbers,
    app_limit: send::AppLimit,
    policy: send::PolicyState,
    trains: train::TrainSender,
    ecn: send::EcnState,
    /// The pacer lets the next packet go at this time; nothing else is in the way.
    pub(crate) paced_until: Option<Instant>,
    /// Probe packets to send after a timeout.
    pub(crate) probes: u8,
}

/// What is counted on a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathCounters {
    pub(crate) sent_packets: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_packets: u64,
    pub(crate) received_bytes: u64,
    pub(crate) lost_packets: u64,
    pub(crate) lost_bytes: u64,
    pub(crate) spurious_losses: u64,
    pub(crate) naks_sent: u64,
    pub(crate) naks_received: u64,
    pub(crate) idle_naks: u64,
    pub(crate) probe_timeouts: u64,
    pub(crate) congestion_marks: u64,
}

impl Path {
    /// A path to `remote` that starts now.
    pub(crate) fn new(
        id: PathId,
        now: Instant,
        remote: SocketAddr,
        validated: bool,
        config: &TransportConfig,
        skip: u64,
    ) -> Self {
        let mut controller = congestion::build(config.policy, MIN_PAYLOAD, config.initial_rtt, now);
        controller.set_max_rate(config.max_rate);
        Self {
            id,
            remote,
            local_ip: None,
            validation: Validation::new(validated),
            heard_here: None,
            candidates: Vec::new(),
            recv: Receiver::new(now),
            mtu: MtuSearch::new(config.max_udp_payload, config.mtu_discovery),
            rtt: Rtt::new(config.initial_rtt),
            counters: PathCounters::default(),
            trace: Trace::default(),
            sent: SentPackets::default(),
            loss: LossDetector::new(),
            controller,
            pacer: Pacer::new(now),
            numbers: send::Numbers::new(skip),
            app_limit: send::AppLimit::default(),
            policy: send::PolicyState::new(),
            trains: train::TrainSender::default(),
            ecn: send::EcnState::default(),
            paced_until: None,
            probes: 0,
        }
    }

    /// Smallest round trip so far, once there is one.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.rtt.sampled_at().map(|_| self.rtt.min())
    }

    /// Longest the peer may hold back an ACK.
    fn peer_ack_delay(&self) -> Duration {
        self.policy
            .current()
            .map_or(INITIAL_POLICY.delay, |policy| {
                policy.delay.max(INITIAL_POLICY.delay)
            })
    }

    /// Probe timeouts since something was last acknowledged.
    pub(crate) fn unanswered_probes(&self) -> u32 {
        self.loss.probe_count()
    }

    /// How long to wait for an answer before asking again.
    pub(crate) fn probe_interval(&self) -> Duration {
        self.rtt.pto(self.peer_ack_delay())
    }

    /// When this path wants `on_timeout` called, whatever the reason.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        [
            self.loss
                .due_at(&self.sent, &self.rtt, self.peer_ack_delay()),
            self.recv.ack.due_at(),
            self.recv.nak.due_at(),
            self.candidates.iter().map(Candidate::due_at).min(),
            self.paced_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Numbers for people.
    pub(crate) fn stats(&self) -> PathStats {
        let report = self.controller.report();
        PathStats {
            id: self.id,
            remote: self.remote,
            rtt: self.rtt.smoothed(),
            min_rtt: report.min_rtt.unwrap_or_else(|| self.rtt.min()),
            rtt_variation: self.rtt.var(),
            pacing_rate: self.controller.pacing_rate(),
            delivery_rate: report.delivery_rate,
            window: self.controller.window(),
            in_flight: self.sent.in_flight_bytes(),
            queue_delay: report.queue_delay,
            random_loss: report.random_loss,
            state: report.state,
            max_payload: self.mtu.current(),
            black_holes: self.mtu.black_holes(),
            reorder_window: self.loss.reorder_window(&self.rtt),
            sent_packets: self.counters.sent_packets,
            sent_bytes: self.counters.sent_bytes,
            received_packets: self.counters.received_packets,
            received_bytes: self.counters.received_bytes,
            lost_packets: self.counters.lost_packets,
            lost_bytes: self.counters.lost_bytes,
            spurious_losses: self.counters.spurious_losses,
            naks_sent: self.counters.naks_sent,
            naks_received: self.counters.naks_received,
            idle_naks: self.counters.idle_naks,
            probe_timeouts: self.counters.probe_timeouts,
            congestion_marks: self.counters.congestion_marks,
            gaps_dropped: self.recv.nak.dropped(),
        }
    }
}
