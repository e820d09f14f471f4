//! From a datagram to believed frames.
//!
//! 1. split the datagram into packets by what their headers claim
//! 2. find keys for the level; take header protection off; complete the number
//! 3. refuse numbers seen before; open in place: only now is anything believed
//! 4. hand the frames, slices of the same buffer, to `frames.rs`
//! 5. record the number, so that it is acknowledged

use std::{net::SocketAddr, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{Connection, event::Datagram, state::State};
use crate::{
    crypto::handshake::Level,
    error::{ConnectionError, TransportCode, TransportError},
    path::Arrival,
    trace,
    units::{EcnCodepoint, Side},
    wire::{
        frame::{Frame, FrameIter, Train},
        header::{FirstByte, PacketKind, PartialHeader, VERSION, VersionNegotiation},
        id::ConnectionId,
        id::PathId,
        packet_number,
    },
};

/// Which path a packet is of, where it came from and how it was marked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) path: PathId,
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<std::net::IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    /// When it arrived.
    pub(super) at: Instant,
    /// Size of the whole datagram.
    pub(super) bytes: usize,
}

/// What a packet's frames told of the packet itself.
#[derive(Clone, Copy, Debug, Default)]
struct Traits {
    ack_eliciting: bool,
    at_once: bool,
    /// Holds only frames that test a path: it does not move the connection there.
    probing: bool,
    /// Its place in a train.
    train: Option<Train>,
}

