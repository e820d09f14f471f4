//! One connection as a state machine: input by `handle_*`, output by `poll`.
//! Sockets, tasks and clocks live elsewhere.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use crate::{
    crypto::identity::PublicKey,
    endpoint::{ConnectionEvent, EndpointEvent},
    error::{ConnectionError, ReadError, SendDatagramError, WriteError},
    path::id::PathId,
    stream::id::StreamId,
    units::{Bandwidth, CloseCode, Dir, EcnCodepoint},
};

/// One UDP payload from the network.
#[derive(Debug)]
pub struct Datagram {
    /// Who sent it.
    pub remote: SocketAddr,
    /// The local address it came to.
    pub local_ip: Option<IpAddr>,
    /// The ECN bits it came with.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub payload: BytesMut,
}

/// Describes bytes in the buffer passed to `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The path they belong to.
    pub path: PathId,
    /// Where they go.
    pub remote: SocketAddr,
    /// The local address to send from.
    pub local_ip: Option<IpAddr>,
    /// How many bytes, from the buffer's start.
    pub len: usize,
    /// Size of all packets but the last; `None` for a single packet.
    pub segment_size: Option<usize>,
    /// ECN bits to send with.
    pub ecn: Option<EcnCodepoint>,
}

/// News of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer opened streams of this kind.
    Opened(Dir),
    /// We may open streams of this kind.
    Available(Dir),
    /// There is something to read.
    Readable(StreamId),
    /// There is room to write.
    Writable(StreamId),
    /// Everything was acknowledged.
    Finished(StreamId),
    /// The peer wants no more.
    Stopped {
        /// The stream.
        id: StreamId,
        /// The peer's reason.
        code: CloseCode,
    },
}

/// News of a connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// News of streams.
    Stream(StreamEvent),
    /// A datagram waits.
    DatagramReceived,
    /// Datagrams may be sent again.
    DatagramsUnblocked,
    /// The connection is over.
    Closed(ConnectionError),
}

/// What a connection wants next.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Tell the application.
    Event(Event),
    /// Tell the endpoint.
    Endpoint(EndpointEvent),
    /// Nothing until then, or until input.
    Wait(Option<Instant>),
}

/// Counters of a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    remote: SocketAddr,
}

#[expect(
    clippy::needless_pass_by_ref_mut,
    missing_docs,
    reason = "a state machine's methods take it mutably"
)]
impl Connection {
    pub fn handle_datagram(&mut self, _now: Instant, _datagram: Datagram) {}

    pub fn handle_timeout(&mut self, _now: Instant) {}

    pub fn handle_event(&mut self, _event: ConnectionEvent) {}

    pub fn poll(&mut self, _now: Instant, _out: &mut Vec<u8>) -> Output {
        Output::Wait(None)
    }

    pub fn open(&mut self, _dir: Dir) -> Option<StreamId> {
        None
    }

    pub fn accept(&mut self, _dir: Dir) -> Option<StreamId> {
        None
    }

    pub fn write(&mut self, _id: StreamId, _data: &[u8]) -> Result<usize, WriteError> {
        Err(WriteError::Closed)
    }

    pub fn write_bytes(&mut self, _id: StreamId, _data: &mut Bytes) -> Result<usize, WriteError> {
        Err(WriteError::Closed)
    }

    pub fn finish(&mut self, _id: StreamId) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }

    pub fn reset(&mut self, _id: StreamId, _code: CloseCode) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }

    pub fn stop(&mut self, _id: StreamId, _code: CloseCode) -> Result<(), ReadError> {
        Err(ReadError::Closed)
    }

    pub fn set_priority(&mut self, _id: StreamId, _priority: i32) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }

    pub fn read(&mut self, _id: StreamId, _max: usize) -> Result<Option<Bytes>, ReadError> {
        Err(ReadError::Closed)
    }

    pub fn read_block(&mut self, _id: StreamId) -> Result<Option<(u64, Bytes)>, ReadError> {
        Err(ReadError::Closed)
    }

    pub fn send_datagram(&mut self, _data: Bytes) -> Result<(), SendDatagramError> {
        Err(SendDatagramError::Unsupported)
    }

    pub fn read_datagram(&mut self) -> Option<Bytes> {
        None
    }

    pub fn close(&mut self, _now: Instant, _code: CloseCode, _reason: Bytes) {}

    pub fn peer(&self) -> Option<PublicKey> {
        None
    }

    pub fn service(&self) -> Option<&str> {
        None
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    pub fn set_ceiling(&mut self, _ceiling: Option<Bandwidth>) {}

    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    pub fn is_drained(&self) -> bool {
        true
    }
}
