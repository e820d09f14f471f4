//! The frames streams write into packets, and what becomes of them.
//! Which packet, and when, is the connection's matter.

use std::ops::Range;

use super::{StreamSent, Streams, table::Stream};
use crate::{
    units::Dir,
    wire::{
        Frame, FrameWriter,
        frame::{
            DataBlocked, MaxData, MaxStreamData, MaxStreams, ResetStream, StopSending,
            StreamDataBlocked, StreamHead, StreamsBlocked,
        },
        id::StreamId,
    },
};

/// Smallest piece of a longer run worth a frame of its own at the end of a packet.
const MIN_FRAGMENT_BYTES: u64 = 64;

/// Which bytes of a stream a frame takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Take {
    Unsent,
    Lost,
    Probe,
    Copy(Range<u64>),
}

impl Streams {
    /// Begins a packet: writes credit, resets and the like, as far as they fit.
    pub fn write_control(&mut self, out: &mut FrameWriter<'_>, sent: &mut impl FnMut(StreamSent)) {
        self.ended.clear();
        if !self.write_connection_control(out, sent) {
            return;
        }
        let (now, rtt, ceiling) = (self.now, self.rtt, self.config.max_stream_credit);
        while let Some(slot) = self.queues.control.first() {
            let Some(stream) = self.table.get(slot) else {
                return;
            };
            if stream.wants.credit
                && let (Some(recv), Some(now)) = (&mut stream.recv, now)
            {
                recv.credit.announce(now, rtt, ceiling);
                self.queues.unreported.remove(slot);
            }
            if !write_stream_control(stream, out, sent) {
                return;
            }
            if let Some(send) = stream.send.as_mut().filter(|s| s.needs_bare_fin()) {
                let Some(fin) = write_fin(stream.id, send.buffer.end(), out) else {
                    return;
                };
                send.on_fin_sent();
                sent(fin);
                self.ended.push(fin);
            }
            self.settle(slot);
        }
    }

    /// Writes the frames of the connection as a whole; whether all fitted.
    fn write_connection_control(
        &mut self,
        out: &mut FrameWriter<'_>,
        sent: &mut impl FnMut(StreamSent),
    ) -> bool {
        if self.wants.max_data {
            let limit = match self.now {
                Some(now) => self.recv_credit.announce(now, self.rtt),
                None => self.recv_credit.announced(),
            };
            let read = self.recv_credit.reported();
            if !out.put(&Frame::MaxData(MaxData { limit, read })) {
                return false;
            }
            self.wants.max_data = false;
            sent(StreamSent::MaxData);
        }
        if self.wants.data_blocked {
            let limit = self.send_credit.limit();
            if !out.put(&Frame::DataBlocked(DataBlocked { limit })) {
                return false;
            }
            self.wants.data_blocked = false;
            sent(StreamSent::DataBlocked);
        }
        for dir in [Dir::Bi, Dir::Uni] {
            if self.wants.max_streams[dir as usize] {
                let limit = self.table.remote(dir).announced;
                if !out.put(&Frame::MaxStreams(MaxStreams { dir, limit })) {
                    return false;
                }
                self.wants.max_streams[dir as usize] = false;
                sent(StreamSent::MaxStreams(dir));
            }
            if self.wants.streams_blocked[dir as usize] {
                let limit = self.table.local(dir).limit;
                if !out.put(&Frame::StreamsBlocked(StreamsBlocked { dir, limit })) {
                    return false;
                }
                self.wants.streams_blocked[dir as usize] = false;
                sent(StreamSent::StreamsBlocked(dir));
            }
        }
        true
    }

    /// Writes lost bytes again, as far as they fit.
    pub fn write_repair(&mut self, out: &mut FrameWriter<'_>, sent: &mut impl FnMut(StreamSent)) {
        while let Some(slot) = self.queues.repair.first() {
            let Some(bytes) = self.write_piece(slot, Take::Lost, u64::MAX, out, sent) else {
                return;
            };
            self.counters.repaired_bytes += bytes;
            self.queues.repair.charge(slot, bytes);
            self.settle(slot);
        }
    }

    /// Writes bytes never sent, as far as they fit and credit goes.
    pub fn write_data(&mut self, out: &mut FrameWriter<'_>, sent: &mut impl FnMut(StreamSent)) {
        while let Some(slot) = self.queues.data.first() {
            //= spec/05-streams.md#credit
            //# A sender MUST NOT send bytes beyond the credit of a stream or of the connection.
            let credit = self.send_credit.left();
            if credit == 0 {
                self.note_data_blocked();
                return;
            }
            let Some(bytes) = self.write_piece(slot, Take::Unsent, credit, out, sent) else {
                return;
            };
            self.send_credit.spend(bytes);
            self.unsent -= bytes;
            self.counters.sent_bytes += bytes;
            self.queues.data.charge(slot, bytes);
            self.note_message(slot);
            self.settle(slot);
        }
    }

