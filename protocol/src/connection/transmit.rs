//! Spends the budget: what may leave now. Parts state their interest, the path its budget; this file asks, in this
//! order, and the first that has something to say gets the datagrams:
//!
//! | # | datagram | allowed by | written in |
//! |---|---|---|---|
//! | 1 | CLOSE; nothing else any more | amplification limit | `close.rs` |
//! | 2 | packets of the handshake | amplification limit | `handshake_packets.rs` |
//! | 3 | PATH_RESPONSE, to where the challenge came from | at once | `probe.rs` |
//! | | then of each path: | | |
//! | 4 | PATH_CHALLENGE and ACK to an unproven address | amplification limit of that address | `migration.rs` |
//! | 5 | a packet of a size to try | window | `probe.rs` |
//! | 6 | a batch of data packets | see [`Purpose`] | here |
//!
//! What a data packet holds, in this order as long as there is room: NAK, TRAIN_REPORT and ACK (`reports.rs`); TRAIN;
//! then what `contents.rs` lists.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{
    Connection, event::Transmit, packet_builder::PacketBuilder, reports::write_reports,
    state::State,
};
use crate::{
    crypto::keys::SealError,
    error::{TransportCode, TransportError},
    path::{Departure, SentFrames},
    wire::{frame::Frame, header::Header, id::PathId, packet_number::Truncated},
};

/// Packets handed over at once: what the kernel takes as one segmented send (UDP_MAX_SEGMENTS).
const MAX_SEGMENTS: usize = 64;
/// Bytes of such a batch: one IP packet before segmentation.
const MAX_BATCH: usize = 65_000;

