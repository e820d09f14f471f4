//! What frames of the peer do to the streams. What is sent in answer is decided in `outgoing`.

use std::time::Instant;

use super::{
    StreamEvent, Streams,
    recv::Piece,
    table::{Found, InitialCredit},
};
use crate::{
    error::{TransportCode, TransportError},
    units::{CloseCode, Dir},
    wire::{Frame, frame, id::StreamId},
};

/// A frame that only one end of a unidirectional stream may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// STREAM, RESET_STREAM, STREAM_DATA_BLOCKED.
    Sender,
    /// STOP_SENDING, MAX_STREAM_DATA.
    Receiver,
}

impl Streams {
    /// Says how many bytes of memory the frames handled next keep alive: the size of the datagram
    /// they are slices of.
    pub const fn begin_datagram(&mut self, bytes: usize) {
        self.datagram_bytes = bytes;
    }

    /// Takes in a frame about streams; other frames are ignored.
    pub fn handle(&mut self, now: Instant, frame: Frame) -> Result<(), TransportError> {
        self.now = Some(now);
        match frame {
            Frame::Stream(frame) => self.on_stream(now, frame),
            Frame::ResetStream(frame) => self.on_reset_stream(now, &frame),
            Frame::StopSending(frame) => self.on_stop_sending(frame.id, frame.code),
            Frame::MaxData(frame) => {
                self.on_max_data(frame.limit, frame.read);
                Ok(())
            }
            Frame::MaxStreamData(frame) => self.on_max_stream_data(&frame),
            Frame::MaxStreams(frame) => {
                self.on_max_streams(frame.dir, frame.limit);
                Ok(())
            }
            Frame::DataBlocked(_) => {
                self.counters.peer_data_blocked += 1;
                Ok(())
            }
            Frame::StreamDataBlocked(frame) => {
                self.counters.peer_stream_data_blocked += 1;
                self.find(frame.id, From::Sender).map(drop)
            }
            Frame::StreamsBlocked(_) => {
                self.counters.peer_streams_blocked += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The slot of the stream a frame names, opened if need be; `None` when it is closed.
    fn find(&mut self, id: StreamId, from: From) -> Result<Option<u32>, TransportError> {
        //= spec/05-streams.md#stream-ids
        //# A receiver MUST close the connection with STREAM_STATE_ERROR when STREAM, RESET_STREAM or
        //# STREAM_DATA_BLOCKED names a unidirectional stream of its own, or STOP_SENDING or
        //# MAX_STREAM_DATA one of the peer.
        let is_ours = id.initiator() == self.config.side;
        if id.dir() == Dir::Uni && is_ours == (from == From::Sender) {
            return Err(TransportError::new(
                TransportCode::STREAM_STATE_ERROR,
                "frame against the direction of its stream",
            ));
        }
        let initial: InitialCredit = self.initial;
        match self.table.find(id, initial)? {
            Found::Live { slot, is_new } => {
                if is_new {
                    self.counters.accepted += 1;
                    let kind = self.table.remote(id.dir());
                    if std::mem::take(&mut kind.is_waiting) {
                        self.events.push_back(StreamEvent::Opened(id.dir()));
                    }
                }
                Ok(Some(slot))
            }
            Found::Gone => {
                self.counters.late_frames += 1;
                Ok(None)
            }
        }
    }

    fn on_stream(&mut self, now: Instant, frame: frame::Stream) -> Result<(), TransportError> {
        let Some(slot) = self.find(frame.id, From::Sender)? else {
            return Ok(());
        };
        let piece = Piece {
            offset: frame.offset,
            data: frame.data,
            fin: frame.fin,
            pinned: self.datagram_bytes,
        };
        let Some(recv) = self.table.get(slot).and_then(|s| s.recv.as_mut()) else {
            return Ok(());
        };
        recv.on_data(piece, &mut self.recv_credit, now)?;
        self.after_receive(slot, now);
        Ok(())
    }

    fn on_reset_stream(
        &mut self,
        now: Instant,
        frame: &frame::ResetStream,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.find(frame.id, From::Sender)? else {
            return Ok(());
        };
        let Some(recv) = self.table.get(slot).and_then(|s| s.recv.as_mut()) else {
            return Ok(());
        };
        recv.on_reset(frame.code, frame.final_size, &mut self.recv_credit, now)?;
        self.after_receive(slot, now);
        Ok(())
    }

    /// Tells the reader, keeps the credit flowing, and forgets the stream if this was its end.
    fn after_receive(&mut self, slot: u32, now: Instant) {
        self.wants.max_data |= self.recv_credit.is_due()
            || self.recv_credit.on_burst(now, self.rtt)
            || self.recv_credit.follow(now, self.rtt)
            || self.recv_credit.relieve(now);
        self.report_reads();
        let ceiling = self.config.max_stream_credit;
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        let Some(recv) = &mut stream.recv else {
            return;
        };
        let was_wanted = stream.wants;
        stream.wants.credit |= recv.adapt(now, self.rtt, ceiling);
        if recv.is_waiting && recv.is_readable() {
            recv.is_waiting = false;
            self.events.push_back(StreamEvent::Readable(stream.id));
        }
        self.wants.max_data |= !recv.is_readable() && self.recv_credit.is_scarce();
        stream.wants.stop &= recv.needed_stop().is_some();
        stream.wants.credit &= recv.wants_credit();
        if recv.is_done() || stream.wants != was_wanted {
            self.settle(slot);
        }
    }

    fn on_stop_sending(&mut self, id: StreamId, code: CloseCode) -> Result<(), TransportError> {
        let Some(slot) = self.find(id, From::Receiver)? else {
            return Ok(());
        };
        if self.with_send(slot, |send| send.on_stop(code)) == Some(true) {
            if let Some(stream) = self.table.get(slot) {
                stream.wants.reset = true;
            }
            self.stop_waiting(slot);
            self.events.push_back(StreamEvent::Stopped { id, code });
            self.settle(slot);
            self.release_held();
            self.wake_writers();
        }
        Ok(())
    }

    pub(super) fn on_max_data(&mut self, limit: u64, read: u64) {
        if self.send_credit.raise(limit, read) {
            self.wants.data_blocked = false;
            self.release_held();
            self.wake_writers();
        }
    }

    fn on_max_stream_data(&mut self, frame: &frame::MaxStreamData) -> Result<(), TransportError> {
        let Some(slot) = self.find(frame.id, From::Receiver)? else {
            return Ok(());
        };
        let Some(stream) = self.table.get(slot) else {
            return Ok(());
        };
        if let Some(send) = &mut stream.send
            && send.raise(frame.limit, frame.read)
        {
            stream.wants.blocked &= send.credit() == 0;
            self.release(slot);
            self.settle(slot);
        }
        Ok(())
    }

    pub(super) fn on_max_streams(&mut self, dir: Dir, limit: u64) {
        let kind = self.table.local(dir);
        if limit > kind.limit {
            kind.limit = limit;
            self.wants.streams_blocked[dir as usize] = false;
            if std::mem::take(&mut kind.is_waiting) {
                self.events.push_back(StreamEvent::Available(dir));
            }
        }
    }
}
