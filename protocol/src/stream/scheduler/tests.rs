//! Shares, classes and the links between slots.

use proptest::prelude::*;

use super::*;
use crate::testing::proptest_config;

/// Lets the scheduler send `frames` frames, whose size depends on the slot; bytes by slot.
fn run(scheduler: &mut Scheduler, frames: usize, size: impl Fn(u32) -> u64) -> Vec<u64> {
    let mut bytes = vec![0; scheduler.nodes.len()];
    for _ in 0..frames {
        let slot = scheduler.first().unwrap();
        bytes[slot as usize] += size(slot);
        scheduler.charge(slot, size(slot));
    }
    bytes
}

//= spec/05-streams.md#sending
//= type=test
//# A sender SHOULD send bytes of the highest
//# priority first, and share equally in bytes between streams of the same priority.
#[test]
fn equals_share_in_bytes_whatever_their_frame_sizes() {
    let mut scheduler = Scheduler::new();
    for slot in 0..4 {
        scheduler.insert(slot, 0);
    }
    let bytes = run(&mut scheduler, 40_000, |slot| 300 * u64::from(slot + 1));
    let (min, max) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
    assert!(max - min <= 2 * 4096, "{bytes:?}");
}

//= spec/05-streams.md#sending
//= type=test
//# A sender SHOULD send bytes of the highest
//# priority first, and share equally in bytes between streams of the same priority.
#[test]
fn a_higher_class_goes_first_as_long_as_it_has_anything() {
    let mut scheduler = Scheduler::new();
    scheduler.insert(0, 0);
    scheduler.insert(1, -1);
    scheduler.insert(2, 7);
    assert_eq!(run(&mut scheduler, 100, |_| 1200), [0, 0, 120_000]);
    scheduler.remove(2);
    assert_eq!(run(&mut scheduler, 100, |_| 1200), [120_000, 0, 0]);
    scheduler.remove(0);
    assert_eq!(scheduler.first(), Some(1));
}

#[test]
fn a_stream_that_comes_back_gets_no_more_than_one_that_stays() {
    let mut scheduler = Scheduler::new();
    scheduler.insert(0, 0);
    scheduler.insert(1, 0);
    let mut bytes = [0_u64; 2];
    for _ in 0..10_000 {
        let slot = scheduler.first().unwrap();
        bytes[slot as usize] += 1200;
        scheduler.charge(slot, 1200);
        if slot == 0 {
            scheduler.remove(0);
            scheduler.insert(0, 0);
        }
    }
    assert!(bytes[0] <= bytes[1], "{bytes:?}");
}

