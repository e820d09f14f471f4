//! Tests of the world itself: transfers end right, and the same seed gives the same run.

use rp_protocol::units::Bandwidth;

use super::*;
use crate::loss::Loss;

fn run(seed: u64, loss: f64) -> (Option<Duration>, LinkCounters, LinkCounters) {
    let rate = Bandwidth::from_bits_per_second(100_000_000);
    let link = LinkConfig::new(rate, Duration::from_millis(10))
        .loss(Loss::bernoulli(loss))
        .mtu(1500);
    let mut world = World::new(link.clone(), link, seed);
    let pair = world
        .add_transfer(3_000_000, TransportConfig::default())
        .unwrap();
    world.run(Duration::from_secs(60), |world| {
        world.completed_after(pair).is_some()
    });
    let (forward, back) = world.links();
    (world.completed_after(pair), forward, back)
}

#[test]
fn a_transfer_over_a_clean_link_completes_with_equal_bytes() {
    let (completed, forward, _) = run(1, 0.0);
    assert!(completed.is_some());
    assert!(forward.delivered_bytes > 3_000_000);
}

#[test]
fn the_same_seed_repeats_a_run_to_the_bit_and_another_does_not() {
    let first = run(7, 0.02);
    assert!(first.0.is_some());
    assert_eq!(first, run(7, 0.02));
    assert_ne!(first, run(8, 0.02));
}
