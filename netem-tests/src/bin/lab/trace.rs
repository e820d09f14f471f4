//! `lab trace`: draws event traces. Reading and drawing are in `trace`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use rp_netem_tests::{
    quantity::Time,
    trace::{plot, read::Trace},
};

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Traces (`.sqlog`), as `--trace` of the programs and of `world` writes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the picture goes; without it, beside its trace with the ending `.svg`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// From this time on, since the connection began
    #[arg(long, value_name = "TIME", default_value = "0s")]
    from: Time,
    /// Until this time
    #[arg(long, value_name = "TIME")]
    to: Option<Time>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        anyhow::ensure!(
            self.out.is_none() || self.files.len() == 1,
            "--out takes one picture, and {} traces were given",
            self.files.len()
        );
        let to = self.to.map_or(f64::INFINITY, |to| to.0.as_secs_f64());
        let span = self.from.0.as_secs_f64()..to;
        let mut out = io::stdout().lock();
        for file in &self.files {
            let trace = Trace::load(file)?;
            let svg =
                plot::svg(&trace, span.clone()).with_context(|| file.display().to_string())?;
            let path = match &self.out {
                Some(path) => path.clone(),
                None => file.with_extension("svg"),
            };
            fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(out, "{}: {}", path.display(), trace.summary())?;
        }
        Ok(End::Good)
    }
}
