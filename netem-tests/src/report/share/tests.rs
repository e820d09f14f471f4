//! Tests of the records of shared links.

use super::*;
use crate::scenario::Scenario;

fn record(case: &str, buffer: f64, means: &[(&str, f64)]) -> Record {
    Record {
        kind: Record::KIND.to_owned(),
        case: case.to_owned(),
        link: LinkFacts::of(&Scenario::load("baseline-a").unwrap()),
        buffer_bdp: buffer,
        seconds: 60,
        warm_up_s: 20,
        seed: 1,
        outcome: Outcome::Complete,
        flows: means
            .iter()
            .map(|(peer, mean)| Flow {
                peer: (*peer).to_owned(),
                extra_ms: 0.0,
                start_s: 0.0,
                mean_mbit: *mean,
                series_mbit: vec![*mean; 3],
            })
            .collect(),
        jain: jain(means.iter().map(|mean| mean.1)),
        queue_mean_ms: 10.0,
        queue_p95_ms: 20.0,
        queue_dropped: 5,
        circumstances: Circumstances::now(),
    }
}

#[test]
fn the_index_of_jain_is_one_for_equals_and_one_nth_for_a_tyrant() {
    assert_eq!(jain([5.0, 5.0, 5.0]), 1.0);
    assert_eq!(jain([8.0, 0.0, 0.0, 0.0]), 0.25);
    assert_eq!(jain([]), 0.0);
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let record = record(
        "rpcp+tcp-cubic",
        1.0,
        &[("rpcp", 30.0), ("tcp-cubic", 60.0)],
    );
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn the_share_is_of_all_flows_of_the_first_kind() {
    let flows = [("rpcp", 20.0), ("rpcp", 10.0), ("tcp-cubic", 60.0)];
    let section = section_of(&[record("2xrpcp+tcp-cubic", 1.0, &flows)]);
    assert!(section.text.contains("| 33 (67) |"), "{}", section.text);
    assert_eq!(section.plots.len(), 1);
}

#[test]
fn cross_traffic_at_several_depths_is_a_plot_and_equals_are_not_in_it() {
    let pair = [("rpcp", 30.0), ("tcp-cubic", 60.0)];
    let records = [
        record("rpcp+tcp-cubic", 0.5, &pair),
        record("rpcp+tcp-cubic", 4.0, &pair),
        record("2xrpcp", 4.0, &[("rpcp", 45.0), ("rpcp", 45.0)]),
    ];
    let section = section_of(&records);
    assert_eq!(section.plots.len(), 1);
    assert_eq!(section.plots[0].1.lines.len(), 1);
}

#[test]
fn what_is_asked_depends_on_the_cross_traffic() {
    let judged = |case: &str, buffer, means: &[(&str, f64)]| {
        let record = record(case, buffer, means);
        bars::bar(&record, &[&record]).map(|bar| bar.is_met())
    };
    let cubic = |ours| [("rpcp", ours), ("tcp-cubic", 100.0 - ours)];
    assert_eq!(judged("rpcp+tcp-cubic", 1.0, &cubic(26.0)), Some(true));
    assert_eq!(judged("rpcp+tcp-cubic", 2.0, &cubic(76.0)), Some(false));
    assert_eq!(judged("rpcp+tcp-cubic", 4.0, &cubic(16.0)), Some(true));
    assert_eq!(judged("rpcp+tcp-cubic", 0.25, &cubic(86.0)), Some(false));
    let bbr = [("rpcp", 89.0), ("tcp-bbr", 11.0)];
    assert_eq!(judged("rpcp+tcp-bbr", 4.0, &bbr), Some(false));
    assert_eq!(judged("rpcp+tcp-bbr", 0.25, &bbr), None);
    let equals = [("rpcp", 50.0), ("rpcp", 40.0)];
    assert_eq!(judged("2xrpcp", 1.0, &equals), Some(true));
    assert_eq!(judged("tcp-cubic", 1.0, &[("tcp-cubic", 90.0)]), None);
}

#[test]
fn a_flow_that_gives_way_is_judged_by_what_the_other_had_alone() {
    let alone = record("tcp-cubic", 1.0, &[("tcp-cubic", 90.0)]);
    let beside = |cubic| {
        let means = [("rpcp-low", 10.0), ("tcp-cubic", cubic)];
        record("rpcp-low+tcp-cubic", 1.0, &means)
    };
    for (cubic, is_met) in [(82.0, true), (80.0, false)] {
        let beside = beside(cubic);
        let bar = bars::bar(&beside, &[&beside, &alone]);
        assert_eq!(bar.map(|bar| bar.is_met()), Some(is_met));
        assert_eq!(bars::bar(&beside, &[&beside]), None);
    }
}

#[test]
fn unequal_round_trips_have_a_bar_of_their_own_in_the_table() {
    let mut uneven = record("rpcp+rpcp~100ms", 1.0, &[("rpcp", 15.0), ("rpcp", 80.0)]);
    uneven.flows[1].extra_ms = 100.0;
    let section = section_of(&[uneven]);
    assert!(section.text.contains("| 16 "), "{}", section.text);
    assert!(section.text.contains("NOT MET"), "{}", section.text);
}
