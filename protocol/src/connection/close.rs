//! The CLOSE frame on its way out, at every level the peer may be able to read. When to close, and how long
//! to linger, lives in `mod.rs` and `state.rs`.

use std::time::Instant;

use bytes::Bytes;

use super::{Connection, event::Transmit, packet_builder::PacketBuilder, state::State};
use crate::{
    crypto::handshake::Level,
    error::TransportCode,
    path::MIN_PAYLOAD,
    units::Side,
    wire::{
        frame::{Close, Frame},
        id::PathId,
    },
};

impl Connection {
    /// The CLOSE frame, if it wants to be sent.
    pub(super) fn transmit_close(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let State::Closing(closing) = &mut self.state else {
            return None;
        };
        let frame = closing.frame.clone();
        let path = self.paths.active().id;
        if std::mem::take(&mut closing.pending)
            && let Some(len) = self.write_close(path, &frame, out)
        {
            return Some(self.transmit_of(path, len, None));
        }
        let State::Closing(closing) = &mut self.state else {
            return None;
        };
        if !std::mem::take(&mut closing.pending_elsewhere) {
            return None;
        }
        self.transmit_close_to_candidate(path, now, frame, out)
    }

    /// One datagram with CLOSE at each level that the peer may be able to open; says its length.
    fn write_close(&mut self, path: PathId, frame: &Close, out: &mut Vec<u8>) -> Option<usize> {
        let allowance = self.paths[path].validation.allowance();
        let room = usize::from(MIN_PAYLOAD).min(allowance);
        //= spec/06-lifecycle.md#closing
        //# Until the handshake is confirmed, an endpoint MUST send CLOSE in a packet of each level whose keys it has, in one
        //# datagram.
        if !self.handshake.confirmed {
            for level in [Level::Initial, Level::Handshake] {
                self.write_handshake_close(level, frame, room, out);
            }
        }
        if !self.handshake.session().is_handshaking() {
            self.write_data_close(path, frame.clone(), room, out);
        }
        (!out.is_empty()).then_some(out.len())
    }

    fn write_data_close(&mut self, path: PathId, frame: Close, room: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let Some((packet, number)) = self.begin_packet(path, room.saturating_sub(start), out)
        else {
            return;
        };
        let is_written = packet.writer(out).put(&Frame::Close(frame));
        let sealed = is_written
            && self
                .keys
                .as_mut()
                .is_some_and(|keys| packet.seal_data(out, keys, path, number).is_ok());
        if !sealed {
            out.truncate(start);
        }
    }

    fn write_handshake_close(
        &mut self,
        level: Level,
        frame: &Close,
        room: usize,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let Some((header, number)) = self.level_header(level) else {
            return;
        };
        let Some(packet) = PacketBuilder::begin(out, &header, room.saturating_sub(start)) else {
            return;
        };
        let is_written = packet
            .writer(out)
            .put(&Frame::Close(without_application(frame)));
        // The server's asks for no ACK, so it needs no padding; a client has no other packet beside this one.
        if level == Level::Initial && self.side == Side::Client {
            packet.pad(out);
        }
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            return;
        };
        space.skip_number();
        if !is_written || packet.seal(out, &space.keys, number).is_err() {
            out.truncate(start);
        }
    }
}

/// What an unauthenticated peer may see of a close.
fn without_application(frame: &Close) -> Close {
    //= spec/06-lifecycle.md#closing
    //# Before the handshake is confirmed an application's close MUST be sent as a CLOSE of the transport
    //# with NO_ERROR and no reason, so that nothing of the application is shown to an unauthenticated peer.
    match frame {
        Close::Application { .. } => Close::Transport {
            code: TransportCode::NO_ERROR,
            frame_type: 0,
            reason: Bytes::new(),
        },
        Close::Transport { .. } => frame.clone(),
    }
}
