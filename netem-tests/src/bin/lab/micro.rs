//! `lab micro`: goodput and processor time without an emulator. What is measured how is in `micro`.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use rp_netem_tests::{
    implementation::{self, Implementation},
    micro::{self, Options},
    quantity::Size,
    report::micro::Record,
};

use crate::{End, given::Recorded, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who is measured (`lab implementations` lists all)
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", default_values_t = micro::PEERS.map(str::to_owned))]
    peers: Vec<String>,
    /// How much each sends
    #[arg(long, default_value = "1GB")]
    size: Size,
    /// How often each
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let mut implementations: Vec<&'static dyn Implementation> = Vec::new();
        for name in &self.peers {
            let implementation = implementation::find(name);
            implementations.push(implementation.with_context(|| {
                format!("there is no implementation {name} (see lab implementations)")
            })?);
        }
        ensure!(
            (1..=20_000_000_000).contains(&self.size.0),
            "--size takes 1 byte to 20 GB"
        );
        let options = Options {
            implementations,
            bytes: self.size.0,
            repeat: self.repeat,
            out: self.recorded.out(Record::KIND),
        };
        let tools = self.recorded.tools;
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let is_stopped = || interrupt.is_requested();
            let summary = micro::run(&options, &kit, &is_stopped, &mut |line| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            })?;
            writeln!(
                io::stdout(),
                "{} complete, {} failed, {} skipped; records in {}",
                summary.complete,
                summary.failed,
                summary.skipped,
                options.out.display()
            )?;
            let is_good = summary.failed == 0 && summary.skipped == 0;
            Ok(if is_good { End::Good } else { End::Bad })
        })
    }
}
