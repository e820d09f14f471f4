//! Competing traffic: what flows get that share a bottleneck. Records, and the table and plots made of them; they
//! are measured in `share`.

mod bars;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Section,
    grid::LinkFacts,
    plot::{Chart, Line},
    table::markdown,
};
use crate::record::{Circumstances, Outcome, read};

/// One shared link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// Who shared, as typed.
    pub case: String,
    /// The link.
    pub link: LinkFacts,
    /// Depth of its queue in bandwidth-delay products.
    pub buffer_bdp: f64,
    /// How long all flows were there together.
    pub seconds: u32,
    /// Of it, what is not counted.
    pub warm_up_s: u32,
    /// Of the link's chances.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// In the order of the case.
    pub flows: Vec<Flow>,
    /// Fairness of the flows' means (Jain, 1984): 1 if all are equal, 1/n if one has all.
    pub jain: f64,
    /// Time packets spent in the queue, mean, from the first start on.
    pub queue_mean_ms: f64,
    /// 95th percentile.
    pub queue_p95_ms: f64,
    /// Packets dropped at the queue.
    pub queue_dropped: u64,
    /// Where and when.
    pub circumstances: Circumstances,
}

/// What one of them got: IP bytes that left the bottleneck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Who.
    pub peer: String,
    /// By how much its round trip is longer than the link's.
    #[serde(default)]
    pub extra_ms: f64,
    /// When it started.
    pub start_s: f64,
    /// Mean after the warm-up, Mbit/s.
    pub mean_mbit: f64,
    /// Second by second from the first flow's start, Mbit/s.
    pub series_mbit: Vec<f64>,
}

/// Jain's index of fairness; 0 if nobody got anything.
pub fn jain(shares: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for share in shares {
        sum += share;
        squares += share * share;
        count += 1.0;
    }
    if squares > 0.0 {
        sum * sum / (count * squares)
    } else {
        0.0
    }
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "share";

    fn total_mbit(&self) -> f64 {
        self.flows.iter().map(|flow| flow.mean_mbit).sum()
    }

    /// What flows like the first one got, of all, and what they would if all were equal.
    fn share_of_first(&self) -> Option<(f64, f64)> {
        let first = &self.flows.first()?.peer;
        let like = || self.flows.iter().filter(|flow| flow.peer == *first);
        let got: f64 = like().map(|flow| flow.mean_mbit).sum();
        let total = self.total_mbit();
        (total > 0.0).then(|| (got / total, like().count() as f64 / self.flows.len() as f64))
    }

    /// Whether the flows are of one kind only.
    fn is_among_equals(&self) -> bool {
        self.flows
            .windows(2)
            .all(|pair| pair[0].peer == pair[1].peer)
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let what = format!(
            "{} at {} BDP, {} % loss",
            self.case,
            self.buffer_bdp,
            self.link.loss * 100.0
        );
        if let Outcome::Failed { reason } = &self.outcome {
            return format!("{what}: FAILED: {reason}");
        }
        format!(
            "{what}: {} Mbit/s, Jain {:.2}, queue {:.0} ms",
            self.means(),
            self.jain,
            self.queue_mean_ms
        )
    }

    fn means(&self) -> String {
        let means: Vec<String> = self
            .flows
            .iter()
            .map(|flow| format!("{:.1}", flow.mean_mbit))
            .collect();
        means.join(" ")
    }
}

/// The section of the report.
pub(super) fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    Ok((!records.is_empty()).then(|| section_of(&records)))
}

const INTRODUCTION: &str = "\
Flows that share one bottleneck, counted where all are alike: IP bytes that leave it towards each flow's port, after the\n\
warm-up. The share is that of all flows of the first kind together, and in brackets what it would be if all were equal.\n\n";

fn section_of(records: &[Record]) -> Section {
    // The newest of each.
    let mut newest: BTreeMap<(String, String, String, u32), &Record> = BTreeMap::new();
    for record in records {
        let link = format!(
            "{} {} {}",
            record.link.rate_bits, record.link.round_trip_ms, record.link.loss
        );
        let buffer = format!("{:08.3}", record.buffer_bdp);
        newest.insert((record.case.clone(), link, buffer, record.seconds), record);
    }
    let all: Vec<&Record> = newest.into_values().collect();
    let mut section = Section {
        text: INTRODUCTION.to_owned(),
        plots: Vec::new(),
        circumstances: all.iter().map(|r| r.circumstances.clone()).collect(),
    };
    section.text.push_str(&bars::table(&all));
    section.text.push_str(&table(&all));
    let mut charts = depth_charts(&all);
    // One depth is enough to see how rates move, but for flows that start apart.
    let shown = |r: &&&Record| r.buffer_bdp == 1.0 || r.flows.iter().any(|flow| flow.start_s > 0.0);
    charts.extend(
        all.iter()
            .filter(shown)
            .filter_map(|record| time_chart(record)),
    );
    for (name, chart) in charts {
        section
            .text
            .push_str(&format!("\n![{}](results/{name}.svg)\n", chart.title));
        section.plots.push((name, chart));
    }
    section
}

