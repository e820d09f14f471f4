use std::time::Duration;

use super::*;
use crate::units::Bandwidth;

const MEASURED: Measured = Measured {
    min_rtt: 0.1,
    capacity: None,
    delivered: 0.0,
    usual: 1e5,
};

fn memory(rate: u64, hours: u64) -> PathMemory {
    PathMemory {
        rate: Bandwidth::from_bytes_per_second(rate),
        min_rtt: Duration::from_millis(100),
        age: Duration::from_hours(hours),
    }
}

fn recalled(hours: u64) -> Resume {
    let mut resume = Resume::default();
    resume.recall(&memory(8_000_000, hours));
    resume
}

//= spec/04-congestion.md#path-memory
//= type=test
//# A memory older than 24 hours MUST NOT be used.
#[test]
fn a_memory_of_yesterday_is_used_and_an_older_one_is_not() {
    assert_eq!(recalled(24).step(&MEASURED), 1e6);
    assert_eq!(recalled(25).step(&MEASURED), MEASURED.usual);
}

//= spec/04-congestion.md#path-memory
//= type=test
//# A sender MUST forget what it remembers of a path whose first RTT is not within half and twice of the
//# remembered one.
#[test]
fn another_round_trip_time_is_another_path() {
    for (min_rtt, is_same) in [(0.049, false), (0.05, true), (0.2, true), (0.21, false)] {
        let mut resume = recalled(1);
        let measured = Measured {
            min_rtt,
            ..MEASURED
        };
        assert_eq!(
            resume.step(&measured) > MEASURED.usual,
            is_same,
            "{min_rtt} s"
        );
        assert_eq!(resume.memory.is_some(), is_same, "{min_rtt} s");
    }
}

//= spec/04-congestion.md#path-memory
//= type=test
//# The rate MUST NOT be raised by memory above half of the remembered rate, nor above half of a valid
//# capacity estimate.
#[test]
fn half_of_the_memory_and_half_of_the_capacity_are_the_most() {
    for (capacity, rate) in [(8e6, 4e6), (80e6, 4e6), (1e6, 5e5), (1e5, 1e5)] {
        let measured = Measured {
            capacity: Some(capacity),
            ..MEASURED
        };
        assert_eq!(recalled(1).step(&measured), rate, "{capacity}");
    }
}

//= spec/04-congestion.md#path-memory
//= type=test
//# Without a valid capacity estimate the rate MUST NOT be raised by memory above an eighth of the
//# remembered rate before 0.7 of that eighth was delivered.
#[test]
fn without_trains_the_step_is_small_until_it_is_proven() {
    let mut resume = recalled(1);
    assert_eq!(resume.step(&MEASURED), 1e6);
    let at = |delivered| Measured {
        delivered,
        ..MEASURED
    };
    assert_eq!(resume.step(&at(0.6e6)), 1e6);
    assert_eq!(resume.step(&at(0.8e6)), 4e6);
}

#[test]
fn what_start_reaches_by_itself_ends_the_memory() {
    let mut resume = recalled(1);
    let measured = Measured {
        usual: 5e6,
        ..MEASURED
    };
    assert_eq!(resume.step(&measured), 5e6);
    assert_eq!(resume.step(&MEASURED), MEASURED.usual);
}
