//! The peer at another address (spec/07-paths.md#rebinding): what asks for proof, and what may be sent there
//! before it. What a proof changes is decided in `path/migration.rs`.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;
use rand::RngExt;

use super::{Connection, event::Transmit, receive::Origin, reports::write_ack};
use crate::{
    path::{Candidate, Departure, MIN_PAYLOAD},
    units::Side,
    wire::{
        frame::{Close, Frame, FrameWriter, PathChallenge, PathResponse, kind},
        header::TAG_LEN,
        id::{ConnectionId, PathId},
        packet_number,
    },
};

/// Bytes of a data packet around its frames, at most.
const OVERHEAD: usize = 1 + ConnectionId::LEN + packet_number::MAX_LEN + TAG_LEN;

impl Connection {
    /// Whether a datagram from `remote` is looked at.
    pub(super) fn accepts_from(&self, path: PathId, remote: SocketAddr) -> bool {
        match self.side {
            //= spec/07-paths.md#rebinding
            //# A client MUST discard datagrams that do not come from the address and port it sends to.
            Side::Client => self.is_in_use(path, remote),
            //= spec/07-paths.md#rebinding
            //# A server MUST discard datagrams from any address but that of the client's first datagram until its handshake
            //# is complete.
            Side::Server => self.is_in_use(path, remote) || !self.is_handshaking(),
        }
    }

    /// Whether `remote` is where packets of `path` go. The scope of an IPv6 address is this host's affair.
    pub(super) fn is_in_use(&self, path: PathId, remote: SocketAddr) -> bool {
        let known = self.paths[path].remote;
        remote.ip() == known.ip() && remote.port() == known.port()
    }

    /// A packet newer than all from the address in use came from another one.
    pub(super) fn on_new_address(&mut self, now: Instant, origin: Origin) {
        if self.side == Side::Client {
            self.dropped.unexpected += 1;
            return;
        }
        //= spec/07-paths.md#rebinding
        //# A server MUST challenge a candidate, and MUST follow the client there when the challenge is answered, not before.
        let token = self.rng.random();
        let from = (origin.remote, origin.local_ip);
        self.paths[origin.path].on_packet_from_elsewhere(now, from, origin.bytes, token);
    }

    pub(super) fn on_path_response(&mut self, now: Instant, path: PathId, response: &PathResponse) {
        let mut feedback = std::mem::take(&mut self.feedback);
        let moved =
            self.paths[path].on_path_response(now, response.data, &self.config, &mut feedback);
        self.feedback = feedback;
        if moved {
            //= spec/07-paths.md#rebinding
            //# An endpoint SHOULD use another of the peer's connection ids after the peer's address changed.
            self.ids.rotate(&mut self.endpoint_events);
        }
    }

    /// A challenge to an address the peer may have moved to, and an ACK if one is due. The same ACK goes to the
    /// address in use as well: which of them the peer hears is the question.
    pub(super) fn transmit_to_candidate(
        &mut self,
        path: PathId,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        (0..self.paths[path].candidates.len())
            .find_map(|index| self.ask_candidate((path, index), now, out))
    }

    fn ask_candidate(
        &mut self,
        (path_id, index): (PathId, usize),
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let path = &self.paths[path_id];
        let candidate = &path.candidates[index];
        let mut frames = Vec::new();
        let mut writer = FrameWriter::new(&mut frames, room(candidate)?);
        let challenge = candidate
            .challenge()
            .filter(|&data| writer.put(&Frame::PathChallenge(PathChallenge { data })));
        let acked = path.recv.largest().filter(|&largest| {
            let is_due = path.recv.ack.interest(now) && candidate.wants_ack(largest);
            is_due && write_ack(now, path, &mut writer)
        });
        let transmit = self.transmit_unproven((path_id, index), now, &frames, out)?;
        let candidate = &mut self.paths[path_id].candidates[index];
        if challenge.is_some() {
            candidate.on_challenge_sent(now);
        }
        if let Some(largest) = acked {
            candidate.on_ack_sent(largest);
        }
        Some(transmit)
    }

    /// CLOSE to the newest address the peer may have moved to: it might not hear it at the one in use.
    pub(super) fn transmit_close_to_candidate(
        &mut self,
        path: PathId,
        now: Instant,
        frame: Close,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let index = self.paths[path].candidates.len().checked_sub(1)?;
        let mut frames = Vec::new();
        let mut writer = FrameWriter::new(&mut frames, room(&self.paths[path].candidates[index])?);
        if !writer.put(&Frame::Close(frame.clone())) {
            writer.put(&Frame::Close(without_reason(frame)));
        }
        self.transmit_unproven((path, index), now, &frames, out)
    }

    /// A packet of `frames`, which fit, to the candidate `index` of a path.
    fn transmit_unproven(
        &mut self,
        (path_id, index): (PathId, usize),
        now: Instant,
        frames: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let candidate = &self.paths[path_id].candidates[index];
        let to = (candidate.remote, candidate.local_ip);
        let size = candidate.allowance().min(usize::from(MIN_PAYLOAD));
        if frames.is_empty() {
            return None;
        }
        let (packet, number) = self.begin_packet(path_id, size, out)?;
        out.extend_from_slice(frames);
        //= spec/07-paths.md#validation
        //# A datagram with a PATH_CHALLENGE MUST be padded to 1200 bytes where the limit allows so many, and MUST be sent
        //# without padding where it does not.
        if frames[0] == kind::PATH_CHALLENGE && size == usize::from(MIN_PAYLOAD) {
            packet.pad(out);
        }
        let path = &mut self.paths[path_id];
        let len = packet
            .seal_data(out, self.keys.as_mut()?, path.id, number)
            .ok()?;
        path.on_departure(now, Departure::apart(number, len));
        Some(self.transmit_to(path_id, to, len))
    }
}

/// Bytes of frames that a packet to `candidate` may hold.
fn room(candidate: &Candidate) -> Option<usize> {
    //= spec/07-paths.md#rebinding
    //# PATH_CHALLENGE and ACK MUST be sent as soon as they fit into the limit, whether or not a full packet does.
    let size = candidate.allowance().min(usize::from(MIN_PAYLOAD));
    size.checked_sub(OVERHEAD)
}

/// The shortest frame that says the same.
fn without_reason(mut frame: Close) -> Close {
    let (Close::Transport { reason, .. } | Close::Application { reason, .. }) = &mut frame;
    *reason = Bytes::new();
    frame
}