/// Why a data packet is written, which decides what it may hold. The first that applies wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A timeout asks whether the path is alive, whatever window and pacer say.
    Probe,
    /// Window and pacer allow anything, and there is something.
    Data,
    /// Window and pacer allow anything, and bytes in flight may go once more.
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
            return Some(self.transmit_of(PathId::INITIAL, len, None));
        }
        self.keys.as_ref()?;
        if self.is_handshaking() {
            return None;
        }
        if let Some(transmit) = self.transmit_path_response(now, out) {
            return Some(transmit);
        }
        let mut turn = self.paths.after(None);
        while let Some(path) = turn {
            let transmit = self.transmit_on(path, now, out);
            if transmit.is_some() {
                return transmit;
            }
            turn = self.paths.after(turn);
        }
        None
    }

    /// Write the next datagrams of `path` into `out`.
    fn transmit_on(&mut self, path: PathId, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(transmit) = self.transmit_to_candidate(path, now, out) {
            return Some(transmit);
        }
        if let Some(transmit) = self.transmit_mtu_probe(path, now, out) {
            return Some(transmit);
        }
        self.transmit_batch(path, now, out)
    }

    /// The first `len` bytes of the buffer, to the address that `path` uses.
    pub(super) fn transmit_of(
        &mut self,
        path: PathId,
        len: usize,
        segment_size: Option<usize>,
    ) -> Transmit {
        let known = &self.paths[path];
        let to = (known.remote, known.local_ip);
        let transmit = self.transmit_to(path, to, len);
        Transmit {
            segment_size,
            ..transmit
        }
    }

    /// The first `len` bytes of the buffer as one datagram to `remote`, from `local_ip`.
    pub(super) fn transmit_to(
        &mut self,
        path: PathId,
        (remote, local_ip): (SocketAddr, Option<IpAddr>),
        len: usize,
    ) -> Transmit {
        let path = &mut self.paths[path];
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

    /// A GSO batch: data packets of equal size, of which the last may be shorter.
    fn transmit_batch(
        &mut self,
        path_id: PathId,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some(keys) = &mut self.keys {
            keys.update_if_due(now);
        }
        let path = &mut self.paths[path_id];
        path.refresh_policy(now);
        let size = usize::from(path.packet_size());
        let mut budget = path.budget(now);
        if path.paced_until.is_some_and(|until| now < until) {
            // Other input came first; the burst is not earned yet.
            budget = 0;
        }
        let mut most = MAX_SEGMENTS.min(MAX_BATCH / size);
        if let Some(packets) = self.begin_train(path_id, now) {
            budget = packets * size as u64;
            most = most.min(usize::try_from(packets).unwrap_or(most));
        }
        let mut stuck = false;
        for _ in 0..most {
            let Some(purpose) = self.purpose(path_id, now, budget >= size as u64) else {
                break;
            };
            let before = out.len();
            match self.write_packet(path_id, now, purpose, size, out) {
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
        self.paths[path_id].end_train();
        self.note_limits(path_id, now, stuck);
        if out.is_empty() {
            return None;
        }
        let len = out.len();
        Some(self.transmit_of(path_id, len, (len > size).then_some(size)))
    }

    /// Packets that may leave back to back whatever the pacer says: a train, if one is due.
    fn begin_train(&mut self, path: PathId, now: Instant) -> Option<u64> {
        if !self.has_bulk() {
            return None;
        }
        self.paths[path].begin_train(now)
    }

    /// Whether there are stream bytes to fill packets with.
    fn has_bulk(&self) -> bool {
        let streams = self.streams.interest();
        streams.data || streams.repair
    }

    /// What the next packet is for, if one should be sent at all.
    fn purpose(&self, path_id: PathId, now: Instant, has_budget: bool) -> Option<Purpose> {
        let path = &self.paths[path_id];
        if path.probes > 0 {
            return Some(Purpose::Probe);
        }
        if has_budget && self.has_data(path_id) {
            return Some(Purpose::Data);
        }
        if has_budget && self.redundancy.interest() {
            return Some(Purpose::Copy);
        }
        (path.recv.ack.interest(now) || path.recv.nak.interest(now)).then_some(Purpose::Report)
    }

    /// Whether anything that counts against the window of `path` wants to be sent.
    fn has_data(&self, path: PathId) -> bool {
        let streams = self.streams.interest();
        streams.control
            || streams.repair
            || streams.data
            || self.datagrams.interest()
            || self.announce_done
            || self.ping
            || self.ids.interest()
            || (self.paths[path].pending_policy().is_some() && self.streams.has_open())
    }

    /// Why nothing more left: the pacer (then wake up in time), or nothing to send (then the rate
    /// samples to come say nothing about the path). `stuck` if what there is could not be written.
    fn note_limits(&mut self, path_id: PathId, now: Instant, stuck: bool) {
        let has_data = self.has_data(path_id) && !stuck;
        let path = &mut self.paths[path_id];
        path.paced_until = None;
        if !path.has_room() {
            return;
        }
        if !has_data {
            path.on_dry(now);
            self.redundancy.on_dry(path);
        }
        if has_data || self.redundancy.interest() {
            let train_at = path.train_at().filter(|_| self.has_bulk());
            let path = &mut self.paths[path_id];
            let paced_at = path.paced_at(now);
            path.paced_until = Some(train_at.map_or(paced_at, |at| paced_at.min(at.max(now))));
        }
    }

    /// One data packet of at most `size` bytes; says its length, 0 if there was nothing to put in.
    fn write_packet(
        &mut self,
        path_id: PathId,
        now: Instant,
        purpose: Purpose,
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, SealError> {
        let Some((packet, number)) = self.begin_packet(path_id, size, out) else {
            return Ok(0);
        };
        let path = &mut self.paths[path_id];
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
            self.write_control(path_id, &mut writer, &mut frames);
            self.write_streams(path_id, purpose, &mut writer, &mut frames);
        }
        let in_flight = out.len() > reports_end;
        ack_eliciting |= in_flight;
        if packet.is_empty(out) {
            packet.cancel(out);
            return Ok(0);
        }
        let path = &mut self.paths[path_id];
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

    /// Begin a data packet of at most `size` bytes under a fresh number of `path`.
    pub(super) fn begin_packet(
        &mut self,
        path: PathId,
        size: usize,
        out: &mut Vec<u8>,
    ) -> Option<(PacketBuilder, u64)> {
        let path = &mut self.paths[path];
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
}
