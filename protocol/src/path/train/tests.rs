use super::*;
use crate::testing::epoch;

fn path() -> PathId {
    PathId::INITIAL
}

fn part(train: u64, index: u64, count: u64) -> Option<Train> {
    Some(Train {
        path: path(),
        train,
        index,
        count,
    })
}

/// Packets `(number, microseconds, part)` in order of arrival; what is reported in the end.
fn time(packets: &[(u64, u64, Option<Train>)]) -> Option<(u64, u64, u64, u64)> {
    let mut timer = TrainTimer::default();
    let start = epoch();
    for &(number, micros, part) in packets {
        let at = start + Duration::from_micros(micros);
        let ready = timer.on_packet(path(), number, at, part);
        assert!(!ready || timer.report().is_some(), "packet {number}");
    }
    timer
        .report()
        .map(|report| (report.train, report.first, report.last, report.span_ns))
}

#[test]
fn a_train_is_timed_from_its_first_packet_to_its_last() {
    let packets = [
        (7, 1000, part(3, 0, 4)),
        (8, 1120, part(3, 1, 4)),
        (9, 1240, part(3, 2, 4)),
        (10, 1360, part(3, 3, 4)),
    ];
    assert_eq!(time(&packets), Some((3, 0, 3, 360_000)));
}

#[test]
fn losses_leave_the_index_span() {
    let packets = [
        (8, 1120, part(3, 1, 4)),
        (9, 1240, part(3, 2, 4)),
        (11, 1500, None),
    ];
    assert_eq!(time(&packets), Some((3, 1, 2, 120_000)));
}

//= spec/04-congestion.md#trains
//= type=test
//# Packets that arrive together, as far as the receiver can tell, MUST be counted as one arrival at the
//# last one's index.
#[test]
fn packets_handed_over_together_count_as_one_arrival() {
    let packets = [
        (7, 1000, part(0, 0, 4)),
        (8, 1000, part(0, 1, 4)),
        (9, 1240, part(0, 2, 4)),
        (10, 1240, part(0, 3, 4)),
    ];
    assert_eq!(time(&packets), Some((0, 1, 3, 240_000)));
    let together: Vec<_> = (0..4)
        .map(|index| (7 + index, 1000, part(0, index, 4)))
        .collect();
    assert_eq!(time(&together), None);
}

#[test]
fn a_train_out_of_order_is_not_reported() {
    let packets = [
        (7, 1000, part(0, 0, 4)),
        (9, 1100, part(0, 2, 4)),
        (8, 1200, part(0, 1, 4)),
        (10, 1300, part(0, 3, 4)),
    ];
    assert_eq!(time(&packets), None);
}

#[test]
fn a_late_packet_does_not_end_a_train() {
    let packets = [
        (7, 1000, part(0, 0, 3)),
        (5, 1050, None),
        (8, 1100, part(0, 1, 3)),
        (9, 1200, part(0, 2, 3)),
    ];
    assert_eq!(time(&packets), Some((0, 0, 2, 200_000)));
}

#[test]
fn the_next_train_ends_one_that_lost_its_tail() {
    let packets = [
        (7, 1000, part(0, 0, 8)),
        (8, 1100, part(0, 1, 8)),
        (20, 5000, part(1, 0, 8)),
    ];
    assert_eq!(time(&packets), Some((0, 0, 1, 100_000)));
}
