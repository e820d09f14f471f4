//! The assembler against a naive one that keeps a byte array and a bit per byte.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets of these tests are small, and bytes are made from larger numbers"
)]

use proptest::prelude::*;

use super::*;
use crate::testing::proptest_config;

/// Size of the datagram every piece of these tests is a slice of, unless it says otherwise.
const DATAGRAM: usize = 1500;

fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(range: Range<u64>) -> Bytes {
    range.map(byte_at).collect()
}

fn insert(assembler: &mut Assembler, range: Range<u64>) {
    assembler
        .insert(range.start, bytes(range), DATAGRAM)
        .unwrap();
}

fn read_all(assembler: &mut Assembler) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(data) = assembler.read(usize::MAX).unwrap() {
        out.extend_from_slice(&data);
    }
    out
}

/// Checks what the assembler says of itself against what it holds.
fn check(assembler: &Assembler) {
    let parts = || {
        let islands = assembler.islands.values().flat_map(|i| &i.parts);
        assembler.ready.iter().chain(islands)
    };
    assert_eq!(assembler.buffered, parts().map(Fragment::len).sum::<u64>());
    assert_eq!(assembler.pinned, parts().map(Fragment::pinned).sum::<u64>());
    let mut before = assembler.contiguous;
    for (&start, island) in &assembler.islands {
        assert!(start > before, "islands touch");
        let mut at = start;
        for part in &island.parts {
            assert_eq!(part.offset(), at);
            at = part.end();
        }
        assert_eq!(at, island.end);
        before = at;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { offset: u64, len: u64 },
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..4000, 0_u64..700).prop_map(|(offset, len)| Step::Insert { offset, len }),
        1 => (1_usize..2000).prop_map(Step::Read),
    ]
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn ordered_reading_equals_the_naive_assembler(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut assembler = Assembler::new();
        let mut has = vec![false; 5000];
        let mut read = 0_u64;
        for step in steps {
            match step {
                Step::Insert { offset, len } => {
                    insert(&mut assembler, offset..offset + len);
                    has[offset as usize..(offset + len) as usize].fill(true);
                }
                Step::Read(max) => {
                    if let Some(data) = assembler.read(max).unwrap() {
                        prop_assert!(data.len() <= max);
                        prop_assert_eq!(&data, &bytes(read..read + data.len() as u64));
                        read += data.len() as u64;
                    } else {
                        prop_assert!(!has[read as usize]);
                    }
                }
            }
            check(&assembler);
            prop_assert_eq!(assembler.is_readable(), has[read as usize]);
            let unread = has[read as usize..].iter().filter(|&&h| h).count();
            prop_assert_eq!(assembler.buffered(), unread as u64);
        }
        insert(&mut assembler, 0..5000);
        prop_assert_eq!(read_all(&mut assembler), bytes(read..5000).to_vec());
        prop_assert!(assembler.has_all(5000));
        prop_assert_eq!((assembler.buffered(), assembler.pinned()), (0, 0));
    }

    #[test]
    fn blocks_give_every_byte_once_whenever_order_is_given_up(
        steps in prop::collection::vec(step(), 1..200),
        ordered in 0_usize..100,
    ) {
        let mut assembler = Assembler::new();
        let mut has = vec![false; 5000];
        let mut got = vec![false; 5000];
        let mut next = 0;
        for (index, step) in steps.into_iter().enumerate() {
            let taken = match step {
                Step::Insert { offset, len } => {
                    insert(&mut assembler, offset..offset + len);
                    has[offset as usize..(offset + len) as usize].fill(true);
                    None
                }
                Step::Read(max) if index < ordered => {
                    assembler.read(max).unwrap().map(|data| (next, data))
                }
                Step::Read(_) => {
                    let taken = assembler.read_block();
                    prop_assert_eq!(taken.is_none(), has == got);
                    taken
                }
            };
            check(&assembler);
            if let Some((offset, data)) = taken {
                prop_assert_eq!(&data, &bytes(offset..offset + data.len() as u64));
                for byte in &mut got[offset as usize..offset as usize + data.len()] {
                    prop_assert!(!std::mem::replace(byte, true), "given twice");
                }
                next = offset + data.len() as u64;
            }
        }
    }
}

