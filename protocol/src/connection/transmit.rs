//! Spends the budget: what may leave now, in a fixed order.
//!
//! *close and handshake > ACK and NAK > repair > new data by the scheduler > probe*. Parts state their
//! interest, the path its budget; this file only asks, in that order, and lets each write its
//! own frames.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{
    Connection,
    event::Transmit,
    handshake::Space,
    packet_builder::PacketBuilder,
    reports::{micros, write_reports},
    state::State,
};
use crate::{
    crypto::{handshake::Level, keys::SealError},
    error::{TransportCode, TransportError},
    path::{Departure, MIN_PAYLOAD, SentFrame, SentFrames},
    units::Side,
    wire::{
        frame::{AckPolicy, Frame, FrameWriter},
        header::{Header, MIN_INITIAL_DATAGRAM},
        packet_number::Truncated,
    },
};

/// Packets handed over at once: what the kernel takes as one segmented send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;
/// Bytes of such a batch: one IP packet before segmentation.
const MAX_BATCH: usize = 65_000;

/// Why a packet is written, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Window and pacer allow anything.
    Data,
    /// A timeout asks whether the path is alive.
    Probe,
    /// Bytes in flight once more.
    Copy,
    /// Only ACK and NAK, which nobody paces.
    Report,
}

impl Connection {
    /// Write the next datagrams into `out`.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        //= spec/06-lifecycle.md#closing
        //# An endpoint MUST NOT send anything but CLOSE once it has closed, and MUST NOT send
        //# anything at all once it has received CLOSE.
        match self.state {
            State::Closing(_) => return self.transmit_close(now, out),
            State::Draining { .. } | State::Drained => return None,
            State::Handshaking | State::Established => {}
        }
        if self.handshake.spaces.interest()
            && let Some(len) = self.write_handshake(now, out)
        {
            return Some(self.transmit_of(len, None));
        }
        self.keys.as_ref()?;
        if self.is_handshaking() {
            return None;
        }
        if let Some(transmit) = self.transmit_path_response(now, out) {
            return Some(transmit);
        }
        if let Some(transmit) = self.transmit_to_candidate(now, out) {
            return Some(transmit);
        }
        if let Some(transmit) = self.transmit_mtu_probe(now, out) {
            return Some(transmit);
        }
        self.transmit_batch(now, out)
    }

    /// The first `len` bytes of the buffer, to the address in use.
    pub(super) fn transmit_of(&mut self, len: usize, segment_size: Option<usize>) -> Transmit {
        let path = &self.paths[0];
        let to = (path.remote, path.local_ip);
        let transmit = self.transmit_to(to, len);
        Transmit {
            segment_size,
            ..transmit
        }
    }

    /// The first `len` bytes of the buffer as one datagram to `remote`, from `local_ip`.
    pub(super) fn transmit_to(
        &mut self,
        (remote, local_ip): (SocketAddr, Option<IpAddr>),
        len: usize,
    ) -> Transmit {
        let path = &mut self.paths[0];
        path.on_datagram_sent(remote, len);
        Transmit {
            path: path.id,
            remote,
            local_ip,
            len,
            segment_size: None,
            ecn: path.ecn(),
        }
    }

    /// One datagram of handshake packets, of all levels that have something to say.
    fn write_handshake(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize> {
        let room = usize::from(MIN_PAYLOAD).min(self.paths[0].validation.allowance());
        let waiting = |level| {
            self.handshake
                .spaces
                .get(level)
                .is_some_and(Space::interest)
        };
        let follows = waiting(Level::Handshake);
        let pad_initial = waiting(Level::Initial)
            && (self.side == Side::Client
                || self
                    .handshake
                    .spaces
                    .get(Level::Initial)
                    .is_some_and(Space::has_eliciting));
        // Room for a second packet only where it can hold more than its own header.
        let initial_pads = pad_initial && !follows;
        self.write_level(now, Level::Initial, room, initial_pads, out);
        let left = room.saturating_sub(out.len());
        let wrote = self.write_level(now, Level::Handshake, left, pad_initial && follows, out);
        if wrote && self.side == Side::Client {
            //= spec/02-handshake.md#levels
            //# A client MUST discard its Initial keys when it first sends a Handshake packet, a server when it
            //# first opens one.
            self.handshake.spaces.discard(Level::Initial);
        }
        (!out.is_empty()).then_some(out.len())
    }

    /// One packet of `level` in at most `room` bytes. Returns whether one was written.
    fn write_level(
        &mut self,
        now: Instant,
        level: Level,
        room: usize,
        pad: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let interested = self
            .handshake
            .spaces
            .get(level)
            .is_some_and(Space::interest);
        let Some((header, number)) = self.level_header(level).filter(|_| interested) else {
            return false;
        };
        //= spec/02-handshake.md#amplification
        //# A client MUST pad every datagram with an Initial packet to 1200 bytes, and a server every one
        //# whose Initial packet asks for an ACK; a datagram that cannot be padded so far is not sent.
        if pad && out.len() + room < MIN_INITIAL_DATAGRAM {
            return false;
        }
        let Some(packet) = PacketBuilder::begin(out, &header, room) else {
            return false;
        };
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            return false;
        };
        space.write(now, &mut packet.writer(out));
        if pad {
            packet.pad(out);
        }
        packet.seal(out, &space.keys, number).is_ok()
    }

    /// A GSO batch: data packets of equal size, of which the last may be shorter.
    fn transmit_batch(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(keys) = &mut self.keys {
            keys.update_if_due(now);
        }
        let path = &mut self.paths[0];
        path.refresh_policy(now);
        let size = usize::from(path.packet_size());
        let mut budget = path.budget(now);
        if self.paced_until.is_some_and(|until| now < until) {
            // Other input came first; the burst is not earned yet.
            budget = 0;
        }
        let mut most = MAX_SEGMENTS.min(MAX_BATCH / size);
        if let Some(packets) = self.begin_train(now) {
            budget = packets * size as u64;
            most = most.min(usize::try_from(packets).unwrap_or(most));
        }
        let mut stuck = false;
        for _ in 0..most {
            let Some(purpose) = self.purpose(now, budget >= size as u64) else {
                break;
            };
            let before = out.len();
            match self.write_packet(now, purpose, size, out) {
                Ok(0) => {
                    // A report may find its gaps closed meanwhile; that says nothing of data.
                    stuck = purpose != Purpose::Report;
                    break;
                }
                Ok(len) => budget = budget.saturating_sub(len as u64),
                Err(SealError::LimitReached) => {
                    out.truncate(before);
                    self.fail(
                        now,
                        TransportError::new(TransportCode::AEAD_LIMIT_REACHED, "keys are used up"),
                    );
                    return None;
                }
                Err(_) => {
                    out.truncate(before);
                    break;
                }
            }
            // A segmented send needs equal packets; only the last may be shorter.
            if out.len() - before < size {
                break;
            }
        }
        self.paths[0].end_train();
        self.note_limits(now, stuck);
        if out.is_empty() {
            return None;
        }
        let len = out.len();
        Some(self.transmit_of(len, (len > size).then_some(size)))
    }

    /// Packets that may leave back to back whatever the pacer says: a train, if one is due.
    fn begin_train(&mut self, now: Instant) -> Option<u64> {
        if !self.has_bulk() {
            return None;
        }
        self.paths[0].begin_train(now)
    }

    /// Whether there are stream bytes to fill packets with.
    fn has_bulk(&self) -> bool {
        let streams = self.streams.interest();
        streams.data || streams.repair
    }

    /// What the next packet is for, if one should be sent at all.
    fn purpose(&self, now: Instant, has_budget: bool) -> Option<Purpose> {
        let path = &self.paths[0];
        if path.probes > 0 {
            return Some(Purpose::Probe);
        }
        if has_budget && self.has_data() {
            return Some(Purpose::Data);
        }
        if has_budget && self.redundancy.interest() {
            return Some(Purpose::Copy);
        }
        (path.recv.ack.interest(now) || path.recv.nak.interest(now)).then_some(Purpose::Report)
    }

    /// Whether anything that counts against the window wants to be sent.
    fn has_data(&self) -> bool {
        let streams = self.streams.interest();
        streams.control
            || streams.repair
            || streams.data
            || self.datagrams.interest()
            || self.announce_done
            || self.ping
            || self.ids.interest()
            || (self.paths[0].pending_policy().is_some() && self.streams.has_open())
    }

    /// Why nothing more left: the pacer (then wake up in time), or nothing to send (then the rate
    /// samples to come say nothing about the path). `stuck` if what there is could not be written.
    fn note_limits(&mut self, now: Instant, stuck: bool) {
        self.paced_until = None;
        let has_data = self.has_data() && !stuck;
        let path = &mut self.paths[0];
        if !path.has_room() {
            return;
        }
        if !has_data {
            path.on_dry(now);
            self.redundancy.on_dry(path);
        }
        if has_data || self.redundancy.interest() {
            let train_at = path.train_at().filter(|_| self.has_bulk());
            let path = &mut self.paths[0];
            let paced_at = path.paced_at(now);
            self.paced_until = Some(train_at.map_or(paced_at, |at| paced_at.min(at.max(now))));
        }
    }

    /// One data packet of at most `size` bytes; says its length, 0 if there was nothing to put in.
    fn write_packet(
        &mut self,
        now: Instant,
        purpose: Purpose,
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, SealError> {
        let Some((packet, number)) = self.begin_packet(size, out) else {
            return Ok(0);
        };
        let path = &mut self.paths[0];
        let mut frames = SentFrames::new();
        let mut writer = packet.writer(out);
        let mut ack_eliciting = write_reports(now, path, &mut writer, &mut frames);
        let reports_end = writer.out.len();
        if purpose == Purpose::Data
            && let Some(part) = path.train_part()
            && writer.put(&Frame::Train(part))
        {
            path.advance_train();
        }
        if purpose != Purpose::Report {
            self.write_control(&mut writer, &mut frames);
            self.write_streams(purpose, &mut writer, &mut frames);
        }
        let in_flight = out.len() > reports_end;
        ack_eliciting |= in_flight;
        if packet.is_empty(out) {
            packet.cancel(out);
            return Ok(0);
        }
        let path = &mut self.paths[0];
        let keys = self.keys.as_mut().ok_or(SealError::LimitReached)?;
        let len = packet.seal_data(out, keys, path.id, number)?;
        let bytes = u16::try_from(len).unwrap_or(u16::MAX);
        path.on_departure(
            now,
            Departure {
                number,
                bytes,
                ack_eliciting,
                in_flight,
                frames,
            },
        );
        if in_flight {
            self.idle.on_sent(now);
        }
        Ok(len)
    }

    /// Begin a data packet of at most `size` bytes under a fresh number.
    pub(super) fn begin_packet(
        &mut self,
        size: usize,
        out: &mut Vec<u8>,
    ) -> Option<(PacketBuilder, u64)> {
        let path = &mut self.paths[0];
        //= spec/02-handshake.md#sealing
        //# An endpoint MUST NOT seal two packets under the same key, path id and packet number.
        let number = path.take_number(&mut self.rng);
        let header = Header::Short {
            dcid: self.ids.remote(),
            key_phase: false,
            number: Truncated::new(number, path.largest_acked()),
        };
        Some((PacketBuilder::begin(out, &header, size)?, number))
    }

    /// The header of the next packet of a handshake level, and its number.
    pub(super) fn level_header(&self, level: Level) -> Option<(Header, u64)> {
        let (next, largest_acked) = self.handshake.spaces.get(level)?.next_number();
        let number = Truncated::new(next, largest_acked);
        let dcid = self.ids.remote();
        let scid = self.ids.first_local().unwrap_or(dcid);
        let header = match level {
            Level::Initial => Header::Initial {
                dcid,
                scid,
                //= spec/02-handshake.md#retry
                //# A client MUST repeat the token in every Initial packet it sends after the Retry.
                token: self.handshake.token.clone(),
                number,
            },
            _ => Header::Handshake { dcid, scid, number },
        };
        Some((header, next))
    }

    /// Frames of the connection itself.
    fn write_control(&mut self, out: &mut FrameWriter<'_>, frames: &mut SentFrames) {
        if self.announce_done && out.put(&Frame::HandshakeDone) {
            self.announce_done = false;
            frames.push(SentFrame::HandshakeDone);
        }
        if self.ping && out.put(&Frame::Ping) {
            self.ping = false;
        }
        let path = &mut self.paths[0];
        if let Some(policy) = path.pending_policy()
            && out.put(&Frame::AckPolicy(AckPolicy {
                path: path.id,
                sequence: policy.sequence,
                packets: policy.packets,
                delay_us: micros(policy.delay),
                reorder_us: micros(policy.reorder_window),
            }))
        {
            path.on_policy_sent();
            frames.push(SentFrame::AckPolicy {
                sequence: policy.sequence,
            });
        }
        // An announcement takes up to 42 bytes, a retirement up to 17.
        while out.remaining() > 48
            && let Some(offer) = self.ids.next_announcement()
        {
            frames.push(SentFrame::NewConnectionId {
                sequence: offer.sequence,
            });
            out.put(&Frame::NewConnectionId(offer));
        }
        while out.remaining() > 48
            && let Some(retirement) = self.ids.next_retirement()
        {
            frames.push(SentFrame::RetireConnectionId {
                sequence: retirement.sequence,
            });
            out.put(&Frame::RetireConnectionId(retirement));
        }
    }

    /// Frames of streams and datagrams.
    fn write_streams(
        &mut self,
        purpose: Purpose,
        out: &mut FrameWriter<'_>,
        frames: &mut SentFrames,
    ) {
        let mut wants_ping = false;
        if purpose == Purpose::Probe {
            self.paths[0].probes -= 1;
            // Before the data, which take all the room there is. At first in the last probe only: the other is
            // to repeat a full packet whole. Later packets are small anyway, and news is what counts.
            let path = &self.paths[0];
            wants_ping = path.probes > 0 && !path.is_silent();
            if !wants_ping {
                out.put(&Frame::Ping);
            }
        }
        let mut note = |what| frames.push(SentFrame::Stream(what));
        self.streams.write_control(out, &mut note);
        let before = out.out.len();
        self.streams.write_repair(out, &mut |what| {
            self.redundancy.on_repair(what);
            note(what);
        });
        while let Some(what) = self.redundancy.next_message() {
            if let Some(rest) = self.streams.write_copy(what, out, &mut note) {
                self.redundancy.put_back_message(rest);
                break;
            }
        }
        let is_shared = self.datagrams.interest() && self.streams.interest().data;
        let streams_first = is_shared && self.datagrams.give_way();
        if !streams_first {
            self.write_datagrams(out);
        }
        self.streams.write_data(out, &mut |what| {
            self.redundancy.on_data(what);
            note(what);
        });
        if streams_first {
            self.write_datagrams(out);
        }
        self.redundancy
            .on_messages(self.streams.ended(), &self.paths[0]);
        // A probe that repeats the oldest data repairs it in the same round trip.
        if purpose == Purpose::Probe && out.out.len() == before {
            self.streams.write_probe(out, &mut note);
        }
        if wants_ping {
            // All there is to say, if nothing of a stream is in flight.
            out.put(&Frame::Ping);
        }
        while purpose == Purpose::Copy
            && let Some(what) = self.redundancy.next()
        {
            if let Some(rest) = self.streams.write_copy(what, out, &mut note) {
                self.redundancy.put_back(rest);
                break;
            }
        }
    }
}
