//! `lab trace`: draws event traces. Reading and drawing are in `trace`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use rp_netem_tests::{
    quantity::{Size, Time},
    report,
    scenario::Scenario,
    trace::{example, plot, read::Trace},
};

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Traces (`.sqlog`), as `--trace` of the programs and of `world` writes them
    #[arg(required_unless_present = "example", value_name = "FILE")]
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
    /// Make the trace too: one transfer in virtual time over this link; the picture and its record go to
    /// the results
    #[arg(
        long,
        value_name = "SCENARIO",
        num_args = 0..=1,
        default_missing_value = "baseline-b",
        conflicts_with_all = ["files", "out", "from", "to"],
    )]
    example: Option<String>,
    /// How much the example sends
    #[arg(long, default_value = "60MB", requires = "example")]
    size: Size,
    /// Fixes all chances of the example
    #[arg(long, default_value_t = 1, requires = "example")]
    seed: u64,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        if let Some(name) = &self.example {
            let results = report::default_results();
            let scenario = Scenario::load(name)?;
            let record = example::make(&scenario, self.size, self.seed, &results)?;
            let path = results.join("trace.svg");
            writeln!(io::stdout(), "{}: {}", path.display(), record.summary)?;
            return Ok(End::Good);
        }
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
