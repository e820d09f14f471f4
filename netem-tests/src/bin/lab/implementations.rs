//! `lab implementations`: what there is to compare with, with versions; what is missing is installed.

use std::io::{self, Write};

use rp_netem_tests::implementation;

use crate::{End, given::Tools, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tools: Tools,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        interrupt::guard(move |_| {
            let kit = self.tools.kit()?;
            let mut out = io::stdout().lock();
            let mut end = End::Good;
            for implementation in implementation::ALL {
                let version = implementation
                    .install(&kit)
                    .and_then(|()| implementation.version(&kit));
                match version {
                    Ok(version) => writeln!(out, "{:<26}{version}", implementation.name())?,
                    Err(error) => {
                        writeln!(out, "{:<26}NOT TO BE HAD: {error:#}", implementation.name())?;
                        end = End::Bad;
                    }
                }
                writeln!(out, "{:<26}{}", "", implementation.about())?;
            }
            Ok(end)
        })
    }
}
