//! What proxies cost: records and their table. They are measured in `proxies`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{Section, table::markdown};
use crate::record::{Circumstances, Outcome, read};

/// What one download came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Payload that arrived.
    pub bytes: u64,
    /// To the last byte, or to the cut-off.
    pub elapsed_s: f64,
    /// Processor time of the program where the data comes from.
    pub sender_cpu_s: f64,
    /// Of the one where it goes.
    pub receiver_cpu_s: f64,
    /// IP bytes put on the link in the data's direction.
    pub wire_forward_bytes: u64,
    /// How late the emulator delivered, 99th percentile.
    pub late_p99_us: f64,
}

impl Measured {
    fn mbits(&self) -> f64 {
        self.bytes as f64 * 8e-6 / self.elapsed_s.max(1e-9)
    }

    /// Per cent of one core.
    fn core(&self, cpu_s: f64) -> f64 {
        cpu_s / self.elapsed_s.max(1e-9) * 100.0
    }

    fn per_gigabyte(&self, cpu_s: f64) -> f64 {
        cpu_s / (self.bytes.max(1) as f64 * 1e-9)
    }
}

/// One pair of programs over one link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// Whose.
    pub proxy: String,
    /// How it was set.
    pub settings: String,
    /// Of its program.
    pub version: String,
    /// The program where the data comes from.
    pub sender: String,
    /// The one where it goes.
    pub receiver: String,
    /// Of the link.
    pub rate_bits: u64,
    /// Without queues.
    pub round_trip_ms: f64,
    /// Share of packets lost, each way.
    pub loss: f64,
    /// Of the link's chances.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Absent if nothing could be measured.
    pub measured: Option<Measured>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "proxies";

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.proxy.clone(), format!("{} %", self.loss * 100.0)];
        match (&self.outcome, &self.measured) {
            (Outcome::Failed { reason }, _) => {
                cells.push(format!("FAILED: {reason}"));
                cells.extend(vec!["-".to_owned(); 5]);
            }
            (outcome, Some(measured)) => {
                let mark = if *outcome == Outcome::CutOff {
                    " ~"
                } else {
                    ""
                };
                let of = |program: &str, cpu_s: f64| {
                    format!(
                        "{program}: {:.1} %, {:.2} s/GB",
                        measured.core(cpu_s),
                        measured.per_gigabyte(cpu_s)
                    )
                };
                cells.push(format!("{:.1}{mark}", measured.mbits()));
                cells.push(of(&self.sender, measured.sender_cpu_s));
                cells.push(of(&self.receiver, measured.receiver_cpu_s));
                let wire = measured.wire_forward_bytes as f64 / measured.bytes.max(1) as f64;
                cells.push(format!("{wire:.3}"));
                cells.push(format!("{:.1}", measured.elapsed_s));
                cells.push(format!("{:.0}", measured.late_p99_us));
            }
            (_, None) => cells.extend(vec!["-".to_owned(); 6]),
        }
        cells
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        self.cells().join("  ")
    }
}

const HEAD: [&str; 8] = [
    "proxy",
    "loss",
    "Mbit/s",
    "sender, of one core",
    "receiver, of one core",
    "wire bytes per byte",
    "s",
    "emulator late, us at p99",
];

/// All records as one table; a later record of the same run replaces an earlier one.
pub fn table(records: &[Record]) -> String {
    let mut order = Vec::new();
    let mut newest = BTreeMap::new();
    for record in records {
        let key = (record.proxy.as_str(), record.loss.to_bits());
        if newest.insert(key, record).is_none() {
            order.push(key);
        }
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(order.iter().map(|key| newest[key].cells()));
    markdown(&rows)
}

/// The newest record of each pair and loss.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    let Some(last) = records.last() else {
        return Ok(None);
    };
    let mut settings: Vec<String> = records
        .iter()
        .map(|record| {
            format!(
                "- {}: {} ({})",
                record.proxy, record.settings, record.version
            )
        })
        .collect();
    settings.sort();
    settings.dedup();
    let text = format!(
        "One download over a link of {} Mbit/s and {} ms, and the processor time of the two programs between client and \
         server, as the kernel counts it for their processes, in per cent of one core and in seconds for each GB that \
         arrived. `~`: cut off; who is slower than the link costs less of a core only because less is done.\n\n{}\n{}\n",
        last.rate_bits / 1_000_000,
        last.round_trip_ms,
        table(&records),
        settings.join("\n"),
    );
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: records.iter().map(|r| r.circumstances.clone()).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome) -> Record {
        Record {
            kind: Record::KIND.to_owned(),
            proxy: "rpclient-curl".to_owned(),
            settings: "default".to_owned(),
            version: "1".to_owned(),
            sender: "rpserver".to_owned(),
            receiver: "rpclient".to_owned(),
            rate_bits: 100_000_000,
            round_trip_ms: 100.0,
            loss: 0.01,
            seed: 1,
            outcome,
            measured: Some(Measured {
                bytes: 250_000_000,
                elapsed_s: 20.0,
                sender_cpu_s: 1.5,
                receiver_cpu_s: 1.0,
                wire_forward_bytes: 275_000_000,
                late_p99_us: 60.0,
            }),
            circumstances: Circumstances::now(),
        }
    }

    #[test]
    fn processor_time_is_of_one_core_and_of_each_gigabyte() {
        let table = table(&[record(Outcome::Complete)]);
        let row = table.lines().nth(2).unwrap();
        assert_eq!(
            row,
            "| rpclient-curl | 1 % | 100.0 | rpserver: 7.5 %, 6.00 s/GB | rpclient: 5.0 %, 4.00 s/GB | 1.100 | 20.0 | 60 |"
        );
    }

    #[test]
    fn who_was_cut_off_is_marked_and_who_failed_says_why() {
        assert!(table(&[record(Outcome::CutOff)]).contains("| 100.0 ~ |"));
        let reason = "not to be had".to_owned();
        let table = table(&[record(Outcome::Failed { reason })]);
        assert!(table.contains("FAILED: not to be had"));
    }
}
