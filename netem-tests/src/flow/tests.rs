//! Tests of the flows that serve as cross traffic: each does what it is known for.

use rp_protocol::units::Bandwidth;

use super::{
    named::plain,
    scenario::{Cell, jain, shares},
    *,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Goodput of one flow alone over what could arrive, steady.
fn alone(flow: FlowConfig, cell: &Cell) -> f64 {
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    bottleneck.add(flow);
    bottleneck.run(secs(40));
    bottleneck
        .flow(0)
        .goodput(secs(15)..secs(40))
        .bytes_per_second() as f64
        / cell.limit()
}

#[test]
fn each_kind_fills_an_empty_link_alone() {
    let cell = plain(50.0, 50, 1.0, 0.0);
    for (name, flow) in [
        ("cubic", FlowConfig::tcp()),
        ("reno", FlowConfig::reno()),
        ("bbr", FlowConfig::bbr()),
    ] {
        let share = alone(flow, &cell);
        assert!(share >= 0.9, "{name}, seed 1: {share}");
    }
}

#[test]
fn a_tenth_of_a_percent_of_loss_stops_reno_and_not_bbr() {
    let cell = plain(100.0, 100, 1.0, 0.001);
    // Mathis et al. (1997): 1.22 packets / (RTT x sqrt(p)) are 386 packets a second, 4 % of the link.
    let reno = alone(FlowConfig::reno(), &cell);
    assert!((0.02..0.1).contains(&reno), "seed 1: {reno}");
    let cell = plain(100.0, 100, 1.0, 0.01);
    let bbr = alone(FlowConfig::bbr(), &cell);
    assert!(bbr >= 0.95, "seed 1: {bbr}");
}

#[test]
fn bbr_keeps_a_small_queue_once_it_knows_the_link() {
    let cell = plain(50.0, 50, 4.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    bottleneck.add(FlowConfig::bbr().trace(true));
    bottleneck.run(secs(40));
    let queue = bottleneck.queue(secs(10)..secs(40));
    assert!(queue.mean < Duration::from_millis(15), "{queue:?}");
    let states: std::collections::BTreeSet<&str> = bottleneck
        .flow(0)
        .states()
        .iter()
        .map(|state| state.report.state)
        .collect();
    for state in ["startup", "drain", "probe bandwidth"] {
        assert!(states.contains(state), "{states:?}");
    }
}

#[test]
fn two_of_a_kind_share_and_bbr_takes_more_than_cubic_from_a_shallow_buffer() {
    let share = |first: FlowConfig, second: FlowConfig, bdp| {
        let cell = plain(50.0, 50, bdp, 0.0);
        let mut bottleneck = Bottleneck::new(cell.link(), 1);
        bottleneck.add(first);
        bottleneck.add(second);
        bottleneck.run(secs(60));
        shares(&bottleneck, secs(20)..secs(60))
    };
    let reno = share(FlowConfig::reno(), FlowConfig::reno(), 1.0);
    assert!(jain(&reno) >= 0.9, "{reno:?}");
    let bbr = share(FlowConfig::bbr(), FlowConfig::bbr(), 2.0);
    assert!(jain(&bbr) >= 0.9, "{bbr:?}");
    let mixed = share(FlowConfig::bbr(), FlowConfig::tcp(), 0.25);
    assert!(mixed[0] >= 0.6, "{mixed:?}");
}

#[test]
fn web_traffic_brings_the_load_that_was_asked() {
    let cell = plain(100.0, 40, 1.0, 0.0);
    let load = Bandwidth::from_bits_per_second(20_000_000);
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    bottleneck.add(FlowConfig::web(load));
    bottleneck.run(secs(120));
    let mean = bottleneck.flow(0).goodput(Duration::ZERO..secs(120));
    let share = mean.bytes_per_second() as f64 / load.bytes_per_second() as f64;
    assert!((0.85..1.15).contains(&share), "seed 1: {share}");
}
