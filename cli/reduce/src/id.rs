//! What a chunk is called. Two chunks of one id may still differ where somebody wants that: an id finds bytes,
//! a digest decides.

use std::fmt;

use blake3::Hasher;

/// Bytes of an id.
pub const LENGTH: usize = 16;

//= spec/30-reduction.md#chunk-ids
//# The id of a chunk MUST be the first 16 bytes of BLAKE3 over its bytes.
/// The id of a chunk: the first 16 bytes of BLAKE3 over its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkId([u8; LENGTH]);

impl ChunkId {
    /// Of what was hashed.
    pub(crate) fn of(hasher: &Hasher) -> Self {
        let mut id = [0; LENGTH];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// Its bytes on the wire.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        self.0
    }

    /// A short key for tables that are only asked for hints.
    pub fn key(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl From<[u8; LENGTH]> for ChunkId {
    fn from(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
