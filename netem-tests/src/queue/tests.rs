//! Tests of the bottleneck: departures against arithmetic, limits, policing, CoDel.

use super::*;

const MBIT_100: u64 = 12_500_000;

fn config(rates: &[(u64, u64)]) -> BottleneckConfig {
    BottleneckConfig {
        rates: rates.to_vec(),
        limit_bytes: u64::MAX,
        limit_ns: u64::MAX,
        mark_ns: u64::MAX,
        codel: None,
        policer: None,
    }
}

fn departs(admission: Admission) -> u64 {
    match admission {
        Admission::Departs { at_ns, .. } => at_ns,
        other => panic!("not accepted: {other:?}"),
    }
}

#[test]
fn back_to_back_packets_leave_one_serialisation_time_apart() {
    let mut bottleneck = Bottleneck::new(config(&[(0, MBIT_100)]));
    assert_eq!(departs(bottleneck.offer(0, 1500, true)), 120_000);
    assert_eq!(departs(bottleneck.offer(0, 1500, true)), 240_000);
    assert_eq!(departs(bottleneck.offer(1_000_000, 1500, true)), 1_120_000);
}

#[test]
fn a_packet_across_a_rate_step_is_sent_at_both_rates() {
    // Half of it at 100 Mbit/s until 60 us, half at 10 Mbit/s.
    let mut bottleneck = Bottleneck::new(config(&[(0, MBIT_100), (60_000, MBIT_100 / 10)]));
    assert_eq!(departs(bottleneck.offer(0, 1500, true)), 60_000 + 600_000);
}

#[test]
fn a_stopped_link_goes_on_at_the_next_step_or_never() {
    let mut bottleneck = Bottleneck::new(config(&[(0, 0), (1_000_000, MBIT_100)]));
    assert_eq!(departs(bottleneck.offer(0, 1500, true)), 1_120_000);
    let mut bottleneck = Bottleneck::new(config(&[(0, 0)]));
    assert_eq!(bottleneck.offer(0, 1500, true), Admission::Stuck);
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_it_has_drained() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        limit_bytes: 3000,
        ..config(&[(0, MBIT_100)])
    });
    departs(bottleneck.offer(0, 1500, true));
    departs(bottleneck.offer(0, 1500, true));
    assert_eq!(bottleneck.offer(0, 1500, true), Admission::Full);
    assert_eq!(bottleneck.backlog_bytes(0), 3000);
    assert_eq!(departs(bottleneck.offer(120_000, 1500, true)), 360_000);
}

#[test]
fn a_limit_in_time_follows_the_rate() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        limit_ns: 1_000_000,
        ..config(&[(0, MBIT_100)])
    });
    let accepted = (0..100)
        .filter(|_| matches!(bottleneck.offer(0, 1500, true), Admission::Departs { .. }))
        .count();
    // Waiting times 0, 120 us, ... 960 us.
    assert_eq!(accepted, 9);
}

#[test]
fn an_empty_queue_takes_a_packet_larger_than_its_limit() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        limit_bytes: 100,
        ..config(&[(0, MBIT_100)])
    });
    departs(bottleneck.offer(0, 1500, true));
    assert_eq!(bottleneck.offer(0, 1500, true), Admission::Full);
}

#[test]
fn waiting_times_are_counted_without_the_packets_own_serialisation() {
    let mut bottleneck = Bottleneck::new(config(&[(0, MBIT_100)]));
    for _ in 0..101 {
        departs(bottleneck.offer(0, 1500, true));
    }
    let delay = bottleneck.delay();
    assert_eq!(delay.mean, Duration::from_micros(6000));
    assert_eq!(delay.max, Duration::from_micros(12_000));
    let p95 = delay.p95.as_secs_f64();
    assert!((p95 / 0.0114 - 1.0).abs() < 0.02, "p95 {p95}");
}

#[test]
fn packets_that_waited_longer_than_the_threshold_are_marked() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        mark_ns: 240_000,
        ..config(&[(0, MBIT_100)])
    });
    let marks: Vec<bool> = (0..5)
        .map(|_| {
            matches!(
                bottleneck.offer(0, 1500, true),
                Admission::Departs { mark: true, .. }
            )
        })
        .collect();
    assert_eq!(marks, [false, false, false, true, true]);
}

#[test]
fn a_policer_passes_its_burst_and_then_its_rate() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        policer: Some(Policer {
            rate: Bandwidth::from_bits_per_second(10_000_000),
            burst_bytes: 15_000,
        }),
        ..config(&[])
    });
    let burst = (0..20)
        .filter(|_| bottleneck.offer(0, 1500, true) != Admission::Policed)
        .count();
    assert_eq!(burst, 10);
    // Twice the rate for a second: half passes, however finely the offers are spread.
    let passed = (1..=1667u64)
        .filter(|i| bottleneck.offer(i * 600_000, 1500, true) != Admission::Policed)
        .count();
    assert!((830..=836).contains(&passed), "{passed}");
}

#[test]
fn codel_keeps_a_standing_queue_near_its_target() {
    let mut bottleneck = Bottleneck::new(BottleneckConfig {
        codel: Some(Codel::default()),
        ..config(&[(0, MBIT_100)])
    });
    // 10 % too much for 20 s, without any reaction: drop-tail would reach 2 s of queue.
    let (mut dropped, mut offered) = (0u32, 0u32);
    for i in 0..(20 * 9166u64) {
        offered += 1;
        dropped += u32::from(bottleneck.offer(i * 109_090, 1500, true) == Admission::Late);
    }
    let share = f64::from(dropped) / f64::from(offered);
    assert!((0.02..0.12).contains(&share), "dropped {share}");
    assert!(bottleneck.delay().max < Duration::from_secs(1));
}
