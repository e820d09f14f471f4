//! The latency lab: requests and their answers, alone and beside a bulk transfer, through our proxy and
//! through what people use instead. Records, table and plot are in `report::latency`.
//!
//! The two programs at the ends are always the same (`ends`): a server that answers with as many bytes as
//! it is asked for, and a client that asks at times fixed beforehand, whether or not earlier answers have
//! come. An answer's latency counts from the time its request was due: a stall is in the figure of everybody
//! who had to wait for it. What is between the two is the peer that is measured (`setup`).

pub mod ends;
mod setup;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use rp_protocol::units::Bandwidth;

pub use self::setup::{ALL, Setup, find};
use crate::{
    implementation::{Kit, Stage, window},
    latency::ends::Answers,
    leftovers,
    link::LinkConfig,
    loss::Loss,
    netns,
    record::{Circumstances, Journal, Outcome},
    report::{
        grid::LinkFacts,
        latency::{Object, Record},
    },
    scenario::Scenario,
    tun::TunLab,
};

/// What is asked for: bytes of an answer, and answers a second. All three at once, 8 % of 100 Mbit/s.
pub const OBJECTS: [(u64, f64); 3] = [(1_000, 50.0), (100_000, 4.0), (1_000_000, 0.5)];

/// Before the first measured request: connections are made, and a bulk transfer finds its rate.
const HEAD_START: Duration = Duration::from_millis(500);
const BULK_HEAD_START: Duration = Duration::from_secs(2);

/// How long answers may still come after the last request.
pub const AFTER: Duration = Duration::from_secs(3);

/// What to run: every set-up over every loss, alone and beside a bulk transfer.
#[derive(Debug)]
pub struct Options {
    /// What is measured.
    pub setups: Vec<&'static Setup>,
    /// Of the link.
    pub rate: Bandwidth,
    /// Without queues.
    pub round_trip: Duration,
    /// Shares of packets lost, each way.
    pub losses: Vec<f64>,
    /// How long requests are made.
    pub seconds: f64,
    /// Of the link's and the client's chances.
    pub seed: u64,
    /// Where the records go.
    pub out: PathBuf,
    /// Where our own programs' event traces go, one folder a run.
    pub traces: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs in which every request was answered.
    pub complete: usize,
    /// Some answers did not come in time.
    pub cut_off: usize,
    /// Runs that went wrong.
    pub failed: usize,
    /// Not tried, for lack of root or of the peer.
    pub skipped: usize,
}

impl Summary {
    /// Whether everything was measured.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.skipped == 0
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Cell {
    setup: &'static Setup,
    loss: f64,
    has_bulk: bool,
}

impl Options {
    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &loss in &self.losses {
            for has_bulk in [false, true] {
                cells.extend(self.setups.iter().map(|&setup| Cell {
                    setup,
                    loss,
                    has_bulk,
                }));
            }
        }
        cells
    }

    fn scenario(&self, loss: f64) -> Scenario {
        let link = LinkConfig::new(self.rate, self.round_trip / 2)
            .loss(Loss::bernoulli(loss))
            .mtu(1500);
        Scenario {
            name: format!("loss-{}-percent", loss * 100.0),
            about: "the latency lab's link".to_owned(),
            forward: link.clone(),
            back: link,
            cross: Vec::new(),
            budget: None,
        }
    }

    /// Time of all runs together.
    pub fn estimate(&self) -> Duration {
        let run = |has_bulk| self.span(has_bulk) + Duration::from_millis(1200);
        let runs = u32::try_from(self.setups.len() * self.losses.len()).unwrap_or(u32::MAX);
        (run(false) + run(true)).saturating_mul(runs)
    }

    fn span(&self, has_bulk: bool) -> Duration {
        head_start(has_bulk) + Duration::from_secs_f64(self.seconds)
    }

