//! A client's attempt to connect, before the application has said yes or no.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::ConnectionHandle;
use crate::{connection::Datagram, wire::id::ConnectionId};

/// Datagrams kept for an attempt that waits: a hybrid first flight has two, repeated once.
const MAX_WAITING: usize = 4;

/// A client's attempt to connect. Answer it with [`Endpoint::accept`](super::Endpoint::accept) or
/// [`Endpoint::refuse`](super::Endpoint::refuse).
#[derive(Debug)]
pub struct Incoming {
    pub(super) key: Key,
    /// Its place among the half-open ones.
    pub(super) place: u64,
    pub(super) validated: bool,
    /// The id before a Retry, which the client's parameters refer to.
    pub(super) original_id: ConnectionId,
    pub(super) client_id: ConnectionId,
    pub(super) local_ip: Option<IpAddr>,
}

impl Incoming {
    /// Where the attempt comes from.
    pub fn remote_address(&self) -> SocketAddr {
        self.key.remote
    }

    /// Whether the client has proven that it is there.
    pub fn is_validated(&self) -> bool {
        self.validated
    }
}

/// What tells attempts apart: an id that a client chose means nothing without the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) remote: SocketAddr,
    pub(super) id: ConnectionId,
}

/// What a client's first packet says before anything in it is believed.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) key: Key,
    pub(super) client_id: ConnectionId,
    pub(super) token: Bytes,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The application has not answered; what came so far.
    Waiting(Vec<Datagram>),
    /// It is a connection.
    Accepted(ConnectionHandle),
}

impl Attempt {
    /// Keep a datagram for later, if there is room.
    pub(super) fn keep(waiting: &mut Vec<Datagram>, datagram: Datagram) {
        if waiting.len() < MAX_WAITING {
            waiting.push(datagram);
        }
    }
}
