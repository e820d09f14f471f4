use super::*;
use crate::testing::epoch;

/// Drives a search over a path that carries at most `carries` bytes.
fn settle(search: &mut MtuSearch, now: Instant, carries: u16) {
    while let Some(size) = search.poll(now) {
        search.on_probe_sent();
        if size <= carries {
            search.on_probe_acked(now, size);
        } else {
            search.on_probe_lost(now, size, 0.0);
        }
    }
}

#[test]
fn search_finds_the_largest_size_that_passes() {
    for (carries, found) in [
        (1200, 1200),
        (1280, 1232),
        (1452, 1452),
        (1472, 1472),
        (1500, 1472),
        (9000, 8952),
    ] {
        let mut search = MtuSearch::new(8952, true);
        settle(&mut search, epoch(), carries);
        assert_eq!(search.current(), found, "path of {carries} bytes");
    }
}

//= spec/07-paths.md#packet-size
//= type=test
//# An endpoint MUST NOT send a packet larger than the peer's max_udp_payload.
#[test]
fn search_respects_the_peers_limit() {
    let mut search = MtuSearch::new(8952, true);
    search.limit(1400);
    settle(&mut search, epoch(), 9000);
    assert_eq!(search.current(), 1400);
}

#[test]
fn heavy_random_loss_asks_for_more_probes() {
    assert_eq!(probes_needed(0.0), 3);
    assert_eq!(probes_needed(0.1), 3);
    assert_eq!(probes_needed(0.3), 4);
    assert_eq!(probes_needed(0.9), 8);
}

//= spec/07-paths.md#packet-size
//= type=test
//# The packet size MUST NOT be lowered unless at least three probes of the size in use were
//# lost while a smaller packet arrived.
#[test]
fn black_hole_needs_failed_probes_and_a_small_arrival() {
    let now = epoch();
    let mut search = MtuSearch::new(1472, true);
    settle(&mut search, now, 1472);
    for _ in 0..SUSPICIOUS_RUN {
        search.on_lost(1472);
    }
    for _ in 0..5 {
        assert_eq!(search.poll(now), Some(1472));
        search.on_probe_sent();
        assert!(
            !search.on_probe_lost(now, 1472, 0.0),
            "nothing small has arrived yet"
        );
    }
    search.on_acked(now, 600);
    assert_eq!(search.poll(now), Some(1472));
    search.on_probe_sent();
    assert!(search.on_probe_lost(now, 1472, 0.0));
    assert_eq!(search.current(), MIN_PAYLOAD);
    assert_eq!(search.black_holes(), 1);
    assert_eq!(
        search.poll(now),
        Some(1452),
        "the search goes on below the size that failed"
    );
}

#[test]
fn burst_of_losses_alone_does_not_lower_the_size() {
    let now = epoch();
    let mut search = MtuSearch::new(1472, true);
    settle(&mut search, now, 1472);
    for _ in 0..1000 {
        search.on_lost(1472);
    }
    search.on_acked(now, 1472);
    assert_eq!(search.current(), 1472);
    assert_eq!(search.black_holes(), 0);
}
