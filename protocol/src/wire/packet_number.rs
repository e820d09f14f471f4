//! Packet numbers cut to one to four bytes, and put together again
//! (spec/01-packet.md#packet-numbers). Choosing and checking numbers belongs to the path.

#[cfg(test)]
mod tests;

use crate::units::MAX_VARINT;

/// Longest form on the wire, in bytes.
pub const MAX_LEN: usize = 4;

/// A packet number as it stands in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    bits: u32,
    len: usize,
}

impl Truncated {
    /// `number`, cut so that a receiver of everything up to `largest_acked` reads it right.
    pub fn new(number: u64, largest_acked: Option<u64>) -> Self {
        Self::with_len(number, encode_len(number, largest_acked))
    }

    /// `number` cut to `len` bytes, 1 to 4 (clamped).
    pub fn with_len(number: u64, len: usize) -> Self {
        let len = len.clamp(1, MAX_LEN);
        let mask = (1_u64 << (8 * len)) - 1;
        Self {
            bits: u32::try_from(number & mask).unwrap_or(u32::MAX),
            len,
        }
    }

    /// Bytes on the wire, 1 to 4.
    pub const fn encoded_len(self) -> usize {
        self.len
    }

    /// The low bits of the number.
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// Appends it in network order.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bits.to_be_bytes()[MAX_LEN - self.len..]);
    }
}

/// Bytes packet `number` needs when nothing above `largest_acked` is known to have arrived.
//= spec/01-packet.md#packet-numbers
//# A sender MUST use a form that covers more than twice the distance between the packet's number
//# and the largest number it knows to be acknowledged on that path.
//= spec/01-packet.md#packet-numbers
//# A sender SHOULD use at least two bytes.
pub fn encode_len(number: u64, largest_acked: Option<u64>) -> usize {
    let distance = match largest_acked {
        Some(acked) => number.saturating_sub(acked),
        None => number.saturating_add(1),
    };
    match distance {
        0..=0x7fff => 2,
        0x8000..=0x7f_ffff => 3,
        _ => 4,
    }
}

/// The number closest to `expected` (the largest received on that path plus one) whose low `len`
/// bytes are `truncated` (RFC 9000 appendix A.3).
//= spec/01-packet.md#packet-numbers
//# A receiver MUST take the number closest to one more than the largest number it has opened on
//# that path whose low bits are those received.
pub fn decode(expected: u64, truncated: u32, len: usize) -> u64 {
    let window = 1_u64 << (8 * len.clamp(1, MAX_LEN));
    let half = window / 2;
    let candidate = (expected & !(window - 1)) | (u64::from(truncated) & (window - 1));
    if candidate + half <= expected && candidate + window <= MAX_VARINT {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}
