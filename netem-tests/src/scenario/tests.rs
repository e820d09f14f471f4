//! Tests of scenario files: every committed one loads, mistakes are named with their place.

use std::time::Duration;

use super::*;
use crate::{
    link::{Blackout, Class},
    loss::Loss,
};

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(Path::new("x/try.toml"), text)
}

#[test]
fn every_committed_scenario_loads_and_says_what_it_is() {
    let all = Scenario::all().unwrap();
    assert!(all.len() >= 10, "{} scenarios", all.len());
    for scenario in all {
        assert!(scenario.about.len() > 10, "{}", scenario.name);
        assert!(
            scenario.forward.delay() > Duration::ZERO,
            "{}",
            scenario.name
        );
    }
}

#[test]
fn the_way_back_inherits_and_overrides() {
    let scenario = parse(
        "about = 'x'\n[link]\nrate = '100Mbit'\ndelay = '50ms'\nloss = '1%'\nburst = 5\n\
         [back]\nrate = '10Mbit'\nloss = '0%'\n",
    )
    .unwrap();
    assert_eq!(scenario.name, "try");
    assert_eq!(scenario.back.delay(), Duration::from_millis(50));
    assert_eq!(scenario.back.loss_model(), Loss::None);
    assert_eq!(scenario.forward.loss_model(), Loss::bursts(0.01, 5.0));
    // One product of the rate and the whole round trip.
    assert_eq!(scenario.forward.queue_bytes(), Some(1_250_000));
    assert_eq!(scenario.back.queue_bytes(), Some(125_000));
}

#[test]
fn a_bad_value_is_named_by_file_line_and_field() {
    let error = parse("about = 'x'\n[link]\nrate = '100 apples'\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "x/try.toml:3: field `rate`: `100 apples` is not a rate such as `100Mbit`"
    );
}

#[test]
fn an_unknown_field_is_named_by_file_line_and_field() {
    let error = parse("about = 'x'\n[link]\nrate = '1Mbit'\nrtt = '10ms'\n").unwrap_err();
    assert_eq!(error.line, Some(4));
    assert_eq!(error.field.as_deref(), Some("rtt"));
    assert!(error.message.contains("unknown field"), "{}", error.message);
}

#[test]
fn a_missing_field_is_named_where_its_table_begins() {
    let error = parse("# nothing\n[link]\nrate = '1Mbit'\n").unwrap_err();
    assert_eq!(error.to_string(), "x/try.toml:1: field `about`: is missing");
    let error =
        parse("about = 'x'\n[link]\nrate = '1Mbit'\npolicer = { rate = '1Mbit' }\n").unwrap_err();
    assert_eq!(error.to_string(), "x/try.toml:4: field `burst`: is missing");
}

#[test]
fn broken_syntax_is_named_by_its_line() {
    let error = parse("about = 'x'\n[link]\nrate = '1Mbit\n").unwrap_err();
    assert_eq!(error.line, Some(3), "{error}");
    assert_eq!(error.field.as_deref(), Some("rate"));
}

#[test]
fn what_cannot_be_meant_is_named_by_file_line_and_field() {
    let head = "about = 'x'\n[link]\ndelay = '1ms'\n";
    for (rest, line, field) in [
        ("queue = '1BDP'\n", 4, "queue"),
        ("rate = '0Mbit'\n", 4, "rate"),
        ("loss = '1%'\nburst = 0.5\n", 5, "burst"),
        ("burst = 5\n", 4, "burst"),
        ("jitter-shape = 'normal'\n", 4, "jitter-shape"),
        ("reorder-by = '5ms'\n", 4, "reorder-by"),
        ("mtu = '67B'\n", 4, "mtu"),
        ("aggregate = '0ms'\n", 4, "aggregate"),
        ("blackout = { from = '5s', until = '5s' }\n", 4, "blackout"),
        ("mtu = '1500B'\n[back]\nburst = 3\n", 6, "burst"),
        (
            "[[link.step]]\nat = '1s'\nloss = '1%'\n[[link.step]]\nat = '2s'\nrate = '1Mbit'\n",
            9,
            "rate",
        ),
        ("[[link.step]]\nat = '1s'\n", 5, "at"),
        ("[[cross]]\nkind = 'cubic'\nload = '1Mbit'\n", 6, "load"),
        ("[[cross]]\nkind = 'web'\n", 4, "load"),
    ] {
        let error = parse(&format!("{head}{rest}")).unwrap_err();
        assert_eq!(
            (error.line, error.field.as_deref()),
            (Some(line), Some(field)),
            "{rest}: {error}"
        );
        assert!(error.to_string().starts_with("x/try.toml:"), "{error}");
    }
}

#[test]
fn what_providers_do_to_udp_is_read() {
    let scenario = parse(
        "about = 'x'\n[link]\nrate = '100Mbit'\n\
         policer = { rate = '5Mbit', burst = '50KB', only = 'udp' }\n\
         blackout = { from = '5s', until = '8s', only = 'udp' }\n",
    )
    .unwrap();
    assert_eq!(scenario.forward.police_only, Some(Class::Udp));
    assert_eq!(
        scenario.back.blackout,
        Some(Blackout {
            from: Duration::from_secs(5),
            until: Some(Duration::from_secs(8)),
            only: Some(Class::Udp),
        })
    );
}

#[test]
fn cells_of_the_grid_are_scenarios_by_name() {
    let cell = Scenario::load("100Mbit-200ms-1%-0.25BDP").unwrap();
    assert_eq!(cell.name, "100Mbit-200ms-1%-0.25BDP");
    assert_eq!(cell.forward.delay(), Duration::from_millis(100));
    assert_eq!(cell.forward.loss_model(), Loss::Bernoulli(0.01));
    assert_eq!(cell.forward.queue_bytes(), Some(625_000));
    assert_eq!(cell.forward, cell.back);
    let shallow = Scenario::load("100Mbit-300ms-0.1%-50ms").unwrap();
    assert_eq!(shallow.forward.queue_bytes(), Some(625_000));
}

#[test]
fn a_cell_that_is_none_says_how_cells_are_named() {
    for (name, part) in [
        ("100Mbit-200ms-101%-1BDP", "its loss"),
        ("100apples-200ms-1%-1BDP", "its rate"),
        ("100Mbit-200-1%-1BDP", "its round trip"),
        ("100Mbit-200ms-1%-big", "its buffer"),
        ("0Mbit-200ms-1%-1BDP", "its rate"),
    ] {
        let error = Scenario::load(name).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("100Mbit-200ms-1%-1BDP"),
            "{error}"
        );
    }
}

#[test]
fn every_cell_of_the_axes_is_a_scenario() {
    let axes = Axes::load().unwrap();
    // 3 rates in real time and 2 more in virtual time, x 7 round trips x 7 losses x 4 buffers.
    assert_eq!(axes.cells(false).len(), 588);
    let all = axes.cells(true);
    assert_eq!(all.len(), 980);
    assert!(all.iter().any(|name| name == "10Gbit-300ms-30%-4BDP"));
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = Scenario::load("no-such-link").unwrap_err();
    assert!(error.to_string().contains("no-such-link.toml"), "{error}");
}
