//! `cargo lab`: measures, checks and cleans up; see `cargo lab --help`. Only the arguments are here:
//! each subcommand has a file beside this one, and what it runs is in the library.
//!
//! A new subcommand is: one file, one variant of [`Command`], one arm of `main`.

mod adversary;
mod check;
mod clean;
mod clients;
mod connections;
mod copies;
mod first_byte;
mod given;
mod implementations;
mod interrupt;
mod latency;
mod micro;
mod netem;
mod older;
mod page;
mod peer;
mod proxies;
mod report;
mod restarts;
mod rows;
mod run;
mod share;
mod trace;
mod tutorials;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// The laboratory: emulated links, and what programs make of them.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure round trip, loss and TCP over known links, and compare (root)
    Check(check::Args),
    /// Remove namespaces, programs and folders that killed runs left behind
    Clean(clean::Args),
    /// One end of a transfer, for use inside a namespace
    #[command(hide = true)]
    Peer(peer::Args),
    /// List what there is to compare with, and install what is missing
    Implementations(implementations::Args),
    /// Measure whole transfers: links, implementations, repetitions (root)
    Run(run::Args),
    /// Measure what flows get that share a bottleneck (root)
    Share(share::Args),
    /// Measure requests and answers, alone and beside a bulk transfer (root)
    Latency(latency::Args),
    /// Measure real clients and servers through our proxy, and by plain TCP (root)
    Clients(clients::Args),
    /// Measure what our proxy and others cost in processor time (root)
    Proxies(proxies::Args),
    /// Compare the emulator with the kernel's own, `tc netem` (root)
    Netem(netem::Args),
    /// Attack our programs, and see what honest users are left
    Adversary(adversary::Args),
    /// Hold thousands of connections through our programs, and see what an idle one costs
    Connections(connections::Args),
    /// Measure copies of files and trees beside scp, rsync and tar (root)
    Copies(copies::Args),
    /// Kill our server and change its rules under load, and see who notices
    Restarts(restarts::Args),
    /// Measure the first byte of a small GET through each front end (root)
    FirstByte(first_byte::Args),
    /// Measure goodput and processor time of one connection, nothing emulated (root)
    Micro(micro::Args),
    /// Measure what a second copy sends of a file that changed (root)
    Older(older::Args),
    /// Go through the status pages in headless Chromium, and draw them
    Page(page::Args),
    /// Turn all records into one page of tables and plots
    Report(report::Args),
    /// Draw event traces: rates, round trips, losses, the controller's states
    Trace(trace::Args),
    /// Run the tutorials of `proxy/docs` command by command, with real programs (root)
    Tutorials(tutorials::Args),
}

/// How a subcommand ended.
enum End {
    /// All that was asked for was done, and was good.
    Good,
    /// Something was bad, or was left out; what has been printed says what.
    Bad,
    /// Somebody wanted it to stop.
    Interrupted,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Adversary(args) => args.run(),
        Command::Connections(args) => args.run(),
        Command::Copies(args) => args.run(),
        Command::Restarts(args) => args.run(),
        Command::FirstByte(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Clean(args) => args.run(),
        Command::Clients(args) => args.run(),
        Command::Peer(args) => args.run(),
        Command::Implementations(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Share(args) => args.run(),
        Command::Latency(args) => args.run(),
        Command::Netem(args) => args.run(),
        Command::Proxies(args) => args.run(),
        Command::Micro(args) => args.run(),
        Command::Older(args) => args.run(),
        Command::Page(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Trace(args) => args.run(),
        Command::Tutorials(args) => args.run(),
    };
    match outcome {
        Ok(End::Good) => ExitCode::SUCCESS,
        Ok(End::Bad) => ExitCode::FAILURE,
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(error) => {
            // Nobody to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
