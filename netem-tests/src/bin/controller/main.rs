//! Judges congestion controllers on virtual links: grids of cells, named scenarios, or one trace.

mod grids;
mod named;
mod parallel;
mod steady;
mod trace;

use std::io;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Trace(trace::Trace),
    Solo(grids::Solo),
    Cubic(grids::Cubic),
    Own(grids::Own),
    Named(named::Named),
    Steady(steady::Steady),
}

fn main() -> anyhow::Result<()> {
    let out = &mut io::stdout().lock();
    let done: io::Result<()> = match Arguments::parse().command {
        Command::Trace(command) => command.run(out),
        Command::Solo(command) => command.run(out),
        Command::Cubic(command) => command.run(out),
        Command::Own(command) => command.run(out),
        Command::Named(command) => command.run(out),
        Command::Steady(command) => return command.run(out),
    };
    Ok(done?)
}
