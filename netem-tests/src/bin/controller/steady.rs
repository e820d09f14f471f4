//! One flow alone over the whole grid, once it is steady, and the scenarios with thresholds; every run becomes a
//! record. What the report makes of them stands in `report::steady`.

use std::{
    collections::HashSet,
    io::Write,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::Args;
use rp_netem_tests::{
    flow::{
        FlowConfig,
        goals::{GOALS, Goal},
        scenario::{self, Cell},
    },
    record::{Circumstances, Journal, default_file, read},
    report::steady::{Case, CellFigures, NamedFigure, Record},
};
use rp_protocol::config::Policy;

use crate::{grids::cells, parallel::parallel};

/// One flow alone in its steady state, over all of rates, RTTs, buffers and losses, and the scenarios with
/// thresholds. Records are added to a file; `cargo lab report` shows them.
#[derive(Debug, Args)]
pub(crate) struct Steady {
    /// Rates of the bottleneck in Mbit/s.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    mbps: Vec<f64>,
    /// Round-trip times in ms.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10,20,50,100,200,300,600"
    )]
    rtt: Vec<u64>,
    /// Buffers in bandwidth-delay products.
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.25,1,4")]
    bdp: Vec<f64>,
    /// Random losses behind the bottleneck, 0 to 1.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,0.001,0.01,0.02,0.05,0.1,0.3"
    )]
    loss: Vec<f64>,
    /// Runs of each cell with different seeds; one above 1 Gbit/s.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Leave out the scenarios with thresholds.
    #[arg(long)]
    cells_only: bool,
    /// File that records are added to.
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(Record::KIND))]
    out: PathBuf,
    /// Leave out what is already in the file.
    #[arg(long)]
    resume: bool,
    /// Start no run after so many seconds; `--resume` goes on.
    #[arg(long, default_value_t = u64::MAX)]
    stop_after: u64,
}

#[derive(Clone, Copy, Debug)]
enum Job {
    Cell(Cell, u64),
    Goal(Goal, u64),
}

impl Steady {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let done: HashSet<String> = if self.resume {
            let records: Vec<Record> = read(&self.out)?;
            records.iter().map(Record::key).collect()
        } else {
            HashSet::new()
        };
        let circumstances = Circumstances::now();
        let jobs = self.jobs();
        let count = jobs.len();
        let jobs: Vec<Job> = jobs
            .into_iter()
            .filter(|job| !done.contains(&job.key()))
            .collect();
        let skipped = count - jobs.len();
        let journal = Mutex::new(Journal::open(&self.out)?);
        let begun = Instant::now();
        let limit = Duration::from_secs(self.stop_after);
        let results = parallel(jobs.len(), |i| {
            if begun.elapsed() >= limit {
                return Ok(None);
            }
            let record = Record {
                kind: Record::KIND.to_owned(),
                case: jobs[i].measure(),
                seed: jobs[i].seed(),
                circumstances: circumstances.clone(),
            };
            let mut journal = journal
                .lock()
                .map_err(|_| anyhow::anyhow!("another run failed"))?;
            journal.append(&record)?;
            Ok(Some(record))
        });
        let (mut made, mut left) = (0, 0);
        for result in results {
            let result: anyhow::Result<Option<Record>> = result;
            let Some(record) = result? else {
                left += 1;
                continue;
            };
            made += 1;
            if !record.case.is_met() {
                writeln!(out, "{}", record.brief())?;
            }
        }
        writeln!(
            out,
            "{made} measured, {skipped} were in the file, {left} left for --resume; those under their threshold are above"
        )?;
        Ok(())
    }

    fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        if !self.cells_only {
            for goal in GOALS {
                jobs.extend((1..=self.seeds).map(|seed| Job::Goal(*goal, seed)));
            }
        }
        for cell in cells(&self.mbps, &self.rtt, &self.bdp, &self.loss) {
            let seeds = if cell.mbps > 1000.0 { 1 } else { self.seeds };
            jobs.extend((1..=seeds).map(|seed| Job::Cell(cell, seed)));
        }
        jobs
    }
}

impl Job {
    fn seed(&self) -> u64 {
        match *self {
            Self::Cell(_, seed) | Self::Goal(_, seed) => seed,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Cell(cell, seed) => Record::cell_key(cell, *seed),
            Self::Goal(goal, seed) => Record::goal_key(goal.name, goal.rtt_ms, *seed),
        }
    }

    fn measure(&self) -> Case {
        match self {
            Self::Cell(cell, seed) => {
                let flow = FlowConfig::new(Policy::Fair);
                let range = scenario::steady_range(cell);
                let solo = scenario::solo_between(cell, cell.link(), flow, *seed, range.clone());
                Case::Cell(CellFigures::new(cell, range, &solo))
            }
            Self::Goal(goal, seed) => Case::Named {
                scenario: goal.name.to_owned(),
                rtt_ms: goal.rtt_ms,
                figures: goal.figures(*seed).iter().map(NamedFigure::new).collect(),
            },
        }
    }
}
