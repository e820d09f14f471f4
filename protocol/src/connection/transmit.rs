//! Spends the budget: what may leave now, in a fixed order.
//!
//! *close and handshake > ACK and NAK > repair > new data by the scheduler > probe*. Parts state their
//! interest, the path its budget; this file only asks, in that order, and lets each write its
//! own frames.

use std::time::{Duration, Instant};

use super::{
    Connection,
    event::{Event, Transmit},
    handshake::Space,
    packet_builder::PacketBuilder,
    state::State,
};
use crate::{
    crypto::{handshake::Level, keys::SealError},
    error::{TransportCode, TransportError},
    path::{Departure, MIN_PAYLOAD, Path, SentFrame, SentFrames},
    units::Side,
    wire::{
        frame::{
            Ack, AckHead, AckPolicy, Close, Frame, FrameWriter, Nak, PathChallenge, PathResponse,
            kind,
        },
        header::{Header, MIN_INITIAL_DATAGRAM},
        packet_number::Truncated,
    },
};

/// Packets handed over at once: what the kernel takes as one segmented send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;
/// Bytes of such a batch: one IP packet before segmentation.
const MAX_BATCH: usize = 65_000;
/// Longest NAK frame, in ranges.
const MAX_NAK_RANGES: usize = 64;

/// Why a packet is written, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Window and pacer allow anything.
    Data,
    /// The clock asks whether the path lives.
    Probe,
    /// Only ACK and NAK, which nobody paces.
    Report,
}

