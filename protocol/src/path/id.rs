//! The name of a path inside its connection.

use std::fmt;

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
