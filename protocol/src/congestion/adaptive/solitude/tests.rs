use super::*;

const RATE: f64 = 12.5e6;

/// A path of 100 Mbit/s with a minimum RTT of `min_rtt` seconds, of which `share` is this flow's.
fn model(min_rtt: f64, share: f64) -> Model {
    let mut model = Model::new(0.0, 1200.0, min_rtt, RATE, 1e6);
    for _ in 0..3 {
        model.trains.on_train(0.0, RATE, min_rtt);
    }
    model.delay.min_rtt = min_rtt;
    model.share = share;
    model
}

fn settled(model: &Model) -> Solitude {
    let mut solitude = Solitude::default();
    solitude.close_round(1.0, false, model);
    solitude.close_round(1.0 + SETTLED_AFTER, false, model);
    solitude
}

fn micros(solitude: Solitude, model: &Model) -> u128 {
    solitude.burst_time(model).as_micros()
}

#[test]
fn a_flow_long_alone_waits_longer_between_bursts() {
    for (min_rtt, expected) in [(0.002, 600), (0.006, 750), (0.1, 1000)] {
        let model = model(min_rtt, 1.0);
        assert_eq!(micros(settled(&model), &model), expected, "{min_rtt}");
    }
}

#[test]
fn a_flow_alone_for_a_moment_does_not() {
    let model = model(0.1, 1.0);
    let mut solitude = Solitude::default();
    solitude.close_round(1.0, false, &model);
    solitude.close_round(0.9 + SETTLED_AFTER, false, &model);
    assert_eq!(micros(solitude, &model), 250);
}

#[test]
fn company_loss_shallow_buffers_and_a_new_start_end_it_at_once() {
    let alone = model(0.1, 1.0);
    let company = model(0.1, 0.7);
    let mut shallow = model(0.1, 1.0);
    shallow.queue_cap = Some(0.001);
    let mut limited = model(0.1, 1.0);
    limited.loss_response.note_loss_limit(1.0, 0.1, RATE, true);
    for (name, path) in [
        ("company", &company),
        ("shallow", &shallow),
        ("limited", &limited),
    ] {
        let mut solitude = settled(&alone);
        solitude.close_round(8.0, false, path);
        assert_eq!(micros(solitude, &alone), 250, "{name}");
    }
    let mut solitude = settled(&alone);
    solitude.close_round(8.0, true, &alone);
    assert_eq!(micros(solitude, &alone), 250, "start");
}

#[test]
fn a_share_that_dips_a_little_is_no_company() {
    let model_alone = model(0.1, 1.0);
    let mut solitude = settled(&model_alone);
    solitude.close_round(8.0, false, &model(0.1, 0.8));
    assert_eq!(micros(solitude, &model_alone), 1000);
}

#[test]
fn one_odd_round_is_no_company_and_a_row_of_them_is() {
    let alone = model(0.002, 1.0);
    let odd = model(0.002, 0.5);
    let mut solitude = settled(&alone);
    solitude.close_round(6.01, false, &odd);
    assert_eq!(micros(solitude, &alone), 600);
    for round in 2..20 {
        solitude.close_round(6.0 + 0.01 * f64::from(round), false, &odd);
    }
    assert_eq!(micros(solitude, &alone), 250);
}

#[test]
fn a_slow_flow_keeps_short_bursts() {
    let mut slow = model(0.1, 1.0);
    slow.rate = FAST / 2.0;
    assert_eq!(micros(settled(&slow), &slow), 250);
}
