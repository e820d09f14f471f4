//! `lab clean`: removes what killed runs left behind. What that can be is known where it is made.

use std::io::{self, Write};

use rp_netem_tests::{leftovers, netns};

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let removed = leftovers::clean()?;
        let mut out = io::stdout().lock();
        for name in &removed.namespaces {
            writeln!(out, "removed {name}")?;
        }
        if removed.runs > 0 {
            writeln!(
                out,
                "removed programs, folders and control groups of {} runs, and restored kernel variables",
                removed.runs
            )?;
        }
        let left = netns::existing()?;
        for name in &left {
            writeln!(out, "in use by a running lab: {name}")?;
        }
        if removed == leftovers::Removed::default() && left.is_empty() {
            writeln!(out, "nothing left behind")?;
        }
        Ok(End::Good)
    }
}
