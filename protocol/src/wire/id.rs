//! The names that frames and headers carry: of connections, paths and streams.

use std::fmt;

use crate::units::{Dir, Side};

/// What a datagram is routed by. Always eight bytes in RPP/1, so that a header needs no length and
/// a receiver needs no state to find it (spec/01-packet.md#connection-ids).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId([u8; Self::LEN]);

impl ConnectionId {
    /// Length on the wire.
    pub const LEN: usize = 8;

    /// The id made of these bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

/// Names one path of a connection, from 0; never reused. Also the nonce's path part (spec/07-paths.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

impl PathId {
    /// The path the handshake went over.
    pub const INITIAL: Self = Self(0);
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream of a connection. Bit 0: opened by the server; bit 1: unidirectional; the rest counts
/// from 0 (spec/05-streams.md#stream-ids).
///
/// ```
/// use rp_protocol::{
///     units::{Dir, Side},
///     wire::id::StreamId,
/// };
///
/// let third = StreamId::new(Side::Server, Dir::Uni, 2);
/// assert_eq!(third.into_inner(), 0b1011);
/// assert_eq!(third.to_string(), "server uni stream 2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The `index`-th stream of that kind; `index` must be below 2^60.
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        Self((index << 2) | ((dir as u64) << 1) | initiator as u64)
    }

    /// Who opened it.
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Which way it flows.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// Its position among the streams of its kind.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }

    /// The number as it stands on the wire.
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initiator = match self.initiator() {
            Side::Client => "client",
            Side::Server => "server",
        };
        let dir = match self.dir() {
            Dir::Bi => "bi",
            Dir::Uni => "uni",
        };
        write!(f, "{initiator} {dir} stream {}", self.index())
    }
}
