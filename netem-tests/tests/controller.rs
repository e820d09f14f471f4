//! The congestion controllers against the named scenarios of spec/04, in virtual time: a fast subset.
//! The full grids are a command: `cargo run -p rp-netem-tests --bin controller -- --help`.

use std::time::Duration;

use rp_netem_tests::flow::{
    Application, Bottleneck, FlowConfig,
    goals::{self, Figure, GOALS},
    named::{self, Impairment, plain},
    scenario::{self, Solo},
};
use rp_protocol::{config::Policy, units::Bandwidth};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn alone(mbps: f64, rtt_ms: u64, bdp: f64, loss: f64) -> Solo {
    let cell = plain(mbps, rtt_ms, bdp, loss);
    let to = (40 * cell.rtt()).max(secs(8));
    scenario::solo(&cell, cell.link(), FlowConfig::new(Policy::Fair), 1, to)
}

#[test]
fn solo_grid_fills_the_link_with_a_small_queue() {
    for (mbps, rtt, bdp, loss) in [
        (10.0, 50, 0.25, 0.0),
        (10.0, 100, 1.0, 0.1),
        (10.0, 300, 4.0, 0.01),
        (100.0, 10, 1.0, 0.01),
        (100.0, 20, 0.25, 0.1),
        (100.0, 100, 0.25, 0.001),
        (100.0, 100, 4.0, 0.05),
        (100.0, 300, 1.0, 0.1),
        (1000.0, 20, 1.0, 0.01),
    ] {
        let solo = alone(mbps, rtt, bdp, loss);
        let cell = format!("{mbps} Mbit/s, {rtt} ms, {bdp} BDP, {loss}: {solo:?}");
        assert!(solo.goodput >= 0.92, "{cell}");
        assert!(solo.queue_mean <= 0.11 && solo.queue_p95 <= 0.25, "{cell}");
        assert!(solo.start_rtts <= 6.0 && solo.overshoot <= 1.0, "{cell}");
    }
}

#[test]
fn solo_30_percent_of_loss_is_not_taken_for_congestion() {
    for rtt in [20, 100] {
        let cell = plain(100.0, rtt, 1.0, 0.3);
        let solo = scenario::solo(
            &cell,
            cell.link(),
            FlowConfig::new(Policy::Fair),
            1,
            secs(15),
        );
        assert!(solo.goodput >= 0.9, "{rtt} ms: {solo:?}");
    }
}

#[test]
fn shallow_05_keeps_its_own_drops_small() {
    for (rtt, loss) in [(50, 0.0), (100, 0.01), (100, 0.03)] {
        let solo = alone(100.0, rtt, 0.05, loss);
        assert!(
            solo.goodput >= 0.92 && solo.drops <= 0.05,
            "{rtt} ms, {loss}: {solo:?}"
        );
    }
}

#[test]
fn shallow_less_than_a_packet_is_not_collapsed_into() {
    for (rtt, bdp, loss) in [
        (10, 0.05, 0.0),
        (20, 0.05, 0.0),
        (20, 0.05, 0.05),
        (10, 0.25, 0.05),
    ] {
        let solo = alone(10.0, rtt, bdp, loss);
        assert!(solo.goodput >= 0.9, "{rtt} ms, {bdp} BDP, {loss}: {solo:?}");
    }
}

//= spec/04-congestion.md#start
//= type=test
//# With a valid capacity estimate the rate MUST NOT be raised above 0.95 of it.
#[test]
fn start_200_needs_six_round_trips_whatever_the_loss() {
    for loss in [0.0, 0.02, 0.1] {
        let solo = alone(100.0, 200, 1.0, loss);
        assert!(
            solo.start_rtts <= 6.0 && solo.overshoot <= 0.3,
            "{loss}: {solo:?}"
        );
    }
}

#[test]
fn start_late_does_not_flood_a_full_link() {
    for rtt in [20, 100] {
        let (max, mean) = named::start_late(rtt, 1);
        assert!(max <= 1.0 && mean <= 0.2, "{rtt} ms: {max} then {mean}");
    }
}

#[test]
fn step_10x_is_followed_within_three_seconds() {
    for rtt in [20, 100] {
        let figures = named::step_10x(rtt, 1);
        assert!(figures.low >= 0.94, "{rtt} ms: {figures:?}");
        assert!(figures.back_after <= 3.0, "{rtt} ms: {figures:?}");
    }
}

#[test]
fn police_is_found_without_delay() {
    for (mbps, depth, loss) in [(30.0, 20, 0.0), (30.0, 100, 0.02), (100.0, 100, 0.0)] {
        let solo = named::police(mbps, depth, loss, secs(40), 1);
        assert!(
            solo.goodput >= 0.9 && solo.drops <= 0.05,
            "{mbps} Mbit/s, depth {depth}, {loss}: {solo:?}"
        );
    }
}

