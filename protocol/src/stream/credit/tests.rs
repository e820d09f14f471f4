//! Windows, their growth, and what they cost the process.

use super::*;
use crate::testing::epoch;

const RTT: Duration = Duration::from_millis(100);
const CEILING: u64 = 64 << 20;

//= spec/05-streams.md#credit
//= type=test
//# A receiver MUST announce
//# new credit when half of a window has been consumed.
#[test]
fn an_announcement_is_due_at_half_a_window() {
    let mut credit = RecvCredit::new(1000);
    credit.consume(499);
    assert!(!credit.is_due());
    credit.consume(1);
    assert!(credit.is_due());
    assert_eq!(credit.announce(epoch(), RTT, CEILING), 1500);
    assert!(!credit.is_due());
}

#[test]
fn a_window_of_one_byte_still_moves() {
    let mut credit = RecvCredit::new(1);
    assert!(!credit.is_due());
    credit.consume(1);
    assert!(credit.is_due());
    assert_eq!(credit.announce(epoch(), RTT, 1), 2);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD grow a window to four times the bytes its reader takes per round trip.
#[test]
fn the_window_settles_at_four_times_the_bytes_per_round_trip() {
    let mut now = epoch();
    let mut credit = RecvCredit::new(64 << 10);
    credit.on_data(now);
    // 10 MB per second, a megabyte per round trip.
    let tick = Duration::from_millis(1);
    for _ in 0..10_000 {
        now += tick;
        credit.consume(10_000.min(credit.announced() - credit.consumed()));
        credit.announce(now, RTT, CEILING);
    }
    assert!(
        (3_900_000..=4_100_000).contains(&credit.window()),
        "{}",
        credit.window()
    );
}

#[test]
fn a_slow_reader_keeps_a_small_window() {
    let mut now = epoch();
    let mut credit = RecvCredit::new(64 << 10);
    credit.on_data(now);
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        credit.consume(100);
        credit.announce(now, RTT, CEILING);
    }
    assert_eq!(credit.window(), 64 << 10);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD double a stream's window, at
//# most once per round trip, when a reader that waits at a hole leaves the peer less than a quarter of it,
//# and the reader has taken a whole window before.
#[test]
fn holes_grow_the_window_once_per_round_trip_and_only_after_a_delivery() {
    let start = epoch();
    let mut credit = RecvCredit::new(1000);
    credit.on_data(start);
    assert!(!credit.relieve(900, start + RTT, RTT, CEILING), "unproven");
    credit.consume(1000);
    assert_eq!(credit.announce(start + 4 * RTT, RTT, CEILING), 2000);
    let now = start + 5 * RTT;
    assert!(!credit.relieve(1500, now, RTT, CEILING), "room is left");
    assert!(
        !credit.relieve(1900, now - RTT / 2, RTT, CEILING),
        "too early"
    );
    assert!(credit.relieve(1900, now, RTT, CEILING));
    assert_eq!((credit.window(), credit.announced()), (2000, 3000));
    assert!(!credit.relieve(2900, now + RTT, RTT, CEILING), "unproven");
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD grow a window to eight times the bytes that
//# arrive per round trip, up to sixteen times the bytes its reader has taken.
#[test]
fn the_window_runs_ahead_of_a_start_whose_reader_stands_at_a_hole() {
    let start = epoch();
    let mut credit = RecvCredit::new(100_000);
    assert!(!credit.follow(0, start, RTT, CEILING), "nothing to compare");
    assert!(
        !credit.follow(20_000, start + RTT / 8, RTT, CEILING),
        "early"
    );
    assert!(
        !credit.follow(20_000, start + RTT / 4, RTT, CEILING),
        "unread"
    );
    credit.consume(20_000);
    // 20 kB in a quarter of a round trip; the reader vouches for half of the window.
    assert!(credit.follow(40_000, start + RTT / 2, RTT, CEILING));
    assert_eq!((credit.window(), credit.announced()), (320_000, 340_000));
    credit.consume(20_000);
    assert!(credit.follow(60_000, start + RTT / 4 * 3, RTT, CEILING));
    assert_eq!(credit.window(), 640_000);
    assert!(!credit.follow(80_000, start + RTT, RTT, CEILING), "enough");
}

#[test]
fn growth_ends_at_the_ceiling() {
    let now = epoch();
    let mut credit = RecvCredit::new(1000);
    credit.on_data(now);
    for _ in 0..20 {
        credit.consume(credit.announced() - credit.consumed());
        credit.announce(now, RTT, 5000);
    }
    assert_eq!(credit.window(), 5000);
}

//= spec/05-streams.md#credit
//= type=test
//# A limit once announced MUST NOT be taken back.
#[test]
fn announcing_early_changes_nothing() {
    let mut credit = RecvCredit::new(1000);
    credit.consume(600);
    assert_eq!(credit.announce(epoch(), RTT, CEILING), 1600);
    credit.consume(100);
    assert_eq!(credit.announce(epoch(), RTT, CEILING), 1600);
}

#[test]
fn connections_share_a_budget_and_give_it_back() {
    let budget = Budget::new(3000);
    let first = ConnectionCredit::new(1000, 100, 8000, budget.clone());
    let mut second = ConnectionCredit::new(1000, 100, 8000, budget.clone());
    assert_eq!(budget.reserved(), 2000);
    let now = epoch();
    // Three times as much would be right.
    for _ in 0..8 {
        let bytes = second.announced() - second.received;
        second.receive(bytes, now);
        second.consume(bytes);
        second.announce(now, RTT);
    }
    assert_eq!((second.window(), budget.reserved()), (1000, 2000));
    let third = ConnectionCredit::new(1000, 100, 8000, budget.clone());
    assert_eq!((third.window(), budget.reserved()), (1000, 3000));
    drop((first, second, third));
    assert_eq!(budget.reserved(), 0);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD grow the connection's window when streams that are not read hold half of it.
#[test]
fn unread_bytes_do_not_starve_other_streams() {
    let budget = Budget::default();
    let mut credit = ConnectionCredit::new(1000, 100, 3000, budget);
    let now = epoch();
    credit.receive(499, now);
    assert!(!credit.relieve(now));
    credit.receive(1, now);
    assert!(credit.relieve(now));
    assert_eq!((credit.window(), credit.announced()), (2000, 2000));
    credit.receive(500, now);
    assert!(credit.relieve(now));
    assert_eq!(credit.announced(), 3000);
    credit.receive(2000, now);
    assert!(!credit.relieve(now));
    assert!(!credit.allows(1));
}

//= spec/05-streams.md#credit
//= type=test
//# A sender MUST ignore a limit that is not
//# above the one it has.
#[test]
fn a_lower_limit_is_ignored() {
    let mut credit = SendCredit::default();
    assert!(credit.raise(1000, 0));
    credit.spend(900);
    assert!(!credit.raise(500, 0));
    assert!(!credit.raise(1000, 0));
    assert_eq!((credit.limit(), credit.left()), (1000, 100));
}
