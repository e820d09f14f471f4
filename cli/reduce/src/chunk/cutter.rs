//! Where chunks end: FastCDC's rule (Xia et al., USENIX ATC 2016) with a hash of the last 64 bytes. Every byte
//! costs a shift, an addition and a comparison, and the first quarter of a chunk nothing.

use super::{
    Scale,
    gear::{GEAR, Gear},
};

/// Bytes that a hash is of: older ones are shifted out of it.
const WINDOW: u64 = 64;

/// Finds the ends of chunks in a stream of bytes, however it comes in pieces.
#[derive(Clone, Debug)]
pub(super) struct Cutter {
    scale: Scale,
    gear: &'static Gear,
    /// Bytes of the chunk so far.
    length: u64,
    /// Of the last [`WINDOW`] bytes.
    hash: u64,
}

/// A chunk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// How many of the bytes that were handed in belong to it.
    pub(super) bytes: usize,
    /// Its length.
    pub(super) length: u64,
}

impl Cutter {
    /// For chunks of this scale.
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            scale,
            gear: &GEAR,
            length: 0,
            hash: 0,
        }
    }

    //= spec/30-reduction.md#chunks
    //# A chunk MUST end at the first length that is at least 2^(s-2) and at which its hash is below 2^(62-s), or,
    //# from a length of 2^s on, below 2^(66-s), and at a length of 2^(s+2) whatever its hash.
    /// Takes the next bytes up to where the chunk ends; `None` when it goes on behind them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<End> {
        let scale = self.scale;
        let parts = [
            // Up to here nothing is looked at, and then nothing ends.
            (scale.min() - WINDOW, None),
            (scale.min() - 1, Some(0)),
            (scale.normal() - 1, Some(scale.strict())),
            (scale.max(), Some(scale.loose())),
        ];
        let mut taken = 0;
        for (end, threshold) in parts {
            let space = usize::try_from(end.saturating_sub(self.length)).unwrap_or(usize::MAX);
            let rest = bytes.get(taken..).unwrap_or_default();
            let piece = &rest[..space.min(rest.len())];
            let found = threshold.and_then(|below| self.roll(piece, below));
            let rolled = found.unwrap_or(piece.len());
            taken += rolled;
            self.length += rolled as u64;
            if found.is_some() || self.length == scale.max() {
                return Some(End {
                    bytes: taken,
                    length: self.finish(),
                });
            }
        }
        None
    }

    /// Ends the stream; gives the length of what is left.
    pub(super) fn finish(&mut self) -> u64 {
        self.hash = 0;
        std::mem::take(&mut self.length)
    }

    /// Hashes on up to the first hash below the threshold; says how many bytes that took.
    fn roll(&mut self, piece: &[u8], threshold: u64) -> Option<usize> {
        let mut hash = self.hash;
        let end = piece.iter().position(|&byte| {
            hash = (hash << 1).wrapping_add(self.gear[usize::from(byte)]);
            hash < threshold
        });
        self.hash = hash;
        end.map(|end| end + 1)
    }
}
