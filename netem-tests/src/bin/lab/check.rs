//! `lab check`: the emulator against what is known of its links. The measurements are in `self_check`.

use std::io::{self, Write};

use rp_netem_tests::self_check;

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let mut out = io::stdout().lock();
        let mut is_good = true;
        for check in self_check::ALL {
            let finding = (check.run)()?;
            is_good &= finding.is_good;
            let verdict = if finding.is_good { "ok" } else { "BAD" };
            writeln!(out, "{verdict:<4}{}: {}", check.name, finding.text)?;
        }
        Ok(if is_good { End::Good } else { End::Bad })
    }
}
