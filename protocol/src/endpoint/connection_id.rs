//! Connection ids: eight opaque bytes that route a datagram to its connection and path.

use std::fmt;

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