//= spec/04-congestion.md#compete
//= type=test
//# A competing sender MUST cut its window when a round loses more than the random-loss estimate explains while
//# the queue is above half of its recent peak.
#[test]
fn cubic_1_is_neither_crushed_nor_obeyed() {
    for (rtt, bdp) in [(50, 0.5), (50, 1.0), (100, 1.0), (50, 2.0)] {
        let cell = plain(100.0, rtt, bdp, 0.0);
        for late in [false, true] {
            let share = scenario::beside_cubic(&cell, late, 1);
            assert!(
                (0.25..=0.75).contains(&share),
                "{rtt} ms, {bdp} BDP, late {late}: {share}"
            );
        }
    }
}

#[test]
fn cubic_1_at_the_ends_leaves_both_their_part() {
    for (rtt, bdp) in [(20, 0.25), (60, 4.0), (200, 4.0)] {
        let share = scenario::beside_cubic(&plain(100.0, rtt, bdp, 0.0), true, 1);
        assert!(
            (0.15..=0.85).contains(&share),
            "{rtt} ms, {bdp} BDP: {share}"
        );
    }
}

//= spec/04-congestion.md#compete
//= type=test
//# A cut MUST take 0.6 times the share of the capacity, 0.1 to 0.3 of the window, and aim at a third
//# of the capacity at least.
//= spec/04-congestion.md#compete
//= type=test
//# A window that delivers more than 0.6 of the capacity MUST NOT grow.
#[test]
fn bbr_1_takes_neither_all_nor_nothing() {
    for (rtt, bdp, least) in [
        (20, 0.5, 0.12),
        (100, 0.5, 0.12),
        // The kernel's BBR leaves a little more than this one: 13 %.
        (60, 1.0, 0.1),
        (100, 1.0, 0.12),
        (60, 2.0, 0.12),
        (60, 4.0, 0.12),
        (200, 4.0, 0.12),
    ] {
        let share = named::bbr_1(bdp, rtt, false, 1);
        assert!(
            (least..=0.88).contains(&share),
            "{rtt} ms, {bdp} BDP: {share}"
        );
    }
}

#[test]
fn cubic_leaves_and_the_queue_goes_with_it() {
    for own in [1, 3] {
        let (queue, jain) = named::cubic_leaves(own, 100, 1);
        assert!(queue <= 0.2 && jain >= 0.95, "{own} flows: {queue}, {jain}");
    }
}

//= spec/04-congestion.md#low
//= type=test
//# A flow under this policy MUST NOT enter COMPETE.
//= spec/04-congestion.md#low
//= type=test
//# Its queue target MUST be a third of that of a flow alone, whatever its share.
#[test]
fn low_leaves_cubic_its_own_and_takes_over_when_it_has_gone() {
    for (bdp, rtt) in [(0.25, 20), (1.0, 100), (4.0, 100)] {
        let (cubic, low) = named::low_beside_cubic(bdp, rtt, 1);
        let figures =
            format!("{bdp} BDP, {rtt} ms: cubic keeps {cubic:.3}, low then fills {low:.3}");
        assert!(cubic >= 0.9 && low >= 0.9, "{figures}");
    }
}

//= spec/04-congestion.md#queue-target
//= type=test
//# The queue target MUST grow as the share of the capacity falls.
#[test]
fn own_n_flows_share_evenly() {
    for (rtt, n, loss) in [(20, 8, 0.0), (50, 2, 0.01), (50, 4, 0.0), (100, 4, 0.01)] {
        let (jain, sum, queue) = named::own(&plain(100.0, rtt, 1.0, loss), n, true, 1);
        let figures = format!("{rtt} ms, {n} flows, {loss}: {jain}, {sum}, {queue}");
        assert!(jain >= 0.95 && sum >= 0.95 && queue <= 0.25, "{figures}");
    }
}

#[test]
fn own_n_flows_share_nearly_evenly_at_200_ms() {
    for (n, loss) in [(2, 0.0), (4, 0.01), (8, 0.01)] {
        let (jain, sum, queue) = named::own(&plain(100.0, 200, 1.0, loss), n, true, 1);
        let figures = format!("{n} flows, {loss}: {jain}, {sum}, {queue}");
        assert!(jain >= 0.85 && sum >= 0.95 && queue <= 0.25, "{figures}");
    }
}

//= spec/04-congestion.md#trains
//= type=test
//# The controller MUST work without valid trains.
#[test]
fn own_notrain_flows_do_not_collapse() {
    let (_, sum, _) = named::own(&plain(100.0, 50, 1.0, 0.0), 2, false, 1);
    assert!(sum >= 0.95, "{sum}");
    let solo = named::impaired(Impairment::NoTrains, 50, 1);
    assert!(solo.goodput >= 0.95 && solo.start_rtts <= 8.0, "{solo:?}");
}

