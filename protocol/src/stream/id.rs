//! Stream identifiers: who opened it, which way it flows, the how-many-eth it is.

use std::fmt;

use crate::units::{Dir, Side};

/// A stream of a connection. Bit 0: opened by the server; bit 1: unidirectional; the rest counts
/// from 0 (spec/05-streams.md#stream-ids).
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
