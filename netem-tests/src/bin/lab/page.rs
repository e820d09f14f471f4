//! `lab page`: goes through the status pages in headless Chromium. What is looked at is in `status_page`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use rp_netem_tests::{implementation::Kit, status_page};

use crate::{End, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the pictures go
    #[arg(long, value_name = "DIR", default_value = "target/status-page")]
    pictures: PathBuf,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// The browser
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/chromium")]
    chromium: PathBuf,
    /// Install nothing
    #[arg(long)]
    offline: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        interrupt::guard(move |_| {
            let kit = Kit::new(self.programs, self.offline)?;
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
