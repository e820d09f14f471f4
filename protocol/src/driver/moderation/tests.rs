//! Tests of when packets are coalesced.

use super::*;
use crate::driver::clock;

const FAR: Option<Duration> = Some(Duration::from_millis(100));

/// A poll that found so many datagrams of so many bytes.
fn found(datagrams: usize, bytes: usize, min_rtt: Option<Duration>) -> Found {
    Found {
        datagrams,
        bytes: datagrams * bytes,
        max_delay: MaxDelay::for_rtt(min_rtt),
    }
}

/// Polls every `every` that find `datagrams` full ones each, for 50 ms; the last answer as a wait.
fn poll(every: Duration, datagrams: usize, min_rtt: Option<Duration>) -> Option<Duration> {
    poll_sized(every, datagrams, 1400, min_rtt)
}

fn poll_sized(
    every: Duration,
    datagrams: usize,
    bytes: usize,
    min_rtt: Option<Duration>,
) -> Option<Duration> {
    let start = clock::now();
    let mut moderation = Moderation::new(start);
    let mut now = start;
    let mut answer = None;
    while now < start + 5 * COUNTED {
        now += every;
        let again = moderation.on_poll(now, found(datagrams, bytes, min_rtt));
        answer = again.map(|at| at - now);
    }
    answer
}

#[test]
fn a_burst_that_arrives_one_by_one_is_coalesced() {
    // 100 Mbit/s and 20 Mbit/s in packets of 1500 bytes.
    assert_eq!(poll(Duration::from_micros(120), 1, FAR), Some(LONGEST));
    assert_eq!(poll(Duration::from_micros(600), 1, FAR), Some(LONGEST));
}

#[test]
fn no_more_are_coalesced_than_a_small_buffer_holds() {
    let wait = poll(Duration::from_micros(20), 1, FAR).unwrap();
    assert_eq!(wait, COALESCED * Duration::from_micros(20));
}

#[test]
fn a_trickle_is_polled_at_once() {
    assert_eq!(poll(Duration::from_millis(1), 1, FAR), None);
}

#[test]
fn what_comes_in_heaps_is_not_waited_for() {
    assert_eq!(poll(Duration::from_micros(400), FULL_BATCH, FAR), None);
}

#[test]
fn a_near_peer_is_not_kept_waiting() {
    let near = Some(Duration::from_millis(5));
    for bytes in [60, 500] {
        let wait = poll_sized(Duration::from_micros(30), 1, bytes, near);
        assert_eq!(wait, None, "{bytes} bytes");
    }
    // Nor one whose distance is not known.
    assert_eq!(poll(Duration::from_micros(30), 1, None), None);
}

#[test]
fn bulk_data_of_a_near_peer_is_coalesced_for_up_to_a_millisecond() {
    // 100 Mbit/s in packets of 1500 bytes: eight of them in a millisecond.
    for rtt in [2, 8, 20] {
        let wait = poll(
            Duration::from_micros(120),
            1,
            Some(Duration::from_millis(rtt)),
        );
        assert_eq!(wait, Some(BULK_LONGEST), "{rtt} ms");
    }
    let wait = poll(
        Duration::from_micros(120),
        1,
        Some(Duration::from_micros(800)),
    );
    assert_eq!(wait, Some(Duration::from_micros(400)));
    assert_eq!(
        poll(
            Duration::from_micros(120),
            1,
            Some(Duration::from_micros(500))
        ),
        None
    );
}

#[test]
fn a_dense_burst_is_coalesced_even_from_a_near_peer() {
    let near = Some(Duration::from_micros(100));
    assert_eq!(poll(Duration::from_micros(20), 1, near), Some(SHORTEST));
}

#[test]
fn the_nearest_of_several_peers_decides() {
    let start = clock::now();
    let mut moderation = Moderation::new(start);
    let (near, far) = (Some(Duration::from_micros(300)), FAR);
    let mut waits = Vec::new();
    for step in 1..=600 {
        let max_delay = if (200..400).contains(&step) && step % 20 == 0 {
            near
        } else {
            far
        };
        let again = moderation.on_poll(
            start + step * Duration::from_micros(100),
            found(1, 1400, max_delay),
        );
        waits.push(again.is_some());
    }
    assert!(waits[150]);
    assert!(waits[201..=400].iter().all(|waits| !waits));
    assert!(waits[599]);
}

#[test]
fn a_burst_is_forgotten_after_a_pause() {
    let start = clock::now();
    let mut moderation = Moderation::new(start);
    for step in 1..=400 {
        moderation.on_poll(
            start + step * Duration::from_micros(50),
            found(1, 1400, FAR),
        );
    }
    assert!(moderation.expected.is_some());
    // A poll that finds nothing is followed by no other.
    let now = start + Duration::from_micros(20_100);
    assert_eq!(moderation.on_poll(now, found(0, 0, FAR)), None);
    let later = start + Duration::from_secs(1);
    assert_eq!(moderation.on_poll(later, found(1, 1400, FAR)), None);
}
