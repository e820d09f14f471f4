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

proptest! {
    #![proptest_config(proptest_config())]

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
