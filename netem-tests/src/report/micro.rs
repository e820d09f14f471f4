//! Microbenchmarks: records and their table. They are measured in `micro`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Section,
    table::{Spread, markdown},
};
use crate::record::{Circumstances, Outcome, read};

/// One transfer without an emulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// The medium.
    pub scenario: String,
    /// Who sent.
    pub peer: String,
    /// How it was set.
    pub settings: String,
    /// Of its program or kernel.
    pub version: String,
    /// From 0.
    pub repetition: u32,
    /// How much was sent.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// To the last byte; absent if nothing could be measured.
    pub elapsed_s: Option<f64>,
    /// Processor time of the sender; absent where the machine cannot tell.
    pub cpu_near_s: Option<f64>,
    /// Of the receiver.
    pub cpu_far_s: Option<f64>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "micro";

    fn gbits(&self) -> Option<f64> {
        let is_complete = self.outcome == Outcome::Complete;
        let elapsed = self
            .elapsed_s
            .filter(|elapsed| is_complete && *elapsed > 0.0)?;
        Some(self.bytes as f64 * 8e-9 / elapsed)
    }

    /// Processor seconds a gigabyte.
    fn per_gigabyte(&self, cpu: Option<f64>) -> Option<f64> {
        let is_complete = self.outcome == Outcome::Complete;
        Some(cpu.filter(|_| is_complete)? / (self.bytes as f64 * 1e-9))
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let show =
            |figure: Option<f64>| figure.map_or_else(|| "?".to_owned(), |x| format!("{x:.2}"));
        let outcome = match &self.outcome {
            Outcome::Complete => format!("{} Gbit/s", show(self.gbits())),
            Outcome::CutOff => "cut off".to_owned(),
            Outcome::Failed { reason } => format!("failed: {reason}"),
        };
        format!(
            "{} {}: {outcome}, {} + {} CPU s/GB",
            self.scenario,
            self.peer,
            show(self.per_gigabyte(self.cpu_near_s)),
            show(self.per_gigabyte(self.cpu_far_s)),
        )
    }
}

/// The records of the newest source.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    if records.is_empty() {
        return Ok(None);
    }
    // A later record of the same run replaces an earlier one.
    let newest: BTreeMap<_, _> = records
        .iter()
        .map(|r| ((&r.scenario, &r.peer, r.repetition), r))
        .collect();
    let mut order: Vec<(&str, &str)> = Vec::new();
    for record in &records {
        let key = (record.scenario.as_str(), record.peer.as_str());
        if !order.contains(&key) {
            order.push(key);
        }
    }
    let head = [
        "over",
        "by",
        "Gbit/s",
        "sender, CPU s/GB",
        "receiver, CPU s/GB",
        "runs",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (scenario, peer) in order {
        let runs: Vec<&&Record> = newest
            .values()
            .filter(|record| record.scenario == scenario && record.peer == peer)
            .collect();
        let show = |of: &dyn Fn(&Record) -> Option<f64>| {
            let spread = Spread::of(runs.iter().filter_map(|record| of(record)));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.text(2))
        };
        let good = runs.iter().filter(|run| run.outcome == Outcome::Complete);
        let counted = match (good.count(), runs.len()) {
            (good, all) if good == all => all.to_string(),
            (good, all) => format!("{good} of {all}, the others failed or were cut off"),
        };
        rows.push(vec![
            scenario.to_owned(),
            peer.to_owned(),
            show(&Record::gbits),
            show(&|record| record.per_gigabyte(record.cpu_near_s)),
            show(&|record| record.per_gigabyte(record.cpu_far_s)),
            counted,
        ]);
    }
    let mut settings: Vec<String> = newest
        .values()
        .map(|record| {
            format!(
                "- {}: {} ({})",
                record.peer, record.settings, record.version
            )
        })
        .collect();
    settings.sort();
    settings.dedup();
    let text = format!(
        "One connection, both ends on this machine, nothing emulated; whole transfers of {:.1} GB with their start-up. Both ends share \
         the cores, so goodput is mostly processor time seen from another side; what the kernel does for a receiver while \
         a sender's call lasts is the sender's.\n\n{}\n{}\n",
        records[0].bytes as f64 * 1e-9,
        markdown(&rows),
        settings.join("\n"),
    );
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: newest.values().map(|r| r.circumstances.clone()).collect(),
    }))
}
