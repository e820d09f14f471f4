//! Tests of `RangeSet`, most of them against a set of single numbers.

use std::{collections::BTreeSet, ops::Range};

use proptest::prelude::*;

use super::RangeSet;
use crate::testing::proptest_config;

/// Numbers are kept below this, so that operations meet each other.
const SPACE: u64 = 96;

#[derive(Clone, Debug)]
enum Op {
    Insert(Range<u64>),
    InsertOne(u64),
    Remove(Range<u64>),
    RemoveBelow(u64),
    PopMin,
}

fn any_range() -> impl Strategy<Value = Range<u64>> {
    // Now and then empty or backwards.
    (0..SPACE, 0..24_u64).prop_map(|(start, len)| start..(start + len).saturating_sub(2))
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any_range().prop_map(Op::Insert),
        4 => (0..SPACE).prop_map(Op::InsertOne),
        2 => any_range().prop_map(Op::Remove),
        1 => (0..SPACE / 4).prop_map(Op::RemoveBelow),
        1 => Just(Op::PopMin),
    ]
}

/// Does `op` to both; checks that they give the same answer.
fn apply(op: Op, set: &mut RangeSet, model: &mut BTreeSet<u64>) -> Result<(), TestCaseError> {
    match op {
        Op::Insert(range) => {
            let new = range.clone().any(|value| !model.contains(&value));
            model.extend(range.clone());
            prop_assert_eq!(set.insert(range), new);
        }
        Op::InsertOne(value) => prop_assert_eq!(set.insert_one(value), model.insert(value)),
        Op::Remove(range) => {
            let before = model.len();
            model.retain(|value| !range.contains(value));
            prop_assert_eq!(set.remove(range), model.len() < before);
        }
        Op::RemoveBelow(bound) => {
            model.retain(|&value| value >= bound);
            set.remove_below(bound);
        }
        Op::PopMin => {
            let popped = set.pop_min();
            prop_assert_eq!(
                popped.clone().map(|range| range.start),
                model.first().copied()
            );
            if let Some(range) = popped {
                prop_assert!(range.clone().all(|value| model.remove(&value)));
                prop_assert!(!model.contains(&range.end));
            }
        }
    }
    Ok(())
}

fn assert_equal(set: &RangeSet, model: &BTreeSet<u64>) -> Result<(), TestCaseError> {
    let listed: Vec<u64> = set.iter().flatten().collect();
    let expected: Vec<u64> = model.iter().copied().collect();
    prop_assert_eq!(&listed, &expected);
    let ranges: Vec<_> = set.iter().collect();
    prop_assert!(ranges.iter().all(|range| range.start < range.end));
    prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    prop_assert_eq!(set.len(), ranges.len());
    prop_assert_eq!(set.is_empty(), model.is_empty());
    prop_assert_eq!(set.covered(), model.len() as u64);
    prop_assert_eq!(set.min(), model.first().copied());
    prop_assert_eq!(set.max(), model.last().copied());
    prop_assert!((0..SPACE * 2).all(|value| set.contains(value) == model.contains(&value)));
    Ok(())
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn agrees_with_a_set_of_single_numbers(ops in prop::collection::vec(any_op(), 1..60)) {
        let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
        for op in ops {
            apply(op, &mut set, &mut model)?;
            assert_equal(&set, &model)?;
        }
    }

    #[test]
    fn gaps_are_what_is_missing(
        ranges in prop::collection::vec(any_range(), 0..12),
        within in any_range(),
    ) {
        let set: RangeSet = ranges.into_iter().collect();
        let gaps: Vec<_> = set.gaps(within.clone()).collect();
        let missing: Vec<u64> = gaps.iter().cloned().flatten().collect();
        let expected: Vec<u64> = within.clone().filter(|&value| !set.contains(value)).collect();
        prop_assert_eq!(missing, expected);
        prop_assert!(gaps.windows(2).all(|pair| pair[0].end < pair[1].start));
        let mut backwards: Vec<_> = set.gaps(within).rev().collect();
        backwards.reverse();
        prop_assert_eq!(backwards, gaps);
    }

    #[test]
    fn the_range_of_a_number_is_the_one_that_holds_it(
        ranges in prop::collection::vec(any_range(), 0..12),
        value in 0..SPACE,
    ) {
        let set: RangeSet = ranges.into_iter().collect();
        prop_assert_eq!(set.range_of(value), set.iter().find(|range| range.contains(&value)));
    }
}

#[test]
fn numbers_in_order_stay_one_range_and_one_allocation() {
    let mut set = RangeSet::new();
    assert_eq!(set.allocated_bytes(), 0);
    assert!((0..100_000).all(|value| set.insert_one(value)));
    assert_eq!(set.len(), 1);
    assert!(
        set.allocated_bytes() <= 64,
        "{} bytes",
        set.allocated_bytes()
    );
}

#[test]
fn a_number_in_a_hole_joins_its_neighbours() {
    let mut set: RangeSet = [0..5, 6..9].into_iter().collect();
    assert!(set.insert_one(5));
    assert!(set.iter().eq(std::iter::once(0..9)));
    assert!(!set.insert_one(5));
}

#[test]
fn a_cut_inside_a_range_leaves_two() {
    let mut set: RangeSet = std::iter::once(0..10).collect();
    assert!(set.remove(3..6));
    assert!(set.iter().eq([0..3, 6..10]));
    assert!(!set.remove(3..6));
}

#[test]
fn the_largest_number_of_the_wire_fits() {
    let mut set = RangeSet::new();
    assert!(set.insert_one(crate::units::MAX_VARINT));
    assert!(!set.insert_one(u64::MAX));
    assert_eq!(set.max(), Some(crate::units::MAX_VARINT));
}
