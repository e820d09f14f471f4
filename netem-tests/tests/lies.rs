//! Receivers that lie about the times at which packets arrived, in virtual time: no time they write makes a
//! sender flood the path. True receivers stand in `controller`.

use std::time::Duration;

use rp_netem_tests::flow::{
    ArrivalTimes,
    named::{self, plain},
    scenario::Cell,
};
use rp_protocol::{config::Policy, units::Bandwidth};

/// Most packets sent for one that the link passes.
const SENT_OVER_PASSED: f64 = 1.3;
/// The same with train reports of a thousand times the capacity: no ACK shows how fast a train arrived, so false
/// ones make START overshoot and growth fast.
const SENT_OVER_PASSED_TRAINS: f64 = 1.5;

fn cells() -> [Cell; 3] {
    [
        plain(10.0, 50, 1.0, 0.0),
        plain(10.0, 20, 0.5, 0.0),
        plain(20.0, 100, 4.0, 0.0),
    ]
}

fn stays_bounded(times: ArrivalTimes) {
    stays_below(times, SENT_OVER_PASSED);
}

fn stays_below(times: ArrivalTimes, most: f64) {
    for cell in cells() {
        let (sent, goodput) = named::lying_receiver(&cell, Policy::Fair, times, 1);
        assert!(
            sent < most,
            "{times:?}, {cell:?}: {sent:.2} sent for one passed, goodput {goodput:.2}"
        );
    }
}

//= spec/04-congestion.md#rounds
//= type=test
//# An arrival MUST NOT be counted as more than 25 ms and a quarter of the minimum RTT before its ACK.
#[test]
fn times_divided_by_four_do_not_make_a_flood() {
    stays_bounded(ArrivalTimes::Divided(4));
}

#[test]
fn times_divided_by_a_hundred_do_not_make_a_flood() {
    stays_bounded(ArrivalTimes::Divided(100));
}

#[test]
fn trains_of_a_thousand_times_the_capacity_waste_less_than_half() {
    stays_below(ArrivalTimes::Divided(1000), SENT_OVER_PASSED_TRAINS);
}

#[test]
fn equal_times_do_not_make_a_flood() {
    stays_bounded(ArrivalTimes::Equal);
}

#[test]
fn times_that_go_backwards_do_not_make_a_flood() {
    stays_bounded(ArrivalTimes::Backwards);
}

#[test]
fn random_times_do_not_make_a_flood() {
    stays_bounded(ArrivalTimes::Random);
}

//= spec/04-congestion.md#rounds
//= type=test
//# Between two arrivals no less time MUST be counted than three quarters of the time between their ACKs.
#[test]
fn times_that_are_slow_and_leap_do_not_make_a_flood() {
    for period_ms in [50, 200, 2000] {
        stays_bounded(ArrivalTimes::Leaping(Duration::from_millis(period_ms)));
    }
}

/// The bound is not bought with the rate of those who tell the truth.
#[test]
fn true_times_fill_the_link() {
    for cell in cells() {
        let (sent, goodput) = named::lying_receiver(&cell, Policy::Fair, ArrivalTimes::True, 1);
        assert!(
            sent < 1.05 && goodput > 0.95,
            "{cell:?}: {sent:.2} sent, goodput {goodput:.2}"
        );
    }
}

/// Twice the delivered rate is the most of a typed rate, whatever the receiver says was delivered; the first round
/// trips and 4/3 for a single sample come on top.
#[test]
fn a_typed_rate_is_held_to_twice_of_what_acks_prove() {
    let typed = Policy::Fixed(Bandwidth::from_bits_per_second(800_000_000));
    let cell = plain(10.0, 50, 1.0, 0.0);
    for times in [
        ArrivalTimes::True,
        ArrivalTimes::Divided(4),
        ArrivalTimes::Equal,
        ArrivalTimes::Random,
    ] {
        let (sent, _) = named::lying_receiver(&cell, typed, times, 1);
        assert!(sent < 2.7, "{times:?}: {sent:.2} sent for one passed");
    }
}