    /// Notes that a message ended, if the stream has nothing more to send.
    fn note_message(&mut self, slot: u32) {
        if let Some(stream) = self.table.get(slot)
            && let Some(send) = &mut stream.send
            && let Some(message) = send.end_message()
            && let Ok(len) = u16::try_from(message.end - message.start)
        {
            self.ended.push(StreamSent::Data {
                id: stream.id,
                offset: message.start,
                len,
                fin: send.is_final(message.end),
            });
        }
    }

    /// Writes once more bytes that are in flight, of the stream that has waited longest for an ACK;
    /// each call takes up where the last one ended. Whether there were any.
    pub fn write_probe(
        &mut self,
        out: &mut FrameWriter<'_>,
        sent: &mut impl FnMut(StreamSent),
    ) -> bool {
        let Some(slot) = self.queues.in_flight.first() else {
            return false;
        };
        let Some(bytes) = self.write_piece(slot, Take::Probe, u64::MAX, out, sent) else {
            return false;
        };
        self.counters.repaired_bytes += bytes;
        self.queues.in_flight.rotate(slot);
        true
    }

    /// Writes a copy of what earlier packets carried and nobody has acknowledged, although nothing says
    /// that it is lost. What does not fit is returned.
    pub fn write_copy(
        &mut self,
        what: StreamSent,
        out: &mut FrameWriter<'_>,
        sent: &mut impl FnMut(StreamSent),
    ) -> Option<StreamSent> {
        let StreamSent::Data {
            id,
            mut offset,
            len,
            fin,
        } = what
        else {
            return None;
        };
        let slot = self.table.slot(id)?;
        let end = offset + u64::from(len);
        while let Some(send) = &self.table.get(slot)?.send
            && let Some(part) = send.buffer.first_in_flight(offset..end)
        {
            offset = part.start;
            let Some(bytes) = self.write_piece(slot, Take::Copy(part), u64::MAX, out, sent) else {
                return Some(data_sent(id, &(offset..end), fin));
            };
            self.counters.repaired_bytes += bytes;
            offset += bytes;
        }
        let send = self.table.get(slot)?.send.as_ref()?;
        if fin && len == 0 && send.is_fin_in_flight() {
            let Some(fin) = write_fin(id, end, out) else {
                return Some(what);
            };
            sent(fin);
        }
        None
    }

    /// Writes one STREAM frame of at most `max` bytes; how many bytes it has, or `None` if there is
    /// not enough space for one.
    fn write_piece(
        &mut self,
        slot: u32,
        take: Take,
        max: u64,
        out: &mut FrameWriter<'_>,
        sent: &mut impl FnMut(StreamSent),
    ) -> Option<u64> {
        let stream = self.table.get(slot)?;
        let send = stream.send.as_mut()?;
        let (start, wanted) = match take {
            Take::Unsent => (send.buffer.sent(), send.unsent().min(max)),
            Take::Lost => send.buffer.first_lost()?,
            Take::Probe => send.buffer.first_probe(),
            Take::Copy(ref part) => (part.start, part.end - part.start),
        };
        let space = out.remaining() as u64;
        let head_len = StreamHead {
            id: stream.id,
            offset: start,
            fin: false,
            len: Some(wanted.min(space)),
        }
        .encoded_len() as u64;
        let space = space.checked_sub(head_len)?.min(u64::from(u16::MAX));
        if space < wanted.min(MIN_FRAGMENT_BYTES) {
            return None;
        }
        let range: Range<u64> = match take {
            Take::Unsent => send.buffer.take_unsent(wanted.min(space)),
            Take::Lost => send.buffer.take_lost(space)?,
            Take::Probe => send.buffer.take_probe(space),
            Take::Copy(part) => part.start..part.end.min(part.start + space),
        };
        let len = range.end - range.start;
        let fin = send.is_final(range.end);
        StreamHead {
            id: stream.id,
            offset: range.start,
            fin,
            len: Some(len),
        }
        .encode(out.out);
        send.buffer.copy(&range, out.out);
        if fin {
            send.on_fin_sent();
        }
        sent(data_sent(stream.id, &range, fin));
        Some(len)
    }

    /// Notes that a packet with `what` has arrived.
    pub fn on_ack(&mut self, what: StreamSent) {
        match what {
            StreamSent::Data {
                id,
                offset,
                len,
                fin,
            } => {
                let Some(slot) = self.table.slot(id) else {
                    return;
                };
                let delivered = self.with_send(slot, |send| {
                    send.buffer.ack(offset..offset + u64::from(len));
                    if fin {
                        send.on_fin_acked();
                    }
                    send.is_delivered()
                });
                if delivered == Some(true) {
                    self.report_finished(id);
                }
                self.reset_if_delivered(slot);
                self.settle(slot);
                self.wake_after_ack(slot);
            }
            StreamSent::Reset(id) => {
                if let Some(slot) = self.table.slot(id) {
                    self.with_send(slot, super::send::SendHalf::on_reset_acked);
                    if let Some(stream) = self.table.get(slot) {
                        stream.wants.reset = false;
                    }
                    self.settle(slot);
                }
            }
            _ => {}
        }
    }

