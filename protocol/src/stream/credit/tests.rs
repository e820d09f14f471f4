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

const LEAST: u64 = LEAST_WINDOW_BYTES;

/// A credit with the least window, which may become `ceiling`.
fn connection(ceiling: u64) -> ConnectionCredit {
    ConnectionCredit::new(16 << 20, ceiling, Budget::new(128 << 20))
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD announce the first window when more arrives within a round trip than a few
//# requests.
#[test]
fn the_first_window_opens_for_a_transfer_and_not_for_requests() {
    let mut now = epoch();
    let mut credit = connection(128 << 20);
    for _ in 0..100 {
        now += RTT;
        credit.receive(500, now);
        credit.consume(500);
        assert!(!credit.on_burst(now, RTT));
        credit.announce(now, RTT);
    }
    assert_eq!(credit.window(), LEAST);
    now += 10 * RTT;
    let mut opened_after = 0;
    while opened_after < LEAST && !credit.on_burst(now, RTT) {
        now += RTT / 50;
        credit.receive(1000, now);
        opened_after += 1000;
    }
    assert_eq!((opened_after, credit.window()), (9000, 16 << 20));
    assert_eq!(
        credit.announce(now, RTT),
        credit.credit.consumed() + (16 << 20)
    );
}

#[test]
fn the_limit_a_start_waits_for_is_told_twice() {
    let now = epoch();
    let mut credit = connection(128 << 20);
    let mut told = 0;
    for _ in 0..60 {
        credit.receive(1000, now);
        told += u32::from(credit.on_burst(now, RTT));
    }
    assert_eq!(told, 2);
}

#[test]
fn idle_connections_cost_the_budget_little_and_a_transfer_finds_its_window() {
    let budget = Budget::new(1 << 30);
    let make = || ConnectionCredit::new(16 << 20, 128 << 20, budget.clone());
    let idle: Vec<_> = (0..4096).map(|_| make()).collect();
    assert_eq!(idle[0].window(), 8 * LEAST);
    assert!(idle.iter().all(|idle| idle.window() >= LEAST));
    let mut busy = make();
    busy.open();
    assert_eq!(busy.window(), 16 << 20);
    drop((idle, busy));
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn what_is_announced_and_not_consumed_is_never_more_than_the_budget_and_the_least_windows() {
    let limit = 64 << 20;
    let budget = Budget::new(limit);
    let now = epoch();
    let mut greedy: Vec<_> = (0..200)
        .map(|_| ConnectionCredit::new(16 << 20, 128 << 20, budget.clone()))
        .collect();
    // Each sends all it may, and nobody reads.
    for round in 0..20 {
        for credit in &mut greedy {
            credit.receive(credit.announced() - credit.received, now);
            let _ = credit.on_burst(now, RTT) || credit.relieve(now);
            credit.announce(now, RTT);
        }
        let promised: u64 = greedy
            .iter()
            .map(|c| c.announced() - c.credit.consumed())
            .sum();
        assert!(
            promised <= limit + 200 * LEAST,
            "{promised} in round {round}"
        );
    }
    let most = greedy.iter().map(ConnectionCredit::window).max();
    assert!(most <= Some(limit / 8 + LEAST), "{most:?}");
    let newcomer = ConnectionCredit::new(16 << 20, 128 << 20, budget);
    assert_eq!(newcomer.window(), LEAST);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A receiver SHOULD grow the connection's window when streams that are not read hold half of it.
#[test]
fn unread_bytes_do_not_starve_other_streams() {
    let mut credit = connection(3 * LEAST);
    let now = epoch();
    credit.receive(LEAST / 2 - 1, now);
    assert!(!credit.relieve(now));
    credit.receive(1, now);
    assert!(credit.relieve(now));
    assert_eq!(credit.announced(), 2 * LEAST);
    credit.receive(LEAST / 2, now);
    assert!(credit.relieve(now));
    assert_eq!(credit.announced(), 3 * LEAST);
    credit.receive(2 * LEAST, now);
    assert!(!credit.relieve(now));
    assert!(!credit.allows(1));
}

//= spec/05-streams.md#credit
//= type=test
//# A receiver MUST also announce new credit of the connection when a reader has taken all that came for
//# it, and as much has been consumed as the peer has left.
#[test]
fn what_is_read_beside_what_is_not_is_given_back_before_half_of_the_window_is() {
    let mut credit = connection(LEAST);
    let now = epoch();
    credit.receive(LEAST * 3 / 4, now);
    assert!(!credit.is_scarce());
    credit.receive(LEAST / 8, now);
    credit.consume(LEAST / 8 - 1);
    assert!(!credit.is_scarce() && !credit.is_due());
    credit.consume(1);
    assert!(credit.is_scarce() && !credit.is_due());
    assert_eq!(credit.announce(now, RTT), LEAST + LEAST / 8);
    assert!(!credit.is_scarce());
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
