//! How a path follows its peer to another address (spec/07-paths.md#rebinding): a candidate is asked while
//! everything goes on at the proven address, and takes its place when it answers. The questions
//! themselves live in `validation.rs`.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    Feedback, Path,
    sent_packets::SentFrame,
    validation::{Candidate, Validation},
};
use crate::{
    config::TransportConfig,
    congestion::{self, Rtt},
};

/// Addresses that are asked at the same time: an attacker who sends single packets on in another's name must not
/// keep a client that really moved from being asked.
const MAX_CANDIDATES: usize = 3;

impl Path {
    /// A datagram of `bytes` came from `remote`, whatever is in it.
    pub(crate) fn on_datagram(&mut self, remote: SocketAddr, bytes: usize) {
        if remote == self.remote {
            self.validation.on_received(bytes);
        } else if let Some(candidate) = self.candidate_at(remote) {
            candidate.on_received(bytes);
        }
    }

    /// A datagram of `bytes` goes to `remote`.
    pub(crate) fn on_datagram_sent(&mut self, remote: SocketAddr, bytes: usize) {
        if remote == self.remote {
            self.validation.on_sent(bytes);
        } else if let Some(candidate) = self.candidate_at(remote) {
            candidate.on_sent(bytes);
        }
    }

    fn candidate_at(&mut self, remote: SocketAddr) -> Option<&mut Candidate> {
        self.candidates
            .iter_mut()
            .find(|candidate| candidate.remote == remote)
    }

    /// The packet `number` came from the address in use. If it is the newest of all and `may_move`, the peer is
    /// here and nowhere else.
    pub(crate) fn on_packet_from_here(&mut self, number: u64, may_move: bool) {
        self.heard_here = self.heard_here.max(Some(number));
        if may_move && self.recv.largest() == Some(number) {
            //= spec/07-paths.md#rebinding
            //# A server MUST forget all candidates when a packet that may move comes from the address in use and its number is
            //# the largest of all.
            self.candidates.clear();
        }
    }

    /// Whether the packet `number` is newer than all that came from the address in use. Among the rest order
    /// means nothing: an attacker may always be quicker.
    pub(crate) fn is_newer_than_here(&self, number: u64) -> bool {
        self.heard_here.is_none_or(|largest| number > largest)
    }

    /// A packet that may move, in a datagram of `bytes`, came from `from`, which is not the address in use.
    /// `token` is what to ask that address with.
    pub(crate) fn on_packet_from_elsewhere(
        &mut self,
        now: Instant,
        from: (SocketAddr, Option<IpAddr>),
        bytes: usize,
        token: [u8; 8],
    ) {
        if self.candidate_at(from.0).is_some() {
            return;
        }
        let interval = self.probe_interval();
        //= spec/07-paths.md#rebinding
        //# A server MUST NOT have more than three candidates; a further one takes the place of the oldest, if the challenge to that
        //# one is being repeated, and else is ignored.
        if self.candidates.len() == MAX_CANDIDATES {
            if !self.candidates[0].is_repeated() {
                return;
            }
            self.candidates.remove(0);
        }
        self.candidates
            .push(Candidate::new(now, from, bytes, token, interval));
    }

    /// Repeat challenges, and give up candidates that never answer.
    pub(super) fn on_candidate_timeout(&mut self, now: Instant) {
        let interval = self.probe_interval();
        self.candidates
            .retain_mut(|candidate| !candidate.on_timeout(now, interval));
    }

    /// A PATH_RESPONSE arrived, wherever from: the peer got the challenge, so it is where the challenge went.
    /// Returns whether the path moved there.
    pub(crate) fn on_path_response(
        &mut self,
        now: Instant,
        data: [u8; 8],
        config: &TransportConfig,
        out: &mut Feedback,
    ) -> bool {
        let answered = |candidate: &Candidate| candidate.is_answered_by(data);
        let Some(index) = self.candidates.iter().position(answered) else {
            return false;
        };
        let candidate = self.candidates.swap_remove(index);
        self.candidates.clear();
        let stays = same_network(self.remote.ip(), candidate.remote.ip());
        self.abandon_in_flight(now, stays, out);
        //= spec/07-paths.md#rebinding
        //# An endpoint MUST reset its congestion controller, RTT estimate and packet size when the peer moved to another
        //# network; a change of port, or inside the same /24 or /64, keeps them.
        if !stays {
            self.start_anew(now, config, candidate.round_trip(now));
        }
        self.remote = candidate.remote;
        self.local_ip = candidate.local_ip;
        self.heard_here = self.recv.largest();
        self.validation = Validation::new(true);
        self.loss.on_moved();
        //= spec/07-paths.md#rebinding
        //# A server SHOULD send an ACK to the new address at once.
        if self.recv.largest().is_some() {
            self.recv.ack.hasten(now);
        }
        true
    }

    /// What is under way to the old address is taken for lost and says nothing of the new path.
    fn abandon_in_flight(&mut self, now: Instant, stays: bool, out: &mut Feedback) {
        //= spec/07-paths.md#rebinding
        //# Packets sent to the old address MUST NOT count as losses or RTT samples of the new path; a server SHOULD repair
        //# them at once.
        for packet in self.sent.abandon(now) {
            if packet.was_in_flight && stays {
                self.controller.on_discarded(&packet.sample);
            }
            let is_probe = |frame: &SentFrame| matches!(frame, SentFrame::MtuProbe { .. });
            if packet.frames.iter().any(is_probe) {
                self.mtu.on_probe_abandoned();
            }
            out.lost.extend(packet.frames);
        }
    }

    /// Nothing that was learnt of the old path holds for the new one.
    fn start_anew(&mut self, now: Instant, config: &TransportConfig, rtt: Option<Duration>) {
        self.mtu = self.mtu.anew(config.mtu_discovery);
        self.rtt = Rtt::new(config.initial_rtt);
        if let Some(rtt) = rtt {
            self.rtt.update(now, Duration::ZERO, rtt);
        }
        self.controller =
            congestion::build(config.policy, self.mtu.current(), self.rtt.smoothed(), now);
        self.controller.set_max_rate(config.max_rate);
        self.trains.forget();
    }
}

/// Whether two addresses are likely behind the same last mile.
fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8],
        _ => false,
    }
}