#[test]
fn bytes_in_order_are_handed_on_as_they_came() {
    let mut assembler = Assembler::new();
    let data = bytes(0..1200);
    assembler.insert(0, data.clone(), DATAGRAM).unwrap();
    let read = assembler.read(usize::MAX).unwrap().unwrap();
    assert_eq!(read.as_ptr(), data.as_ptr());
    assert!(assembler.islands.is_empty());
}

#[test]
fn order_is_gone_after_the_first_block() {
    let mut assembler = Assembler::new();
    insert(&mut assembler, 100..200);
    assert_eq!(assembler.read_block(), Some((100, bytes(100..200))));
    assert_eq!(assembler.read(10), Err(OrderIsGone));
    insert(&mut assembler, 0..150);
    assert_eq!(assembler.read_block(), Some((0, bytes(0..100))));
    assert_eq!(assembler.read_block(), None);
    assert!(assembler.has_all(200));
}

//= spec/05-streams.md#receiving
//= type=test
//# A receiver SHOULD NOT keep more than twice the memory of the bytes it holds for long: a small slice
//# must not keep a large buffer.
/// Slices of 300 bytes, each of another 9000-byte datagram, every other one missing.
#[test]
fn small_slices_do_not_keep_large_datagrams_alive() {
    let mut assembler = Assembler::new();
    for index in 0..1000_u64 {
        let offset = index * 600 + 300;
        let data = bytes(offset..offset + 300);
        assembler.insert(offset, data, 9000).unwrap();
        check(&assembler);
        let limit = 2 * assembler.buffered() + COMPACT_SLACK_BYTES;
        assert!(assembler.pinned() <= limit, "datagram {index}");
    }
}

#[test]
fn single_bytes_beyond_a_hole_cost_little() {
    let mut assembler = Assembler::new();
    for offset in 1..100_000 {
        insert(&mut assembler, offset..offset + 1);
    }
    check(&assembler);
    assert_eq!(assembler.buffered(), 99_999);
    assert!(assembler.pinned() <= 3 * assembler.buffered());
    insert(&mut assembler, 0..1);
    assert_eq!(read_all(&mut assembler), bytes(0..100_000).to_vec());
}

//= spec/05-streams.md#receiving
//= type=test
//# A receiver MUST close the connection with PROTOCOL_VIOLATION when the received ranges of a stream
//# have more than 1024 holes plus one per 512 bytes between the first missing and the last received
//# byte.
#[test]
fn a_flood_of_holes_is_refused_in_order_and_as_blocks() {
    for as_blocks in [false, true] {
        let mut assembler = Assembler::new();
        if as_blocks {
            assert_eq!(assembler.read_block(), None);
        }
        let refused = (0..2000_u64).map(|index| 2 * index + 1).find(|&offset| {
            assembler
                .insert(offset, bytes(offset..offset + 1), 1)
                .is_err()
        });
        let holes = refused.unwrap().div_ceil(2);
        assert!((1024..1040).contains(&holes), "{holes} holes");
    }
}

#[test]
fn holes_between_full_packets_are_never_too_many() {
    let mut assembler = Assembler::new();
    for index in 0..20_000_u64 {
        let offset = (2 * index + 1) * 1100;
        let data = Bytes::from_static(&[0; 1100]);
        assembler.insert(offset, data, 1200).unwrap();
    }
    assert_eq!(assembler.islands.len(), 20_000);
}

#[test]
fn an_emptied_assembler_keeps_next_to_nothing() {
    let mut assembler = Assembler::new();
    for index in (0..5000_u64).rev() {
        insert(&mut assembler, index * 1000..(index + 1) * 1000);
    }
    assert_eq!(read_all(&mut assembler).len(), 5_000_000);
    assert!(assembler.ready.capacity() <= 8);
    assert_eq!(assembler.clear(), 0);
}
