//! `lab share`: flows that share a bottleneck. How that is measured is in the library's `share`.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::ensure;
use rp_netem_tests::{
    implementation,
    quantity::{Rate, Share, Time},
    report::share::Record,
    share::{self, Case, CaseError, Options},
};

use crate::{End, given::Recorded, interrupt};

/// Beside kernel TCP at every depth of buffer.
const CROSS_TRAFFIC: [&str; 3] = ["rpcp+tcp-cubic", "rpcp+4xtcp-cubic", "rpcp+tcp-bbr"];

/// A scavenger (less than best effort) beside TCP, and TCP beside TCP to compare.
const SCAVENGER: [&str; 2] = ["tcp-cubic", "rpcp-low+tcp-cubic"];
const SCAVENGER_BUFFERS: [f64; 3] = [0.25, 1.0, 4.0];

/// Among themselves, at one depth and several round trips.
const EQUALS: [&str; 4] = ["2xrpcp", "4xrpcp", "8xrpcp", "rpcp+rpcp@10"];
const EQUALS_ROUND_TRIPS_MS: [u64; 3] = [20, 100, 200];

/// 50 and 150 ms.
const UNEVEN: [&str; 1] = ["rpcp+rpcp~100ms"];
const UNEVEN_ROUND_TRIP_MS: u64 = 50;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who shares: `rpcp+4xtcp-cubic`, `rpcp+tcp-bbr@10` (which starts 10 s later),
    /// `rpcp+rpcp~100ms` (with a longer round trip); with none, the usual ones
    cases: Vec<Case>,
    #[arg(long, default_value = "100Mbit")]
    rate: String,
    /// The usual cases among equals have their own
    #[arg(long, default_value = "60ms")]
    round_trip: Time,
    /// Each way; the usual cases among equals run at 0 and 1 %
    #[arg(long, default_value = "0%")]
    loss: String,
    /// In bandwidth-delay products
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2,4")]
    buffers: Vec<f64>,
    /// How long all flows are there together
    #[arg(long, default_value_t = 60, value_name = "S")]
    seconds: u32,
    /// How much of it is not counted; a third if not given
    #[arg(long, value_name = "S")]
    warm_up: Option<u32>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        self.rate.parse::<Rate>()?;
        self.loss.parse::<Share>()?;
        ensure!(
            (2..=3600).contains(&self.seconds),
            "--seconds takes 2 to 3600"
        );
        let warm_up = self.warm_up.unwrap_or(self.seconds / 3);
        ensure!(
            warm_up < self.seconds,
            "--warm-up must leave something to count"
        );
        for buffer in &self.buffers {
            ensure!(
                (0.01..=100.0).contains(buffer),
                "--buffers takes 0.01 to 100"
            );
        }
        for peer in self.cases.iter().flat_map(Case::peers) {
            ensure!(
                implementation::find(peer).is_some(),
                "there is no implementation {peer} (see lab implementations)"
            );
        }
        let tools = self.recorded.tools.clone();
        let (out, all) = (self.recorded.out(Record::KIND), self.options(warm_up)?);
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let mut sum = share::Summary::default();
            for options in &all {
                let is_stopped = || interrupt.is_requested();
                let summary = share::run(options, &kit, &is_stopped, &mut |line| {
                    // Nobody to tell if standard error is closed.
                    let _ = writeln!(io::stderr(), "lab: {line}");
                })?;
                sum.complete += summary.complete;
                sum.failed += summary.failed;
                sum.skipped += summary.skipped;
            }
            writeln!(
                io::stdout(),
                "{} complete, {} failed, {} skipped; records in {}",
                sum.complete,
                sum.failed,
                sum.skipped,
                out.display()
            )?;
            let is_good = sum.failed == 0 && sum.skipped == 0;
            Ok(if is_good { End::Good } else { End::Bad })
        })
    }

    /// What is typed, or the usual cases part by part.
    fn options(self, warm_up: u32) -> anyhow::Result<Vec<Options>> {
        let options = |cases: Vec<Case>, round_trip, loss: &str, buffers: &[f64]| Options {
            cases,
            rate: self.rate.clone(),
            round_trip,
            loss: loss.to_owned(),
            buffers: buffers.to_vec(),
            seconds: self.seconds,
            warm_up,
            seed: self.seed,
            out: self.recorded.out(Record::KIND),
        };
        let (round_trip, loss, buffers) = (self.round_trip.0, &self.loss, &self.buffers);
        if !self.cases.is_empty() {
            return Ok(vec![options(self.cases.clone(), round_trip, loss, buffers)]);
        }
        let mut parts = vec![
            options(usual(&CROSS_TRAFFIC)?, round_trip, loss, buffers),
            options(usual(&SCAVENGER)?, round_trip, loss, &SCAVENGER_BUFFERS),
        ];
        for ms in EQUALS_ROUND_TRIPS_MS {
            for loss in ["0%", "1%"] {
                let round_trip = Duration::from_millis(ms);
                parts.push(options(usual(&EQUALS)?, round_trip, loss, &[1.0]));
            }
        }
        let round_trip = Duration::from_millis(UNEVEN_ROUND_TRIP_MS);
        parts.push(options(usual(&UNEVEN)?, round_trip, loss, &[1.0]));
        Ok(parts)
    }
}

fn usual(names: &[&str]) -> Result<Vec<Case>, CaseError> {
    names.iter().map(|name| name.parse()).collect()
}
