//! What is asked of flows that share a link, beside what was measured. The asking is this project's own; the
//! full table and the plots are the parent's.

use super::{Record, link_words};
use crate::{record::Outcome, report::table::markdown};

/// Ours, and ours when nobody waits.
const FAIR: &str = "rpcp";
const LOW: &str = "rpcp-low";
const CUBIC: &str = "tcp-cubic";
const BBR: &str = "tcp-bbr";

/// A figure and what it should be.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    /// In words.
    what: &'static str,
    figure: f64,
    least: f64,
    most: f64,
    /// Digits behind the point.
    digits: usize,
}

impl Bar {
    pub(super) fn is_met(&self) -> bool {
        (self.least..=self.most).contains(&self.figure)
    }

    fn wanted(&self) -> String {
        let digits = self.digits;
        if self.most.is_finite() {
            format!("{:.digits$} to {:.digits$}", self.least, self.most)
        } else {
            format!(">= {:.digits$}", self.least)
        }
    }
}

/// What is asked of a record, if anything is.
pub(super) fn bar(record: &Record, all: &[&Record]) -> Option<Bar> {
    if record.outcome != Outcome::Complete || record.total_mbit() <= 0.0 {
        return None;
    }
    let peers: Vec<&str> = record.flows.iter().map(|flow| &*flow.peer).collect();
    let starts_apart = record.flows.iter().any(|flow| flow.start_s > 0.0);
    let is_uneven = record.flows.iter().any(|flow| flow.extra_ms > 0.0);
    let shares = || {
        let total = record.total_mbit();
        record
            .flows
            .iter()
            .map(move |flow| flow.mean_mbit / total * 100.0)
    };
    let least_share = shares().fold(f64::INFINITY, f64::min);
    let at_least = |what, figure, least, digits| {
        Some(Bar {
            what,
            figure,
            least,
            most: f64::INFINITY,
            digits,
        })
    };
    match *peers {
        [FAIR, CUBIC] if is_uneven => None,
        [FAIR, CUBIC] if (0.5..=2.0).contains(&record.buffer_bdp) => Some(Bar {
            what: "our share, %",
            figure: shares().next()?,
            least: 25.0,
            most: 75.0,
            digits: 0,
        }),
        [FAIR, CUBIC] => at_least("smaller share, %", least_share, 15.0, 0),
        [FAIR, BBR] if !is_uneven && (0.5..=4.0).contains(&record.buffer_bdp) => {
            at_least("smaller share, %", least_share, 12.0, 0)
        }
        [FAIR, FAIR] if is_uneven => at_least("smaller share, %", least_share, 20.0, 0),
        [LOW, CUBIC] => {
            let alone = all.iter().find(|other| {
                other.case == CUBIC
                    && other.link == record.link
                    && other.seconds == record.seconds
                    && other.outcome == Outcome::Complete
            })?;
            let kept = record.flows[1].mean_mbit / alone.total_mbit() * 100.0;
            at_least("what CUBIC keeps of what it had alone, %", kept, 90.0, 0)
        }
        _ if is_uneven || starts_apart || peers.len() < 2 => None,
        _ if peers.iter().all(|peer| *peer == FAIR) => {
            let least = match record.link.round_trip_ms {
                rtt if rtt <= 100.0 => 0.95,
                rtt if rtt <= 200.0 => 0.85,
                _ => return None,
            };
            at_least("Jain", record.jain, least, 3)
        }
        _ => None,
    }
}

/// All figures that something is asked of; empty if there are none.
pub(super) fn table(records: &[&Record]) -> String {
    let head = [
        "flows",
        "link",
        "buffer, BDP",
        "s",
        "figure",
        "measured",
        "asked",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for record in records {
        let Some(bar) = bar(record, records) else {
            continue;
        };
        let digits = bar.digits;
        rows.push(vec![
            record.case.clone(),
            link_words(record),
            record.buffer_bdp.to_string(),
            record.seconds.to_string(),
            bar.what.to_owned(),
            format!("{:.digits$}", bar.figure),
            bar.wanted(),
            if bar.is_met() { "met" } else { "NOT MET" }.to_owned(),
        ]);
    }
    if rows.len() < 2 {
        return String::new();
    }
    format!(
        "What is asked, and what was measured:\n\n{}\nAll of it:\n\n",
        markdown(&rows)
    )
}
