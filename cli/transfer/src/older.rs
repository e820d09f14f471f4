//! When an older file at the destination is worth a look, and how far a sender may be ahead of what it is told
//! about it (spec/20-copy.md, "Older destination"). What is told lies in `sender`, what is made of it in
//! `receiver`.

/// Bytes of chunks that a sender has told of and the receiver has not decided about, at most: at 200 ms it is more
/// than a gigabyte a second, and what is wanted of it is still in the page cache when it is sent.
pub(crate) const AHEAD: u64 = 256 << 20;

/// Smaller files are sent as they are: asking what is wanted of them would take longer.
const MIN_SIZE: u64 = 4 << 20;

/// An older file of less than this part of the new one is not looked at.
const MIN_PART: u64 = 16;

/// Whether a file of `older` bytes may hold enough of one of `size` bytes.
pub(crate) fn is_worth(older: u64, size: u64) -> bool {
    size >= MIN_SIZE && older >= size / MIN_PART
}
