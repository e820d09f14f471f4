//! What the application does with streams. Frames are written in `outgoing`.

use bytes::Bytes;

use super::{StreamEvent, Streams, share::note_unreported};
use crate::{
    error::{ReadError, WriteError},
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

impl Streams {
    /// Opens a stream; the peer learns of it with the first bytes. `None` while the peer allows no
    /// more; an `Available` event follows.
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        match self.table.open(dir, self.initial) {
            Ok(id) => {
                self.counters.opened += 1;
                Some(id)
            }
            Err(is_news) => {
                //= spec/05-streams.md#stream-limits
                //# A sender that would open a stream and may not SHOULD say so with STREAMS_BLOCKED, once
                //# per limit.
                self.wants.streams_blocked[dir as usize] |= is_news;
                None
            }
        }
    }

    /// Takes a stream the peer opened, in the order of their first frames. `None` when there is
    /// none; an `Opened` event follows.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        loop {
            let kind = self.table.remote(dir);
            let id = kind.accept.pop_front();
            kind.is_waiting = id.is_none();
            // One that was used up by its id alone is over.
            if id.is_none_or(|id| self.table.slot(id).is_some()) {
                return id;
            }
        }
    }

    /// Takes a copy of as much of `data` as there is room for; how much that was, more than 0 unless
    /// `data` is empty.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, WriteError> {
        self.write_with(id, data.len(), |len, send| {
            send.buffer.push_copy(&data[..len]);
        })
    }

    /// Takes as much from the front of `data` as there is room for, without copying.
    pub fn write_bytes(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, WriteError> {
        self.write_with(id, data.len(), |len, send| {
            send.buffer.push_shared(data.split_to(len));
        })
    }

    fn write_with(
        &mut self,
        id: StreamId,
        len: usize,
        push: impl FnOnce(usize, &mut super::send::SendHalf),
    ) -> Result<usize, WriteError> {
        let slot = self.sending(id)?;
        let space = match self.writable_slot(slot) {
            Err(WriteError::Blocked) if len == 0 => 0,
            space => space?,
        };
        let len = len.min(space);
        self.with_send(slot, |send| push(len, send));
        self.settle(slot);
        Ok(len)
    }

    /// How many bytes a write would take at present, more than 0. A stream that would take none is noted as
    /// waiting, as by a write.
    pub fn writable(&mut self, id: StreamId) -> Result<usize, WriteError> {
        let slot = self.sending(id)?;
        self.writable_slot(slot)
    }

    fn writable_slot(&mut self, slot: u32) -> Result<usize, WriteError> {
        if let Err(error) = self.check_sending(slot) {
            self.settle(slot);
            return Err(error);
        }
        match usize::try_from(self.room(slot)).unwrap_or(usize::MAX) {
            0 => {
                self.wait_to_write(slot);
                Err(WriteError::Blocked)
            }
            space => Ok(space),
        }
    }

    /// Notes that the application waits, and for what.
    fn wait_to_write(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        let Some(send) = &mut stream.send else {
            return;
        };
        send.is_waiting = true;
        let (read, untaken) = (send.read(), send.untaken());
        if send.credit() > 0 {
            let priority = stream.priority;
            if self.room_in_share(read, untaken) == 0 {
                self.hold(slot);
            } else {
                // It is the buffer that is full; ACKs will wake the writer.
                self.queues.writers.insert(slot, priority);
            }
        } else if send.note_blocked() {
            stream.wants.blocked = true;
            self.settle(slot);
        }
    }

    /// Ends the stream after the bytes written; a `Finished` event follows when the peer has it all.
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        let slot = self.sending(id)?;
        let result = self
            .with_send(slot, super::send::SendHalf::finish)
            .unwrap_or(Err(WriteError::Closed));
        if result.is_ok() {
            self.stop_waiting(slot);
        }
        self.settle(slot);
        result
    }

    /// Abandons the stream: bytes not delivered yet never will be.
    pub fn reset(&mut self, id: StreamId, code: CloseCode) -> Result<(), WriteError> {
        let slot = self.sending(id)?;
        let is_news = self
            .with_send(slot, |send| send.reset(code))
            .ok_or(WriteError::Closed)?;
        if is_news {
            self.stop_waiting(slot);
            if let Some(stream) = self.table.get(slot) {
                stream.wants.reset = true;
            }
        }
        self.settle(slot);
        self.release_held();
        self.wake_writers();
        Ok(())
    }

    /// Ends the stream with a reset once the peer has the bytes written.
    pub fn reset_after_delivery(
        &mut self,
        id: StreamId,
        code: CloseCode,
    ) -> Result<(), WriteError> {
        let slot = self.sending(id)?;
        let result = self
            .with_send(slot, |send| send.fail(code))
            .unwrap_or(Err(WriteError::Closed));
        if result.is_ok() {
            self.stop_waiting(slot);
            self.reset_if_delivered(slot);
        }
        self.settle(slot);
        result
    }

    pub(super) fn stop_waiting(&mut self, slot: u32) {
        self.queues.writers.remove(slot);
        self.queues.held.remove(slot);
        if let Some(stream) = self.table.get(slot) {
            stream.wants.blocked = false;
            if let Some(send) = &mut stream.send {
                send.is_waiting = false;
            }
        }
    }

    /// Sends the stream's bytes before those of lower priority, which wait for as long as it has
    /// any; equals share. Default 0.
    pub fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), WriteError> {
        let slot = self.sending(id)?;
        if let Some(stream) = self.table.get(slot)
            && stream.priority != priority
        {
            stream.priority = priority;
            let is_waiting = self.queues.writers.contains(slot);
            for queue in [
                &mut self.queues.repair,
                &mut self.queues.data,
                &mut self.queues.writers,
            ] {
                queue.remove(slot);
            }
            if is_waiting {
                self.queues.writers.insert(slot, priority);
            }
            self.settle(slot);
        }
        Ok(())
    }

    /// Lets no window grow beyond `bytes` from here on: the readers are slow by intent, and what they
    /// leave lying is of no use.
    pub fn limit_credit(&mut self, bytes: u64) {
        self.config.max_stream_credit = self.config.max_stream_credit.min(bytes);
        self.recv_credit.limit(bytes);
    }

    /// Bytes of one stream that have arrived and were not read.
    pub fn buffered_of(&self, id: StreamId) -> usize {
        let slot = self.table.slot(id);
        let stream = slot.and_then(|slot| self.table.peek(slot));
        let recv = stream.and_then(|stream| stream.recv.as_ref());
        recv.map_or(0, |recv| {
            usize::try_from(recv.buffered()).unwrap_or(usize::MAX)
        })
    }

    /// Up to `max` bytes in order; `None` at the end of the stream, once.
    pub fn read(&mut self, id: StreamId, max: usize) -> Result<Option<Bytes>, ReadError> {
        let slot = self.table.slot(id).ok_or(ReadError::Closed)?;
        let recv = self.table.get(slot).and_then(|s| s.recv.as_mut());
        let result = recv
            .ok_or(ReadError::Closed)?
            .read(max, &mut self.recv_credit);
        let bytes = match &result {
            Ok(Some(data)) => Some(data.len()),
            _ => None,
        };
        self.after_read(slot, bytes);
        result
    }

    /// Bytes with their offset in whatever order they came; `None` at the end of the stream, once.
    /// From the first call on, reading in order is not possible any more.
    pub fn read_block(&mut self, id: StreamId) -> Result<Option<(u64, Bytes)>, ReadError> {
        let slot = self.table.slot(id).ok_or(ReadError::Closed)?;
        let recv = self.table.get(slot).and_then(|s| s.recv.as_mut());
        let result = recv
            .ok_or(ReadError::Closed)?
            .read_block(&mut self.recv_credit);
        let bytes = match &result {
            Ok(Some((_, data))) => Some(data.len()),
            _ => None,
        };
        self.after_read(slot, bytes);
        result
    }

    //= spec/05-streams.md#credit
    //# These frames are for statistics: a receiver MUST NOT wait for one before it announces credit.
    /// Gives the peer credit for `bytes` taken; `None` when the reader met an end or found nothing.
    fn after_read(&mut self, slot: u32, bytes: Option<usize>) {
        let Some(bytes) = bytes else {
            self.settle(slot);
            return;
        };
        let bytes = bytes as u64;
        self.counters.read_bytes += bytes;
        let threshold = self.report_threshold();
        let Some(recv) = self.table.get(slot).and_then(|s| s.recv.as_ref()) else {
            return;
        };
        let (is_drained, unreported) = (!recv.is_readable(), recv.credit.unreported());
        let is_due = recv.credit.is_due() || unreported >= threshold;
        self.wants.max_data |=
            self.recv_credit.is_due() || (is_drained && self.recv_credit.is_scarce());
        if is_due {
            self.queues.unreported.remove(slot);
            self.want_report(slot);
        } else {
            let before = unreported - bytes.min(unreported);
            note_unreported(&mut self.queues.unreported, slot, before, unreported);
        }
    }

    /// Wants no more of the stream; what has come is dropped, and the peer is asked to stop.
    pub fn stop(&mut self, id: StreamId, code: CloseCode) -> Result<(), ReadError> {
        let slot = self.table.slot(id).ok_or(ReadError::Closed)?;
        let Some(stream) = self.table.get(slot) else {
            return Err(ReadError::Closed);
        };
        let recv = stream.recv.as_mut().ok_or(ReadError::Closed)?;
        let is_needed = recv.stop(code, &mut self.recv_credit)?;
        stream.wants.stop = is_needed;
        stream.wants.credit = false;
        self.wants.max_data |= self.recv_credit.is_due() || self.recv_credit.is_scarce();
        self.settle(slot);
        Ok(())
    }

    fn sending(&self, id: StreamId) -> Result<u32, WriteError> {
        self.table.slot(id).ok_or(WriteError::Closed)
    }

    fn check_sending(&mut self, slot: u32) -> Result<(), WriteError> {
        let send = self.table.get(slot).and_then(|s| s.send.as_mut());
        send.ok_or(WriteError::Closed)?.check_open()
    }

    /// Reports a stream whose every byte the peer has.
    pub(super) fn report_finished(&mut self, id: StreamId) {
        self.events.push_back(StreamEvent::Finished(id));
    }
}
