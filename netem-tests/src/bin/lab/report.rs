//! `lab report`: turns all records into one page with plots. What it shows is decided in `report`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use rp_netem_tests::report;

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the records, and of the plots
    #[arg(long, value_name = "DIR", default_value_os_t = report::default_results())]
    results: PathBuf,
    /// The page
    #[arg(long, value_name = "FILE", default_value_os_t = report::default_page())]
    out: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let written = report::write(&self.results, &self.out)?;
        let mut out = io::stdout().lock();
        for path in &written.files {
            writeln!(out, "wrote {}", path.display())?;
        }
        for missing in &written.missing {
            writeln!(out, "left out: {missing}")?;
        }
        Ok(End::Good)
    }
}
