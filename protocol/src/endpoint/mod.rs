//! Routing of datagrams to connections by connection id, and limits on half-open ones.

pub mod connection_id;

use std::{net::SocketAddr, time::Instant};

use crate::{
    config::{ClientConfig, EndpointConfig, ServerConfig},
    connection::{Connection, Datagram, Transmit},
    error::{ConnectError, ConnectionError},
};

/// Names a connection inside its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionHandle(pub usize);

/// A connection's word to its endpoint.
#[derive(Debug)]
pub struct EndpointEvent {}

/// An endpoint's answer to its connection.
#[derive(Debug)]
pub struct ConnectionEvent {}

/// A client's attempt to connect, not yet answered.
#[derive(Debug)]
pub struct Incoming {
    remote: SocketAddr,
}

impl Incoming {
    /// Where the attempt came from.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }
}

/// Where a datagram belongs.
#[derive(Debug)]
pub enum Routed {
    /// Nowhere.
    Dropped,
    /// To this connection.
    Connection(ConnectionHandle, Datagram),
    /// To nobody yet.
    Incoming(Incoming),
    /// Answered by the endpoint itself.
    Response(Transmit),
}

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {}

#[expect(
    clippy::needless_pass_by_ref_mut,
    missing_docs,
    reason = "a state machine's methods take it mutably"
)]
impl Endpoint {
    pub fn new(_config: EndpointConfig, _server: Option<ServerConfig>, _seed: [u8; 32]) -> Self {
        Self {}
    }

    pub fn connect(
        &mut self,
        _now: Instant,
        remote: SocketAddr,
        _config: ClientConfig,
    ) -> Result<(ConnectionHandle, Connection), ConnectError> {
        Err(ConnectError::InvalidAddress(remote))
    }

    pub fn handle_datagram(
        &mut self,
        _now: Instant,
        _datagram: Datagram,
        _out: &mut Vec<u8>,
    ) -> Routed {
        Routed::Dropped
    }

    pub fn handle_event(
        &mut self,
        _handle: ConnectionHandle,
        _event: EndpointEvent,
    ) -> Option<ConnectionEvent> {
        None
    }

    pub fn accept(
        &mut self,
        _now: Instant,
        _incoming: Incoming,
        _out: &mut Vec<u8>,
    ) -> Result<(ConnectionHandle, Connection), ConnectionError> {
        Err(ConnectionError::VersionMismatch)
    }

    pub fn refuse(&mut self, incoming: Incoming, _out: &mut Vec<u8>) -> Transmit {
        Transmit {
            path: crate::path::id::PathId::INITIAL,
            remote: incoming.remote,
            local_ip: None,
            len: 0,
            segment_size: None,
            ecn: None,
        }
    }
}
