//! `lab proxies`: processor time of proxies. What is measured how is in the library's `proxies`.

use std::io::{self, Write};

use anyhow::ensure;
use rp_netem_tests::{
    proxies::{self, Options},
    quantity::{Rate, Share, Time},
    report::proxies::{Record, table},
};

use crate::{End, given::Recorded, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Of the link
    #[arg(long, default_value = "100Mbit")]
    rate: Rate,
    /// Without queues
    #[arg(long, default_value = "100ms", value_name = "TIME")]
    rtt: Time,
    /// Packets lost, each way
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0%,1%",
        value_name = "SHARE,..."
    )]
    loss: Vec<Share>,
    /// How long the download takes at the link's rate
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    seconds: f64,
    /// Of the link's chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        ensure!(
            (1.0..=3600.0).contains(&self.seconds),
            "--seconds takes 1 to 3600"
        );
        let options = Options {
            rate: self.rate.0,
            round_trip: self.rtt.0,
            losses: self.loss.iter().map(|share| share.0).collect(),
            seconds: self.seconds,
            seed: self.seed,
            out: self.recorded.out(Record::KIND),
        };
        let tools = self.recorded.tools;
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let is_stopped = || interrupt.is_requested();
            let mut records = Vec::new();
            let is_good = proxies::run(&options, &kit, &is_stopped, &mut |record| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {}", record.brief());
                records.push(record.clone());
            })?;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", table(&records))?;
            writeln!(out, "records in {}", options.out.display())?;
            Ok(if is_good { End::Good } else { End::Bad })
        })
    }
}
