//! `lab page`: goes through the status pages in headless Chromium. What is looked at is in `status_page`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use rp_netem_tests::status_page;

use crate::{End, given::Tools, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the pictures go
    #[arg(long, value_name = "DIR", default_value = "target/status-page")]
    pictures: PathBuf,
    #[command(flatten)]
    tools: Tools,
    /// The browser
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        interrupt::guard(move |_| {
            let kit = self.tools.kit()?;
            if !Path::new(&self.chromium).exists() {
                kit.install_chromium()?;
            }
            status_page::run(&kit, &self.chromium, &self.pictures, &mut |line| {
                // Nobody to tell if standard output is closed.
                let _ = writeln!(io::stdout(), "ok {line}");
            })?;
            Ok(End::Good)
        })
    }
}
