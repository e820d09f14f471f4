//! Packets that test the path and carry nothing else: sizes to try, answers to challenges.

use std::time::Instant;

use super::{Connection, event::Transmit};
use crate::{
    path::{Departure, MIN_PAYLOAD, SentFrame, SentFrames},
    wire::{
        frame::{Frame, PathResponse},
        id::PathId,
    },
};

impl Connection {
    /// A packet of the size the MTU search wants to try; its loss is no congestion.
    pub(super) fn transmit_mtu_probe(
        &mut self,
        path_id: PathId,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let path = &mut self.paths[path_id];
        if !self.handshake.confirmed || !path.has_room() {
            return None;
        }
        let size = path.mtu.poll(now)?;
        let (packet, number) = self.begin_packet(path_id, usize::from(size), out)?;
        packet.writer(out).put(&Frame::Ping);
        packet.pad(out);
        let path = &mut self.paths[path_id];
        let len = packet
            .seal_data(out, self.keys.as_mut()?, path.id, number)
            .ok()?;
        path.mtu.on_probe_sent();
        let departure = Departure {
            number,
            bytes: size,
            ack_eliciting: true,
            in_flight: true,
            frames: SentFrames::from_iter([SentFrame::MtuProbe { bytes: size }]),
        };
        path.on_departure(now, departure);
        Some(self.transmit_of(path_id, len, None))
    }

    /// A PATH_RESPONSE goes where the challenge came from, which need not be the path's address.
    pub(super) fn transmit_path_response(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (data, origin) = self.path_response.take()?;
        let (packet, number) = self.begin_packet(origin.path, usize::from(MIN_PAYLOAD), out)?;
        packet
            .writer(out)
            .put(&Frame::PathResponse(PathResponse { data }));
        let path = &mut self.paths[origin.path];
        let len = packet
            .seal_data(out, self.keys.as_mut()?, path.id, number)
            .ok()?;
        path.on_departure(now, Departure::apart(number, len));
        Some(self.transmit_to(origin.path, (origin.remote, origin.local_ip), len))
    }
}
