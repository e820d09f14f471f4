//! Variable-length integers of 1, 2, 4 or 8 bytes (spec/01-packet.md#variable-length-integers).
//! Reading them is part of [`Reader`](super::Reader).

#[cfg(test)]
mod tests;

use crate::units::MAX_VARINT;

/// Bytes `value` takes in its shortest form.
//= spec/01-packet.md#variable-length-integers
//# A variable-length integer MUST NOT exceed 2^62 - 1.
pub const fn len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends `value` in its shortest form.
///
/// `value` must be at most 2^62 - 1: every value that reaches the wire comes from a type or a
/// decoder that has checked this. A larger one is written as 2^62 - 1.
//= spec/01-packet.md#variable-length-integers
//# A sender SHOULD use the shortest.
#[inline]
pub fn put(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX_VARINT, "{value} does not fit a varint");
    let value = value.min(MAX_VARINT);
    let bytes = value.to_be_bytes();
    let len = len(value);
    let at = out.len();
    out.extend_from_slice(&bytes[8 - len..]);
    // The two high bits of the first byte hold log2 of the length.
    out[at] |= match len {
        1 => 0x00,
        2 => 0x40,
        4 => 0x80,
        _ => 0xc0,
    };
}
