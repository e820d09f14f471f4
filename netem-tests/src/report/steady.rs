//! The congestion controller alone in virtual time: records and tables. They are measured by `controller steady`; what
//! they should be is in `flow::goals`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Section,
    table::{Spread, markdown},
};
use crate::{
    flow::{
        goals::{self, Figure, Threshold},
        scenario::{Cell, Solo},
    },
    record::{Circumstances, read},
};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// What was run, and what came out.
    pub case: Case,
    /// Of all chances.
    pub seed: u64,
    /// Where and when.
    pub circumstances: Circumstances,
}

/// A cell of the grid or a scenario with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// One flow alone on a plain link.
    Cell(CellFigures),
    /// A scenario with thresholds.
    Named {
        /// What it is called.
        scenario: String,
        /// Round trip in milliseconds.
        rtt_ms: u64,
        /// What is asked of it.
        figures: Vec<NamedFigure>,
    },
}

/// One flow alone on a plain link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellFigures {
    /// Mbit/s.
    pub mbps: f64,
    /// Round trip in milliseconds.
    pub rtt_ms: u64,
    /// Buffer in bandwidth-delay products.
    pub bdp: f64,
    /// Loss probability.
    pub loss: f64,
    /// Goodput and queue are of the time from here, in seconds since the start,
    pub from_s: f64,
    /// to here.
    pub to_s: f64,
    /// Over rate x (1 - loss).
    pub goodput: f64,
    /// Mean queue over the RTT.
    pub queue_mean: f64,
    /// 95th percentile of the same.
    pub queue_p95: f64,
    /// Dropped by the queue over sent, start included.
    pub drops: f64,
    /// Losses declared in error over sent, start included.
    pub spurious: f64,
    /// Round trips to 0.9 of the limit; absent if that was not reached.
    pub start_rtts: Option<f64>,
    /// Largest queue of the first 20 round trips over the bandwidth-delay product.
    pub overshoot: f64,
}

/// A figure with its threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedFigure {
    /// In words.
    pub what: String,
    /// As measured; absent if it never came to be.
    pub value: Option<f64>,
    /// As it should be.
    pub threshold: f64,
    /// It should be at least that; else at most.
    pub at_least: bool,
}

impl NamedFigure {
    /// To be kept.
    pub fn new(figure: &Figure) -> Self {
        let (threshold, at_least) = match figure.threshold {
            Threshold::Least(threshold) => (threshold, true),
            Threshold::Most(threshold) => (threshold, false),
        };
        Self {
            what: figure.what.to_owned(),
            value: Some(figure.value).filter(|value| value.is_finite()),
            threshold,
            at_least,
        }
    }

    fn is_met(&self) -> bool {
        self.value.is_some_and(|value| {
            if self.at_least {
                value >= self.threshold
            } else {
                value <= self.threshold
            }
        })
    }
}

impl CellFigures {
    /// To be kept.
    pub fn new(cell: &Cell, range: Range<Duration>, solo: &Solo) -> Self {
        Self {
            mbps: cell.mbps,
            rtt_ms: cell.rtt_ms,
            bdp: cell.bdp,
            loss: cell.loss,
            from_s: range.start.as_secs_f64(),
            to_s: range.end.as_secs_f64(),
            goodput: solo.goodput,
            queue_mean: solo.queue_mean,
            queue_p95: solo.queue_p95,
            drops: solo.drops,
            spurious: solo.spurious,
            start_rtts: Some(solo.start_rtts).filter(|rtts| rtts.is_finite()),
            overshoot: solo.overshoot,
        }
    }

    fn cell(&self) -> Cell {
        Cell {
            mbps: self.mbps,
            rtt_ms: self.rtt_ms,
            bdp: self.bdp,
            loss: self.loss,
        }
    }

    fn is_full(&self) -> bool {
        goals::least_goodput(&self.cell()).is_none_or(|least| self.goodput >= least)
    }

    fn is_short(&self) -> bool {
        self.queue_mean <= goals::QUEUE_MEAN && self.queue_p95 <= goals::QUEUE_P95
    }
}

impl Case {
    /// Is everything as it should be? A queue may be longer than it should where goodput is what counts.
    pub fn is_met(&self) -> bool {
        match self {
            Self::Cell(cell) => cell.is_full(),
            Self::Named { figures, .. } => figures.iter().all(NamedFigure::is_met),
        }
    }
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "steady";

    /// Names a cell's run.
    pub fn cell_key(cell: &Cell, seed: u64) -> String {
        format!("{} seed {seed}", cell_name(cell))
    }

