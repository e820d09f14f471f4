//! Two ends talking through packets that a test may lose, reorder and acknowledge as it likes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets of these tests are small, and bytes are made from larger numbers"
)]

mod application;
mod lossy;
mod memory;
mod pair;
mod rules;
mod shares;
