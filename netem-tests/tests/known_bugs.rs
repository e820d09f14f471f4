//! Bugs that other transports had in their congestion controllers, each as a scenario in virtual time that would show it
//! here. Our controller's own scenarios stand in `controller`.

use std::time::Duration;

use rp_netem_tests::{
    flow::{
        Application, Bottleneck, FlowConfig,
        named::plain,
        scenario::{self, Cell, Solo},
    },
    link::Step,
    loss::Loss,
};
use rp_protocol::{config::Policy, units::Bandwidth};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn alone(cell: &Cell, to: Duration) -> Solo {
    scenario::solo(cell, cell.link(), FlowConfig::new(Policy::Fair), 1, to)
}

/// A window measured by a filter that only rises grew without bound while the application was the limit.
#[test]
fn an_application_limit_does_not_let_rate_and_window_grow() {
    let cell = plain(100.0, 50, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    let tenth = Application::Paced(cell.rate().scaled(0.1));
    bottleneck.add(FlowConfig::new(Policy::Fair).application(tenth).trace(true));
    bottleneck.run(secs(30));
    let bdp = cell.rate().bytes_in(cell.rtt());
    let last = bottleneck
        .flow(0)
        .states()
        .last()
        .expect("the flow has run");
    assert!(last.rate <= cell.rate().scaled(1.1), "{:?}", last.rate);
    assert!(last.window <= 2 * bdp, "{} of {bdp}", last.window);
    let goodput = bottleneck.flow(0).goodput(secs(5)..secs(30));
    assert!(goodput >= cell.rate().scaled(0.098), "{goodput:?}");
}

/// Counters of 32 bits collapsed after 4.3 GB.
#[test]
fn four_gigabytes_are_no_limit() {
    let cell = plain(10_000.0, 10, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    bottleneck.add(FlowConfig::new(Policy::Fair).mtu(9000));
    bottleneck.run(secs(8));
    let late = bottleneck.flow(0).goodput(secs(6)..secs(8));
    assert!(late >= cell.rate().scaled(0.95), "{late:?}");
}

/// High loss kept slow start from ending.
#[test]
fn heavy_loss_does_not_keep_start_alive() {
    for (rtt, loss) in [(50, 0.1), (50, 0.3), (200, 0.3)] {
        let cell = plain(50.0, rtt, 1.0, loss);
        let mut bottleneck = Bottleneck::new(cell.link(), 1);
        bottleneck.add(FlowConfig::new(Policy::Fair).trace(true));
        bottleneck.run(secs(8));
        let last = bottleneck
            .flow(0)
            .states()
            .last()
            .expect("the flow has run");
        assert_ne!(last.report.state, "start", "{rtt} ms, {loss}");
    }
}

/// A buffer of less than a packet drops most of every train: counted as delivered, that let the rate double
/// for ever.
#[test]
fn a_buffer_of_less_than_a_packet_does_not_let_start_run_away() {
    let cell = plain(10.0, 10, 0.05, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), 1);
    bottleneck.add(FlowConfig::new(Policy::Fair).trace(true));
    bottleneck.run(secs(5));
    let most = bottleneck
        .flow(0)
        .states()
        .iter()
        .map(|state| state.rate)
        .max();
    assert!(most <= Some(cell.rate().scaled(8.0)), "{most:?}");
}

/// After a collapse nothing was in flight, which looked idle, and the window stayed at its least.
#[test]
fn after_an_outage_the_rate_comes_back() {
    for rtt in [20, 100] {
        let cell = plain(100.0, rtt, 1.0, 0.0);
        let step = |at, loss| Step {
            at,
            loss: Some(loss),
            ..Step::default()
        };
        let link = cell.link().steps(vec![
            step(secs(10), Loss::bernoulli(1.0)),
            step(secs(13), Loss::None),
        ]);
        let mut bottleneck = Bottleneck::new(link, 1);
        bottleneck.add(FlowConfig::new(Policy::Fair));
        bottleneck.run(secs(30));
        let goodput = bottleneck.flow(0).goodput(secs(18)..secs(30));
        assert!(goodput >= cell.rate().scaled(0.9), "{rtt} ms: {goodput:?}");
    }
}

/// The window froze at a few packets where round trips are very short.
#[test]
fn a_round_trip_of_a_millisecond_does_not_freeze_the_window() {
    let cell = plain(1000.0, 1, 4.0, 0.0);
    let solo = alone(&cell, secs(6));
    assert!(solo.goodput >= 0.95, "{solo:?}");
}

/// Half a megabit at 216 ms with hardly any loss; too timid with a buffer of 1.25 BDP.
#[test]
fn a_long_path_with_hardly_any_loss_is_filled() {
    for (rtt, bdp, loss) in [(216, 1.0, 0.001), (216, 1.25, 0.0)] {
        let solo = alone(&plain(100.0, rtt, bdp, loss), secs(24));
        assert!(solo.goodput >= 0.95, "{rtt} ms, {loss}: {solo:?}");
    }
}

/// Ramp-up overshot on long delays.
#[test]
fn the_start_does_not_overshoot_a_long_path() {
    for rtt in [300, 600] {
        let solo = alone(&plain(50.0, rtt, 4.0, 0.0), secs(30));
        assert!(solo.overshoot <= 1.0, "{rtt} ms: {solo:?}");
    }
}

/// The rate was put on the wire as a burst each window instead of being paced: a buffer of a few packets
/// then drops what would have fitted.
#[test]
fn a_slow_path_with_a_buffer_of_three_packets_is_filled() {
    let cell = plain(10.0, 20, 0.17, 0.0);
    let solo = alone(&cell, secs(30));
    assert!(solo.goodput >= 0.9, "{solo:?}");
}

/// A least RTT that never expired held the window down after a change of route; a largest rate that never
/// expired flooded the slower one.
#[test]
fn estimates_of_an_old_route_expire() {
    let cell = plain(100.0, 40, 1.0, 0.0);
    let link = cell.link().steps(vec![Step {
        at: secs(10),
        rate: Some(Bandwidth::from_bits_per_second(20_000_000)),
        delay: Some(Duration::from_millis(80)),
        ..Step::default()
    }]);
    let mut bottleneck = Bottleneck::new(link, 1);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.run(secs(100));
    let range = secs(80)..secs(100);
    let goodput = bottleneck.flow(0).goodput(range.clone());
    assert!(goodput >= cell.rate().scaled(0.19), "{goodput:?}");
    let queue = bottleneck.queue(range).mean;
    assert!(queue <= Duration::from_millis(12), "{queue:?}");
}