impl Connection {
    /// A datagram for this connection arrived.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let path = self.ids.path();
        if !self.accepts_from(path, datagram.remote) {
            self.dropped.unexpected += 1;
            return;
        }
        match &mut self.state {
            State::Closing(closing) => closing.on_datagram(),
            State::Draining { .. } | State::Drained => return,
            State::Handshaking | State::Established => {}
        }
        let (remote, bytes) = (datagram.remote, datagram.payload.len());
        self.paths[path].on_datagram(remote, bytes);
        self.handle_packets(now, datagram);
    }

    /// The packets of a datagram that has been counted.
    pub(super) fn handle_packets(&mut self, now: Instant, datagram: Datagram) {
        let Datagram {
            remote,
            local_ip,
            ecn,
            received_at,
            payload: mut rest,
        } = datagram;
        let path = self.ids.path();
        let known = self.paths[path].remote;
        let origin = Origin {
            path,
            remote: if self.is_in_use(path, remote) {
                known
            } else {
                remote
            },
            local_ip,
            ecn,
            at: received_at.min(now),
            bytes: rest.len(),
        };
        self.streams.begin_datagram(rest.len());
        while !rest.is_empty() {
            let Ok(header) = PartialHeader::decode(&rest) else {
                self.on_unreadable(now, origin, &rest);
                break;
            };
            let packet = rest.split_to(header.packet_len);
            self.handle_packet(now, origin, &header, packet);
        }
        self.settle();
    }

    /// Too short or too odd for a packet: a stateless reset looks like that too.
    fn on_unreadable(&mut self, now: Instant, origin: Origin, bytes: &[u8]) {
        if self.is_reset(origin, bytes) {
            self.fail_silently(now, ConnectionError::Reset);
        } else {
            self.dropped.malformed += 1;
        }
    }

    /// Whether the datagram from `origin` that ends with `bytes` says that the peer has lost this connection.
    fn is_reset(&self, origin: Origin, bytes: &[u8]) -> bool {
        //= spec/02-handshake.md#stateless-reset
        //# An endpoint MUST NOT take a datagram for a stateless reset unless it comes from the address the endpoint sends to.
        self.is_in_use(origin.path, origin.remote) && self.ids.is_reset(bytes)
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        origin: Origin,
        header: &PartialHeader,
        packet: BytesMut,
    ) {
        match &header.kind {
            PacketKind::Initial {
                scid, pn_offset, ..
            } => {
                self.handle_handshake(now, origin, Level::Initial, (*scid, *pn_offset), packet);
            }
            PacketKind::Handshake { scid, pn_offset } => {
                self.handle_handshake(now, origin, Level::Handshake, (*scid, *pn_offset), packet);
            }
            PacketKind::Short { pn_offset } => self.handle_data(now, origin, *pn_offset, packet),
            PacketKind::Retry { scid, token, .. } => {
                let token = Bytes::copy_from_slice(&packet[token.clone()]);
                self.on_retry(now, &packet, *scid, token);
            }
            PacketKind::VersionNegotiation { .. } => self.on_version_negotiation(now, &packet),
            PacketKind::UnknownVersion { .. } => self.dropped.unexpected += 1,
        }
    }

    fn on_version_negotiation(&mut self, now: Instant, packet: &[u8]) {
        //= spec/02-handshake.md#version-negotiation
        //# A client MUST ignore a Version Negotiation packet that lists the version it used, that arrives after
        //# any other packet of the server, or whose ids are not those of its first packet.
        let first = self.side == Side::Client && self.handshake.peer_id.is_none();
        match VersionNegotiation::decode(packet) {
            Ok(offer)
                if first
                    && !offer.versions.contains(&VERSION)
                    && self.ids.is_local(offer.dcid)
                    && offer.scid == self.ids.remote() =>
            {
                self.fail_silently(now, ConnectionError::VersionMismatch);
            }
            Ok(_) => self.dropped.unexpected += 1,
            Err(_) => self.dropped.malformed += 1,
        }
    }

    fn handle_handshake(
        &mut self,
        now: Instant,
        origin: Origin,
        level: Level,
        (scid, pn_offset): (ConnectionId, usize),
        mut packet: BytesMut,
    ) {
        if self.handshake.peer_id.is_some_and(|known| known != scid) {
            self.dropped.unexpected += 1;
            return;
        }
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            self.keep_or_drop(origin, level, packet);
            return;
        };
        let Some(unprotected) = space.keys.unprotect_header(&mut packet, pn_offset) else {
            self.dropped.malformed += 1;
            return;
        };
        let number =
            packet_number::decode(space.expected(), unprotected.truncated, unprotected.pn_len);
        let mut payload = packet.split_off(pn_offset + unprotected.pn_len);
        let Ok(len) = space.keys.open(number, &packet, &mut payload) else {
            self.dropped.unauthentic += 1;
            return;
        };
        if space.is_duplicate(number) {
            self.dropped.duplicate += 1;
            return;
        }
        payload.truncate(len);
        self.on_handshake_packet(now, level, scid);
        if self.has_reserved_bits(now, unprotected.first) {
            return;
        }
        match self.handle_handshake_frames(now, level, payload.freeze()) {
            Ok(eliciting) => {
                if let Some(space) = self.handshake.spaces.get_mut(level) {
                    space.on_packet(now, number, eliciting);
                }
                self.drive_handshake(now);
            }
            Err(error) => self.fail(now, error),
        }
    }

    /// A handshake packet opened: the peer is real, and past the level below.
    fn on_handshake_packet(&mut self, now: Instant, level: Level, scid: ConnectionId) {
        self.idle.on_received(now);
        if self.handshake.peer_id.is_none() {
            self.handshake.peer_id = Some(scid);
            self.ids.set_remote(scid);
        }
        if self.side == Side::Server && level == Level::Handshake {
            //= spec/02-handshake.md#amplification
            //# A server MUST take the client's address as validated when a Handshake packet from it opens.
            self.paths[PathId::INITIAL].validation.set_validated();
            self.handshake.spaces.discard(Level::Initial);
        }
    }

    pub(super) fn handle_handshake_frames(
        &mut self,
        now: Instant,
        level: Level,
        payload: Bytes,
    ) -> Result<bool, TransportError> {
        let mut eliciting = false;
        for frame in FrameIter::new(payload) {
            let frame = frame.map_err(TransportError::from)?;
            //= spec/01-packet.md#frames
            //# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened holds
            //# a frame its packet type does not allow.
            if !frame.is_allowed_in_handshake() {
                return Err(TransportError::new(
                    TransportCode::PROTOCOL_VIOLATION,
                    "frame not allowed in a handshake packet",
                ));
            }
            eliciting |= frame.is_ack_eliciting();
            self.handle_handshake_frame(now, level, frame)?;
        }
        Ok(eliciting)
    }

    fn keep_or_drop(&mut self, origin: Origin, level: Level, payload: BytesMut) {
        let waiting = match level {
            Level::Initial => false,
            Level::Handshake | Level::Data => !self.handshake.confirmed && self.is_handshaking(),
        };
        let Origin {
            remote,
            local_ip,
            ecn,
            at,
            ..
        } = origin;
        if !waiting
            || !self.handshake.keep_early(Datagram {
                remote,
                local_ip,
                ecn,
                received_at: at,
                payload,
            })
        {
            self.dropped.no_keys += 1;
        }
    }

    fn handle_data(
        &mut self,
        now: Instant,
        origin: Origin,
        pn_offset: usize,
        mut packet: BytesMut,
    ) {
        //= spec/02-handshake.md#levels
        //# An endpoint MUST NOT process a data packet before its own handshake is complete.
        let keys = match &mut self.keys {
            Some(keys) if !matches!(self.state, State::Handshaking) => keys,
            _ => {
                self.keep_or_drop(origin, Level::Data, packet);
                return;
            }
        };
        let path = &mut self.paths[origin.path];
        let Some(unprotected) = keys.unprotect_header(&mut packet, pn_offset) else {
            self.on_unreadable(now, origin, &packet);
            return;
        };
        let expected = path.recv.largest().map_or(0, |largest| largest + 1);
        let number = packet_number::decode(expected, unprotected.truncated, unprotected.pn_len);
        // Checked before opening, because a duplicate is cheap to refuse; a forged number is no harm, as
        // nothing is remembered of it.
        if !path.recv.is_new(number) {
            self.dropped.duplicate += 1;
            return;
        }
        let tail = reset_tail(&packet);
        let bytes = packet.len();
        let mut payload = packet.split_off(pn_offset + unprotected.pn_len);
        //= spec/02-handshake.md#header-protection
        //# A receiver MUST NOT act on anything it read from a protected header before the packet
        //# has opened.
        let opened = match keys.open(path.id, number, &packet, &mut payload) {
            Ok(opened) => opened,
            Err(error) => {
                if self.is_reset(origin, &tail) {
                    self.fail_silently(now, ConnectionError::Reset);
                } else if let Some(error) = error.fatal() {
                    self.fail(now, error);
                } else {
                    self.dropped.unauthentic += 1;
                }
                return;
            }
        };
        if opened.is_first_of_phase {
            keys.drop_previous_at(now + path.probe_interval() * 3);
        }
        payload.truncate(opened.len);
        path.counters.received_packets += 1;
        path.counters.received_bytes += bytes as u64;
        path.trace.emit(now, || received(number, bytes));
        self.idle.on_received(now);
        if self.has_reserved_bits(now, unprotected.first) {
            return;
        }
        match self.handle_frames(now, origin, payload.freeze()) {
            Ok(traits) => self.record(now, origin, number, traits),
            Err(error) => self.fail(now, error),
        }
    }

    /// Frames as an authenticated peer may send them, without a packet around them: for `fuzz`,
    /// which cannot seal in a peer's name.
    pub(crate) fn handle_payload(
        &mut self,
        now: Instant,
        payload: Bytes,
        ecn: Option<EcnCodepoint>,
    ) {
        if !matches!(self.state, State::Established) {
            return;
        }
        let path = self.paths.active();
        let origin = Origin {
            path: path.id,
            remote: path.remote,
            local_ip: None,
            ecn,
            at: now,
            bytes: payload.len(),
        };
        self.streams.begin_datagram(payload.len());
        if let Err(error) = self.handle_frames(now, origin, payload) {
            self.fail(now, error);
        }
        self.settle();
    }

    fn has_reserved_bits(&mut self, now: Instant, first: FirstByte) -> bool {
        let set = first.has_reserved_bits();
        if set {
            self.fail(
                now,
                TransportError::new(TransportCode::PROTOCOL_VIOLATION, "reserved bits set"),
            );
        }
        set
    }

    fn handle_frames(
        &mut self,
        now: Instant,
        origin: Origin,
        payload: Bytes,
    ) -> Result<Traits, TransportError> {
        let mut traits = Traits {
            probing: true,
            ..Traits::default()
        };
        let mut empty = true;
        for frame in FrameIter::new(payload) {
            let frame = frame.map_err(TransportError::from)?;
            empty = false;
            traits.ack_eliciting |= frame.is_ack_eliciting();
            traits.at_once |= matches!(frame, Frame::Ping);
            if let Frame::Train(part) = &frame {
                traits.train = Some(*part);
            }
            traits.probing &= matches!(
                frame,
                Frame::PathChallenge(_)
                    | Frame::PathResponse(_)
                    | Frame::NewConnectionId(_)
                    | Frame::Padding(_)
            );
            self.handle_frame(now, origin, frame)?;
        }
        //= spec/01-packet.md#frames
        //# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened
        //# holds no frame.
        if empty {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "packet without frames",
            ));
        }
        Ok(traits)
    }

    fn record(&mut self, now: Instant, origin: Origin, number: u64, traits: Traits) {
        let path = &mut self.paths[origin.path];
        path.recv.on_packet(
            now,
            Arrival {
                number,
                ack_eliciting: traits.ack_eliciting,
                at_once: traits.at_once,
                ecn: origin.ecn,
                at: origin.at,
            },
        );
        if path
            .recv
            .trains
            .on_packet(path.id, number, origin.at, traits.train)
        {
            path.recv.ack.hasten(now);
        }
        if traits.ack_eliciting {
            self.idle.on_eliciting_received(now);
        }
        if path.remote == origin.remote {
            path.local_ip = origin.local_ip.or(path.local_ip);
            path.on_packet_from_here(number, !traits.probing);
        } else if !traits.probing && path.is_newer_than_here(number) {
            self.on_new_address(now, origin);
        }
    }
}

fn received(number: u64, bytes: usize) -> trace::Event {
    trace::Event::PacketReceived {
        number,
        bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
    }
}

/// The last bytes of a datagram, kept because opening in place destroys them.
fn reset_tail(packet: &[u8]) -> [u8; 16] {
    packet.last_chunk().copied().unwrap_or_default()
}
