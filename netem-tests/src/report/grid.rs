//! The grid: whole transfers by every implementation over every link, as tables and plots. They are measured in
//! `grid`; what a record holds is in `record`.

mod record;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

pub use self::record::{Key, LinkFacts, PAYLOAD_SHARE, Record};
use super::{
    Section,
    plot::{Chart, Line},
    table::{Spread, markdown},
};
use crate::record::{Outcome, read};

/// The section of the report.
pub(super) fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    Ok((!records.is_empty()).then(|| section_of(records)))
}

fn section_of(records: Vec<Record>) -> Section {
    let mut newest: BTreeMap<Key, Record> = BTreeMap::new();
    // In the order of the file, for the order of rows and columns.
    let mut order: Vec<(String, String)> = Vec::new();
    for record in records {
        let place = (record.scenario.clone(), record.peer.clone());
        if !order.contains(&place) {
            order.push(place);
        }
        newest.insert(record.key(), record);
    }
    let all: Vec<Record> = newest.into_values().collect();
    let mut lengths: Vec<f64> = all.iter().map(|record| record.seconds).collect();
    lengths.sort_by(f64::total_cmp);
    lengths.dedup();
    let mut section = Section {
        circumstances: all.iter().map(|r| r.circumstances.clone()).collect(),
        ..Section::default()
    };
    section.text.push_str(INTRODUCTION);
    for seconds in lengths {
        let of_length: Vec<&Record> = all.iter().filter(|r| r.seconds == seconds).collect();
        Table::new(&order, &of_length, seconds).write(&mut section);
    }
    section.text.push_str(&settings_text(&all));
    section
}

const INTRODUCTION: &str = "\
Whole transfers over the emulated link between two network namespaces, one at a time, from just before the sender\n\
starts to the last byte at the receiver. The limit is rate x (1 - loss) x 1448/1500, the payload of a full packet of\n\
kernel TCP, for all alike. Files lie in memory on both sides. `~`: a run was cut off; what the receiving program had by\n\
then counts, which for TCP, UDT and SRT is what was in order. `!`: a run failed. Processor time is that of all programs of both sides and their children; what the kernel does in the\n\
emulator's thread, receiving for either, is in nobody's figure. The emulator hands packets over one by one, so that a\n\
receiver may be woken for each; a network card would hand over many at once.\n";

/// All of one length.
struct Table<'a> {
    seconds: f64,
    scenarios: Vec<&'a str>,
    peers: Vec<&'a str>,
    cells: BTreeMap<(&'a str, &'a str), Vec<&'a Record>>,
}

