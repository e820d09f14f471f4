//! What goes in and out of a connection: datagrams, transmits, events.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::BytesMut;

use crate::{
    error::ConnectionError,
    stream::StreamEvent,
    units::EcnCodepoint,
    wire::id::{ConnectionId, PathId},
};

/// One UDP payload from the network.
#[derive(Debug)]
pub struct Datagram {
    /// Who sent it.
    pub remote: SocketAddr,
    /// The local address it came to, where the socket tells.
    pub local_ip: Option<IpAddr>,
    /// The ECN bits it came with.
    pub ecn: Option<EcnCodepoint>,
    /// When it arrived, as exactly as the system tells; the time of the call if it does not.
    pub received_at: Instant,
    /// Its bytes; packets are opened in place and handed on as slices.
    pub payload: BytesMut,
}

/// Describes bytes in the buffer passed to `poll`: one datagram, or a GSO batch of equal ones.
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
    /// Size of all datagrams but the last; `None` for a single one.
    pub segment_size: Option<usize>,
    /// ECN bits to send with.
    pub ecn: Option<EcnCodepoint>,
}

/// News for the application.
#[derive(Clone, Debug)]
pub enum Event {
    /// The handshake is complete: peer and service are known, streams may be opened.
    Connected,
    /// The handshake is confirmed: the peer has let us in.
    Confirmed,
    /// News of streams.
    Stream(StreamEvent),
    /// A datagram waits to be read.
    DatagramReceived,
    /// Datagrams may be sent again after a `Blocked`.
    DatagramsUnblocked,
    /// The connection is over; nothing follows.
    Closed(ConnectionError),
}

/// News for the endpoint, which routes by connection id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointEvent {
    /// Packets with this id are for this connection.
    AddId(ConnectionId),
    /// Packets with this id are nobody's.
    RetireId(ConnectionId),
    /// A stray datagram that ends with these bytes is the peer's stateless reset for this connection.
    ExpectReset([u8; 16]),
    /// It no longer is.
    ForgetReset([u8; 16]),
    /// The handshake is over; the connection no longer counts as half-open.
    Established,
    /// Forget the connection.
    Drained,
}

/// What a connection wants next. After any input, drain outputs until `Wait`.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes of the buffer.
    Transmit(Transmit),
    /// Tell the application.
    Event(Event),
    /// Tell the endpoint.
    Endpoint(EndpointEvent),
    /// Nothing until then, or until input.
    Wait(Option<Instant>),
}
