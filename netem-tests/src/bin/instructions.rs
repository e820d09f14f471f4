//! Counts the instructions of the hot path and compares them with the committed budgets; needs valgrind.
//! How it counts is in the library's `instructions`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use rp_netem_tests::instructions::{Budgets, Verdict};
use rp_protocol::bench::Work;

/// Instructions of the hot path, counted by valgrind's callgrind; release builds only.
#[derive(Parser)]
#[command(name = "instructions", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare with the budgets; a count more than 5 % above its budget is a failure
    Check,
    /// Count, and make what is found the budgets
    Update,
    /// Do the work of that name, for use under callgrind
    #[command(hide = true)]
    Run { name: String },
}

fn main() -> ExitCode {
    match run(&Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<bool> {
    match command {
        Command::Run { name } => {
            let work = Work::new(name).with_context(|| format!("there is no work {name}"))?;
            work.run();
            Ok(true)
        }
        Command::Update => {
            let counted = Budgets::measure()?;
            counted.save(&Budgets::file())?;
            writeln!(io::stdout(), "wrote {}", Budgets::file().display())?;
            Ok(true)
        }
        Command::Check => check(),
    }
}

fn check() -> anyhow::Result<bool> {
    let budgets = Budgets::load(&Budgets::file())?;
    let counted = Budgets::measure()?;
    let mut out = io::stdout().lock();
    let mut is_good = true;
    let mut is_low = false;
    for (name, count, budget, verdict) in budgets.compare(&counted) {
        let change = budget.map_or_else(
            || "no budget".to_owned(),
            |budget| {
                let change = (count as f64 / budget.max(1) as f64 - 1.0) * 100.0;
                format!("budget {budget}, {change:+.1} %")
            },
        );
        let word = match verdict {
            Verdict::Kept => "ok",
            Verdict::Over => "OVER",
            Verdict::Under => "under",
        };
        is_good &= verdict != Verdict::Over;
        is_low |= verdict == Verdict::Under;
        writeln!(out, "{word:<6}{name:<15}{count:>10}  {change}")?;
    }
    if let Some(reason) = budgets.differs(&counted) {
        writeln!(out, "SKIPPED {reason}")?;
        return Ok(true);
    }
    if is_low {
        writeln!(out, "LOWER the budgets: instructions update")?;
    }
    Ok(is_good)
}