    fn measure(&self, cell: &Cell, kit: &Kit, version: &Result<String, String>) -> Record {
        let scenario = self.scenario(cell.loss);
        let measured = match version {
            Ok(_) => self.run(cell, &scenario, kit),
            Err(reason) => Err(anyhow::anyhow!("not to be had: {reason}")),
        };
        let (outcome, answers) = match measured {
            Ok(answers) => {
                let outcome = if answers.objects.iter().all(|o| o.unanswered == 0) {
                    Outcome::Complete
                } else {
                    Outcome::CutOff
                };
                (outcome, answers)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                (Outcome::Failed { reason }, Answers::default())
            }
        };
        Record {
            kind: Record::KIND.to_owned(),
            scenario: scenario.name.clone(),
            link: LinkFacts::of(&scenario),
            peer: cell.setup.name.to_owned(),
            settings: cell.setup.about.to_owned(),
            version: version.clone().unwrap_or_default(),
            repetition: 0,
            seed: self.seed,
            seconds: self.seconds,
            has_bulk: cell.has_bulk,
            outcome,
            objects: answers.objects.into_iter().map(Object::of).collect(),
            bulk_bytes_per_second: answers.bulk_bytes_per_second,
            circumstances: Circumstances::now(),
        }
    }

    fn run(&self, cell: &Cell, scenario: &Scenario, kit: &Kit) -> anyhow::Result<Answers> {
        let stage = Stage::<TunLab>::set(kit, scenario, self.seed, false)?;
        let answers = stage.folder().join("answers.json");
        let asking = setup::Asking {
            kit,
            window: window(&scenario.forward, &scenario.back)?,
            seconds: self.seconds,
            head_start: head_start(cell.has_bulk),
            has_bulk: cell.has_bulk,
            seed: self.seed,
            answers: &answers,
            traces: self.traces.as_ref().map(|folder| {
                let bulk = if cell.has_bulk { "bulk" } else { "alone" };
                folder.join(format!("{}-{bulk}", scenario.name))
            }),
        };
        let recipe = cell.setup.recipe(&asking)?;
        let mut run = stage.begin(&recipe, "0")?;
        run.start(&stage, &recipe)?;
        let limit = ends::CONNECTING + self.span(cell.has_bulk) + AFTER + Duration::from_secs(5);
        run.wait(limit)?;
        let text = std::fs::read(&answers).context("the client left no answers")?;
        Ok(serde_json::from_slice(&text)?)
    }
}

fn head_start(has_bulk: bool) -> Duration {
    if has_bulk {
        BULK_HEAD_START
    } else {
        HEAD_START
    }
}

/// Runs all of it until `is_stopped`; `tell` hears what is going on, a line at a time.
///
/// # Errors
/// Records cannot be written. A run that goes wrong is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Summary> {
    ensure!(!options.setups.is_empty(), "nobody to measure");
    let mut summary = Summary::default();
    let cells = options.cells();
    if let Some(reason) = netns::unavailable() {
        tell(&format!("skipped: all {} runs: {reason}", cells.len()));
        summary.skipped = cells.len();
        return Ok(summary);
    }
    leftovers::clean()?;
    let mut versions = Vec::new();
    for setup in &options.setups {
        let version = setup.prepare(kit).map_err(|error| format!("{error:#}"));
        match &version {
            Ok(version) => tell(&format!("{}: {version}", setup.name)),
            Err(reason) => tell(&format!("not to be had: {}: {reason}", setup.name)),
        }
        versions.push(version);
    }
    let mut journal = Journal::open(&options.out)?;
    let (count, time) = (cells.len(), options.estimate().as_secs());
    tell(&format!("{count} runs, about {time} s"));
    for (index, cell) in cells.iter().enumerate() {
        let version = &versions[index % options.setups.len()];
        let record = options.measure(cell, kit, version);
        if is_stopped() {
            break;
        }
        match &record.outcome {
            Outcome::Complete => summary.complete += 1,
            Outcome::CutOff => summary.cut_off += 1,
            Outcome::Failed { .. } if version.is_err() => summary.skipped += 1,
            Outcome::Failed { .. } => summary.failed += 1,
        }
        journal.append(&record)?;
        let nth = index + 1;
        tell(&format!("{nth:>3}/{count} {}", record.brief()));
    }
    Ok(summary)
}
