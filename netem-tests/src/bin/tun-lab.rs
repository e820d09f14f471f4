//! Checks the namespace emulator against itself and removes what killed runs left; see `tun-lab --help`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use rp_netem_tests::{demo, netns, self_check};

/// The emulated link between two network namespaces (root).
#[derive(Parser)]
#[command(name = "tun-lab", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure round trip, loss and TCP over known links, and compare
    Check,
    /// Remove namespaces, programs and folders that killed runs left behind
    Clean,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Check => check(),
        Command::Clean => clean(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "tun-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut is_good = true;
    for check in self_check::ALL {
        let finding = (check.run)()?;
        is_good &= finding.is_good;
        let verdict = if finding.is_good { "ok" } else { "BAD" };
        writeln!(out, "{verdict:<4}{}: {}", check.name, finding.text)?;
    }
    Ok(is_good)
}

fn clean() -> io::Result<bool> {
    let removed = netns::clean()?;
    let mut out = io::stdout().lock();
    for name in &removed {
        writeln!(out, "removed {name}")?;
    }
    let runs = demo::clean()?;
    if runs > 0 {
        writeln!(out, "removed programs and folders of {runs} demo runs")?;
    }
    let left = netns::existing()?;
    for name in &left {
        writeln!(out, "in use by a running lab: {name}")?;
    }
    if removed.is_empty() && runs == 0 && left.is_empty() {
        writeln!(out, "nothing left behind")?;
    }
    Ok(true)
}
