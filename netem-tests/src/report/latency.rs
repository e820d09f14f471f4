//! Latencies of requests: records, table and plots. They are measured in `latency`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Section,
    grid::LinkFacts,
    plot::{Chart, Line},
    table::markdown,
};
use crate::{
    latency::ends::{ObjectAnswers, QUANTILES},
    record::{Circumstances, Outcome, read},
};

/// One run: requests of all sizes at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// The link's name.
    pub scenario: String,
    /// Its properties.
    pub link: LinkFacts,
    /// What was between client and server.
    pub peer: String,
    /// How it was set.
    pub settings: String,
    /// Of its program or kernel; empty if it was not to be had.
    pub version: String,
    /// From 0.
    pub repetition: u32,
    /// Of the link's and the client's chances.
    pub seed: u64,
    /// How long requests were made.
    pub seconds: f64,
    /// Beside a bulk transfer.
    pub has_bulk: bool,
    /// Complete if every request was answered.
    pub outcome: Outcome,
    /// By size.
    pub objects: Vec<Object>,
    /// Of the bulk transfer.
    pub bulk_bytes_per_second: Option<f64>,
    /// Where and when.
    pub circumstances: Circumstances,
}

/// Answers of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Of one answer.
    pub bytes: u64,
    /// Asked for.
    pub requests: u64,
    /// Of them, not answered in time.
    pub unanswered: u64,
    /// At the quantiles of `latency::ends`.
    pub quantiles_us: Vec<u64>,
}

impl Object {
    /// As the client counted them.
    pub fn of(answers: ObjectAnswers) -> Self {
        Self {
            bytes: answers.bytes,
            requests: answers.requests,
            unanswered: answers.unanswered,
            quantiles_us: answers.quantiles_us,
        }
    }

    /// Milliseconds at a quantile; `None` where so few were asked for that it says nothing.
    fn millis(&self, quantile: f64) -> Option<f64> {
        let index = QUANTILES.iter().position(|known| *known == quantile)?;
        // A quantile needs at least one request above it.
        let enough = self.requests as f64 * (1.0 - quantile) >= 1.0 || quantile == 1.0;
        let micros = *self.quantiles_us.get(index)?;
        (enough && self.requests > 0).then_some(micros as f64 / 1e3)
    }

    fn cell(&self) -> String {
        let show = |quantile| {
            self.millis(quantile)
                .map_or_else(|| "-".to_owned(), |millis| format!("{millis:.0}"))
        };
        let lost = match self.unanswered {
            0 => String::new(),
            count => format!(", {count} of {} unanswered", self.requests),
        };
        let all: Vec<String> = [0.5, 0.99, 0.999, 1.0].map(show).into();
        format!("{}{lost}", all.join(" / "))
    }
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "latency";

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let bulk = if self.has_bulk {
            "beside bulk"
        } else {
            "alone"
        };
        let loss = self.link.loss * 100.0;
        let mut text = format!("{} {bulk} at {loss} %:", self.peer);
        if let Outcome::Failed { reason } = &self.outcome {
            return format!("{text} failed: {reason}");
        }
        for object in &self.objects {
            // Writing to a string cannot fail.
            let _ = write!(text, " {}: {} ms;", size(object.bytes), object.cell());
        }
        if let Some(rate) = self.bulk_bytes_per_second {
            let _ = write!(text, " bulk {:.1} Mbit/s", rate * 8e-6);
        }
        text
    }

    fn key(&self) -> (u64, bool, String) {
        (
            per_million(self.link.loss),
            self.has_bulk,
            self.peer.clone(),
        )
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float-to-integer casts saturate; a share is between 0 and 1"
)]
fn per_million(share: f64) -> u64 {
    (share * 1e6).round() as u64
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// The newest record of each run.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    let Some(last) = records.last() else {
        return Ok(None);
    };
    let (rate, round_trip) = (last.link.rate_bits * 1e-6, last.link.round_trip_ms);
    let newest: BTreeMap<_, _> = records
        .iter()
        .map(|record| (record.key(), record))
        .collect();
    let newest: Vec<&Record> = newest.into_values().collect();
    let mut text = format!(
        "Over {rate:.0} Mbit/s and {round_trip:.0} ms, one bandwidth-delay product of buffer: milliseconds from the moment a request was \
         due to the last byte of its answer, at p50 / p99 / p99.9 / the largest; a dash where too few were asked for. All sizes are \
         asked for at once, at times fixed beforehand, on connections that exist already; the bulk transfer takes what it gets, over the \
         same RPP or QUIC connection, or over one more TCP connection.\n\n",
    );
    text.push_str(&table(&newest));
    text.push('\n');
    let mut settings: Vec<String> = newest
        .iter()
        .map(|record| {
            format!(
                "- {}: {} ({})",
                record.peer, record.settings, record.version
            )
        })
        .collect();
    settings.sort();
    settings.dedup();
    text.push_str(&settings.join("\n"));
    text.push_str("\n\n");
    let mut plots = Vec::new();
    for has_bulk in [false, true] {
        let Some(chart) = chart(&newest, has_bulk) else {
            continue;
        };
        let name = format!("latency-{}", if has_bulk { "bulk" } else { "alone" });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "![](results/{name}.svg)\n");
        plots.push((name, chart));
    }
    Ok(Some(Section {
        text,
        plots,
        circumstances: newest.iter().map(|r| r.circumstances.clone()).collect(),
    }))
}

