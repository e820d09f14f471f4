//! `lab clean`: removes what killed runs left behind. What that can be is known where it is made.

use std::io::{self, Write};

use rp_netem_tests::{demo, netns};

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let removed = netns::clean()?;
        let mut out = io::stdout().lock();
        for name in &removed {
            writeln!(out, "removed {name}")?;
        }
        let runs = demo::clean()?;
        if runs > 0 {
            writeln!(out, "removed programs and folders of {runs} runs")?;
        }
        let left = netns::existing()?;
        for name in &left {
            writeln!(out, "in use by a running lab: {name}")?;
        }
        if removed.is_empty() && runs == 0 && left.is_empty() {
            writeln!(out, "nothing left behind")?;
        }
        Ok(End::Good)
    }
}
