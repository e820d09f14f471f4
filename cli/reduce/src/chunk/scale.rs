//! How large chunks are meant to be: small ones find more, and there are more of them to know of.

/// The smallest that is chosen: chunks of about 16 KiB. Half of it found no more on versioned data.
const SMALLEST: u8 = 14;

/// The largest: chunks of about 16 MiB.
const LARGEST: u8 = 24;

/// Chunks of this scale that a file has at most, as long as there is a scale for it.
const MAX_CHUNKS: u64 = 1 << 18;

/// The binary logarithm of what chunks have on average, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scale(u8);

impl Scale {
    /// The smallest there is.
    pub const MIN: Self = Self(SMALLEST);

    /// For so many bytes: the smallest that makes no more than 2^18 chunks of them.
    //= spec/30-reduction.md#chunks
    //# Whoever chooses a scale SHOULD choose the smallest that makes no more than 2^18 chunks of 2^scale bytes.
    pub fn for_size(size: u64) -> Self {
        let fits = |scale: &u8| size >> scale <= MAX_CHUNKS;
        Self((SMALLEST..LARGEST).find(fits).unwrap_or(LARGEST))
    }

    //= spec/30-reduction.md#chunks
    //# A scale below 14 or above 24 MUST be refused.
    /// As a peer says it; `None` if it is out of bounds.
    pub fn from_wire(scale: u8) -> Option<Self> {
        (SMALLEST..=LARGEST).contains(&scale).then_some(Self(scale))
    }

    /// As it is said to a peer.
    pub fn to_wire(self) -> u8 {
        self.0
    }

    /// Bytes of a chunk at least, but for the last one.
    pub fn min(self) -> u64 {
        1 << (self.0 - 2)
    }

    /// Bytes of a chunk at most.
    pub fn max(self) -> u64 {
        1 << (self.0 + 2)
    }

    /// Length from which on a chunk ends more easily.
    pub(super) fn normal(self) -> u64 {
        1 << self.0
    }

    /// Hashes below this end a chunk that is shorter than [`Scale::normal`].
    pub(super) fn strict(self) -> u64 {
        1 << (62 - self.0)
    }

    /// Hashes below this end a chunk that is not.
    pub(super) fn loose(self) -> u64 {
        1 << (66 - self.0)
    }
}
