//! Every scenario with a budget, as a test by its name: engines over its link in virtual time must stay within
//! it. What a budget holds is described in `scenarios/README.md`; which scenarios there are, decided there.
#![expect(
    clippy::print_stdout,
    reason = "figures within the budget are for those who ask: --success-output immediate"
)]

use std::{
    alloc::System,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use rp_netem_tests::{
    cost::{Cost, measure},
    scenario::Scenario,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes held by this process.
fn heap() -> u64 {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated) as u64
}

/// Where tests share a process, one at a time: memory is counted for all of it.
static ALONE: Mutex<()> = Mutex::new(());

fn costs(name: &str) -> Vec<(Cost, Vec<String>)> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = Scenario::load(name).expect("a committed scenario loads");
    let budget = scenario
        .budget
        .as_ref()
        .expect("a scenario in the list has a budget");
    (1..=budget.seeds)
        .map(|seed| {
            let cost = measure(&scenario, budget, seed, heap)
                .expect("the world's own address and service are valid");
            let excess = cost.excess(budget);
            (cost, excess)
        })
        .collect()
}

fn check(name: &str) {
    let mut failures = Vec::new();
    for (cost, excess) in costs(name) {
        println!("{name}, {cost}");
        if !excess.is_empty() {
            failures.push(format!("{name}, {}: {cost}", excess.join(", ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        /// What is tested below.
        const TESTED: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

scenarios! {
    ack_loss "ack-loss"
    aggregation "aggregation"
    asymmetric_400 "asymmetric-400"
    bbr_shared "bbr-shared"
    bufferbloat "bufferbloat"
    bufferbloat_shared "bufferbloat-shared"
    codel "codel"
    cubic_shared "cubic-shared"
    damage "damage"
    fast_and_far "fast-and-far"
    heavy_loss "heavy-loss"
    jitter "jitter"
    jitter_reordering "jitter-reordering"
    marking "marking"
    mtu_drop "mtu-drop"
    outage "outage"
    path_change "path-change"
    policer "policer"
    rate_drop "rate-drop"
    rate_up "rate-up"
    reordering "reordering"
    satellite "satellite"
    satellite_jitter "satellite-jitter"
    satellite_loss "satellite-loss"
    shallow "shallow"
    slow "slow"
    udp_blackout "udp-blackout"
    udp_gap "udp-gap"
    udp_policed "udp-policed"
    web_shared "web-shared"
    wifi_bursty "wifi-bursty"
    wifi_hard "wifi-hard"
    wifi_long "wifi-long"
    wifi_shadow "wifi-shadow"
}

#[test]
fn every_scenario_with_a_budget_is_tested() {
    let all = Scenario::all().expect("the committed scenarios load");
    let with_budget: BTreeSet<&str> = all
        .iter()
        .filter(|scenario| scenario.budget.is_some())
        .map(|scenario| scenario.name.as_str())
        .collect();
    assert_eq!(with_budget, TESTED.iter().copied().collect());
}

#[test]
fn the_same_seed_gives_the_same_deliveries_bit_for_bit() {
    // Handshakes draw from the system's randomness, so bytes differ; times, sizes and fates must not.
    for name in ["jitter-reordering", "bufferbloat-shared", "damage"] {
        let digests = || -> Vec<(u64, Option<std::time::Duration>)> {
            costs(name)
                .iter()
                .map(|(cost, _)| (cost.digest, cost.time))
                .collect()
        };
        assert_eq!(digests(), digests(), "{name}");
    }
}
