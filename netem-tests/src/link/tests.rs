//! Tests of the link as a whole: timing, chances, order, determinism, bookkeeping.

use proptest::prelude::*;
use rp_protocol::units::Bandwidth;

use super::*;
use crate::queue::{Policer, QueueLimit};

fn mbit(rate: u64) -> Bandwidth {
    Bandwidth::from_bits_per_second(rate * 1_000_000)
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn capable(bytes: usize, is_ecn_capable: bool) -> Offer {
    Offer {
        is_ecn_capable,
        ..Offer::plain(bytes)
    }
}

/// Offers `count` packets of 1500 bytes, `gap` apart, and collects what arrives.
fn run(
    config: LinkConfig,
    seed: u64,
    count: u32,
    gap: Duration,
) -> (Vec<Delivery<u32>>, Link<u32>) {
    let start = Instant::now();
    let mut link = Link::new(config, seed).epoch(start);
    let mut deliveries = Vec::new();
    for i in 0..count {
        link.send(start + gap * i, capable(1500, true), i);
    }
    while let Some(at) = link.next_at() {
        let delivery = link.poll(at).expect("something arrives at next_at");
        assert_eq!(delivery.at, at);
        deliveries.push(delivery);
    }
    (deliveries, link)
}

#[test]
fn a_packet_takes_serialisation_and_delay() {
    let start = Instant::now();
    let mut link = Link::new(LinkConfig::new(mbit(100), ms(50)), 1);
    link.send(start, Offer::plain(1500), ());
    let at = start + Duration::from_micros(50_120);
    assert_eq!(link.next_at(), Some(at));
    assert_eq!(link.poll(at - Duration::from_nanos(1)), None);
    assert_eq!(link.poll(at).map(|d| d.at), Some(at));
    assert_eq!(link.next_at(), None);
}

#[test]
fn overload_is_delivered_at_the_rate_and_the_rest_dropped_at_the_tail() {
    let config = LinkConfig::new(mbit(100), ms(50));
    assert_eq!(config.queue_bytes(), Some(1_250_000));
    // Twice the rate for 6 s.
    let (deliveries, link) = run(config, 1, 100_000, Duration::from_micros(60));
    let span = deliveries[deliveries.len() - 1].at - deliveries[0].at;
    let rate = (deliveries.len() - 1) as f64 * 1500.0 * 8.0 / span.as_secs_f64();
    assert!((rate / 100e6 - 1.0).abs() < 1e-4, "rate {rate}");
    let counters = link.counters();
    assert_eq!(counters.queue_delay.max.as_millis(), 99);
    assert_eq!(
        counters.delivered + counters.queue_dropped,
        counters.offered
    );
}

#[test]
fn lost_packets_have_used_the_bottleneck() {
    let config = LinkConfig::new(mbit(100), ms(10)).loss(Loss::bernoulli(0.3));
    let (deliveries, link) = run(config, 5, 40_000, Duration::from_micros(120));
    let share = link.counters().lost as f64 / 40_000.0;
    assert!((share - 0.3).abs() < 0.01, "loss {share}");
    let start = deliveries[0].at - Duration::from_micros(120) * (deliveries[0].payload + 1);
    for delivery in deliveries {
        let slot = Duration::from_micros(120) * (delivery.payload + 1);
        assert_eq!(delivery.at, start + slot);
    }
}

#[test]
fn jitter_that_keeps_order_keeps_it_and_other_jitter_does_not() {
    let jitter = Spread::Uniform(ms(5));
    for keep_order in [true, false] {
        let config = LinkConfig::new(mbit(100), ms(20)).jitter(jitter, keep_order);
        let (deliveries, _) = run(config, 9, 10_000, Duration::from_micros(130));
        assert_eq!(deliveries.len(), 10_000);
        let is_sorted = deliveries.is_sorted_by_key(|d| d.payload);
        assert_eq!(is_sorted, keep_order);
        assert!(deliveries.is_sorted_by_key(|d| d.at));
    }
}

#[test]
fn held_back_packets_are_overtaken_and_the_others_keep_order() {
    let config = LinkConfig::new(mbit(100), ms(20)).reorder(0.03, ms(8));
    let (deliveries, link) = run(config, 2, 10_000, Duration::from_micros(130));
    assert_eq!(deliveries.len(), 10_000);
    let mut highest = 0;
    let late = deliveries
        .iter()
        .filter(|d| {
            highest = highest.max(d.payload);
            d.payload < highest
        })
        .count() as u64;
    assert_eq!(late, link.counters().reordered);
    assert!((late as f64 / 10_000.0 - 0.03).abs() < 0.006, "{late}");
}

#[test]
fn duplicates_arrive_after_their_originals() {
    let config = LinkConfig::unlimited(ms(1)).duplicate(0.5);
    let (deliveries, link) = run(config, 4, 1000, Duration::from_micros(10));
    assert_eq!(deliveries.len() as u64, 1000 + link.counters().duplicated);
    assert!(deliveries.is_sorted_by_key(|d| d.payload));
    assert!((400..600).contains(&link.counters().duplicated));
}

#[test]
fn only_capable_packets_behind_a_queue_are_marked() {
    let config = LinkConfig::new(mbit(10), ms(1))
        .queue(QueueLimit::Unlimited)
        .mark_above(ms(5));
    let start = Instant::now();
    let mut link = Link::new(config, 1);
    for i in 0..20 {
        link.send(start, capable(1250, i % 2 == 0), i);
    }
    let marked: Vec<i32> = std::iter::from_fn(|| link.poll(start + ms(100)))
        .filter(|d| d.ce)
        .map(|d| d.payload)
        .collect();
    assert_eq!(marked, [6, 8, 10, 12, 14, 16, 18]);
    assert_eq!(link.counters().marked, 7);
}

#[test]
fn steps_change_rate_delay_and_loss_at_their_times() {
    let config = LinkConfig::new(mbit(100), ms(10))
        .queue(QueueLimit::Unlimited)
        .steps(vec![
            Step {
                at: ms(200),
                loss: Some(Loss::Bernoulli(1.0)),
                ..Step::default()
            },
            Step {
                at: ms(100),
                rate: Some(mbit(10)),
                delay: Some(ms(30)),
                ..Step::default()
            },
        ]);
    let start = Instant::now();
    let mut link = Link::new(config, 1).epoch(start);
    for (i, at) in [0, 99, 150, 250].into_iter().enumerate() {
        link.send(start + ms(at), Offer::plain(1250), i);
    }
    let arrivals: Vec<u128> = std::iter::from_fn(|| link.poll(start + ms(1000)))
        .map(|d| (d.at - start).as_micros())
        .collect();
    assert_eq!(arrivals, [10_100, 109_100, 181_000]);
    assert_eq!(link.counters().lost, 1);
}

#[test]
fn packets_over_the_mtu_vanish_and_are_counted() {
    let mut link = Link::new(LinkConfig::unlimited(ms(1)).mtu(1500), 1);
    let start = Instant::now();
    link.send(start, Offer::plain(1501), "large");
    link.send(start, Offer::plain(1500), "fits");
    let arrived = link.poll(start + ms(1)).map(|d| d.payload);
    assert_eq!(arrived, Some("fits"));
    assert_eq!(link.counters().too_big, 1);
}

#[test]
fn a_lower_mtu_from_a_time_on_concerns_later_packets() {
    let step = Step {
        at: ms(10),
        mtu: Some(1280),
        ..Step::default()
    };
    let mut link = Link::new(LinkConfig::unlimited(ms(1)).steps(vec![step]), 1);
    let start = Instant::now();
    for (at, bytes) in [(0, 1500), (10, 1281), (10, 1280)] {
        link.send(start + ms(at), Offer::plain(bytes), bytes);
    }
    let arrived: Vec<usize> = std::iter::from_fn(|| link.poll(start + ms(20)))
        .map(|d| d.payload)
        .collect();
    assert_eq!(arrived, [1500, 1280]);
    assert_eq!(link.counters().too_big, 1);
}

/// Offers a packet of each class at each of these times; what arrives.
fn classes(config: LinkConfig, times: &[u64]) -> Vec<(u64, Class)> {
    let start = Instant::now();
    let mut link = Link::new(config, 1).epoch(start);
    for &at in times {
        for class in [Class::Udp, Class::Tcp, Class::Other] {
            let offer = Offer {
                class,
                ..Offer::plain(1000)
            };
            link.send(start + ms(at), offer, (at, class));
        }
    }
    std::iter::from_fn(|| link.poll(start + ms(1000)))
        .map(|d| d.payload)
        .collect()
}

#[test]
fn a_blackout_of_udp_lets_the_rest_pass_and_ends() {
    let blackout = Blackout {
        from: ms(10),
        until: Some(ms(20)),
        only: Some(Class::Udp),
    };
    let arrived = classes(
        LinkConfig::unlimited(ms(1)).blackout(blackout),
        &[9, 10, 19, 20],
    );
    let udp: Vec<u64> = arrived
        .iter()
        .filter(|(_, class)| *class == Class::Udp)
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(udp, [9, 20]);
    assert_eq!(arrived.len(), 10);
}

#[test]
fn a_blackout_without_an_end_stops_all_classes() {
    let blackout = Blackout {
        from: ms(5),
        until: None,
        only: None,
    };
    let arrived = classes(
        LinkConfig::unlimited(ms(1)).blackout(blackout),
        &[0, 5, 500],
    );
    assert_eq!(arrived.len(), 3);
}

#[test]
fn a_policer_of_udp_counts_no_other_packets() {
    let config = LinkConfig::unlimited(ms(1))
        .policer(Policer {
            rate: mbit(1),
            burst_bytes: 1000,
        })
        .police_only(Class::Udp);
    let arrived = classes(config, &[0, 1, 2]);
    let of = |class| arrived.iter().filter(|(_, c)| *c == class).count();
    assert_eq!(
        (of(Class::Udp), of(Class::Tcp), of(Class::Other)),
        (1, 3, 3)
    );
}

#[test]
fn aggregated_packets_arrive_in_bunches_and_in_order() {
    let config = LinkConfig::new(mbit(12), ms(10)).aggregate(ms(4));
    let (deliveries, _) = run(config, 1, 100, ms(1));
    let first = deliveries[0].at;
    for delivery in &deliveries {
        assert_eq!((delivery.at - first).as_nanos() % 4_000_000, 0);
    }
    assert!(deliveries.is_sorted_by_key(|d| d.payload));
    let bunch = deliveries.iter().filter(|d| d.at == deliveries[50].at);
    assert_eq!(bunch.count(), 4);
}

#[test]
fn a_shorter_delay_lets_later_packets_overtake_once() {
    let step = Step {
        at: ms(50),
        delay: Some(ms(10)),
        ..Step::default()
    };
    let config = LinkConfig::unlimited(ms(40)).steps(vec![step]);
    let (deliveries, _) = run(config, 1, 100, ms(1));
    let order: Vec<u32> = deliveries.iter().map(|d| d.payload).collect();
    assert!(!order.is_sorted());
    // Those under way and those behind the step are each in order.
    let (before, after): (Vec<u32>, Vec<u32>) = order.iter().partition(|i| **i < 50);
    assert!(before.is_sorted() && after.is_sorted());
    assert_eq!(deliveries.len(), 100);
}

#[test]
fn a_clock_that_steps_back_is_taken_as_standing_still() {
    let mut link = Link::new(LinkConfig::unlimited(ms(1)), 1);
    let start = Instant::now();
    link.send(start + ms(10), Offer::plain(100), 1);
    link.send(start, Offer::plain(100), 2);
    let order: Vec<i32> = std::iter::from_fn(|| link.poll(start + ms(20)))
        .map(|d| d.payload)
        .collect();
    assert_eq!(order, [1, 2]);
}

prop_compose! {
    fn any_config()(
        rate in 1u64..1000,
        delay in 0u64..300,
        queue in 0usize..4,
        loss in 0.0f64..0.4,
        burst in 1.0f64..20.0,
        jitter in proptest::option::of((0u64..20, any::<bool>())),
        reorder in 0.0f64..0.2,
        duplicate in 0.0f64..0.2,
        corrupt in 0.0f64..0.2,
        police in any::<bool>(),
        step in 0u64..50,
    ) -> LinkConfig {
        let queue = [
            QueueLimit::Bytes(10_000),
            QueueLimit::Time(ms(20)),
            QueueLimit::Bdp(0.25),
            QueueLimit::Unlimited,
        ][queue];
        let mut config = LinkConfig::new(mbit(rate), ms(delay))
            .queue(queue)
            .loss(Loss::bursts(loss, burst))
            .reorder(reorder, ms(5))
            .duplicate(duplicate)
            .corrupt(corrupt)
            .mark_above(ms(1))
            .steps(vec![Step { at: ms(step), rate: Some(mbit(rate * 2)), delay: Some(ms(delay / 2)), loss: None, mtu: None }]);
        if let Some((width, keep_order)) = jitter {
            config = config.jitter(Spread::Normal(ms(width)), keep_order);
        }
        if police {
            config = config.policer(Policer { rate: mbit(rate), burst_bytes: 20_000 });
        }
        config
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_packet_is_accounted_for_and_the_same_seed_repeats(
        config in any_config(), seed: u64, gap_us in 0u64..300,
    ) {
        let gap = Duration::from_micros(gap_us);
        let (deliveries, link) = run(config.clone(), seed, 2000, gap);
        let c = link.counters();
        prop_assert_eq!(c.delivered, deliveries.len() as u64);
        prop_assert_eq!(
            c.offered,
            c.policed + c.queue_dropped + c.lost + c.too_big + c.delivered - c.duplicated
        );
        prop_assert!(deliveries.is_sorted_by_key(|d| d.at));
        let (again, link_again) = run(config, seed, 2000, gap);
        prop_assert_eq!(c, link_again.counters());
        prop_assert!(deliveries.iter().map(|d| d.payload).eq(again.iter().map(|d| d.payload)));
    }

    #[test]
    fn bytes_never_leave_faster_than_the_rate(rate in 1u64..1000, gap_us in 0u64..300) {
        let config = LinkConfig::new(mbit(rate), ms(20)).queue(QueueLimit::Unlimited);
        let (deliveries, _) = run(config, 1, 500, Duration::from_micros(gap_us));
        let least = mbit(rate).time_for(1500);
        for pair in deliveries.windows(2) {
            prop_assert!(pair[1].at - pair[0].at >= least);
        }
    }
}
