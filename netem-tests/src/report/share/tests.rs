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
fn company_at_several_depths_is_a_plot_and_equals_are_not_in_it() {
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
