//! `lab latency`: requests and answers, alone and beside a bulk transfer. What is measured how is in
//! `latency`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use rp_netem_tests::{
    latency::{self, Options, Setup},
    quantity::{Rate, Share, Time},
    report::latency::Record,
};

use crate::{End, given::Recorded, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured: rpp, tcp-bbr, tcp-cubic, quinn-bbr; without it, all
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    peers: Vec<String>,
    /// Packets lost, each way
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0%,1%,5%",
        value_name = "SHARE,..."
    )]
    loss: Vec<Share>,
    /// Of the link
    #[arg(long, default_value = "100Mbit")]
    rate: Rate,
    /// Without queues
    #[arg(long, default_value = "100ms", value_name = "TIME")]
    rtt: Time,
    /// How long requests are made in each run; p99.9 of the smallest needs 20 or more
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    seconds: f64,
    /// Of the link's and the client's chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep our programs' event traces, in a folder for each run (`lab trace` draws them)
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
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
            let summary = latency::run(&options, &kit, &is_stopped, &mut |line| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            })?;
            writeln!(
                io::stdout(),
                "{} complete, {} with answers missing, {} failed, {} skipped; records in {}",
                summary.complete,
                summary.cut_off,
                summary.failed,
                summary.skipped,
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
        let setups: Vec<&'static Setup> = if self.peers.is_empty() {
            latency::ALL.iter().collect()
        } else {
            let found = self.peers.iter().map(|name| {
                latency::find(name).with_context(|| format!("there is no peer {name} here"))
            });
            found.collect::<anyhow::Result<_>>()?
        };
        ensure!(
            (1.0..=3600.0).contains(&self.seconds),
            "--seconds takes 1 to 3600"
        );
        Ok(Options {
            setups,
            rate: self.rate.0,
            round_trip: self.rtt.0,
            losses: self.loss.iter().map(|share| share.0).collect(),
            seconds: self.seconds,
            seed: self.seed,
            out: self.recorded.out(Record::KIND),
            traces: self.trace.map(std::path::absolute).transpose()?,
        })
    }
}
