//! Tests of the grid's records and tables.

use super::*;
use crate::{implementation::Figures, record::Circumstances, scenario::Scenario};

fn record(peer: &str, repetition: u32, mbit: f64) -> Record {
    Record {
        kind: Record::KIND.to_owned(),
        scenario: "baseline-b".to_owned(),
        link: LinkFacts::of(&Scenario::load("baseline-b").unwrap()),
        peer: peer.to_owned(),
        settings: "as it comes".to_owned(),
        version: "1.0".to_owned(),
        repetition,
        seed: 1,
        seconds: 4.0,
        bytes: 50_000_000,
        limit_s: 6.0,
        outcome: Outcome::Complete,
        figures: Some(Figures {
            bytes: 50_000_000,
            elapsed_s: 400.0 / mbit,
            cpu_near_s: Some(0.05),
            cpu_far_s: Some(0.025),
            wire_forward_bytes: 55_000_000,
            queue_mean_ms: 12.4,
            queue_p95_ms: 30.0,
            ..Figures::default()
        }),
        circumstances: Circumstances {
            unix_time: 1_795_305_600,
            kernel: "Linux 6.18".to_owned(),
            cpu: "A CPU".to_owned(),
            cores: 2,
            revision: "abc".to_owned(),
            command: "run --grid short".to_owned(),
        },
    }
}

#[test]
fn the_limit_is_what_a_full_packet_of_tcp_carries_behind_the_loss() {
    let link = record("x", 0, 1.0).link;
    assert!((link.limit_bits() / 1e6 - 95.6).abs() < 0.05, "{link:?}");
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let mut failed = record("srt", 0, 1.0);
    failed.outcome = Outcome::Failed {
        reason: "no".to_owned(),
    };
    failed.figures = None;
    for record in [record("rpcp", 2, 80.0), failed] {
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}

#[test]
fn a_cell_shows_median_spread_ratio_and_what_went_wrong() {
    let mut cut = record("x", 1, 90.0);
    cut.outcome = Outcome::CutOff;
    let mut failed = record("x", 2, 1.0);
    failed.outcome = Outcome::Failed {
        reason: "no".to_owned(),
    };
    let runs = [record("x", 0, 80.0), cut, failed];
    let cell = goodput_cell(&runs.iter().collect::<Vec<_>>());
    assert_eq!(cell, "85.0 (80.0-90.0), 89 % ~ !");
    assert_eq!(goodput_cell(&[&runs[2]]), "failed!");
}

#[test]
fn a_later_record_of_the_same_run_replaces_the_earlier() {
    let section = section_of(vec![record("rpcp", 0, 10.0), record("rpcp", 0, 80.0)]);
    assert!(
        section.text.contains("| rpcp | 80.0, 84 % |"),
        "{}",
        section.text
    );
    assert!(
        section.text.contains("| rpcp | 1.100 |"),
        "{}",
        section.text
    );
    assert!(
        section.text.contains("| rpcp | 12 / 30 |"),
        "{}",
        section.text
    );
    assert!(section.text.contains("| rpcp | 1.50 |"), "{}", section.text);
    assert_eq!(section.plots.len(), 1);
}

#[test]
fn runs_of_different_length_are_told_apart() {
    let mut long = record("rpcp", 0, 80.0);
    long.seconds = 16.0;
    let section = section_of(vec![record("rpcp", 0, 80.0), long]);
    assert!(section.text.contains("### Transfers of 4 s at full rate"));
    assert!(section.text.contains("### Transfers of 16 s at full rate"));
}
