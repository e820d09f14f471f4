use super::*;
use crate::testing::epoch;

const WINDOW: Duration = Duration::from_millis(2);
const RTT: Duration = Duration::from_millis(100);

fn take(schedule: &mut NakSchedule, now: Instant) -> Vec<Range<u64>> {
    schedule.take_due(now, 100, RTT, Duration::ZERO).to_vec()
}

//= spec/03-reliability.md#nak-schedule
//= type=test
//# A receiver SHOULD name a due gap within 1 ms.
#[test]
fn gap_is_named_only_after_the_reorder_window() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    schedule.on_gap(start, 3..5, WINDOW);
    assert!(!schedule.interest(start + WINDOW / 2));
    assert!(schedule.interest(start + WINDOW));
    assert_eq!(take(&mut schedule, start + WINDOW), vec![3..5]);
}

#[test]
fn late_arrival_inside_a_gap_splits_it() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    schedule.on_gap(start, 3..8, WINDOW);
    assert!(schedule.on_late_arrival(5));
    assert!(!schedule.on_late_arrival(5));
    assert_eq!(take(&mut schedule, start + WINDOW), vec![3..5, 6..8]);
}

#[test]
fn closed_gap_needs_no_timer() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    schedule.on_gap(start, 3..4, WINDOW);
    assert!(schedule.on_late_arrival(3));
    assert_eq!(schedule.due_at(), None);
}

//= spec/03-reliability.md#nak-schedule
//= type=test
//# A receiver SHOULD name a gap again after half of (smoothed RTT + 4 x RTT variation), but not
//# before 10 ms have passed, until the gap is closed or retired.
#[test]
fn lost_nak_is_sent_again_after_half_an_rtt() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    schedule.on_gap(start, 3..4, WINDOW);
    let named_at = start + WINDOW;
    assert_eq!(take(&mut schedule, named_at), vec![3..4]);
    assert_eq!(schedule.due_at(), Some(named_at + RTT / 2));
    assert_eq!(take(&mut schedule, named_at + RTT / 2), vec![3..4]);
}

//= spec/03-reliability.md#nak-schedule
//= type=test
//# A receiver MUST stop naming a gap when a NAK that named it was acknowledged.
#[test]
fn acknowledged_nak_retires_its_gaps_and_no_others() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    schedule.on_gap(start, 3..4, WINDOW);
    assert_eq!(take(&mut schedule, start + WINDOW), vec![3..4]);
    schedule.on_gap(start + WINDOW, 9..10, WINDOW);
    schedule.on_nak_acked(3);
    assert_eq!(take(&mut schedule, start + RTT), vec![9..10]);
}

#[test]
fn flood_of_gaps_stays_bounded() {
    let start = epoch();
    let mut schedule = NakSchedule::default();
    for index in 0..10_000 {
        schedule.on_gap(start, index * 2..index * 2 + 1, WINDOW);
    }
    assert_eq!(schedule.gaps.len(), MAX_GAPS);
    assert_eq!(schedule.dropped(), 10_000 - MAX_GAPS as u64);
}
