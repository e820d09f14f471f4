//! Real clients through the pair and by plain TCP: records and their table. They are measured in `clients`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{Section, table::markdown};
use crate::record::{Circumstances, read};

/// What a client moved, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Of the file; of a client that was cut off, what the link delivered to it.
    pub bytes: u64,
    /// From the client's start to its end, or to the cut-off.
    pub elapsed_s: f64,
    /// Whether the digest is that of what was served; absent if it was cut off.
    pub is_equal: Option<bool>,
}

impl Part {
    /// Payload, Mbit/s.
    fn mbits(&self) -> f64 {
        self.bytes as f64 * 8e-6 / self.elapsed_s.max(1e-9)
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// Its name.
    pub client: String,
    /// What it was told.
    pub command: String,
    /// What of that is its proxy setting.
    pub through: String,
    /// Of the client and its servers, as Debian calls them.
    pub versions: Vec<String>,
    /// Of the link.
    pub rate_bits: u64,
    /// Without queues.
    pub round_trip_ms: u64,
    /// Share of packets lost, each way.
    pub loss: f64,
    /// Of the link's chances.
    pub seed: u64,
    /// Of the file through the pair.
    pub wanted: u64,
    /// Most seconds it may take.
    pub at_most_s: Option<f64>,
    /// Through the pair, or why not.
    pub proxied: Result<Part, String>,
    /// By plain TCP, or why not; absent if it was not tried.
    pub plain: Option<Result<Part, String>>,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "clients";

    /// Whether everything arrived through the pair, the same, and in time.
    pub fn is_good(&self) -> bool {
        self.proxied.as_ref().is_ok_and(|part| {
            let is_in_time = self.at_most_s.is_none_or(|most| part.elapsed_s <= most);
            part.is_equal == Some(true) && is_in_time
        })
    }

    /// Seconds that plain TCP would take for the bytes that went through the pair, if it went on as it did.
    fn extrapolated_s(&self) -> Option<f64> {
        let proxied = self.proxied.as_ref().ok()?;
        let plain = self.plain.as_ref()?.as_ref().ok()?;
        (plain.bytes > 0).then(|| plain.elapsed_s * proxied.bytes as f64 / plain.bytes as f64)
    }

    /// How many times as fast the client is through the pair.
    fn gain(&self) -> Option<f64> {
        Some(self.extrapolated_s()? / self.proxied.as_ref().ok()?.elapsed_s)
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let verdict = if self.is_good() { "ok" } else { "FAIL" };
        let proxied = match &self.proxied {
            Ok(part) => format!(
                "{:>8.1} MB {:>7.2} s {:>6.1} Mbit/s, {}",
                part.bytes as f64 * 1e-6,
                part.elapsed_s,
                part.mbits(),
                digest(part)
            ),
            Err(reason) => reason.clone(),
        };
        let plain = match &self.plain {
            None => String::new(),
            Some(Ok(part)) => {
                let cut_off = if part.is_equal.is_none() {
                    ", cut off"
                } else {
                    ""
                };
                let equal = if part.is_equal == Some(false) {
                    ", DIFFERENT"
                } else {
                    ""
                };
                format!("; plain TCP {:.2} Mbit/s{cut_off}{equal}", part.mbits())
            }
            Some(Err(reason)) => format!("; plain TCP: {reason}"),
        };
        let gain = self
            .gain()
            .map_or_else(String::new, |gain| format!("; x{gain:.1}"));
        format!("{verdict:<5}{:<26}{proxied}{plain}{gain}", self.client)
    }

    fn cells(&self) -> Vec<String> {
        let through = match &self.proxied {
            Ok(part) => {
                let late = self.at_most_s.filter(|most| part.elapsed_s > *most);
                let late = late.map_or_else(String::new, |most| format!(" (over {most} s)"));
                [
                    megabytes(part.bytes),
                    format!("{:.2}{late}", part.elapsed_s),
                    format!("{:.1}", part.mbits()),
                    digest(part).to_owned(),
                ]
            }
            Err(reason) => failed(reason),
        };
        let plain = match &self.plain {
            Some(Ok(part)) => {
                let mark = match part.is_equal {
                    Some(true) => "",
                    Some(false) => "DIFFERENT: ",
                    None => "~",
                };
                [
                    format!("{mark}{}", megabytes(part.bytes)),
                    format!("{:.1}", part.elapsed_s),
                    format!("{mark}{:.2}", part.mbits()),
                    self.extrapolated_s()
                        .map_or_else(dash, |s| format!("{s:.0}")),
                ]
            }
            Some(Err(reason)) => failed(reason),
            None => ["-", "-", "-", "-"].map(str::to_owned),
        };
        let gain = self.gain().map_or_else(dash, |gain| format!("{gain:.1}"));
        let mut cells = vec![format!("{} ({})", self.client, self.through)];
        cells.extend(through);
        cells.extend(plain);
        cells.push(gain);
        cells
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 {
        format!("{:.3}", bytes as f64 * 1e-6)
    } else {
        format!("{:.1}", bytes as f64 * 1e-6)
    }
}

fn digest(part: &Part) -> &'static str {
    match part.is_equal {
        Some(true) => "equal",
        Some(false) => "DIFFERENT",
        None => "CUT OFF",
    }
}

fn failed(reason: &str) -> [String; 4] {
    [format!("FAILED: {reason}"), dash(), dash(), dash()]
}

const HEAD: [&str; 10] = [
    "client (its setting)",
    "MB through the pair",
    "s",
    "Mbit/s",
    "digest",
    "MB by plain TCP",
    "s",
    "Mbit/s",
    "extrapolated, s",
    "times as fast",
];

/// All records as one table, by link; a later record of a client replaces an earlier one.
pub fn table(records: &[Record]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut newest: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records {
        if newest.insert(&record.client, record).is_none() {
            order.push(&record.client);
        }
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(order.iter().map(|client| newest[client].cells()));
    markdown(&rows)
}

/// The newest record of each client.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    let Some(last) = records.last() else {
        return Ok(None);
    };
    let mut versions: Vec<&str> = records
        .iter()
        .flat_map(|record| &record.versions)
        .map(String::as_str)
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let text = format!(
        "Unmodified programs of Debian's, over the emulated link between two network namespaces: {} Mbit/s, {} % of packets \
         lost each way, a round trip of 100 ms (200 ms where the name says vendor). `rpclient` is on the client's machine or \
         its gateway, `rpserver` on the servers'; their connection is there before, without memory of the path. The clock \
         runs from the start of the client's process to its end, so that what a client asks and waits for before the data \
         counts in full.\n\n\
         Beside it the same command without the proxy setting, by the kernel's TCP (CUBIC, windows up to 256 MB), with a \
         smaller file, since that is slow. The time for the bytes of the other side is extrapolated in proportion; a longer \
         transfer by CUBIC is about as fast or slower, for the small one has its slow start in it. `~`: cut off, and what the link had \
         delivered by then counts. A single run each; at such loss plain TCP differs from run to run by half.\n\n{}\n\
         Versions: {}.\n",
        last.rate_bits / 1_000_000,
        last.loss * 100.0,
        table(&records),
        versions.join(", "),
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

    fn record(client: &str, proxied: Result<Part, String>) -> Record {
        Record {
            kind: Record::KIND.to_owned(),
            client: client.to_owned(),
            command: "curl".to_owned(),
            through: "`-x`".to_owned(),
            versions: vec!["curl 7.88.1-10".to_owned()],
            rate_bits: 100_000_000,
            round_trip_ms: 100,
            loss: 0.01,
            seed: 1,
            wanted: 20_000_000,
            at_most_s: None,
            proxied,
            plain: Some(Ok(Part {
                bytes: 1_000_000,
                elapsed_s: 4.0,
                is_equal: Some(true),
            })),
            circumstances: Circumstances::now(),
        }
    }

    fn part(elapsed_s: f64, is_equal: Option<bool>) -> Part {
        Part {
            bytes: 20_000_000,
            elapsed_s,
            is_equal,
        }
    }

    #[test]
    fn plain_tcp_is_extrapolated_in_proportion_to_the_bytes() {
        let record = record("curl", Ok(part(2.0, Some(true))));
        assert_eq!(record.extrapolated_s(), Some(80.0));
        assert_eq!(record.gain(), Some(40.0));
    }

    #[test]
    fn nothing_is_extrapolated_from_nothing() {
        let mut record = record("curl", Ok(part(2.0, Some(true))));
        record.plain = Some(Ok(Part {
            bytes: 0,
            ..part(2.0, None)
        }));
        assert_eq!(record.extrapolated_s(), None);
        record.plain = Some(Err("refused".to_owned()));
        assert_eq!(record.gain(), None);
    }

    #[test]
    fn a_row_is_good_only_if_all_arrived_the_same_and_in_time() {
        let good = record("curl", Ok(part(2.0, Some(true))));
        assert!(good.is_good());
        let late = Record {
            at_most_s: Some(1.5),
            ..good
        };
        assert!(!late.is_good());
        assert!(!record("curl", Ok(part(2.0, Some(false)))).is_good());
        assert!(!record("curl", Ok(part(2.0, None))).is_good());
        assert!(!record("curl", Err("refused".to_owned())).is_good());
    }

    #[test]
    fn the_table_has_the_newest_row_of_each_client_and_says_why_one_failed() {
        let table = table(&[
            record("curl", Err("refused".to_owned())),
            record("wget", Err("exit status: 4; wget said: no".to_owned())),
            record("curl", Ok(part(2.0, Some(true)))),
        ]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[2],
            "| curl (`-x`) | 20.0 | 2.00 | 80.0 | equal | 1.0 | 4.0 | 2.00 | 80 | 40.0 |"
        );
        assert!(lines[3].contains("FAILED: exit status: 4; wget said: no"));
    }
}