    /// Resets a stream that was to end so once all its bytes were acknowledged.
    pub(super) fn reset_if_delivered(&mut self, slot: u32) {
        if self.with_send(slot, super::send::SendHalf::reset_if_delivered) == Some(true)
            && let Some(stream) = self.table.get(slot)
        {
            stream.wants.reset = true;
        }
    }

    /// Notes that a packet with `what` is lost: what of it still matters is sent again, credit with
    /// its newest value.
    pub fn on_loss(&mut self, what: StreamSent) {
        match what {
            StreamSent::Data {
                id,
                offset,
                len,
                fin,
            } => {
                if let Some(slot) = self.table.slot(id) {
                    self.with_send(slot, |send| {
                        send.buffer.lose(offset..offset + u64::from(len));
                        if fin {
                            send.on_fin_lost();
                        }
                    });
                    self.settle(slot);
                }
            }
            StreamSent::Reset(id)
            | StreamSent::Stop(id)
            | StreamSent::MaxStreamData(id)
            | StreamSent::StreamDataBlocked(id) => {
                if let Some(slot) = self.table.slot(id)
                    && let Some(stream) = self.table.get(slot)
                {
                    renew(stream, what);
                    self.settle(slot);
                }
            }
            //= spec/05-streams.md#credit
            //# A receiver MUST send a lost limit again with its newest value while the peer can still use
            //# it.
            StreamSent::MaxData => self.wants.max_data = true,
            StreamSent::MaxStreams(dir) => self.wants.max_streams[dir as usize] = true,
            StreamSent::DataBlocked => {
                self.wants.data_blocked |= self.send_credit.left() == 0
                    && !(self.queues.data.is_empty() && self.queues.held.is_empty());
            }
            StreamSent::StreamsBlocked(dir) => {
                self.wants.streams_blocked[dir as usize] |= self.table.local(dir).is_waiting;
            }
        }
    }
}

/// Asks for a lost control frame again if it still matters.
fn renew(stream: &mut Stream, what: StreamSent) {
    let (send, recv) = (stream.send.as_ref(), stream.recv.as_ref());
    let wants = &mut stream.wants;
    match what {
        StreamSent::Reset(_) => wants.reset |= send.is_some_and(|s| s.unacked_reset().is_some()),
        StreamSent::Stop(_) => wants.stop |= recv.is_some_and(|r| r.needed_stop().is_some()),
        StreamSent::MaxStreamData(_) => {
            wants.credit |= recv.is_some_and(super::recv::RecvHalf::wants_credit);
        }
        StreamSent::StreamDataBlocked(_) => {
            wants.blocked |= send.is_some_and(|s| s.blocked_limit().is_some());
        }
        _ => {}
    }
}

/// Writes the control frames of one stream; whether all fitted.
fn write_stream_control(
    stream: &mut Stream,
    out: &mut FrameWriter<'_>,
    sent: &mut impl FnMut(StreamSent),
) -> bool {
    let id = stream.id;
    if std::mem::take(&mut stream.wants.reset)
        && let Some((code, final_size)) = stream.send.as_ref().and_then(|s| s.unacked_reset())
    {
        let frame = ResetStream {
            id,
            code,
            final_size,
        };
        if !out.put(&Frame::ResetStream(frame)) {
            stream.wants.reset = true;
            return false;
        }
        sent(StreamSent::Reset(id));
    }
    if std::mem::take(&mut stream.wants.stop)
        && let Some(code) = stream.recv.as_ref().and_then(|r| r.needed_stop())
    {
        if !out.put(&Frame::StopSending(StopSending { id, code })) {
            stream.wants.stop = true;
            return false;
        }
        sent(StreamSent::Stop(id));
    }
    if std::mem::take(&mut stream.wants.credit)
        && let Some(recv) = stream.recv.as_ref().filter(|r| r.wants_credit())
    {
        let (limit, read) = (recv.credit.announced(), recv.credit.consumed());
        if !out.put(&Frame::MaxStreamData(MaxStreamData { id, limit, read })) {
            stream.wants.credit = true;
            return false;
        }
        sent(StreamSent::MaxStreamData(id));
    }
    if std::mem::take(&mut stream.wants.blocked)
        && let Some(limit) = stream.send.as_ref().and_then(|s| s.blocked_limit())
    {
        if !out.put(&Frame::StreamDataBlocked(StreamDataBlocked { id, limit })) {
            stream.wants.blocked = true;
            return false;
        }
        sent(StreamSent::StreamDataBlocked(id));
    }
    true
}

/// Writes the end of a stream at `end`, without bytes, if it fits.
fn write_fin(id: StreamId, end: u64, out: &mut FrameWriter<'_>) -> Option<StreamSent> {
    let head = StreamHead {
        id,
        offset: end,
        fin: true,
        len: Some(0),
    };
    if head.encoded_len() > out.remaining() {
        return None;
    }
    head.encode(out.out);
    Some(data_sent(id, &(end..end), true))
}

fn data_sent(id: StreamId, range: &Range<u64>, fin: bool) -> StreamSent {
    StreamSent::Data {
        id,
        offset: range.start,
        // A frame fits a UDP payload, so this is exact.
        len: u16::try_from(range.end - range.start).unwrap_or(u16::MAX),
        fin,
    }
}