#[test]
fn rtt_unfair_leaves_the_shorter_path_its_part() {
    for (shorter, difference) in [(50, 100), (20, 80)] {
        let longer = named::rtt_unfair(shorter, difference, 1);
        assert!((0.2..=0.8).contains(&longer), "{shorter} ms: {longer}");
    }
}

#[test]
fn ack10_jitter_reordering_and_bursts_cost_little() {
    for (kind, rtt, least) in [
        (Impairment::Jitter(ms(5)), 100, 0.88),
        (Impairment::Reorder(ms(5)), 50, 0.95),
        (Impairment::Ack10, 50, 0.95),
        (Impairment::Ack10Loss20, 50, 0.9),
        (Impairment::Bursts(5), 50, 0.88),
        (Impairment::Bursts(20), 50, 0.7),
        (Impairment::AckJitter, 50, 0.9),
    ] {
        let solo = named::impaired(kind, rtt, 1);
        assert!(solo.goodput >= least, "{kind:?}, {rtt} ms: {solo:?}");
    }
}

#[test]
fn idle_burst_resumes_at_the_rate_it_had() {
    let goodput = named::idle_burst(100, 1);
    assert!(goodput >= 0.5, "{goodput}");
}

#[test]
fn thin_flows_keep_the_rate_they_found() {
    let web = Application::Web(Bandwidth::from_bits_per_second(10_000_000));
    for (application, least) in [(web, 0.6), (Application::Answers, 0.9)] {
        for (rtt, loss) in [
            (20, 0.01),
            (100, 0.0),
            (100, 0.01),
            (200, 0.01),
            (100, 0.05),
        ] {
            for seed in 1..=4 {
                let (median, low) = named::thin(application, rtt, loss, seed);
                assert!(
                    low >= least && median <= 1.1,
                    "{application:?}, {rtt} ms, loss {loss}, seed {seed}: {median}, {low}"
                );
            }
        }
    }
}

//= spec/04-congestion.md#random-loss-estimate
//= type=test
//# Rounds MUST be chosen for the random-loss estimate by the rate they were sent at, never by the loss they
//# had.
#[test]
fn loss_that_begins_later_is_learnt() {
    let goodput = named::loss_rises(1);
    assert!(goodput >= 0.95, "{goodput}");
}

#[test]
fn late_full_does_not_drop_a_quarter() {
    let drops = named::late_full(1);
    assert!(drops <= 0.25, "{drops}");
}

//= spec/04-congestion.md#fixed-rate
//= type=test
//# A sender with a typed rate MUST NOT send at more than twice the rate that is delivered, except
//# for 32 packets per round trip.
#[test]
fn fixed_rate_that_is_a_lie_wastes_no_more_than_it_delivers() {
    let ratio = named::fixed_lie(1);
    assert!(ratio <= 2.1, "{ratio}");
}

//= spec/04-congestion.md#marks
//= type=test
//# After a round with CE marks the rate MUST NOT be above 0.95 of the delivered rate.
#[test]
fn marking_queue_is_heeded() {
    let (goodput, queue) = named::marking_queue(1);
    assert!(goodput >= 0.9 && queue <= 0.15, "{goodput}, {queue}");
}

#[test]
fn very_slow_and_very_fast_links_are_filled() {
    for (mbps, rtt, seconds, least) in [
        (0.01, 100, 200, 0.8),
        (0.2, 50, 30, 0.9),
        (10_000.0, 20, 1, 0.8),
    ] {
        let cell = plain(mbps, rtt, 8.0, 0.0);
        let link =
            named::packet_queue(&cell, 1000.max(8 * cell.rate().bytes_in(cell.rtt()) / 1200));
        let solo = scenario::solo(&cell, link, FlowConfig::new(Policy::Fair), 1, secs(seconds));
        assert!(solo.goodput >= least, "{mbps} Mbit/s: {solo:?}");
    }
}

/// All runs of the scenarios of this name reach their thresholds.
fn reaches_its_bars(name: &str) {
    let mut short = Vec::new();
    let mut runs = 0;
    for goal in GOALS.iter().filter(|goal| goal.name == name) {
        for seed in 1..=2 {
            let figures = goal.figures(seed);
            runs += 1;
            if !figures.iter().all(Figure::is_met) {
                short.push(format!("{} ms, seed {seed}: {figures:?}", goal.rtt_ms));
            }
        }
    }
    assert!(runs > 0, "{name}: no such scenario");
    assert!(short.is_empty(), "{name}: {}", short.join("; "));
}

