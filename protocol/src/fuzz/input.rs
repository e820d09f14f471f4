//! Choices taken from fuzz input. An input that ends early chooses zeros.

use crate::wire::Reader;

/// A source of choices.
pub(super) struct Input<'a> {
    reader: Reader<'a>,
}

impl<'a> Input<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(data),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.reader.u8().unwrap_or(0)
    }

    pub(super) fn u16(&mut self) -> u16 {
        self.reader.u16().unwrap_or(0)
    }

    pub(super) fn u64(&mut self) -> u64 {
        self.reader.u64().unwrap_or(0)
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u16()).checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.reader.array().unwrap_or([0; N])
    }

    /// Up to `max` bytes.
    pub(super) fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.reader.remaining());
        self.reader.bytes(len as u64).unwrap_or(&[])
    }
}