    /// Names a scenario's run.
    pub fn goal_key(scenario: &str, rtt_ms: u64, seed: u64) -> String {
        format!("{scenario}, {rtt_ms} ms seed {seed}")
    }

    /// A later record of the same replaces an earlier one.
    pub fn key(&self) -> String {
        match &self.case {
            Case::Cell(cell) => Self::cell_key(&cell.cell(), self.seed),
            Case::Named {
                scenario, rtt_ms, ..
            } => Self::goal_key(scenario, *rtt_ms, self.seed),
        }
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let figures = match &self.case {
            Case::Cell(cell) => format!(
                "goodput {:.3}, queue {:.3} / {:.3}, drops {:.3}, spurious {:.4}",
                cell.goodput, cell.queue_mean, cell.queue_p95, cell.drops, cell.spurious
            ),
            Case::Named { figures, .. } => {
                let list: Vec<String> = figures
                    .iter()
                    .map(|f| format!("{} {}", f.what, shown(f.value)))
                    .collect();
                list.join(", ")
            }
        };
        format!("{}: {figures}", self.key())
    }
}

fn cell_name(cell: &Cell) -> String {
    format!(
        "{} Mbit/s, {} ms, {} BDP, {} %",
        cell.mbps,
        cell.rtt_ms,
        cell.bdp,
        percent(cell.loss)
    )
}

/// `0.1`, not `0.10000000000000001`.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "never".to_owned(), |value| format!("{value:.3}"))
}

/// The section of the report.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let mut newest: BTreeMap<String, Record> = BTreeMap::new();
    for record in read::<Record>(path)? {
        newest.insert(record.key(), record);
    }
    if newest.is_empty() {
        return Ok(None);
    }
    let mut cells = Vec::new();
    let mut named: BTreeMap<(&str, u64), Vec<&[NamedFigure]>> = BTreeMap::new();
    for record in newest.values() {
        match &record.case {
            Case::Cell(cell) => cells.push(*cell),
            Case::Named {
                scenario,
                rtt_ms,
                figures,
            } => named.entry((scenario, *rtt_ms)).or_default().push(figures),
        }
    }
    let mut text = INTRODUCTION.to_owned();
    grid_text(&mut text, &cells);
    named_text(&mut text, &named);
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: newest.values().map(|r| r.circumstances.clone()).collect(),
    }))
}

const INTRODUCTION: &str = "\
The congestion controller without the protocol: packets of 1200 bytes through one bottleneck, loss behind it, ACKs as RPP sends them, no clock\n\
but virtual time, so that the same command gives the same figures on any machine. Goodput is over rate x (1 - loss). In the\n\
grid one flow is alone; what it does in the first 5 s or 30 round trips, whichever is longer, does not count, the 20 s or 60\n\
round trips after that do (above 1 Gbit/s: 2 s or 30 round trips each). A run with another seed is another run: the worst\n\
counts.\n";

/// Whole numbers that order as the cells' own do.
fn scaled(figure: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates, buffers and losses are small and positive"
    )]
    let whole = (figure * 1e6).round() as u64;
    whole
}

fn grid_text(text: &mut String, cells: &[CellFigures]) {
    if cells.is_empty() {
        return;
    }
    let rtts: BTreeSet<u64> = cells.iter().map(|cell| cell.rtt_ms).collect();
    let rtts: Vec<String> = rtts.iter().map(u64::to_string).collect();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\nGoodput alone, %, and the queue caused, % of the round trip: the worst of round trips of {} ms, and the median in\n\
         brackets; {} runs.\n\n{}",
        rtts.join(", "),
        cells.len(),
        markdown(&grid_rows(cells))
    );
    list(
        text,
        "Under the threshold (0.95 up to 5 % of loss, 0.92 up to 10 %, 0.75 up to 30 %; with a buffer of less than 0.25 BDP 0.90 up to 5 %)",
        &worst(cells, CellFigures::is_full, |cell| -cell.goodput),
        |cell| format!("goodput {:.3}", cell.goodput),
    );
    list(
        text,
        "Queue above 10 % of the round trip (mean) or 25 % (95th percentile)",
        &worst(cells, CellFigures::is_short, |cell| cell.queue_mean),
        |cell| {
            format!(
                "{:.1} / {:.1} %",
                cell.queue_mean * 100.0,
                cell.queue_p95 * 100.0
            )
        },
    );
}