impl Connection {
    /// Write the next datagrams into `out`.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
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
        if let Some(transmit) = self.transmit_mtu_probe(now, out) {
            return Some(transmit);
        }
        self.transmit_batch(now, out)
    }

    fn transmit_of(&mut self, len: usize, segment_size: Option<usize>) -> Transmit {
        let path = &mut self.paths[0];
        path.validation.on_sent(len);
        Transmit {
            path: path.id,
            remote: path.remote,
            local_ip: path.local_ip,
            len,
            segment_size,
            ecn: path.ecn(),
        }
    }

    /// One datagram of handshake packets, of all levels that have something to say.
    fn write_handshake(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize> {
        let allowance = usize::try_from(self.paths[0].validation.allowance()).unwrap_or(usize::MAX);
        let room = usize::from(MIN_PAYLOAD).min(allowance);
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
        let (dcid, scid) = (
            self.ids.remote(),
            self.ids.first_local().unwrap_or(self.ids.remote()),
        );
        let token = self.handshake.token.clone();
        let Some(space) = self
            .handshake
            .spaces
            .get_mut(level)
            .filter(|space| space.interest())
        else {
            return false;
        };
        //= spec/02-handshake.md#amplification
        //# A client MUST pad every datagram with an Initial packet to 1200 bytes, and a server every one
        //# whose Initial packet asks for an ACK; a datagram that cannot be padded so far is not sent.
        if pad && out.len() + room < MIN_INITIAL_DATAGRAM {
            return false;
        }
        let (next, largest_acked) = space.next_number();
        let number = Truncated::new(next, largest_acked);
        let header = match level {
            Level::Initial => Header::Initial {
                dcid,
                scid,
                token,
                number,
            },
            _ => Header::Handshake { dcid, scid, number },
        };
        let Some(packet) = PacketBuilder::begin(out, &header, room) else {
            return false;
        };
        space.write(now, &mut packet.writer(out));
        if pad {
            packet.pad(out);
        }
        packet.seal(out, &space.keys, next).is_ok()
    }

    /// A train of equal data packets, or a single shorter one.
    fn transmit_batch(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(keys) = &mut self.keys {
            keys.update_if_due(now);
        }
        let path = &mut self.paths[0];
        path.refresh_policy(now);
        let size = usize::from(path.packet_size());
        let mut budget = path.budget(now);
        let most = MAX_SEGMENTS.min(MAX_BATCH / size);
        let mut stuck = false;
        for _ in 0..most {
            let Some(purpose) = self.purpose(now, budget >= size as u64) else {
                break;
            };
            let before = out.len();
            match self.write_packet(now, purpose, size, out) {
                Ok(0) => {
                    stuck = true;
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
        self.note_limits(now, stuck);
        if out.is_empty() {
            return None;
        }
        let len = out.len();
        Some(self.transmit_of(len, (len > size).then_some(size)))
    }

    /// What the next packet is for, if one should be sent at all.
    fn purpose(&self, now: Instant, has_budget: bool) -> Option<Purpose> {
        let path = &self.paths[0];
        if path.probes > 0 && path.validation.allowance() >= u64::from(MIN_PAYLOAD) {
            return Some(Purpose::Probe);
        }
        if has_budget && self.has_data(now) {
            return Some(Purpose::Data);
        }
        (path.recv.ack.interest(now) || path.recv.nak.interest(now)).then_some(Purpose::Report)
    }

    /// Whether anything that counts against the window wants to be sent.
    fn has_data(&self, now: Instant) -> bool {
        let streams = self.streams.interest();
        streams.control
            || streams.repair
            || streams.data
            || self.datagrams.interest()
            || self.announce_done
            || self.ping
            || self.ids.interest()
            || (self.paths[0].pending_policy().is_some() && self.streams.has_open())
            || self.paths[0].validation.interest(now)
    }

    /// Why nothing more left: the pacer (then wake up in time), or nothing to send (then the rate
    /// samples to come say nothing about the path). `stuck` if what there is could not be written.
    fn note_limits(&mut self, now: Instant, stuck: bool) {
        self.paced_until = None;
        let has_data = self.has_data(now) && !stuck;
        let path = &mut self.paths[0];
        if !path.has_room() {
            return;
        }
        if has_data {
            self.paced_until = Some(path.paced_at(now));
        } else {
            path.on_dry(now);
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
        let path = &mut self.paths[0];
        let number = path.take_number(&mut self.rng);
        let truncated = Truncated::new(number, path.largest_acked());
        let header = Header::Short {
            dcid: self.ids.remote(),
            key_phase: false,
            number: truncated,
        };
        let Some(packet) = PacketBuilder::begin(out, &header, size) else {
            return Ok(0);
        };
        let mut frames = SentFrames::new();
        let mut writer = packet.writer(out);
        let mut ack_eliciting = write_reports(now, path, &mut writer, &mut frames);
        let reports_end = writer.out.len();
        if purpose != Purpose::Report {
            self.write_control(now, &mut writer, &mut frames);
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

    /// Frames of the connection itself.
    fn write_control(&mut self, now: Instant, out: &mut FrameWriter<'_>, frames: &mut SentFrames) {
        if self.announce_done && out.put(&Frame::HandshakeDone) {
            self.announce_done = false;
            frames.push(SentFrame::HandshakeDone);
        }
        if self.ping && out.put(&Frame::Ping) {
            self.ping = false;
        }
        let path = &mut self.paths[0];
        let interval = path.probe_interval();
        if out.remaining() > 16
            && let Some(data) = path.validation.poll(now, interval)
        {
            out.put(&Frame::PathChallenge(PathChallenge { data }));
        }
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
        let mut sent = |stream| frames.push(SentFrame::Stream(stream));
        self.streams.write_control(out, &mut sent);
        let before = out.out.len();
        self.streams.write_repair(out, &mut sent);
        self.repaired_bytes += (out.out.len() - before) as u64;
        if self.datagrams.interest() {
            let whole =
                out.remaining() >= super::packet_builder::data_room(self.paths[0].packet_size());
            if self.datagrams.write(out, whole) {
                self.events.push_back(Event::DatagramsUnblocked);
            }
        }
        self.streams.write_data(out, &mut sent);
        if purpose == Purpose::Probe {
            self.paths[0].probes -= 1;
            // A probe that repeats the oldest data repairs it in the same round trip.
            if out.out.len() == before {
                self.streams.write_probe(out, &mut sent);
            }
            out.put(&Frame::Ping);
        }
    }

    /// A packet of the size the MTU search wants to try; its loss is no congestion.
    fn transmit_mtu_probe(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let path = &mut self.paths[0];
        if !self.handshake.confirmed || !path.has_room() || !path.validation.is_validated() {
            return None;
        }
        let size = path.mtu.poll(now)?;
        let number = path.take_number(&mut self.rng);
        let truncated = Truncated::new(number, path.largest_acked());
        let header = Header::Short {
            dcid: self.ids.remote(),
            key_phase: false,
            number: truncated,
        };
        let packet = PacketBuilder::begin(out, &header, usize::from(size))?;
        packet.writer(out).put(&Frame::Ping);
        packet.pad(out);
        let keys = self.keys.as_mut()?;
        let len = packet.seal_data(out, keys, path.id, number).ok()?;
        path.mtu.on_probe_sent();
        let frames = SentFrames::from_iter([SentFrame::MtuProbe { bytes: size }]);
        path.on_departure(
            now,
            Departure {
                number,
                bytes: size,
                ack_eliciting: true,
                in_flight: true,
                frames,
            },
        );
        Some(self.transmit_of(len, None))
    }

    /// A PATH_RESPONSE goes where the challenge came from, which need not be the path's address.
    fn transmit_path_response(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let (data, remote) = self.path_response.take()?;
        let path = &mut self.paths[0];
        let number = path.take_number(&mut self.rng);
        let truncated = Truncated::new(number, path.largest_acked());
        let header = Header::Short {
            dcid: self.ids.remote(),
            key_phase: false,
            number: truncated,
        };
        let packet = PacketBuilder::begin(out, &header, usize::from(MIN_PAYLOAD))?;
        packet
            .writer(out)
            .put(&Frame::PathResponse(PathResponse { data }));
        let keys = self.keys.as_mut()?;
        let len = packet.seal_data(out, keys, path.id, number).ok()?;
        let bytes = u16::try_from(len).unwrap_or(u16::MAX);
        let frames = SentFrames::new();
        path.on_departure(
            now,
            Departure {
                number,
                bytes,
                ack_eliciting: true,
                in_flight: false,
                frames,
            },
        );
        Some(Transmit {
            remote,
            ..self.transmit_of(len, None)
        })
    }

    /// The CLOSE frame, at a level the peer can read.
    fn transmit_close(&mut self, _now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let State::Closing(closing) = &mut self.state else {
            return None;
        };
        if !std::mem::take(&mut closing.pending)
            || self.paths[0].validation.allowance() < u64::from(MIN_PAYLOAD)
        {
            return None;
        }
        let frame = closing.frame.clone();
        let room = usize::from(MIN_PAYLOAD);
        if !self.handshake.confirmed {
            self.write_handshake_close(&frame, room, out);
        } else if let Some(keys) = &mut self.keys {
            let path = &mut self.paths[0];
            let number = path.take_number(&mut self.rng);
            let truncated = Truncated::new(number, path.largest_acked());
            let header = Header::Short {
                dcid: self.ids.remote(),
                key_phase: false,
                number: truncated,
            };
            let packet = PacketBuilder::begin(out, &header, room)?;
            packet.writer(out).put(&Frame::Close(frame));
            packet.seal_data(out, keys, path.id, number).ok()?;
        }
        let len = out.len();
        (len > 0).then(|| self.transmit_of(len, None))
    }

    /// Before the handshake is confirmed the peer may lack the data keys.
    fn write_handshake_close(&mut self, frame: &Close, room: usize, out: &mut Vec<u8>) {
        let (dcid, scid) = (
            self.ids.remote(),
            self.ids.first_local().unwrap_or(self.ids.remote()),
        );
        let Some(level) = self.handshake.spaces.highest() else {
            return;
        };
        let token = self.handshake.token.clone();
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            return;
        };
        let (next, largest_acked) = space.next_number();
        let number = Truncated::new(next, largest_acked);
        let header = match level {
            Level::Initial => Header::Initial {
                dcid,
                scid,
                token,
                number,
            },
            _ => Header::Handshake { dcid, scid, number },
        };
        let Some(packet) = PacketBuilder::begin(out, &header, room) else {
            return;
        };
        packet.writer(out).put(&Frame::Close(frame.clone()));
        if level == Level::Initial {
            packet.pad(out);
        }
        space.skip_number();
        if packet.seal(out, &space.keys, next).is_err() {
            out.clear();
        }
    }
}

/// ACK and NAK of one path, if due or if an ACK can ride along. Returns whether the peer is to
/// acknowledge the packet for their sake.
fn write_reports(
    now: Instant,
    path: &mut Path,
    out: &mut FrameWriter<'_>,
    frames: &mut SentFrames,
) -> bool {
    let mut ack_eliciting = false;
    if path.recv.nak.interest(now) {
        let (smoothed, var) = (path.rtt.smoothed(), path.rtt.var());
        let named = path.recv.nak.take_due(now, MAX_NAK_RANGES, smoothed, var);
        if let Some(last) = named.last() {
            let largest = last.end - 1;
            if Nak::encode_from(path.id, named.iter().rev().cloned(), out) > 0 {
                path.counters.naks_sent += 1;
                frames.push(SentFrame::Nak {
                    path: path.id,
                    largest,
                });
                //= spec/03-reliability.md#nak-schedule
                //# A packet with a NAK MUST be acknowledged like one with data, so that the NAK can be retired.
                ack_eliciting = true;
            }
        }
    }
    let due = path.recv.ack.interest(now);
    // A packet that leaves anyway takes the news along once half of the wait is over.
    if !(due || path.recv.ack.is_ripe(now)) {
        return ack_eliciting;
    }
    let Some(largest) = path.recv.largest() else {
        return ack_eliciting;
    };
    let head = AckHead {
        path: path.id,
        delay_us: micros(path.recv.ack_delay(now)),
        received_at_us: micros(path.recv.largest_at()),
        ecn: path.recv.ecn(),
    };
    if Ack::encode_from(&head, path.recv.ranges().iter().rev(), out) > 0 {
        path.recv.ack.on_sent();
        frames.push(SentFrame::Ack {
            path: path.id,
            largest,
        });
        let interval = path.rtt.smoothed();
        if path.recv.wants_prompt(now, interval) && out.remaining() > 0 {
            out.out.push(kind::PING);
            ack_eliciting = true;
        }
    }
    ack_eliciting
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(0)
        .min(crate::units::MAX_VARINT)
}
