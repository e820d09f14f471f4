//! Reordering at a high rate through whole engines, in virtual time: loss is detected by them, not by the
//! controller, whose part is tested in `controller`.

use std::time::Duration;

use rp_netem_tests::{link::LinkConfig, world::World};
use rp_protocol::{config::TransportConfig, units::Bandwidth};

/// What TCP carries of a full packet.
const PAYLOAD_SHARE: f64 = 1448.0 / 1500.0;

/// A gigabit on which 3 % of the packets are overtaken by up to 5 ms: goodput of the second half of the
/// bytes over the limit, and losses declared in error over packets sent.
fn reordered(rtt: Duration, bytes: u64) -> (f64, f64) {
    let rate = Bandwidth::from_bits_per_second(1_000_000_000);
    let link = LinkConfig::new(rate, rtt / 2)
        .reorder(0.03, Duration::from_millis(5))
        .mtu(1500);
    let back = LinkConfig::new(rate, rtt / 2).mtu(1500);
    let mut world = World::new(link, back, 1);
    let pair = world
        .add_transfer(bytes, TransportConfig::default())
        .expect("the world's own address and service are valid");
    let arrived = |world: &World| {
        world
            .receiving(pair)
            .map_or(0, |receiving| receiving.bytes())
    };
    let patience = Duration::from_secs(60);
    world.run(patience, |world| arrived(world) >= bytes / 2);
    let (half, half_took) = (arrived(&world), world.elapsed());
    let mut last = None;
    world.run(patience, |world| {
        last = world.sender_stats(pair).or_else(|| last.take());
        world.completed_after(pair).is_some()
    });
    let took = world.completed_after(pair).expect("the transfer completes");
    let stats = last.expect("the sender has lived");
    let (forward, _) = world.links();
    let spurious: u64 = stats.paths.iter().map(|path| path.spurious_losses).sum();
    let goodput = (bytes - half) as f64 / (took - half_took).as_secs_f64();
    (
        goodput / (rate.bytes_per_second() as f64 * PAYLOAD_SHARE),
        spurious as f64 / forward.offered as f64,
    )
}

#[test]
fn three_per_cent_of_reordering_at_a_gigabit_costs_neither_rate_nor_repairs() {
    for (ms, bytes) in [(50, 300_000_000), (100, 400_000_000)] {
        let (goodput, spurious) = reordered(Duration::from_millis(ms), bytes);
        let figures = format!("{ms} ms: goodput {goodput:.3}, in error {spurious:.4}");
        assert!(goodput >= 0.93 && spurious <= 0.01, "{figures}");
    }
}
