//! `lab restarts`: a server that is killed, and one whose rules change, under load. What is measured how is
//! in the library's `restarts`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::ensure;
use rp_netem_tests::{
    record,
    report::threshold::Record,
    restarts::{self, Options},
};

use crate::{End, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kills with restarts, and changes of the rules
    #[arg(long, default_value_t = 10, value_name = "N")]
    times: u32,
    /// Clients that work at once
    #[arg(long, default_value_t = 40, value_name = "N")]
    clients: usize,
    /// Where the record goes
    #[arg(long, value_name = "FILE", default_value_os_t = record::default_file(Record::KIND))]
    out: PathBuf,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        ensure!(self.times > 0 && self.clients > 0, "nothing to do");
        let options = Options {
            times: self.times,
            clients: self.clients,
            programs: self.programs,
        };
        interrupt::guard(move |_| {
            let found = restarts::run(&options, &mut |line| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            })?;
            found.iter().for_each(rows::print);
            let end = rows::end(&found);
            rows::keep(&self.out, "restarts", found)?;
            end
        })
    }
}
