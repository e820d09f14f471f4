//! Copies of files and trees: records and their tables. They are measured in `copies`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Section,
    table::{Spread, markdown},
};
use crate::{
    copies::Work,
    record::{Circumstances, Outcome, read},
};

/// One copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// What copied.
    pub copier: String,
    /// How many files.
    pub files: u64,
    /// Bytes of each.
    pub file_bytes: u64,
    /// Of the link; absent where nothing was emulated.
    pub rate_bits: Option<u64>,
    /// Without queues.
    pub round_trip_ms: Option<f64>,
    /// Each way.
    pub loss: Option<f64>,
    /// Whether files were on a disk and not in memory.
    pub is_on_disk: bool,
    /// From 0.
    pub repetition: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// From the program's start to its end.
    pub elapsed_s: Option<f64>,
    /// Processor time of the side that has the files; absent where the machine cannot tell.
    pub cpu_near_s: Option<f64>,
    /// Of the other.
    pub cpu_far_s: Option<f64>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "copies";

    fn work(&self) -> Work {
        Work {
            files: self.files,
            bytes: self.file_bytes,
        }
    }

    /// Where it was measured.
    fn place(&self) -> String {
        let disk = if self.is_on_disk { "disk" } else { "memory" };
        match (self.rate_bits, self.round_trip_ms, self.loss) {
            (Some(rate), Some(round_trip), Some(loss)) => format!(
                "{:.0} Mbit/s, {round_trip:.0} ms, {:.1} % loss, {disk}",
                rate as f64 * 1e-6,
                loss * 100.0
            ),
            _ => format!("loopback, {disk}"),
        }
    }

    fn elapsed(&self) -> Option<f64> {
        let is_complete = self.outcome == Outcome::Complete;
        self.elapsed_s
            .filter(|elapsed| is_complete && *elapsed > 0.0)
    }

    /// Payload bits a second.
    fn goodput(&self) -> Option<f64> {
        Some((self.files * self.file_bytes) as f64 * 8.0 / self.elapsed()?)
    }

    /// Of what the link can carry in full packets, as `grid` has it.
    fn share(&self) -> Option<f64> {
        let limit = self.rate_bits? as f64 * (1.0 - self.loss?) * 1448.0 / 1500.0;
        Some(self.goodput()? / limit)
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let outcome = match (&self.outcome, self.elapsed()) {
            (Outcome::Failed { reason }, _) => format!("failed: {reason}"),
            (_, Some(elapsed)) => format!(
                "{elapsed:.2} s, {:.1} Mbit/s, {:.0} files/s",
                self.goodput().unwrap_or(0.0) * 1e-6,
                self.files as f64 / elapsed
            ),
            _ => "cut off".to_owned(),
        };
        let (work, place) = (self.work().name(), self.place());
        format!("{work}, {place}: {} {outcome}", self.copier)
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
    let text = format!(
        "Whole commands, from start to end, with their handshakes; what arrived was compared with what was sent. The limit is that of the \
         implementations' grid: rate x (1 - loss) x 1448/1500, of which payload alone counts here. Each makes the files durable or not as it does by \
         itself: `rpcp` has each batch on the disk before its files take their names, the others leave that to the system.\n\n{}\n",
        table(&records)
    );
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: records.iter().map(|r| r.circumstances.clone()).collect(),
    }))
}

/// All of them, one row for each work, place and copier.
pub fn table(records: &[Record]) -> String {
    let mut order: Vec<(String, String, &str)> = Vec::new();
    for record in records {
        let key = (record.work().name(), record.place(), record.copier.as_str());
        if !order.contains(&key) {
            order.push(key);
        }
    }
    let head = [
        "what",
        "where",
        "by",
        "seconds",
        "Mbit/s",
        "% of the limit",
        "files/s",
        "CPU s, sender",
        "CPU s, receiver",
        "runs",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (work, place, copier) in order {
        let runs: Vec<&Record> = records
            .iter()
            .filter(|record| {
                record.work().name() == work && record.place() == place && record.copier == copier
            })
            .collect();
        let show = |decimals: usize, of: &dyn Fn(&Record) -> Option<f64>| {
            let spread = Spread::of(runs.iter().filter_map(|record| of(record)));
            spread.map_or_else(|| "-".to_owned(), |spread| spread.text(decimals))
        };
        let good = runs.iter().filter(|run| run.outcome == Outcome::Complete);
        let counted = match (good.count(), runs.len()) {
            (good, all) if good == all => all.to_string(),
            (good, all) => format!("{good} of {all}, the others failed or were cut off"),
        };
        rows.push(vec![
            work,
            place,
            copier.to_owned(),
            show(2, &Record::elapsed),
            show(1, &|record| record.goodput().map(|bits| bits * 1e-6)),
            show(1, &|record| record.share().map(|share| share * 100.0)),
            show(0, &|record| Some(record.files as f64 / record.elapsed()?)),
            show(2, &|record| {
                record.cpu_near_s.filter(|_| record.elapsed().is_some())
            }),
            show(2, &|record| {
                record.cpu_far_s.filter(|_| record.elapsed().is_some())
            }),
            counted,
        ]);
    }
    markdown(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_of_its_runs_and_a_share_of_what_the_link_can_carry() {
        let record = |repetition, elapsed_s| Record {
            kind: Record::KIND.to_owned(),
            copier: "rpcp".to_owned(),
            files: 20_000,
            file_bytes: 4096,
            rate_bits: Some(100_000_000),
            round_trip_ms: Some(200.0),
            loss: Some(0.01),
            is_on_disk: false,
            repetition,
            outcome: Outcome::Complete,
            elapsed_s: Some(elapsed_s),
            cpu_near_s: Some(0.5),
            cpu_far_s: None,
            circumstances: Circumstances::now(),
        };
        let text = table(&[record(0, 8.0), record(1, 10.0), record(2, 8.0)]);
        let row = text.lines().nth(2).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(
            cells[1..4],
            [
                "20000 x 4096 B",
                "100 Mbit/s, 200 ms, 1.0 % loss, memory",
                "rpcp"
            ]
        );
        assert!(cells[4].starts_with("8.00 ("), "{row}");
        assert!(cells[6].starts_with("85.7 ("), "{row}");
        assert_eq!(cells[8..11], ["0.50", "-", "3"]);
    }
}