/// One row for each rate and buffer, one column for each loss, and the queue.
fn grid_rows(cells: &[CellFigures]) -> Vec<Vec<String>> {
    let losses: BTreeSet<u64> = cells.iter().map(|cell| scaled(cell.loss)).collect();
    let places: BTreeSet<(u64, u64)> = cells
        .iter()
        .map(|cell| (scaled(cell.mbps), scaled(cell.bdp)))
        .collect();
    let mut head = vec!["Mbit/s".to_owned(), "buffer, BDP".to_owned()];
    head.extend(losses.iter().map(|&loss| {
        let loss = percent(loss as f64 * 1e-6);
        format!("{loss} % lost")
    }));
    head.push("queue, mean / p95".to_owned());
    let mut rows = vec![head];
    for (mbps, bdp) in places {
        let of_place: Vec<&CellFigures> = cells
            .iter()
            .filter(|cell| (scaled(cell.mbps), scaled(cell.bdp)) == (mbps, bdp))
            .collect();
        let mut row = vec![
            (mbps as f64 * 1e-6).to_string(),
            (bdp as f64 / 1e6).to_string(),
        ];
        row.extend(losses.iter().map(|&loss| {
            let of_loss = of_place.iter().filter(|cell| scaled(cell.loss) == loss);
            let spread = Spread::of(of_loss.map(|cell| cell.goodput * 100.0));
            let show = |spread: Spread| format!("{:.1} ({:.1})", spread.min, spread.median);
            spread.map_or_else(|| "-".to_owned(), show)
        }));
        let queue = |of: fn(&CellFigures) -> f64| {
            let spread = Spread::of(of_place.iter().map(|cell| of(cell) * 100.0));
            let show = |spread: Spread| format!("{:.1} ({:.1})", spread.max, spread.median);
            spread.map_or_else(|| "-".to_owned(), show)
        };
        row.push(format!(
            "{} / {}",
            queue(|cell| cell.queue_mean),
            queue(|cell| cell.queue_p95)
        ));
        rows.push(row);
    }
    rows
}

/// Of each cell that is not `good` in some run, its worst run.
fn worst(
    cells: &[CellFigures],
    good: fn(&CellFigures) -> bool,
    badness: fn(&CellFigures) -> f64,
) -> Vec<CellFigures> {
    let mut of_cell: BTreeMap<(u64, u64, u64, u64), CellFigures> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| !good(cell)) {
        let place = (
            scaled(cell.mbps),
            cell.rtt_ms,
            scaled(cell.bdp),
            scaled(cell.loss),
        );
        let kept = of_cell.entry(place).or_insert(*cell);
        if badness(cell) > badness(kept) {
            *kept = *cell;
        }
    }
    of_cell.into_values().collect()
}

fn list(text: &mut String, title: &str, cells: &[CellFigures], show: fn(&CellFigures) -> String) {
    if cells.is_empty() {
        let _ = write!(text, "\n{title}: no cell.\n");
        return;
    }
    let _ = write!(text, "\n{title}: {} cells.\n\n", cells.len());
    for cell in cells {
        let _ = writeln!(text, "- {}: {}", cell_name(&cell.cell()), show(cell));
    }
}

fn named_text(text: &mut String, named: &BTreeMap<(&str, u64), Vec<&[NamedFigure]>>) {
    if named.is_empty() {
        return;
    }
    let head = [
        "scenario",
        "round trip, ms",
        "what",
        "threshold",
        "measured",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ((scenario, rtt_ms), runs) in named {
        let count = runs.iter().map(|run| run.len()).max().unwrap_or(0);
        for index in 0..count {
            let figures: Vec<&NamedFigure> = runs.iter().filter_map(|run| run.get(index)).collect();
            let Some(first) = figures.first() else {
                continue;
            };
            let is_met = figures.iter().all(|figure| figure.is_met());
            let measured = if figures.iter().any(|figure| figure.value.is_none()) {
                "never in some run".to_owned()
            } else {
                Spread::of(figures.iter().filter_map(|figure| figure.value))
                    .map_or_else(|| "-".to_owned(), |spread| spread.text(3))
            };
            let sign = if first.at_least { ">=" } else { "<=" };
            rows.push(vec![
                (*scenario).to_owned(),
                rtt_ms.to_string(),
                first.what.clone(),
                format!("{sign} {}", first.threshold),
                measured,
                if is_met { "" } else { "short of it" }.to_owned(),
            ]);
        }
    }
    let _ = write!(
        text,
        "\nScenarios with thresholds, of several seeds each:\n\n{}",
        markdown(&rows)
    );
}