#[test]
fn packets_larger_than_a_turn_alternate() {
    let mut scheduler = Scheduler::new();
    scheduler.insert(0, 0);
    scheduler.insert(1, 0);
    let order: Vec<u32> = (0..6)
        .map(|_| {
            let slot = scheduler.first().unwrap();
            scheduler.charge(slot, 8900);
            slot
        })
        .collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn classes_that_are_empty_are_swept_out() {
    let mut scheduler = Scheduler::new();
    for priority in 0..1000 {
        scheduler.insert(0, priority);
        scheduler.remove(0);
    }
    assert!(scheduler.levels.len() <= SPARE_LEVELS);
    scheduler.shrink_to(0);
    assert_eq!(scheduler.nodes.capacity(), 0);
}

//= spec/05-streams.md#sending
//= type=test
//# A sender SHOULD serve a stream before the others of its priority as long as it sends less than
//# one turn in the time in which each of them has one.
#[test]
fn a_sparse_stream_waits_for_no_turn_of_a_thousand_busy_ones() {
    let mut scheduler = Scheduler::favouring_sparse();
    for slot in 0..1000 {
        scheduler.insert(slot, 0);
    }
    // Whoever is new has a first turn.
    run(&mut scheduler, 5000, |_| 1200);
    for _ in 0..10 {
        // Ten messages in each round of the others.
        for _ in 0..10 {
            scheduler.insert(1000, 0);
            assert_eq!(scheduler.first(), Some(1000));
            scheduler.charge(1000, 400);
            scheduler.remove(1000);
            run(&mut scheduler, 4 * 101, |_| 1200);
        }
    }
}

#[test]
fn a_sparse_stream_that_goes_on_sending_has_one_turn_and_then_waits_for_the_others() {
    let mut scheduler = Scheduler::favouring_sparse();
    for slot in 0..3 {
        scheduler.insert(slot, 0);
    }
    run(&mut scheduler, 3 * 4, |_| 1200);
    scheduler.insert(3, 0);
    let order: Vec<u32> = (0..8)
        .map(|_| {
            let slot = scheduler.first().unwrap();
            scheduler.charge(slot, 4096);
            slot
        })
        .collect();
    assert_eq!(order, [3, 0, 1, 2, 3, 0, 1, 2]);
}

#[test]
fn streams_that_leave_and_return_as_sparse_ones_get_no_more_than_one_that_stays() {
    let mut scheduler = Scheduler::favouring_sparse();
    for slot in 0..10 {
        scheduler.insert(slot, 0);
    }
    let mut bytes = [0_u64; 10];
    let mut away = Vec::new();
    for step in 0..100_000 {
        let slot = scheduler.first().unwrap();
        bytes[slot as usize] += 1200;
        scheduler.charge(slot, 1200);
        // All but one leave as often as they can.
        if slot > 0 {
            scheduler.remove(slot);
            away.push(slot);
        }
        if step % 3 == 0 {
            away.drain(..).for_each(|slot| scheduler.insert(slot, 0));
        }
    }
    let stays = bytes[0];
    assert!(
        bytes[1..].iter().all(|&bytes| bytes <= stays + 2 * 4096),
        "{bytes:?}"
    );
}

#[test]
fn short_streams_one_after_the_other_leave_a_busy_one_its_turns() {
    let mut scheduler = Scheduler::favouring_sparse();
    scheduler.insert(0, 0);
    run(&mut scheduler, 4, |_| 1200);
    let mut busy = 0_u64;
    for _ in 0..17_000 {
        // Another stream each time, in the place of the last one.
        scheduler.insert(1, 0);
        let slot = scheduler.first().unwrap();
        scheduler.charge(slot, 4096);
        if slot == 0 {
            busy += 1;
        } else {
            scheduler.forget(1);
        }
    }
    assert!(busy >= 1000, "{busy}");
}

#[test]
fn a_new_stream_is_sparse_whatever_the_last_one_in_its_place_has_sent() {
    let mut scheduler = Scheduler::favouring_sparse();
    for slot in 0..10 {
        scheduler.insert(slot, 0);
    }
    run(&mut scheduler, 100, |_| 1200);
    scheduler.remove(7);
    scheduler.insert(7, 0);
    assert_ne!(scheduler.first(), Some(7));
    scheduler.forget(7);
    scheduler.insert(7, 0);
    assert_eq!(scheduler.first(), Some(7));
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn sparse_ones_are_members_too(
        steps in prop::collection::vec((0_u32..20, -2_i32..3, 0_u8..5), 1..300)
    ) {
        let mut scheduler = Scheduler::favouring_sparse();
        let mut model = std::collections::BTreeMap::new();
        for (slot, priority, what) in steps {
            match what {
                0 | 1 => {
                    scheduler.insert(slot, priority);
                    model.entry(slot).or_insert(priority);
                }
                2 => {
                    scheduler.remove(slot);
                    model.remove(&slot);
                }
                3 => {
                    scheduler.forget(slot);
                    model.remove(&slot);
                }
                _ => scheduler.charge(slot, 1500),
            }
            let first = scheduler.first().map(|slot| model.get(&slot).copied());
            prop_assert_eq!(first, model.values().max().copied().map(Some));
            prop_assert_eq!(scheduler.len(), model.len());
        }
        while let Some(slot) = scheduler.first() {
            scheduler.remove(slot);
            prop_assert!(model.remove(&slot).is_some());
        }
        prop_assert!(model.is_empty());
    }

    #[test]
    fn members_are_those_inserted_and_not_removed(
        steps in prop::collection::vec((0_u32..20, -2_i32..3, 0_u8..4), 1..300)
    ) {
        let mut scheduler = Scheduler::new();
        let mut model: Vec<(i32, u32)> = Vec::new();
        for (slot, priority, what) in steps {
            let member = model.iter().position(|&(_, s)| s == slot);
            match what {
                0 | 1 => {
                    scheduler.insert(slot, priority);
                    if member.is_none() {
                        model.push((priority, slot));
                    }
                }
                2 => {
                    scheduler.remove(slot);
                    if let Some(at) = member {
                        model.remove(at);
                    }
                }
                _ => {
                    scheduler.rotate(slot);
                    if let Some(at) = member {
                        let entry = model.remove(at);
                        model.push(entry);
                    }
                }
            }
            // The model lists in order of arrival; the first is the oldest of the highest class.
            let mut expected = model.clone();
            expected.sort_by_key(|&(priority, _)| std::cmp::Reverse(priority));
            prop_assert_eq!(scheduler.first(), expected.first().map(|&(_, slot)| slot));
            prop_assert_eq!(scheduler.len(), model.len());
            prop_assert_eq!(scheduler.contains(slot), model.iter().any(|&(_, s)| s == slot));
        }
        let mut drained = Vec::new();
        while let Some(slot) = scheduler.first() {
            scheduler.remove(slot);
            drained.push(slot);
        }
        model.sort_by_key(|&(priority, _)| std::cmp::Reverse(priority));
        prop_assert_eq!(drained, model.iter().map(|&(_, slot)| slot).collect::<Vec<_>>());
        prop_assert!(scheduler.is_empty());
    }
}
