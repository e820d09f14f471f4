//! `lab micro`: goodput and processor time without an emulator. What is measured how is in `micro`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use rp_netem_tests::{
    implementation::{self, Implementation, Kit},
    micro::{self, Options},
    quantity::Size,
    record,
    report::micro::Record,
};

use crate::{End, interrupt};

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
            out: self.out,
        };
        let (programs, is_offline) = (self.programs, self.offline);
        interrupt::guard(move |interrupt| {
            let kit = Kit::new(programs, is_offline)?;
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
