//! `lab share`: flows that share a bottleneck. How that is measured is in the library's `share`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::ensure;
use rp_netem_tests::{
    quantity::{Rate, Share, Time},
    record,
    report::share::Record,
    rival::{self, Kit},
    share::{self, Case, Options},
};

use crate::{End, interrupt};

/// Beside kernel TCP at every depth of buffer.
const COMPANY: [&str; 3] = ["rpcp+tcp-cubic", "rpcp+4xtcp-cubic", "rpcp+tcp-bbr"];

/// Among themselves, at one.
const EQUALS: [&str; 4] = ["2xrpcp", "4xrpcp", "8xrpcp", "rpcp+rpcp@10"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who shares: `rpcp+4xtcp-cubic`, `rpcp+tcp-bbr@10` (which starts 10 s later); with none, the usual ones
    cases: Vec<Case>,
    #[arg(long, default_value = "100Mbit")]
    rate: String,
    #[arg(long, default_value = "60ms")]
    round_trip: Time,
    /// Each way; the usual cases among equals also run at 1 %
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
    /// Where the records go
    #[arg(long, value_name = "FILE", default_value_os_t = record::default_file(Record::KIND))]
    out: PathBuf,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Install nothing
    #[arg(long)]
    offline: bool,
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
                rival::find(peer).is_some(),
                "there is no rival {peer} (see lab rivals)"
            );
        }
        let (programs, is_offline) = (self.programs.clone(), self.offline);
        let (out, all) = (self.out.clone(), self.options(warm_up)?);
        interrupt::guard(move |interrupt| {
            let kit = Kit::new(programs, is_offline)?;
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

    /// What is typed, or the usual cases in three parts.
    fn options(self, warm_up: u32) -> anyhow::Result<Vec<Options>> {
        let options = |cases: Vec<Case>, loss: &str, buffers: &[f64]| Options {
            cases,
            rate: self.rate.clone(),
            round_trip: self.round_trip.0,
            loss: loss.to_owned(),
            buffers: buffers.to_vec(),
            seconds: self.seconds,
            warm_up,
            seed: self.seed,
            out: self.out.clone(),
        };
        if !self.cases.is_empty() {
            return Ok(vec![options(self.cases.clone(), &self.loss, &self.buffers)]);
        }
        let usual = |names: &[&str]| names.iter().map(|name| name.parse()).collect();
        let (company, equals): (Result<Vec<Case>, _>, Result<Vec<Case>, _>) =
            (usual(&COMPANY), usual(&EQUALS));
        let (company, equals) = (company?, equals?);
        Ok(vec![
            options(company, &self.loss, &self.buffers),
            options(equals.clone(), "0%", &[1.0]),
            options(equals, "1%", &[1.0]),
        ])
    }
}
