//! The CLOSE frame on its way out, at every level the peer may be able to read. When to close, and how long
//! to linger, lives in `mod.rs` and `state.rs`.

use bytes::Bytes;

use super::{Connection, event::Transmit, packet_builder::PacketBuilder, state::State};
use crate::{
    crypto::handshake::Level,
    error::TransportCode,
    path::MIN_PAYLOAD,
    wire::frame::{Close, Frame},
};

impl Connection {
    /// The CLOSE frame, if it wants to be sent.
    pub(super) fn transmit_close(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let State::Closing(closing) = &mut self.state else {
            return None;
        };
        if !std::mem::take(&mut closing.pending) || !self.paths[0].may_answer() {
            return None;
        }
        let frame = closing.frame.clone();
        // Until the handshake is confirmed the peer may have only one kind of keys, so both are used.
        if !self.handshake.confirmed {
            self.write_handshake_close(&frame, out);
        }
        if !self.handshake.session().is_handshaking() {
            self.write_data_close(frame, out);
        }
        let len = out.len();
        (len > 0).then(|| self.transmit_of(len, None))
    }

    fn write_data_close(&mut self, frame: Close, out: &mut Vec<u8>) {
        let room = usize::from(MIN_PAYLOAD).saturating_sub(out.len());
        let Some((packet, number)) = self.begin_packet(room, out) else {
            return;
        };
        let start = packet.start();
        packet.writer(out).put(&Frame::Close(frame));
        let sealed = self.keys.as_mut().is_some_and(|keys| {
            packet
                .seal_data(out, keys, self.paths[0].id, number)
                .is_ok()
        });
        if !sealed {
            out.truncate(start);
        }
    }

    fn write_handshake_close(&mut self, frame: &Close, out: &mut Vec<u8>) {
        let Some(level) = self.handshake.spaces.highest() else {
            return;
        };
        let Some((header, number)) = self.level_header(level) else {
            return;
        };
        let Some(packet) = PacketBuilder::begin(out, &header, usize::from(MIN_PAYLOAD)) else {
            return;
        };
        packet
            .writer(out)
            .put(&Frame::Close(without_application(frame)));
        if level == Level::Initial {
            packet.pad(out);
        }
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            return;
        };
        space.skip_number();
        if packet.seal(out, &space.keys, number).is_err() {
            out.clear();
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
