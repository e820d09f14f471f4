use std::collections::HashSet;

use proptest::{collection, prelude::*};

use super::*;

/// Bytes that look like no others, by seed.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = Hasher::new();
    hasher
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn cut(bytes: &[u8]) -> Vec<Chunk> {
    let mut chunker = Chunker::new(Scale::MIN);
    let mut chunks = Vec::new();
    chunker.push(bytes, &mut chunks);
    chunks.extend(chunker.finish());
    chunks
}

fn ids(bytes: &[u8]) -> HashSet<ChunkId> {
    cut(bytes).iter().map(|chunk| chunk.id).collect()
}

/// Bytes of `new` whose chunks are not among those of `old`.
fn unknown(old: &[u8], new: &[u8]) -> u64 {
    let known = ids(old);
    let unknown = |chunk: &&Chunk| !known.contains(&chunk.id);
    cut(new)
        .iter()
        .filter(unknown)
        .map(|chunk| chunk.length)
        .sum()
}

/// Content as proptest makes it up: noise, with runs of one byte in it.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = (any::<u8>(), any::<bool>(), 0..200_000_usize);
    collection::vec(piece, 0..6).prop_map(|pieces| {
        let piece = |(byte, is_noise, length): &(u8, bool, usize)| match is_noise {
            true => noise(&byte.to_string(), *length),
            false => vec![*byte; *length],
        };
        pieces.iter().flat_map(piece).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunks_are_the_bytes_one_after_the_other_and_within_bounds(bytes in content()) {
        //= spec/30-reduction.md#chunks
        //= type=test
        //# A chunk MUST end at the first length that is at least 2^(s-2) and at which its hash is below 2^(62-s), or,
        //# from a length of 2^s on, below 2^(66-s), and at a length of 2^(s+2) whatever its hash.
        let chunks = cut(&bytes);
        let mut at = 0;
        for (index, chunk) in chunks.iter().enumerate() {
            let end = at + usize::try_from(chunk.length).unwrap();
            let hash = blake3::hash(&bytes[at..end]);
            prop_assert_eq!(&chunk.id.to_bytes()[..], &hash.as_bytes()[..16]);
            prop_assert!(chunk.length <= Scale::MIN.max());
            prop_assert!(chunk.length >= Scale::MIN.min() || index + 1 == chunks.len());
            at = end;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn pieces_of_any_length_give_the_same_chunks(bytes in content(), piece in 1..70_000_usize) {
        let mut chunker = Chunker::new(Scale::MIN);
        let mut chunks = Vec::new();
        bytes.chunks(piece).for_each(|piece| chunker.push(piece, &mut chunks));
        chunks.extend(chunker.finish());
        prop_assert_eq!(chunks, cut(&bytes));
    }

    #[test]
    fn what_is_put_in_changes_the_chunks_around_it_alone(
        at in 0..2_000_000_usize,
        put_in in 1..3_000_usize,
    ) {
        let old = noise("old", 2_000_000);
        let mut new = old.clone();
        new.splice(at..at, noise("new", put_in));
        prop_assert!(unknown(&old, &new) <= put_in as u64 + 4 * Scale::MIN.max());
    }
}

#[test]
fn chunks_of_noise_have_about_the_length_that_their_scale_says() {
    let size = 32 << 20;
    let chunks = cut(&noise("any", size)).len();
    let average = size / chunks;
    assert!((15_000..22_000).contains(&average), "{average}");
}

#[test]
fn bytes_that_are_all_the_same_are_cut_at_the_longest() {
    let chunks = cut(&vec![0; 1 << 20]);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.length == Scale::MIN.max() || chunk.length == Scale::MIN.min())
    );
}

#[test]
fn larger_files_have_larger_chunks_and_not_more_of_them() {
    //= spec/30-reduction.md#chunks
    //= type=test
    //# Whoever chooses a scale SHOULD choose the smallest that makes no more than 2^18 chunks of 2^scale bytes.
    assert_eq!(Scale::for_size(0).to_wire(), 14);
    assert_eq!(Scale::for_size(4 << 30).to_wire(), 14);
    assert_eq!(Scale::for_size(50 << 30).to_wire(), 18);
    assert_eq!(Scale::for_size(u64::MAX).to_wire(), 24);
}

#[test]
fn a_scale_out_of_bounds_is_none() {
    //= spec/30-reduction.md#chunks
    //= type=test
    //# A scale below 14 or above 24 MUST be refused.
    let taken: Vec<u8> = (0..=u8::MAX)
        .filter(|&scale| Scale::from_wire(scale).is_some())
        .collect();
    assert_eq!(taken, (14..=24).collect::<Vec<_>>());
}