impl<'a> Table<'a> {
    fn new(order: &'a [(String, String)], records: &[&'a Record], seconds: f64) -> Self {
        let mut cells: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
        for record in records {
            let place = (record.peer.as_str(), record.scenario.as_str());
            cells.entry(place).or_default().push(record);
        }
        let (mut scenarios, mut peers) = (Vec::new(), Vec::new());
        for (scenario, peer) in order {
            if cells.contains_key(&(peer.as_str(), scenario.as_str())) {
                if !scenarios.contains(&scenario.as_str()) {
                    scenarios.push(scenario.as_str());
                }
                if !peers.contains(&peer.as_str()) {
                    peers.push(peer.as_str());
                }
            }
        }
        Self {
            seconds,
            scenarios,
            peers,
            cells,
        }
    }

    fn write(&self, section: &mut Section) {
        let text = &mut section.text;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n### Transfers of {} s at full rate\n\n",
            self.seconds
        );
        text.push_str(&markdown(&self.links()));
        let mut table = |title: &str, cell: &dyn Fn(&[&Record]) -> String| {
            let _ = write!(text, "\n{title}\n\n");
            text.push_str(&markdown(&self.rows(cell)));
        };
        table("Goodput, Mbit/s, and per cent of the limit:", &goodput_cell);
        table(
            "IP bytes put on the data direction for each byte delivered:",
            &|runs| figure_cell(runs, Record::wire_share, 3),
        );
        table(
            "Queue delay caused, mean / 95th percentile, ms:",
            &queue_cell,
        );
        table("Processor seconds for each GB, both sides:", &|runs| {
            figure_cell(runs, Record::cpu_per_gb, 2)
        });
        let busy = self.busy();
        if busy > 0 {
            let _ = write!(
                text,
                "\nIn {busy} runs the machine was too busy for the emulator: it delivered more than 1 ms late at the 99th percentile, or packets were dropped before it.\n"
            );
        }
        self.plots(section);
    }

    fn links(&self) -> Vec<Vec<String>> {
        let head = [
            "link",
            "rate, Mbit/s",
            "round trip, ms",
            "loss each way, %",
            "buffer, KB",
            "limit, Mbit/s",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for scenario in &self.scenarios {
            let link = self.cells.iter().find(|((_, name), _)| name == scenario);
            let Some(link) = link.and_then(|(_, runs)| runs.first()).map(|run| &run.link) else {
                continue;
            };
            let loss = if link.loss == link.loss_back {
                format!("{}", percent(link.loss))
            } else {
                format!("{} / {}", percent(link.loss), percent(link.loss_back))
            };
            rows.push(vec![
                (*scenario).to_owned(),
                format!("{}", link.rate_bits / 1e6),
                format!("{}", link.round_trip_ms),
                loss,
                link.buffer_bytes
                    .map_or_else(|| "by time".to_owned(), |b| format!("{}", b / 1000)),
                format!("{:.1}", link.limit_bits() / 1e6),
            ]);
        }
        rows
    }

    fn rows(&self, cell: &dyn Fn(&[&Record]) -> String) -> Vec<Vec<String>> {
        let mut head = vec![String::new()];
        head.extend(self.scenarios.iter().map(|&name| name.to_owned()));
        let mut rows = vec![head];
        for peer in &self.peers {
            let mut row = vec![(*peer).to_owned()];
            for scenario in &self.scenarios {
                let runs = self.cells.get(&(*peer, *scenario));
                row.push(runs.map_or_else(String::new, |runs| cell(runs)));
            }
            rows.push(row);
        }
        rows
    }

    /// Runs in which the emulator was late.
    fn busy(&self) -> usize {
        let figures = self
            .cells
            .values()
            .flatten()
            .filter_map(|run| run.figures.as_ref());
        figures
            .filter(|f| f.late_p99_us > 1000.0 || f.overrun > 0)
            .count()
    }

    fn plots(&self, section: &mut Section) {
        let mut charts = self.loss_charts();
        if charts.is_empty() {
            charts.push(self.cells_chart());
        }
        for (name, chart) in charts {
            if chart.lines.iter().any(|line| !line.points.is_empty()) {
                let _ = write!(section.text, "\n![{}](results/{name}.svg)\n", chart.title);
                section.plots.push((name, chart));
            }
        }
    }

    /// The share of the limit, link by link.
    fn cells_chart(&self) -> (String, Chart) {
        let lines = self.peers.iter().map(|peer| {
            let mut line = Line {
                name: (*peer).to_owned(),
                has_dots: true,
                ..Line::default()
            };
            for (x, scenario) in places(&self.scenarios) {
                let runs = self.cells.get(&(*peer, *scenario)).into_iter().flatten();
                if let Some(spread) = Spread::of(runs.filter_map(|run| run.ratio())) {
                    line.points.push((x, spread.median * 100.0));
                    line.band.push((x, spread.min * 100.0, spread.max * 100.0));
                }
            }
            line
        });
        let chart = Chart {
            title: format!("Goodput by link, transfers of {} s", self.seconds),
            x_label: "link".to_owned(),
            x_names: self.scenarios.iter().map(|&name| short(name)).collect(),
            y_label: "% of the limit".to_owned(),
            y_max: Some(105.0),
            lines: lines.collect(),
            ..Chart::default()
        };
        (format!("grid-{}s", self.seconds), chart)
    }

    /// Goodput over loss, one chart for each rate, round trip and buffer that has three losses or more.
    fn loss_charts(&self) -> Vec<(String, Chart)> {
        let mut families: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
        for run in self.cells.values().flatten() {
            let link = &run.link;
            let bdp = link.rate_bits / 8e3 * link.round_trip_ms;
            let depth = link
                .buffer_bytes
                .map_or(f64::INFINITY, |bytes| bytes as f64 / bdp);
            let name = format!(
                "{}mbit-{}ms-{depth:.2}bdp",
                link.rate_bits / 1e6,
                link.round_trip_ms
            );
            families.entry(name).or_default().push(run);
        }
        let mut charts = Vec::new();
        for (name, runs) in families {
            let mut losses: Vec<f64> = runs.iter().map(|run| run.link.loss).collect();
            losses.sort_by(f64::total_cmp);
            losses.dedup();
            if losses.len() < 3 {
                continue;
            }
            let lines = self.peers.iter().map(|peer| {
                let mut line = Line {
                    name: (*peer).to_owned(),
                    has_dots: true,
                    ..Line::default()
                };
                for (x, loss) in places(&losses) {
                    let these = runs
                        .iter()
                        .filter(|r| r.peer == *peer && r.link.loss == *loss);
                    if let Some(spread) = Spread::of(these.filter_map(|r| r.goodput_bits())) {
                        line.points.push((x, spread.median / 1e6));
                        line.band.push((x, spread.min / 1e6, spread.max / 1e6));
                    }
                }
                line
            });
            let chart = Chart {
                title: format!("Goodput over loss, {name}, {} s", self.seconds),
                x_label: "loss each way, %".to_owned(),
                x_names: losses
                    .iter()
                    .map(|loss| percent(*loss).to_string())
                    .collect(),
                y_label: "Mbit/s".to_owned(),
                lines: lines.collect(),
                ..Chart::default()
            };
            charts.push((format!("loss-{name}-{}s", self.seconds), chart));
        }
        charts
    }
}

