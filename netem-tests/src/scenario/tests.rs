//! Tests of scenario files: every committed one loads, mistakes are named with their place.

use super::*;

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
fn a_missing_file_is_an_error_with_its_name() {
    let error = Scenario::load("no-such-link").unwrap_err();
    assert!(error.to_string().contains("no-such-link.toml"), "{error}");
}
