//! Policy, maximum rate and memory of the path, changed while a connection lives.

#[expect(dead_code, reason = "the harness serves many tests")]
mod pair;

use std::time::Duration;

use rp_protocol::{config::Policy, congestion::PathMemory, units::Bandwidth};

use pair::{Pair, transfer::pattern};

fn state(pair: &mut Pair) -> &'static str {
    pair.client().stats().paths[0].state
}

fn mbit(n: u64) -> Bandwidth {
    Bandwidth::from_bits_per_second(n * 1_000_000)
}

/// Moves `len` bytes and says how long it took in virtual time.
fn transfer(pair: &mut Pair, len: usize) -> Duration {
    let begun = pair.now;
    assert_eq!(pair.transfer(len), pattern(len));
    pair.now - begun
}

#[test]
fn policy_is_changed_while_data_flows() {
    let mut pair = Pair::new();
    pair.connect();
    // The wire has no limit; this ends START.
    pair.client().set_max_rate(Some(mbit(40)));
    transfer(&mut pair, 2_000_000);
    let before = state(&mut pair);
    assert_ne!(before, "start");
    let change = |pair: &mut Pair, policy| {
        let now = pair.now;
        pair.client().set_policy(now, policy);
    };
    let rate = pair.client().stats().paths[0].pacing_rate;
    for policy in [Policy::Low, Policy::Fair] {
        change(&mut pair, policy);
        assert_eq!(
            state(&mut pair),
            before,
            "nothing begins anew for {policy:?}"
        );
        assert_eq!(pair.client().stats().paths[0].pacing_rate, rate);
        transfer(&mut pair, 500_000);
    }
    change(&mut pair, Policy::Fixed(mbit(10)));
    assert_eq!(state(&mut pair), "fixed");
    transfer(&mut pair, 500_000);
    change(&mut pair, Policy::Fixed(mbit(20)));
    assert!(pair.client().stats().paths[0].pacing_rate <= mbit(20));
    transfer(&mut pair, 500_000);
    change(&mut pair, Policy::Fair);
    assert_eq!(state(&mut pair), "start");
    transfer(&mut pair, 500_000);
}

#[test]
fn max_rate_is_kept_moved_and_lifted_in_a_living_connection() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client().set_max_rate(Some(mbit(8)));
    let slow = transfer(&mut pair, 1_000_000);
    assert!(slow >= Duration::from_millis(950), "{slow:?}");
    assert_eq!(pair.client().path_memory(), None);
    pair.client().set_max_rate(Some(mbit(80)));
    transfer(&mut pair, 1_000_000);
    pair.client().set_max_rate(None);
    let fast = transfer(&mut pair, 1_000_000);
    assert!(fast < slow / 3, "{fast:?} after {slow:?}");
}

#[test]
fn memory_of_the_path_makes_a_connection_faster() {
    let len = 4_000_000;
    let mut first = Pair::new();
    first.connect();
    let took = transfer(&mut first, len);
    assert_eq!(first.client().path_memory(), None, "the wire has no limit");
    let memory = PathMemory {
        rate: mbit(400),
        min_rtt: 2 * first.delay,
        age: Duration::ZERO,
    };
    let mut second = Pair::new();
    second.connect();
    second.client().recall(&memory);
    let again = transfer(&mut second, len);
    assert!(again < took, "{again:?} after {took:?}");
    let mut third = Pair::new();
    third.connect();
    third.client().recall(&PathMemory {
        min_rtt: 3 * memory.min_rtt,
        ..memory
    });
    assert_eq!(transfer(&mut third, len), took);
}
