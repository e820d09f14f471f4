//! A cursor over received bytes whose every step is checked.
//! What the bytes mean is decided by its callers.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// Bytes that do not parse, and what they were taken for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed {what}")]
pub struct DecodeError {
    /// The field or rule that failed; a constant.
    pub what: &'static str,
}

impl DecodeError {
    /// A failure to decode `what`.
    pub const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

const SHORT: DecodeError = DecodeError::new("length: the data ends early");

/// Takes values off the front of a slice; never reads past its end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, network order.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, network order.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, network order.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable-length integer, in whichever of the four forms.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        //= spec/01-packet.md#variable-length-integers
        //# A receiver MUST accept a value in any of the four lengths that hold it.
        let first = self.peek().ok_or(SHORT)?;
        Ok(match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(self.u16()? & 0x3fff),
            2 => u64::from(self.u32()? & 0x3fff_ffff),
            _ => self.u64()? & 0x3fff_ffff_ffff_ffff,
        })
    }

    /// `N` bytes by value.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*array)
    }

    /// `len` bytes in place. `len` may come straight from the wire.
    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| SHORT)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
