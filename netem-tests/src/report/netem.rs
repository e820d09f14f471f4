//! Records of the same scenarios and peers over `tc netem` and over the TUN carrier, and what the report says
//! of them. They are made in `netem::cells`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Section,
    table::{Spread, markdown},
};
use crate::{
    implementation::{Carrier, Figures},
    record::{self, Circumstances, Outcome},
};

/// One transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Always `netem`.
    pub kind: String,
    /// Name of the scenario file.
    pub scenario: String,
    /// Who sent.
    pub peer: String,
    /// Of the program or kernel that sent.
    pub version: String,
    /// What joined the two sides.
    pub carrier: Carrier,
    /// Counted from 0.
    pub repetition: u32,
    /// Of the TUN carrier's chances; netem draws its own.
    pub seed: Option<u64>,
    /// What netem was told, there and back.
    pub tc: Vec<String>,
    /// Settings of the scenario netem has no word for, or another meaning.
    pub notes: Vec<String>,
    /// The bottleneck's rate in bits per second.
    pub rate_bits: u64,
    /// Payload that was to be sent.
    pub asked_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was measured; absent if it could not be tried.
    pub figures: Option<Figures>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// What these records are called, in themselves and as a file.
    pub const KIND: &str = "netem";

    /// Payload in Mbit/s; `None` if it failed.
    pub fn mbps(&self) -> Option<f64> {
        let figures = self.figures.as_ref()?;
        let ran = !matches!(self.outcome, Outcome::Failed { .. }) && figures.elapsed_s > 0.0;
        ran.then(|| figures.bytes as f64 * 8e-6 / figures.elapsed_s)
    }
}

/// The two carriers agree if neither is off by more than this share of the other.
const AGREEMENT: f64 = 0.1;

/// The report's section.
///
/// # Errors
/// The file cannot be read.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = record::read(path)?;
    if records.is_empty() {
        return Ok(None);
    }
    let mut cells: Vec<(&str, &str)> = Vec::new();
    for record in &records {
        let cell = (record.scenario.as_str(), record.peer.as_str());
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    let head = ["scenario", "peer", "tc netem", "TUN lab", "TUN / netem", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (scenario, peer) in cells {
        let of = |carrier| {
            records
                .iter()
                .filter(|r| r.scenario == scenario && r.peer == peer && r.carrier == carrier)
                .collect::<Vec<_>>()
        };
        rows.push(row(scenario, peer, &of(Carrier::Netem), &of(Carrier::Tun)));
    }
    let mut text = format!(
        "Payload in Mbit/s for the same scenario files over the kernel's `tc netem` and over the lab's own TUN carrier. The \
         kernels may differ: each record names its own. A machine emulated in software counts its instructions for a clock, \
         a nanosecond each, so its speed is in no figure. What was cut off counts with what had arrived. Carriers that differ \
         by more than {:.0} % are marked.\n\n",
        AGREEMENT * 100.0
    );
    text.push_str(&markdown(&rows));
    let mut notes: Vec<&str> = records
        .iter()
        .flat_map(|record| record.notes.iter().map(String::as_str))
        .collect();
    notes.sort_unstable();
    notes.dedup();
    if !notes.is_empty() {
        text.push_str("\nWhat netem does not have as the scenarios mean it:\n\n");
        for note in notes {
            text.push_str(&format!("- {note}\n"));
        }
    }
    Ok(Some(Section {
        text,
        circumstances: records.iter().map(|r| r.circumstances.clone()).collect(),
        ..Section::default()
    }))
}

fn row(scenario: &str, peer: &str, netem: &[&Record], tun: &[&Record]) -> Vec<String> {
    let spread = |of: &[&Record]| Spread::of(of.iter().filter_map(|record| record.mbps()));
    let ratio = match (spread(netem), spread(tun)) {
        (Some(netem), Some(tun)) if netem.median > 0.0 => Some(tun.median / netem.median),
        _ => None,
    };
    let verdict = ratio.map_or("not compared", |ratio| {
        if (1.0 - AGREEMENT..=1.0 / (1.0 - AGREEMENT)).contains(&ratio) {
            ""
        } else {
            "differs"
        }
    });
    vec![
        scenario.to_owned(),
        peer.to_owned(),
        figure(netem),
        figure(tun),
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        verdict.to_owned(),
    ]
}

/// Median and spread, and how many runs did not end well.
fn figure(records: &[&Record]) -> String {
    let Some(spread) = Spread::of(records.iter().filter_map(|record| record.mbps())) else {
        return match records.first().map(|record| &record.outcome) {
            Some(Outcome::Failed { reason }) => format!("failed: {}", first_line(reason)),
            _ => "not measured".to_owned(),
        };
    };
    let count = |is_meant: fn(&Outcome) -> bool| {
        records
            .iter()
            .filter(|record| is_meant(&record.outcome))
            .count()
    };
    let cut = count(|outcome| *outcome == Outcome::CutOff);
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let mut text = spread.text(if spread.median < 10.0 { 2 } else { 1 });
    if cut > 0 {
        text.push_str(&format!(", cut off {cut} of {}", records.len()));
    }
    if failed > 0 {
        text.push_str(&format!(", failed {failed} of {}", records.len()));
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(peer: &str, carrier: Carrier, outcome: Outcome, mbps: f64) -> String {
        let record = Record {
            kind: "netem".to_owned(),
            scenario: "netem-20-clean".to_owned(),
            peer: peer.to_owned(),
            version: String::new(),
            carrier,
            repetition: 0,
            seed: None,
            tc: Vec::new(),
            notes: vec!["`loss` is done differently: it is".to_owned()],
            rate_bits: 20_000_000,
            asked_bytes: 1_000_000,
            outcome,
            figures: Some(Figures {
                bytes: 1_000_000,
                elapsed_s: 8.0 / mbps,
                ..Figures::default()
            }),
            circumstances: Circumstances::now(),
        };
        serde_json::to_string(&record).unwrap()
    }

    #[test]
    fn carriers_that_differ_are_marked_and_bad_ends_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netem.jsonl");
        assert!(section(&path).unwrap().is_none());
        let failed = Outcome::Failed {
            reason: "no such kernel\nmore".to_owned(),
        };
        let lines = [
            record("TCP CUBIC", Carrier::Netem, Outcome::Complete, 18.9),
            record("TCP CUBIC", Carrier::Tun, Outcome::Complete, 18.0),
            record("TCP BBR", Carrier::Netem, Outcome::CutOff, 18.0),
            record("TCP BBR", Carrier::Tun, Outcome::Complete, 9.0),
            record("rpcp", Carrier::Netem, failed, 1.0),
        ];
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let text = section(&path).unwrap().unwrap().text;
        for line in [
            "| netem-20-clean | TCP CUBIC | 18.9 | 18.0 | 0.95 |  |",
            "| netem-20-clean | TCP BBR | 18.0, cut off 1 of 1 | 9.00 | 0.50 | differs |",
            "| netem-20-clean | rpcp | failed: no such kernel | not measured |  | not compared |",
            "- `loss` is done differently: it is\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
