use super::*;

const MIN_RTT: f64 = 0.1;
const TOLERATED: f64 = TOLERANCE + TOLERANCE_SHARE * MIN_RTT;

/// Counts the time between the first and the last of ACKs 20 ms apart, whose arrivals are reported at
/// `reported(true time)`; and the least between two that follow each other.
fn counted(reported: impl Fn(f64) -> f64) -> (f64, f64) {
    let mut arrivals = Arrivals::default();
    let all: Vec<Arrival> = (0..=500)
        .map(|step| {
            let at = f64::from(step) * 0.02;
            arrivals.on_ack(reported(at), at + 0.05, MIN_RTT)
        })
        .collect();
    let least = all
        .windows(2)
        .map(|pair| pair[1].since(&pair[0]))
        .fold(f64::INFINITY, f64::min);
    (all[500].since(&all[0]), least)
}

//= spec/04-congestion.md#rounds
//= type=test
//# An arrival MUST NOT be counted as more than 25 ms and a quarter of the minimum RTT before its ACK.
#[test]
fn no_report_hides_more_than_the_tolerance_of_ten_seconds() {
    type Lie = fn(f64) -> f64;
    let lies: [(&str, Lie); 6] = [
        ("a quarter", |at| at / 4.0),
        ("a thousandth", |at| at / 1000.0),
        ("all equal", |_| 7.0),
        ("backwards", |at| 1e6 - at),
        (
            "ahead, then equal",
            |at| if at < 0.1 { at + 1e9 } else { 1e9 },
        ),
        ("back and forth", |at| (at * 1e4).sin() * 100.0),
    ];
    for (name, lie) in lies {
        let (counted, _) = counted(lie);
        assert!(counted > 10.0 - TOLERATED - 1e-3, "{name}: {counted} s");
    }
}

//= spec/04-congestion.md#rounds
//= type=test
//# Between two arrivals no less time MUST be counted than three quarters of the time between their ACKs.
#[test]
fn no_report_hides_more_than_a_quarter_of_a_step() {
    for lie in [|at: f64| at / 1000.0, |at: f64| (at * 1e4).sin() * 100.0] {
        let (_, least) = counted(lie);
        assert!(least > 0.015 - 1e-6, "{least} s");
    }
}

#[test]
fn true_times_are_counted_as_they_are_though_acks_come_in_bunches() {
    let mut arrivals = Arrivals::default();
    let mut before: Option<(f64, Arrival)> = None;
    for step in 0..500_u32 {
        let at = f64::from(step) * 0.02;
        // ACKs are held up by up to 40 ms, by the return path or the receiver.
        let late = f64::from(step * 7 % 5) * 0.01;
        let arrival = arrivals.on_ack(at + 3600.0, at + 0.05 + late, MIN_RTT);
        // A single step may look longer than it was; over a few round trips nothing is left of that.
        if let Some((from, first)) = before {
            let counted = arrival.since(&first);
            let error = counted / (at - from) - 1.0;
            assert!(at - from < 0.3 || error.abs() < 1e-9, "{at}: {error}");
        } else if step >= 5 {
            before = Some((at, arrival));
        }
    }
}

#[test]
fn a_return_path_that_grows_longer_is_believed_after_one_step() {
    let mut arrivals = Arrivals::default();
    let mut at = |sent: f64, delay: f64| arrivals.on_ack(sent, sent + delay, MIN_RTT);
    let before = [at(0.0, 0.05), at(0.1, 0.05)];
    let after = [at(0.2, 0.25), at(0.3, 0.25), at(0.4, 0.25)];
    assert!((before[1].since(&before[0]) - 0.1).abs() < 1e-9);
    assert!(after[0].since(&before[1]) > 0.2);
    for pair in after.windows(2) {
        assert!((pair[1].since(&pair[0]) - 0.1).abs() < 1e-9);
    }
}
