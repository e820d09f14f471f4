//! Grids: which links, which implementations, how often, in what order; and running that, record by record.
//! One run is measured in `implementation`; the records and their tables are in `report::grid`.

mod file;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    implementation::{self, Implementation, Job, Kit},
    leftovers, netns,
    record::{Circumstances, Journal, Outcome, read},
    report::grid::{Key, LinkFacts, Record},
    scenario::Scenario,
};

pub use self::file::{Grid, GridError};

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// The links.
    pub scenarios: Vec<Scenario>,
    /// Who is measured.
    pub implementations: Vec<&'static dyn Implementation>,
    /// How often each.
    pub repeat: u32,
    /// How much each sends: what the link carries in this time.
    pub seconds: f64,
    /// When each is cut off.
    pub limit: Duration,
    /// The first repetition's; the next ones count up.
    pub seed: u64,
    /// Where the records go.
    pub out: PathBuf,
    /// Leave out what is in `out` already and has not failed.
    pub resume: bool,
}

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which link.
    pub scenario: usize,
    /// Which implementation.
    pub implementation: usize,
    /// Which time, from 0.
    pub repetition: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Everything arrived.
    pub complete: usize,
    /// The limit ended it.
    pub cut_off: usize,
    /// It went wrong.
    pub failed: usize,
    /// Not tried, for lack of root or of the implementation.
    pub skipped: usize,
    /// In the file already.
    pub resumed: usize,
}

/// Links one after another; within a link, every implementation once before any comes again, so that noise of the
/// machine hits all; and in each repetition another one first.
pub fn plan(scenarios: usize, implementations: usize, repeat: u32) -> Vec<Run> {
    let mut runs = Vec::new();
    for scenario in 0..scenarios {
        for repetition in 0..repeat {
            for turn in 0..implementations {
                let first = usize::try_from(repetition).unwrap_or_default();
                runs.push(Run {
                    scenario,
                    implementation: (turn + first) % implementations,
                    repetition,
                });
            }
        }
    }
    runs
}

/// Time a run takes beside its transfer.
const SETUP: Duration = Duration::from_millis(600);

/// The least and the most time that many runs take.
pub fn estimate(runs: usize, seconds: f64, limit: Duration) -> (Duration, Duration) {
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    (
        (Duration::from_secs_f64(seconds) + SETUP).saturating_mul(runs),
        (limit + SETUP).saturating_mul(runs),
    )
}

/// Bytes that a link carries in that time.
#[expect(
    clippy::cast_possible_truncation,
    reason = "float-to-integer casts saturate; times are checked where they are typed"
)]
pub fn bytes_of(scenario: &Scenario, seconds: f64) -> Option<u64> {
    let rate = scenario.forward.rate()?.bytes_per_second() as f64;
    Some((rate * seconds).round() as u64)
}

/// Runs all of it until `is_stopped`; `tell` hears what is going on, a line at a time.
///
/// # Errors
/// Records cannot be read or written. A run that goes wrong is a record, not an error.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Summary> {
    let done: BTreeSet<Key> = if options.resume {
        let records: Vec<Record> = read(&options.out)?;
        let ended = records.iter().filter(|record| !record.has_failed());
        ended.map(Record::key).collect()
    } else {
        BTreeSet::new()
    };
    let mut summary = Summary::default();
    let mut journal = Journal::open(&options.out)?;
    let all = plan(
        options.scenarios.len(),
        options.implementations.len(),
        options.repeat,
    );
    let (open, known): (Vec<Run>, Vec<Run>) = all
        .into_iter()
        .partition(|run| !done.contains(&options.key(run)));
    summary.resumed = known.len();
    if let Some(reason) = netns::unavailable() {
        for run in &open {
            tell(&format!("skipped: {}: {reason}", options.title(run)));
        }
        summary.skipped = open.len();
        return Ok(summary);
    }
    leftovers::clean()?;
    let versions = prepare(options, kit, tell);
    let (least, most) = estimate(open.len(), options.seconds, options.limit);
    tell(&format!(
        "{} runs ({} are there already), between {} and {} s",
        open.len(),
        known.len(),
        least.as_secs(),
        most.as_secs()
    ));
    let began = Instant::now();
    for (index, run) in open.iter().enumerate() {
        let record = options.measure(run, kit, &versions[run.implementation]);
        // Its programs may have been ended on purpose: that is no result.
        if is_stopped() {
            break;
        }
        summary.count(&record);
        journal.append(&record)?;
        let left =
            began.elapsed().as_secs_f64() / (index + 1) as f64 * (open.len() - index - 1) as f64;
        tell(&format!(
            "{:>4}/{} {} {}; {left:.0} s left",
            index + 1,
            open.len(),
            options.title(run),
            record.brief(),
        ));
    }
    Ok(summary)
}

