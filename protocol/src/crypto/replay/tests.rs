//! The window against a model, and its bounds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

//= spec/02-handshake.md#replay
//= type=test
//# A receiver MUST drop a packet whose number it has received on the same path before, or can no
//# longer tell.
#[test]
fn number_received_is_refused_from_then_on() {
    let mut replay = Replay::default();
    for pn in [0, 1, 5, 3] {
        assert!(replay.check(pn));
        replay.insert(pn);
        assert!(!replay.check(pn));
    }
    assert!(replay.check(2) && replay.check(4) && replay.check(6));
    assert_eq!(replay.floor, 2);
}

//= spec/02-handshake.md#replay
//= type=test
//# A receiver MUST NOT note a number before its packet has opened.
#[test]
fn asking_notes_nothing() {
    let replay = Replay::default();
    assert!(replay.check(7));
    assert!(replay.check(7));
}

#[test]
fn packets_in_order_keep_nothing() {
    let mut replay = Replay::default();
    for pn in 0..100_000 {
        replay.insert(pn);
    }
    assert_eq!(replay.floor, 100_000);
    assert!(replay.received.is_empty());
}

#[test]
fn packets_reordered_by_thousands_are_taken() {
    let mut replay = Replay::default();
    for block in 0..20 {
        for pn in (block * 5000..(block + 1) * 5000).rev() {
            assert!(replay.check(pn));
            replay.insert(pn);
        }
    }
    assert_eq!(replay.floor, 100_000);
}

//= spec/02-handshake.md#replay
//= type=test
//# A receiver SHOULD be able to tell for at least the last 8,192 packet numbers, whatever part of
//# them was lost.
#[test]
fn every_second_packet_lost_leaves_a_window_of_8192_numbers_in_bounded_memory() {
    let mut replay = Replay::default();
    for pn in (0..1_000_000).step_by(2) {
        replay.insert(pn);
        assert!(replay.received.len() <= MAX_RANGES);
    }
    for pn in (1_000_000 - 8192 + 1..1_000_000).step_by(2) {
        assert!(replay.check(pn), "{pn}");
        assert!(!replay.check(pn - 1));
    }
    assert!(!replay.check(1));
}

proptest! {
    #[test]
    fn window_agrees_with_a_set(numbers in prop::collection::vec(0_u64..2000, 0..3000)) {
        let (mut replay, mut model) = (Replay::default(), BTreeSet::new());
        for pn in numbers {
            prop_assert_eq!(replay.check(pn), !model.contains(&pn));
            replay.insert(pn);
            model.insert(pn);
        }
        for pn in 0..2000 {
            prop_assert_eq!(replay.check(pn), !model.contains(&pn));
        }
    }
}