#[test]
fn police_20_ms_on_a_gigabit_line() {
    // With loss behind the policer, which nobody asks to stay below 3 % of drops, the limit is that of the other
    // policers.
    for goal in GOALS
        .iter()
        .filter(|goal| goal.name == goals::POLICER || goal.name == goals::POLICER_LOSS)
    {
        for figure in goal.figures(1) {
            let limit = if goal.name == goals::POLICER_LOSS && figure.what.starts_with("dropped") {
                figure.value <= 0.05
            } else {
                figure.is_met()
            };
            assert!(limit, "{} ms: {figure:?}", goal.rtt_ms);
        }
    }
}

#[test]
fn reorder_of_three_per_cent_at_a_gigabit() {
    reaches_its_bars(goals::REORDERING);
}

#[test]
fn step_10x_at_10_s_and_back_at_20_s() {
    reaches_its_bars(goals::STEP);
}

#[test]
fn step_10x_from_a_gigabit_and_back() {
    reaches_its_bars(goals::STEP_GIGABIT);
}

/// The corners of the steady grid that are quick to run; all of it is `cargo cc steady`.
#[test]
fn steady_cells_reach_their_bars() {
    for (mbps, rtt, bdp, loss) in [
        (10.0, 20, 0.25, 0.02),
        (10.0, 20, 1.0, 0.3),
        (10.0, 600, 0.25, 0.3),
        (10.0, 600, 4.0, 0.05),
        (100.0, 10, 0.25, 0.3),
        (100.0, 20, 0.05, 0.01),
        (100.0, 100, 0.05, 0.05),
        (100.0, 300, 0.25, 0.3),
        (100.0, 50, 4.0, 0.1),
    ] {
        let cell = plain(mbps, rtt, bdp, loss);
        let range = scenario::steady_range(&cell);
        let flow = FlowConfig::new(Policy::Fair);
        let solo = scenario::solo_between(&cell, cell.link(), flow, 1, range);
        let least = goals::least_goodput(&cell).expect("these cells have a threshold");
        assert!(solo.goodput >= least, "{cell:?}: {solo:?}");
        let is_long = solo.queue_mean > goals::QUEUE_MEAN || solo.queue_p95 > goals::QUEUE_P95;
        // At 10 ms a few packets are a tenth of the round trip.
        assert!(rtt < 20 || mbps < 100.0 || !is_long, "{cell:?}: {solo:?}");
    }
}

#[test]
fn solo_30_at_300_ms_is_filled_after_40_s() {
    let cell = plain(100.0, 300, 1.0, 0.3);
    for seed in 1..=3 {
        let flow = FlowConfig::new(Policy::Fair);
        let solo = scenario::solo_between(&cell, cell.link(), flow, seed, secs(40)..secs(60));
        assert!(solo.goodput >= 0.9, "seed {seed}: {solo:?}");
    }
}

#[test]
fn ratchet_a_policer_does_not_teach_its_own_loss() {
    let solo = named::police(30.0, 100, 0.02, secs(300), 1);
    assert!(solo.goodput >= 0.9 && solo.drops <= 0.05, "{solo:?}");
}

#[test]
fn burst_dead_long_bursts_do_not_stop_the_flow() {
    let (overall, least) = named::burst_dead(1);
    assert!(overall >= 0.6 && least >= 0.2, "{overall}, {least}");
}

#[test]
fn cubic_4_leaves_everybody_something() {
    for (bdp, rtt) in [(0.25, 100), (1.0, 100), (4.0, 100)] {
        let (ours, least) = named::cubic_4(bdp, rtt, 1);
        let figures = format!("{bdp} BDP, {rtt} ms: {ours}, {least}");
        assert!((0.1..=0.5).contains(&ours) && least >= 0.08, "{figures}");
    }
}

#[test]
fn h1_h2_h3_links_kept_aside_are_filled() {
    for (mbps, rtt, loss) in [(50.0, 150, 0.03), (300.0, 200, 0.02), (20.0, 600, 0.01)] {
        let solo = alone(mbps, rtt, 1.0, loss);
        assert!(
            solo.goodput >= 0.95,
            "{mbps} Mbit/s, {rtt} ms, {loss}: {solo:?}"
        );
    }
}

#[test]
fn h7_a_base_that_rises_is_lived_with() {
    let goodput = named::base_rises(1);
    assert!(goodput >= 0.9, "{goodput}");
}

#[test]
fn two_runs_with_one_seed_are_the_same() {
    let run = || {
        let cell = plain(20.0, 40, 1.0, 0.02);
        let mut bottleneck = Bottleneck::new(cell.link(), 7);
        bottleneck.add(FlowConfig::new(Policy::Fair).trace(true));
        bottleneck.add(FlowConfig::tcp());
        bottleneck.run(secs(5));
        let rates: Vec<Bandwidth> = bottleneck.flow(0).states().iter().map(|s| s.rate).collect();
        (rates, bottleneck.link().delivered)
    };
    assert_eq!(run(), run());
}