/// Things in order, with their places along an axis.
fn places<T>(things: &[T]) -> impl Iterator<Item = (f64, &T)> {
    (0_u32..).map(f64::from).zip(things)
}

/// A name of a link that fits below an axis.
fn short(name: &str) -> String {
    name.strip_prefix("baseline-").unwrap_or(name).to_owned()
}

/// As many digits as a share in per cent has.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 1e2
}

fn goodput_cell(runs: &[&Record]) -> String {
    let Some(goodput) = Spread::of(runs.iter().filter_map(|run| run.goodput_bits())) else {
        return "failed!".to_owned();
    };
    let ratio = Spread::of(runs.iter().filter_map(|run| run.ratio()));
    let scaled = Spread {
        median: goodput.median / 1e6,
        min: goodput.min / 1e6,
        max: goodput.max / 1e6,
        ..goodput
    };
    let mut text = format!(
        "{}, {:.0} %",
        scaled.text(1),
        ratio.map_or(0.0, |r| r.median * 100.0)
    );
    if runs.iter().any(|run| run.outcome == Outcome::CutOff) {
        text.push_str(" ~");
    }
    if runs.iter().any(|run| run.has_failed()) {
        text.push_str(" !");
    }
    text
}

fn figure_cell(runs: &[&Record], figure: fn(&Record) -> Option<f64>, decimals: usize) -> String {
    let figures = runs
        .iter()
        .filter(|run| !run.has_failed())
        .filter_map(|run| figure(run));
    Spread::of(figures).map_or_else(|| "-".to_owned(), |spread| spread.text(decimals))
}

fn queue_cell(runs: &[&Record]) -> String {
    let figures = || {
        runs.iter()
            .filter(|run| !run.has_failed())
            .filter_map(|run| run.figures.as_ref())
    };
    let mean = Spread::of(figures().map(|f| f.queue_mean_ms));
    let p95 = Spread::of(figures().map(|f| f.queue_p95_ms));
    match (mean, p95) {
        (Some(mean), Some(p95)) => format!("{:.0} / {:.0}", mean.median, p95.median),
        _ => "-".to_owned(),
    }
}

/// Who was set how, of which version, and what went wrong.
fn settings_text(records: &[Record]) -> String {
    let mut text = String::from("\n### Who, and how set\n\n");
    let mut peers: Vec<(&str, &str, &str)> = records
        .iter()
        .map(|r| (r.peer.as_str(), r.version.as_str(), r.settings.as_str()))
        .collect();
    peers.sort_unstable();
    peers.dedup();
    for (peer, version, settings) in peers {
        let version = if version.is_empty() {
            "not to be had"
        } else {
            version
        };
        let _ = writeln!(text, "- `{peer}` ({version}): {settings}");
    }
    let mut failures: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for record in records {
        if let Outcome::Failed { reason } = &record.outcome {
            *failures.entry((&record.peer, reason)).or_default() += 1;
        }
    }
    if !failures.is_empty() {
        text.push_str("\nWhat failed:\n\n");
        for ((peer, reason), count) in failures {
            let _ = writeln!(
                text,
                "- `{peer}`, {count} runs: {}",
                reason.replace('\n', " ")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests;
