//! A number for each value of a byte, the same for everybody who cuts.

use std::sync::LazyLock;

/// What the numbers are made from.
const SENTENCE: &[u8] = b"Rapidpath cuts where the content says.";

/// One number for each value of a byte.
pub(super) type Gear = [u64; 256];

//= spec/30-reduction.md#chunks
//# The number of each value of a byte MUST be taken from the output of BLAKE3 over the sentence `Rapidpath cuts
//# where the content says.`, 8 big-endian bytes each, from value 0 to 255.
/// The numbers.
pub(super) static GEAR: LazyLock<Gear> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    let mut output = hasher.update(SENTENCE).finalize_xof();
    std::array::from_fn(|_| {
        let mut number = [0; 8];
        output.fill(&mut number);
        u64::from_be_bytes(number)
    })
});
