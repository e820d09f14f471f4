//! What a data packet holds besides reports, in this order as long as there is room:
//!
//! 1. frames of the connection: HANDSHAKE_DONE, PING, ACK_POLICY, connection ids
//! 2. in a probe, PING
//! 3. control frames of streams: credit, ends, resets
//! 4. stream bytes that were lost
//! 5. copies of messages that wait for their ACK
//! 6. new stream bytes by the scheduler; DATAGRAMs before or behind them by turns
//! 7. in a probe that holds nothing new, the oldest bytes in flight; in a copy, bytes in flight
//!
//! Whether there is a packet is decided in `transmit.rs`.

use super::{Connection, reports::micros, transmit::Purpose};
use crate::{
    path::{SentFrame, SentFrames},
    wire::{
        frame::{AckPolicy, Frame, FrameWriter},
        id::PathId,
    },
};

impl Connection {
    /// Frames of the connection itself and of `path`.
    pub(super) fn write_control(
        &mut self,
        path: PathId,
        out: &mut FrameWriter<'_>,
        frames: &mut SentFrames,
    ) {
        if self.announce_done && out.put(&Frame::HandshakeDone) {
            self.announce_done = false;
            frames.push(SentFrame::HandshakeDone);
        }
        if self.ping && out.put(&Frame::Ping) {
            self.ping = false;
        }
        let path = &mut self.paths[path];
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
                path: path.id,
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
    pub(super) fn write_streams(
        &mut self,
        path_id: PathId,
        purpose: Purpose,
        out: &mut FrameWriter<'_>,
        frames: &mut SentFrames,
    ) {
        let mut wants_ping = false;
        if purpose == Purpose::Probe {
            self.paths[path_id].probes -= 1;
            // Before the data, which take all the room there is. At first in the last probe only: the other is
            // to repeat a full packet whole. Later packets are small anyway, and news is what counts.
            let path = &self.paths[path_id];
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
            self.write_datagrams(path_id, out);
        }
        self.streams.write_data(out, &mut |what| {
            self.redundancy.on_data(what);
            note(what);
        });
        if streams_first {
            self.write_datagrams(path_id, out);
        }
        self.redundancy
            .on_messages(self.streams.ended(), &self.paths[path_id]);
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
