//! `lab connections`: what thousands of connections cost. What is measured how is in the library's
//! `connections`.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::ensure;
use rp_netem_tests::{
    connections::{self, Options},
    record,
    report::threshold::Record,
};

use crate::{End, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured: one, many, half-open; with none, all
    measurements: Vec<String>,
    /// Connections over one RPP connection, and half-open ones
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    count: usize,
    /// How long the programs' processor time is watched
    #[arg(long, value_name = "S", default_value_t = 60)]
    idle: u64,
    /// Where the record goes
    #[arg(long, value_name = "FILE", default_value_os_t = record::default_file(Record::KIND))]
    out: PathBuf,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        for name in &self.measurements {
            ensure!(
                connections::ALL.iter().any(|one| one.name == name),
                "there is no measurement {name} (see lab connections --help)"
            );
        }
        ensure!(self.count > 1, "{} is no number of connections", self.count);
        let options = Options {
            names: self.measurements,
            programs: self.programs,
            connections: self.count,
            idle: Duration::from_secs(self.idle),
        };
        interrupt::guard(move |_| {
            let mut all = Vec::new();
            let mut note = |line: &str| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            };
            let measured = connections::run(&options, &mut note, &mut |name, found| {
                found.iter().for_each(rows::print);
                all.extend_from_slice(&found);
                rows::keep(&self.out, &format!("connections {name}"), found)
            });
            measured?;
            rows::end(&all)
        })
    }
}
