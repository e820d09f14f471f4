//! Turns on a clock of the test's own.

use super::*;

const RATE: Bandwidth = Bandwidth::from_bytes_per_second(1_000_000);

fn schedule() -> Schedule {
    Schedule {
        rate: RATE,
        next: None,
    }
}

#[test]
fn bytes_pass_at_the_rate_whoever_asks() {
    let (mut schedule, start) = (schedule(), clock::now());
    let (mut now, mut passed) = (start, 0);
    while now < start + Duration::from_secs(10) {
        let (bytes, at) = schedule.reserve(1_000_000, now);
        passed += bytes;
        now = now.max(at);
    }
    // 10 s at the rate, the burst, and the turn that was asked for last.
    let most = RATE.bytes_in(Duration::from_secs(10) + BURST + 2 * TURN);
    assert!((10_000_000..=most).contains(&passed), "{passed}");
}

#[test]
fn what_was_not_used_is_not_saved_up() {
    let (mut schedule, start) = (schedule(), clock::now());
    schedule.reserve(1, start);
    let later = start + Duration::from_secs(60);
    let mut passed = 0;
    loop {
        let (bytes, at) = schedule.reserve(1_000_000, later);
        if at > later {
            break;
        }
        passed += bytes;
    }
    assert!(passed <= RATE.bytes_in(BURST + 2 * TURN), "{passed}");
}

#[test]
fn newcomer_waits_for_one_turn_of_each_before_him() {
    let (mut schedule, now) = (schedule(), clock::now());
    for _ in 0..100 {
        schedule.reserve(1_000_000, now);
    }
    let (bytes, at) = schedule.reserve(10, now);
    assert_eq!(bytes, 10);
    assert!(at <= now + 100 * TURN, "{:?}", at - now);
    assert!(at >= now + 99 * TURN - BURST, "{:?}", at - now);
}

#[test]
fn turn_is_never_empty_and_never_far_away() {
    let now = clock::now();
    for rate in [0, 1, 1_000, u64::MAX] {
        let rate = Bandwidth::from_bytes_per_second(rate);
        let mut schedule = Schedule { rate, next: None };
        for wanted in [0, 1, u64::MAX] {
            let (bytes, at) = schedule.reserve(wanted, now);
            assert!(bytes >= 1 && at <= now + LONGEST_WAIT, "{rate} {wanted}");
        }
    }
}

#[test]
fn block_longer_than_its_turn_is_paid_for() {
    let limit = RateLimit::new(RATE);
    let mut turns = Turns {
        left: 1_000,
        wait: None,
    };
    turns.spend(&limit, 500);
    assert_eq!((turns.left, limit.lock().next.is_some()), (500, false));
    let before = clock::now();
    turns.spend(&limit, 1_500);
    let next = limit.lock().next.unwrap();
    assert!(next >= before + RATE.time_for(1_000));
    assert_eq!(turns.left, 0);
}
