//! Streams and datagrams as the application uses them. All but the connection's own end is decided in
//! `stream` and `datagrams.rs`.

use bytes::Bytes;

use super::{Connection, datagrams, packet_builder};
use crate::{
    error::{ConnectionError, ReadError, SendDatagramError, WriteError},
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

impl Connection {
    fn lost(&self) -> Result<(), ConnectionError> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Open a stream; `None` while the peer's limit is reached (an `Available` event follows) or
    /// the connection is over.
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        if self.state.is_open() {
            self.streams.open(dir)
        } else {
            None
        }
    }

    /// The next stream the peer opened.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.streams.accept(dir)
    }

    /// Queue bytes of `data`; says how many were taken.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] if none could be; a `Writable` event follows.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, WriteError> {
        self.lost()?;
        self.streams.write(id, data)
    }

    /// Like [`write`](Self::write) without a copy: what was taken is split off `data`.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_bytes(&mut self, id: StreamId, data: &mut Bytes) -> Result<usize, WriteError> {
        self.lost()?;
        self.streams.write_bytes(id, data)
    }

    /// How many bytes [`write`](Self::write) would take at present, at least one.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn writable(&mut self, id: StreamId) -> Result<usize, WriteError> {
        self.lost()?;
        self.streams.writable(id)
    }

    /// No more data follows.
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::Stopped`] if the stream is past that.
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        self.lost()?;
        self.streams.finish(id)
    }

    /// Abandon the sending half.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if it is over already.
    pub fn reset(&mut self, id: StreamId, code: CloseCode) -> Result<(), WriteError> {
        self.lost()?;
        self.streams.reset(id, code)
    }

    /// Abandon the sending half once the peer has what was written.
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::Stopped`] if the stream is past that.
    pub fn reset_after_delivery(
        &mut self,
        id: StreamId,
        code: CloseCode,
    ) -> Result<(), WriteError> {
        self.lost()?;
        self.streams.reset_after_delivery(id, code)
    }

    /// Tell the peer that nobody reads this stream any more.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if it is over already.
    pub fn stop(&mut self, id: StreamId, code: CloseCode) -> Result<(), ReadError> {
        self.lost()?;
        self.streams.stop(id, code)
    }

    /// Streams of higher priority are served first; equal ones share. Default 0.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if the stream is over.
    pub fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), WriteError> {
        self.streams.set_priority(id, priority)
    }

    /// Let the peer be no more than `bytes` ahead of the readers from here on, beyond what it was told.
    pub fn limit_credit(&mut self, bytes: u64) {
        self.streams.limit_credit(bytes);
    }

    /// Bytes of a stream that have arrived and were not read.
    pub fn buffered(&self, id: StreamId) -> usize {
        self.streams.buffered_of(id)
    }

    /// Up to `max` bytes in order; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError::Blocked`] if nothing is there yet; a `Readable` event follows.
    pub fn read(&mut self, id: StreamId, max: usize) -> Result<Option<Bytes>, ReadError> {
        match self.streams.read(id, max) {
            Err(ReadError::Blocked) => {
                self.lost()?;
                Err(ReadError::Blocked)
            }
            other => other,
        }
    }

    /// The next block that arrived, in any order, with its offset; `None` at the end.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_block(&mut self, id: StreamId) -> Result<Option<(u64, Bytes)>, ReadError> {
        match self.streams.read_block(id) {
            Err(ReadError::Blocked) => {
                self.lost()?;
                Err(ReadError::Blocked)
            }
            other => other,
        }
    }

    /// Queue an unreliable datagram.
    ///
    /// # Errors
    /// See [`SendDatagramError`].
    pub fn send_datagram(&mut self, data: Bytes) -> Result<(), SendDatagramError> {
        self.lost()?;
        let path = self.paths.active();
        let room = packet_builder::data_room(path.packet_size());
        let queue = path.bytes_in(datagrams::QUEUE_TIME);
        self.datagrams
            .send(data, room.saturating_sub(datagrams::OVERHEAD), queue)
    }

    /// The oldest unread datagram.
    pub fn read_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.read()
    }
}
