//! `lab run`: a grid of links, implementations and repetitions. What is run in which order is decided in `grid`.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, ensure};
use rp_netem_tests::{
    grid::{self, Grid, Options},
    implementation::{self, Implementation},
    report::grid::Record,
    scenario::Scenario,
};

use crate::{End, given::Recorded, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of scenarios, or paths ending in `.toml`; with none, the grid's
    scenarios: Vec<String>,
    /// A grid's name, or a path ending in `.toml`
    #[arg(long, default_value = "short")]
    grid: String,
    /// Who is measured; without it, the grid's (`lab implementations` lists all)
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    peers: Vec<String>,
    /// How often each; without it, the grid's, or 3
    #[arg(long)]
    repeat: Option<u32>,
    /// Each sends what the link carries in this time
    #[arg(long, default_value_t = 4.0, value_name = "S")]
    seconds: f64,
    /// When a transfer is cut off; if not given, half as long again, and from 10 s on 10 s later
    #[arg(long, value_name = "S")]
    limit: Option<f64>,
    /// Of the first repetition; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out what the file has already
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let tools = self.recorded.tools.clone();
        let options = self.options()?;
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let is_stopped = || interrupt.is_requested();
            let summary = grid::run(&options, &kit, &is_stopped, &mut |line| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            })?;
            writeln!(
                io::stdout(),
                "{} complete, {} cut off, {} failed, {} skipped, {} were there already; records in {}",
                summary.complete,
                summary.cut_off,
                summary.failed,
                summary.skipped,
                summary.resumed,
                options.out.display()
            )?;
            Ok(if summary.is_good() {
                End::Good
            } else {
                End::Bad
            })
        })
    }

    fn options(self) -> anyhow::Result<Options> {
        let grid = Grid::load(&self.grid)?;
        let scenarios = if self.scenarios.is_empty() {
            grid.scenarios
        } else {
            let loaded: Result<_, _> = self.scenarios.iter().map(|s| Scenario::load(s)).collect();
            loaded?
        };
        for scenario in &scenarios {
            let name = &scenario.name;
            ensure!(
                scenario.forward.rate().is_some(),
                "{name}: no rate, so no size to send"
            );
        }
        let peers = if self.peers.is_empty() {
            grid.peers
        } else {
            self.peers
        };
        let mut implementations: Vec<&'static dyn Implementation> = Vec::new();
        for name in &peers {
            let implementation = implementation::find(name);
            implementations.push(implementation.with_context(|| {
                format!("there is no implementation {name} (see lab implementations)")
            })?);
        }
        ensure!(
            (0.1..=3600.0).contains(&self.seconds),
            "--seconds takes 0.1 to 3600"
        );
        // What nearly fills the link ends by itself; what is far from it is not worth waiting for.
        let grace = if self.seconds < 10.0 {
            self.seconds / 2.0
        } else {
            10.0
        };
        let limit = self.limit.unwrap_or(self.seconds + grace);
        ensure!((0.1..=7200.0).contains(&limit), "--limit takes 0.1 to 7200");
        Ok(Options {
            scenarios,
            implementations,
            repeat: self.repeat.or(grid.repeat).unwrap_or(3),
            seconds: self.seconds,
            limit: Duration::from_secs_f64(limit),
            seed: self.seed,
            out: self.recorded.out(Record::KIND),
            resume: self.resume,
        })
    }
}