fn table(records: &[&Record]) -> String {
    let sizes: Vec<u64> = records
        .iter()
        .map(|record| record.objects.iter().map(|object| object.bytes).collect())
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let mut head = vec!["loss".to_owned(), "beside".to_owned(), "over".to_owned()];
    head.extend(sizes.iter().map(|&bytes| size(bytes)));
    head.push("bulk, Mbit/s".to_owned());
    let mut rows = vec![head];
    for record in records {
        let mut row = vec![
            format!("{} %", record.link.loss * 100.0),
            if record.has_bulk { "bulk" } else { "nothing" }.to_owned(),
            record.peer.clone(),
        ];
        if let Outcome::Failed { reason } = &record.outcome {
            row.push(format!("failed: {reason}"));
        } else {
            for &bytes in &sizes {
                let object = record.objects.iter().find(|object| object.bytes == bytes);
                row.push(object.map(Object::cell).unwrap_or_default());
            }
        }
        row.resize(sizes.len() + 3, String::new());
        let bulk = record.bulk_bytes_per_second;
        row.push(bulk.map_or(String::new(), |rate| format!("{:.1}", rate * 8e-6)));
        rows.push(row);
    }
    markdown(&rows)
}

/// Latency over percentile, of the smallest objects at the highest loss that has all of them.
fn chart(records: &[&Record], has_bulk: bool) -> Option<Chart> {
    let fitting = records
        .iter()
        .filter(|record| record.has_bulk == has_bulk && !record.objects.is_empty());
    let loss = fitting
        .clone()
        .map(|record| per_million(record.link.loss))
        .filter(|&loss| loss <= 10_000)
        .max()?;
    let mut lines = Vec::new();
    for record in fitting.filter(|record| per_million(record.link.loss) == loss) {
        let object = record.objects.first()?;
        let points = QUANTILES.iter().filter_map(|&quantile| {
            // 1 for half, 10 for 90 %, 100 for 99 %: the tail is what matters.
            let x = 1.0 / (1.0 - quantile).max(1e-9);
            let y = object.millis(quantile)?;
            (quantile < 1.0).then_some((x, y))
        });
        lines.push(Line {
            name: record.peer.clone(),
            points: points.collect(),
            has_dots: true,
            ..Line::default()
        });
    }
    let bulk = if has_bulk {
        "beside a bulk transfer"
    } else {
        "alone"
    };
    let bytes = size(records.first()?.objects.first()?.bytes);
    Some(Chart {
        title: format!("{bytes} answers {bulk}, {} % loss", loss as f64 / 1e4),
        x_label: "one request in so many is slower (10: p90, 100: p99, 1000: p99.9)".to_owned(),
        y_label: "ms".to_owned(),
        has_log_x: true,
        lines,
        ..Chart::default()
    })
}
