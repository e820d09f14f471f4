//! `lab check`: the emulator against what is known of its links. The measurements are in `self_check`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use rp_netem_tests::{
    record::{Circumstances, Journal, default_file},
    report::check::Record,
    self_check,
};

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where records are added
    #[arg(long, value_name = "FILE", default_value_os_t = default_file(Record::KIND))]
    out: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let mut out = io::stdout().lock();
        let mut journal = Journal::open(&self.out)?;
        let mut is_good = true;
        for check in self_check::ALL {
            let finding = (check.run)()?;
            is_good &= finding.is_good;
            let verdict = if finding.is_good { "ok" } else { "BAD" };
            writeln!(out, "{verdict:<4}{}: {}", check.name, finding.text)?;
            journal.append(&Record {
                kind: Record::KIND.to_owned(),
                name: check.name.to_owned(),
                is_good: finding.is_good,
                text: finding.text,
                circumstances: Circumstances::now(),
            })?;
        }
        Ok(if is_good { End::Good } else { End::Bad })
    }
}
