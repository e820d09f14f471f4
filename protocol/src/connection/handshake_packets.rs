//! Handshake packets on their way out: all levels that have something to say, in one datagram. What the levels
//! hold is in `handshake.rs`.

use std::time::Instant;

use super::{Connection, handshake::Space, packet_builder::PacketBuilder};
use crate::{
    crypto::handshake::Level,
    path::MIN_PAYLOAD,
    units::Side,
    wire::{
        header::{Header, MIN_INITIAL_DATAGRAM},
        id::PathId,
        packet_number::Truncated,
    },
};

impl Connection {
    /// One datagram of handshake packets, of all levels that have something to say.
    pub(super) fn write_handshake(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize> {
        let room = usize::from(MIN_PAYLOAD).min(self.paths[PathId::INITIAL].validation.allowance());
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
}