fn link_words(record: &Record) -> String {
    format!(
        "{} Mbit/s, {} ms, {} %",
        record.link.rate_bits / 1e6,
        record.link.round_trip_ms,
        record.link.loss * 100.0
    )
}

fn table(records: &[&Record]) -> String {
    let head = [
        "flows",
        "link",
        "buffer, BDP",
        "share of the first kind, %",
        "each, Mbit/s",
        "Jain",
        "all, % of the rate behind loss",
        "queue mean / p95, ms",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for record in records {
        let mut row = vec![
            record.case.clone(),
            link_words(record),
            record.buffer_bdp.to_string(),
        ];
        if let Outcome::Failed { reason } = &record.outcome {
            row.push(format!("failed: {}", reason.replace('\n', " ")));
            row.resize(head.len(), String::new());
        } else {
            let carried = record.link.rate_bits * (1.0 - record.link.loss) / 1e6;
            let share = record
                .share_of_first()
                .filter(|_| !record.is_among_equals());
            row.push(share.map_or_else(
                || "-".to_owned(),
                |(got, even)| format!("{:.0} ({:.0})", got * 100.0, even * 100.0),
            ));
            row.push(record.means());
            row.push(format!("{:.2}", record.jain));
            row.push(format!("{:.0}", record.total_mbit() / carried * 100.0));
            row.push(format!(
                "{:.0} / {:.0}",
                record.queue_mean_ms, record.queue_p95_ms
            ));
        }
        rows.push(row);
    }
    markdown(&rows)
}

/// The first kind's share by depth of the queue, one line for each mix of flows.
fn depth_charts(records: &[&Record]) -> Vec<(String, Chart)> {
    let mixed: Vec<&&Record> = records
        .iter()
        .filter(|record| !record.is_among_equals())
        .collect();
    let mut depths: Vec<f64> = mixed.iter().map(|record| record.buffer_bdp).collect();
    depths.sort_by(f64::total_cmp);
    depths.dedup();
    if depths.len() < 2 {
        return Vec::new();
    }
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for (x, depth) in (0_u32..).map(f64::from).zip(&depths) {
        for record in mixed.iter().filter(|record| record.buffer_bdp == *depth) {
            if let Some((got, _)) = record.share_of_first() {
                lines
                    .entry(&record.case)
                    .or_default()
                    .push((x, got * 100.0));
            }
        }
    }
    let chart = Chart {
        title: "Share of the first kind by depth of the buffer".to_owned(),
        x_label: "buffer, bandwidth-delay products".to_owned(),
        x_names: depths.iter().map(f64::to_string).collect(),
        y_label: "% of what all got".to_owned(),
        y_max: Some(100.0),
        lines: lines
            .into_iter()
            .map(|(case, points)| Line {
                name: case.to_owned(),
                points,
                has_dots: true,
                ..Line::default()
            })
            .collect(),
        ..Chart::default()
    };
    vec![("share-by-buffer".to_owned(), chart)]
}

/// Rates over time.
fn time_chart(record: &Record) -> Option<(String, Chart)> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let lines: Vec<Line> = record
        .flows
        .iter()
        .map(|flow| {
            let number = numbers.entry(&flow.peer).or_default();
            *number += 1;
            let seconds = (0..).map(|second: u32| f64::from(second) + 0.5);
            Line {
                name: format!("{} {number}", flow.peer),
                points: seconds.zip(flow.series_mbit.iter().copied()).collect(),
                ..Line::default()
            }
        })
        .collect();
    let is_drawable = lines.iter().any(|line| !line.points.is_empty());
    let name = format!(
        "share-{}-{}ms-{}bdp-{}loss",
        record.case.replace(['+', '@', '~'], "-"),
        record.link.round_trip_ms,
        record.buffer_bdp,
        record.link.loss * 100.0
    );
    is_drawable.then(|| {
        let chart = Chart {
            title: format!(
                "{}, {} ms, {} BDP of buffer, {} % loss",
                record.case,
                record.link.round_trip_ms,
                record.buffer_bdp,
                record.link.loss * 100.0
            ),
            x_label: "time, s".to_owned(),
            y_label: "Mbit/s behind the bottleneck".to_owned(),
            y_max: Some(record.link.rate_bits / 1e6 * 1.05),
            lines,
            ..Chart::default()
        };
        // Only letters, digits, dots and dashes: a loss may have a point of its own.
        (name.replace('.', "_"), chart)
    })
}

#[cfg(test)]
mod tests;
