//! Whatever the order of its blocks, a file has one digest.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Bytes that differ from place to place, so that a block in the wrong place shows.
fn content(size: usize) -> Vec<u8> {
    let mut reader = Hasher::new().update(b"content").finalize_xof();
    let mut bytes = vec![0; size];
    reader.fill(&mut bytes);
    bytes
}

/// The digest of `file` given block by block, reading back from `file` itself.
fn digest_of(file: &[u8], blocks: impl IntoIterator<Item = (usize, usize)>) -> Option<[u8; 32]> {
    let mut read_back = |offset: u64, buffer: &mut [u8]| {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&file[start..start + buffer.len()]);
        Ok(())
    };
    let mut digest = BlockDigest::new();
    for (start, end) in blocks {
        let block = &file[start..end];
        digest.insert(start as u64, block, &mut read_back).unwrap();
    }
    digest.finish(file.len() as u64, &mut read_back).unwrap()
}

/// Cuts `size` bytes into blocks of `block` bytes and puts them into an order decided by `seed`.
fn shuffled(size: usize, block: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut blocks: Vec<_> = (0..size)
        .step_by(block)
        .map(|start| (start, size.min(start + block)))
        .collect();
    blocks.sort_by_key(|(start, _)| {
        let key = [seed, *start as u64].map(u64::to_le_bytes).concat();
        *blake3::hash(&key).as_bytes()
    });
    blocks
}

const MIB: usize = 1 << 20;

#[test]
fn every_size_around_the_edges_equals_plain_blake3() {
    let edges = [
        0,
        1,
        1023,
        1024,
        1025,
        MIB - 1,
        MIB,
        MIB + 1,
        2 * MIB,
        2 * MIB + 1,
        3 * MIB,
        3 * MIB + 5,
        4 * MIB,
        5 * MIB - 1,
        7 * MIB + 1024,
        8 * MIB,
    ];
    let file = content(8 * MIB);
    for size in edges {
        let file = &file[..size];
        let expected = Some(*blake3::hash(file).as_bytes());
        let in_order = (0..size)
            .step_by(300_000)
            .map(|start| (start, size.min(start + 300_000)));
        assert_eq!(digest_of(file, in_order), expected, "in order, {size}");
        let backwards = shuffled(size, 100_000, 7);
        assert_eq!(digest_of(file, backwards), expected, "shuffled, {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shuffled_blocks_equal_plain_blake3(
        size in 0..6 * MIB,
        block in 20_000..2 * MIB,
        seed: u64,
    ) {
        let file = content(size);
        let expected = *blake3::hash(&file).as_bytes();
        prop_assert_eq!(digest_of(&file, shuffled(size, block, seed)), Some(expected));
    }

    #[test]
    fn overlapping_blocks_change_nothing(
        size in 1..3 * MIB,
        extra in vec((any::<prop::sample::Index>(), 1..MIB), 0..12),
        seed: u64,
    ) {
        let file = content(size);
        let mut blocks = shuffled(size, 170_000, seed);
        for (at, length) in extra {
            let start = at.index(size);
            blocks.insert(start % (blocks.len() + 1), (start, size.min(start + length)));
        }
        let expected = *blake3::hash(&file).as_bytes();
        prop_assert_eq!(digest_of(&file, blocks), Some(expected));
    }

    #[test]
    fn a_missing_block_gives_no_digest(
        size in 1..4 * MIB,
        block in 50_000..MIB,
        seed: u64,
    ) {
        let file = content(size);
        let mut blocks = shuffled(size, block, seed);
        blocks.pop();
        prop_assert_eq!(digest_of(&file, blocks), None);
    }
}

#[test]
fn bytes_beyond_the_end_give_no_digest() {
    let file = content(2 * MIB);
    let mut none = |_: u64, _: &mut [u8]| Err(io::ErrorKind::UnexpectedEof.into());
    let mut digest = BlockDigest::new();
    digest.insert(0, &file[..MIB], &mut none).unwrap();
    digest.insert(5 << 20, &file[..100], &mut none).unwrap();
    assert_eq!(digest.covered(), MIB as u64 + 100);
    let size = digest.covered();
    assert_eq!(digest.finish(size, &mut none).unwrap(), None);
}

#[test]
fn what_is_kept_does_not_grow_with_the_file() {
    let group = content(MIB);
    let mut none = |_: u64, _: &mut [u8]| Err(io::ErrorKind::UnexpectedEof.into());
    let mut digest = BlockDigest::new();
    for index in 0..100 {
        digest.insert(index * GROUP, &group, &mut none).unwrap();
        assert!(digest.open.is_empty());
        assert!(digest.whole.len() <= 16, "{digest:?}");
    }
}

#[test]
fn a_failed_read_back_is_reported() {
    let file = content(MIB);
    let mut broken = |_: u64, _: &mut [u8]| Err(io::ErrorKind::TimedOut.into());
    let mut digest = BlockDigest::new();
    digest.insert(1000, &file[1000..], &mut broken).unwrap();
    let error = digest.insert(0, &file[..1000], &mut broken).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn an_absurd_offset_is_refused() {
    let mut none = |_: u64, _: &mut [u8]| Ok(());
    let mut digest = BlockDigest::new();
    for offset in [u64::MAX, 1 << 63] {
        let error = digest.insert(offset, b"x", &mut none).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
