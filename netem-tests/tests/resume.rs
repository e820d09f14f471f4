//! A path that is known from before (spec/04-congestion.md#path-memory) and a maximum rate that the user sets, in
//! virtual time: the controller alone, and whole engines. Every test is a path, and what may be remembered of it.

use std::time::Duration;

use rp_netem_tests::{
    bulk::Application,
    flow::{
        Bottleneck, FlowConfig,
        named::plain,
        scenario::{self, Cell, Solo},
    },
    link::LinkConfig,
    world::World,
};
use rp_protocol::{
    config::{Policy, TransportConfig},
    congestion::PathMemory,
    units::Bandwidth,
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn mbit(n: f64) -> Bandwidth {
    Bandwidth::from_bits_per_second(1_000_000).scaled(n)
}

/// What is remembered of a path of `mbps` and `rtt_ms` an hour later.
fn known(mbps: f64, rtt_ms: u64) -> PathMemory {
    PathMemory {
        rate: mbit(mbps),
        min_rtt: ms(rtt_ms),
        age: secs(3600),
    }
}

fn start(cell: &Cell, flow: FlowConfig) -> Solo {
    scenario::solo(cell, cell.link(), flow, 1, (60 * cell.rtt()).max(secs(6)))
}

/// Paths on which START alone takes long.
const PATHS: [(f64, u64, f64); 5] = [
    (100.0, 200, 0.0),
    (100.0, 200, 0.01),
    (1000.0, 200, 0.0),
    (1000.0, 50, 0.0),
    (300.0, 200, 0.02),
];

#[test]
fn unknown_path_is_filled_within_five_round_trips() {
    for loss in [0.0, 0.01, 0.05] {
        let solo = start(&plain(100.0, 200, 1.0, loss), FlowConfig::new(Policy::Fair));
        println!("{loss}: {solo:?}");
        assert!(
            solo.start_rtts <= 5.0 && solo.overshoot <= 1.0,
            "{loss}: {solo:?}"
        );
    }
}

#[test]
fn known_path_is_filled_within_three_round_trips() {
    for (mbps, rtt, loss) in PATHS {
        let cell = plain(mbps, rtt, 1.0, loss);
        let flow = FlowConfig::new(Policy::Fair).memory(Some(known(mbps, rtt)));
        let solo = start(&cell, flow);
        let figures = format!("{mbps} Mbit/s, {rtt} ms, {loss}: {solo:?}");
        println!("{figures}");
        assert!(solo.start_rtts <= 3.0 && solo.overshoot <= 0.5, "{figures}");
        assert!(solo.goodput >= 0.95, "{figures}");
    }
}

#[test]
fn memory_helps_without_trains_and_floods_nobody() {
    let cell = plain(1000.0, 200, 1.0, 0.0);
    let flow = || FlowConfig::new(Policy::Fair).trains(false);
    let (new, old) = (
        start(&cell, flow()),
        start(&cell, flow().memory(Some(known(1000.0, 200)))),
    );
    println!("{new:?}, then {old:?}");
    assert!(
        old.start_rtts <= new.start_rtts - 3.0 && old.overshoot <= 1.0,
        "{new:?}, then {old:?}"
    );
}

/// As if nine tenths of the capacity had gone since.
#[test]
fn memory_ten_times_too_high_overshoots_by_less_than_the_pipe() {
    for (mbps, rtt, loss) in PATHS
        .into_iter()
        .chain([(10.0, 20, 0.0), (10.0, 100, 0.02)])
    {
        for trains in [true, false] {
            let cell = plain(mbps, rtt, 4.0, loss);
            let flow = FlowConfig::new(Policy::Fair).trains(trains);
            // The first round alone is more than a pipe of twenty packets holds.
            let most = start(&cell, flow.clone()).overshoot.max(1.0);
            let solo = start(&cell, flow.memory(Some(known(10.0 * mbps, rtt))));
            let figures = format!("{mbps} Mbit/s, {rtt} ms, {loss}, trains {trains}: {solo:?}");
            println!("{figures}");
            assert!(
                solo.start_rtts <= 6.0 && solo.overshoot <= most,
                "{figures}, at most {most}"
            );
            assert!(solo.goodput >= 0.95 && solo.drops <= 0.001, "{figures}");
        }
    }
}

#[test]
fn memory_of_a_slower_path_does_no_harm_and_of_another_nothing() {
    for (mbps, rtt, loss) in PATHS {
        let cell = plain(mbps, rtt, 1.0, loss);
        let without = start(&cell, FlowConfig::new(Policy::Fair));
        let with = |memory| start(&cell, FlowConfig::new(Policy::Fair).memory(Some(memory)));
        let slower = with(known(mbps / 100.0, rtt));
        let figures = format!("{mbps} Mbit/s, {rtt} ms, {loss}: {without:?}, {slower:?}");
        assert!(slower.start_rtts <= without.start_rtts + 0.1, "{figures}");
        assert!(slower.overshoot <= 0.5, "{figures}");
        assert_eq!(with(known(mbps, 3 * rtt)), without, "{figures}");
    }
}

/// The path was ours alone; now another flow of our kind fills it.
#[test]
fn memory_of_a_path_that_is_now_shared_does_not_crush() {
    for rtt in [50, 200] {
        let cell = plain(100.0, rtt, 4.0, 0.0);
        let joins = secs(20);
        let mut bottleneck = Bottleneck::new(cell.link(), 1);
        bottleneck.add(FlowConfig::new(Policy::Fair));
        let newcomer = FlowConfig::new(Policy::Fair).start(joins);
        bottleneck.add(newcomer.memory(Some(known(100.0, rtt))));
        bottleneck.run(secs(80));
        let queue = bottleneck.queue(joins..joins + 20 * cell.rtt());
        let overshoot = queue.max.as_secs_f64() / cell.rtt().as_secs_f64();
        let shares = scenario::shares(&bottleneck, secs(50)..secs(80));
        let figures = format!("{rtt} ms: overshoot {overshoot:.2}, shares {shares:?}");
        println!("{figures}");
        assert!(overshoot <= 1.0, "{figures}");
        assert!(scenario::jain(&shares) >= 0.9, "{figures}");
    }
}

//= spec/04-congestion.md#path-memory
//= type=test
//# A rate that START, a maximum rate or the policy `low` was the limit of MUST NOT be remembered.
#[test]
fn only_what_the_path_was_the_limit_of_is_remembered() {
    let cell = plain(100.0, 100, 1.0, 0.01);
    let learnt = |flow: FlowConfig, to| {
        let mut bottleneck = Bottleneck::new(cell.link(), 1);
        let number = bottleneck.add(flow);
        bottleneck.run(to);
        bottleneck.flow(number).memory()
    };
    let flow = FlowConfig::new(Policy::Fair);
    let memory = learnt(flow.clone(), secs(8)).expect("8 s are enough to know a path");
    let share = memory.rate.bytes_per_second() as f64 / cell.rate().bytes_per_second() as f64;
    assert!((0.9..=1.05).contains(&share), "{memory:?}");
    assert!((ms(99)..=ms(110)).contains(&memory.min_rtt), "{memory:?}");
    assert_eq!(learnt(flow.clone(), ms(150)), None);
    assert_eq!(
        learnt(flow.max_rate(Duration::ZERO, Some(mbit(20.0))), secs(8)),
        None
    );
    assert_eq!(learnt(FlowConfig::new(Policy::Low), secs(8)), None);
}

//= spec/04-congestion.md#maximum-rate
//= type=test
//# The rate of the controller, and not only what leaves, MUST NOT be above the maximum the user has set.
/// The maximum rate is the limit: that is neither an idle application nor a path that gives no more.
#[test]
fn max_rate_is_held_without_a_queue_lifted_and_set_again() {
    for loss in [0.0, 0.02] {
        let cell = plain(100.0, 100, 1.0, loss);
        let flow = FlowConfig::new(Policy::Fair)
            .max_rate(Duration::ZERO, Some(mbit(20.0)))
            .max_rate(secs(10), None)
            .max_rate(secs(20), Some(mbit(5.0)));
        let mut bottleneck = Bottleneck::new(cell.link(), 1);
        let number = bottleneck.add(flow.trace(true));
        bottleneck.run(secs(30));
        let record = bottleneck.flow(number);
        let goodput = |from: Duration, to, of: f64| {
            record.goodput(from..to).bytes_per_second() as f64
                / (mbit(of).bytes_per_second() as f64 * (1.0 - loss))
        };
        let held = [
            goodput(secs(2), secs(10), 20.0),
            goodput(secs(12), secs(20), 100.0),
            goodput(ms(20_300), secs(30), 5.0),
        ];
        let bdp =
            |from, to| bottleneck.queue(from..to).max.as_secs_f64() / cell.rtt().as_secs_f64();
        let queues = [
            bdp(Duration::ZERO, secs(10)),
            bdp(secs(10), ms(20_200)),
            bdp(ms(20_300), secs(30)),
        ];
        let drops = bottleneck.link().queue_dropped;
        let states: std::collections::BTreeSet<_> = record
            .states()
            .iter()
            .filter(|state| state.at > secs(2))
            .map(|state| state.report.state)
            .collect();
        let figures = format!("{loss}: of the maximum {held:.3?}, queues {queues:.3?}, {states:?}");
        println!("{figures}");
        assert!((0.97..=1.01).contains(&held[0]), "{figures}");
        assert!(held[1] >= 0.95, "{figures}");
        // Probes at 0.7 of the rate are longer at low rates.
        assert!((0.95..=1.01).contains(&held[2]), "{figures}");
        assert!(
            queues[0] <= 0.05 && queues[1] <= 0.3 && queues[2] <= 0.05,
            "{figures}"
        );
        assert!(drops == 0 && !states.contains("start"), "{figures}");
        assert!(!states.contains("compete"), "{figures}");
    }
}

/// What a transfer between engines does in its first seconds.
#[derive(Debug)]
struct Beginning {
    /// Round trips from the end of the handshake until 90 % of the rate arrives.
    rtts: f64,
    /// Largest queue over the bandwidth-delay product.
    overshoot: f64,
    memory: Option<PathMemory>,
}

fn engines(cell: &Cell, memory: Option<PathMemory>) -> Beginning {
    const SLOT: Duration = ms(10);
    let back = LinkConfig::unlimited(cell.rtt() / 2);
    let mut world = World::new(cell.link(), back, 1);
    let sender = match memory {
        Some(memory) => Application::resume(1 << 40, memory),
        None => Application::send(1 << 40),
    };
    // Credit is not what is looked at here.
    let transport = TransportConfig::default().initial_stream_credit(64 << 20);
    let pair = world
        .add_sender(sender, transport)
        .expect("the world's address and service are valid");
    let slots = (40 * cell.rtt()).max(secs(4)).as_millis() / SLOT.as_millis();
    let mut arrived = Vec::new();
    for slot in 1..=u32::try_from(slots).expect("some seconds") {
        world.run(SLOT * slot, |_| false);
        let stats = world.receiver_stats(pair);
        arrived.push(stats.map_or(0, |stats| stats.paths[0].received_bytes));
    }
    let width = usize::try_from(cell.rtt().as_millis() / SLOT.as_millis()).expect("some");
    let goal = cell
        .rate()
        .scaled(0.9 * (1.0 - cell.loss))
        .bytes_in(cell.rtt());
    let reached = arrived
        .windows(width + 1)
        .position(|window| window[width] - window[0] >= goal)
        .map_or(f64::INFINITY, |slot| slot as f64 / width as f64);
    let (forward, _) = world.links();
    Beginning {
        rtts: reached - 1.0,
        overshoot: forward.queue_delay.max.as_secs_f64() / cell.rtt().as_secs_f64(),
        memory: world.near(pair).path_memory(),
    }
}

#[test]
fn engines_find_a_known_path_sooner() {
    for (mbps, rtt, loss) in [(100.0, 200, 0.0), (100.0, 200, 0.01), (1000.0, 100, 0.0)] {
        let cell = plain(mbps, rtt, 2.0, loss);
        let first = engines(&cell, None);
        let memory = first.memory.expect("the path was filled");
        let again = engines(&cell, Some(memory));
        let wrong = PathMemory {
            rate: memory.rate.scaled(10.0),
            ..memory
        };
        let misled = engines(&cell, Some(wrong));
        let figures = format!("{mbps} Mbit/s, {rtt} ms, {loss}: {first:?}, {again:?}, {misled:?}");
        println!("{figures}");
        assert!(first.rtts <= 5.0 && first.overshoot <= 1.0, "{figures}");
        assert!(again.rtts <= 3.0 && again.overshoot <= 1.0, "{figures}");
        assert!(misled.rtts <= 5.0 && misled.overshoot <= 1.0, "{figures}");
    }
}
