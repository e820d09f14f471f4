//! Figures beside their thresholds: records and their tables. They are measured in `connections`, `restarts`,
//! `first_byte` and `older`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{Section, table::markdown};
use crate::{
    record::{Circumstances, read},
    threshold::Row,
};

/// What one measurement of a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// The command of the lab, and which of its measurements.
    pub measurement: String,
    /// In their order.
    pub rows: Vec<Row>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "thresholds";

    /// A record of what was measured just now.
    pub fn of(measurement: &str, rows: Vec<Row>) -> Self {
        Self {
            kind: Self::KIND.to_owned(),
            measurement: measurement.to_owned(),
            rows,
            circumstances: Circumstances::now(),
        }
    }
}

/// The newest record of each measurement.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    if records.is_empty() {
        return Ok(None);
    }
    let newest: BTreeMap<&str, &Record> = records
        .iter()
        .map(|record| (record.measurement.as_str(), record))
        .collect();
    let mut text = String::from(
        "The released programs over loopback, or over an emulated path where the text says so. A figure without a threshold is told for \
         comparison.\n",
    );
    for (measurement, record) in &newest {
        let head = ["what", "figure", "threshold", ""].map(str::to_owned);
        let rows = record.rows.iter().map(|row| {
            let verdict = match (row.holds, row.threshold.is_empty()) {
                (_, true) => "",
                (true, false) => "holds",
                (false, false) => "**missed**",
            };
            vec![
                row.what.trim().to_owned(),
                row.figure.trim().to_owned(),
                row.threshold.trim().to_owned(),
                verdict.to_owned(),
            ]
        });
        let rows: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(rows).collect();
        text.push_str(&format!("\n### {measurement}\n\n{}\n", markdown(&rows)));
    }
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: newest.values().map(|r| r.circumstances.clone()).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Journal;

    #[test]
    fn the_newest_record_of_each_measurement_is_shown_and_a_miss_stands_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thresholds.jsonl");
        assert!(section(&path).unwrap().is_none());
        let mut journal = Journal::open(&path).unwrap();
        let row = |figure| vec![Row::at_most("memory", figure, 4.0, "KB")];
        for (measurement, figure) in [("a", 9.0), ("a", 3.0), ("b", 5.0)] {
            journal
                .append(&Record::of(measurement, row(figure)))
                .unwrap();
        }
        let text = section(&path).unwrap().unwrap().text;
        assert!(
            text.contains("3.00 KB") && text.contains("**missed**"),
            "{text}"
        );
        assert!(!text.contains("9.00 KB"), "{text}");
    }
}