/// Installs what is missing; says each implementation's version, or why there is none.
fn prepare(
    options: &Options,
    kit: &Kit,
    tell: &mut dyn FnMut(&str),
) -> Vec<Result<String, String>> {
    let mut versions = Vec::new();
    for implementation in &options.implementations {
        let version = implementation
            .install(kit)
            .and_then(|()| implementation.version(kit))
            .map_err(|error| format!("{error:#}"));
        match &version {
            Ok(version) => tell(&format!("{}: {version}", implementation.name())),
            Err(reason) => tell(&format!(
                "not to be had: {}: {reason}",
                implementation.name()
            )),
        }
        versions.push(version);
    }
    versions
}

impl Options {
    fn key(&self, run: &Run) -> Key {
        Key::new(
            &self.scenarios[run.scenario].name,
            self.implementations[run.implementation].name(),
            self.seconds,
            run.repetition,
        )
    }

    fn title(&self, run: &Run) -> String {
        format!(
            "{} {} #{}",
            self.scenarios[run.scenario].name,
            self.implementations[run.implementation].name(),
            run.repetition + 1
        )
    }

    fn measure(&self, run: &Run, kit: &Kit, version: &Result<String, String>) -> Record {
        let (scenario, implementation) = (
            &self.scenarios[run.scenario],
            self.implementations[run.implementation],
        );
        // All implementations of a repetition meet the same chances.
        let seed = self.seed + u64::from(run.repetition);
        let mut record = Record {
            kind: Record::KIND.to_owned(),
            scenario: scenario.name.clone(),
            link: LinkFacts::of(scenario),
            peer: implementation.name().to_owned(),
            settings: implementation.about().to_owned(),
            version: version.clone().unwrap_or_default(),
            repetition: run.repetition,
            seed,
            seconds: self.seconds,
            bytes: bytes_of(scenario, self.seconds).unwrap_or_default(),
            limit_s: self.limit.as_secs_f64(),
            outcome: Outcome::Complete,
            figures: None,
            circumstances: Circumstances::now(),
        };
        let job = Job {
            scenario,
            bytes: record.bytes,
            limit: self.limit,
            seed,
        };
        let measured = match version {
            Ok(_) => implementation::transfer(implementation, kit, &job),
            Err(reason) => Err(anyhow::anyhow!("not to be had: {reason}")),
        };
        match measured {
            Ok((outcome, figures)) => {
                record.outcome = outcome;
                record.figures = Some(figures);
            }
            Err(error) => {
                record.outcome = Outcome::Failed {
                    reason: format!("{error:#}"),
                };
            }
        }
        record
    }
}

impl Summary {
    fn count(&mut self, record: &Record) {
        match (&record.outcome, &record.figures) {
            (Outcome::Complete, _) => self.complete += 1,
            (Outcome::CutOff, _) => self.cut_off += 1,
            (Outcome::Failed { .. }, None) if record.version.is_empty() => self.skipped += 1,
            (Outcome::Failed { .. }, _) => self.failed += 1,
        }
    }

    /// Whether everything that was asked for was tried and nothing went wrong.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.skipped == 0
    }
}

#[cfg(test)]
mod tests;
