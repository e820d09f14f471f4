//! Puts an emulated link in front of a UDP server, without root: parse, run, report.
//! The relay itself is `rp_netem_tests::udp_relay`.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use rp_netem_tests::{
    link::LinkCounters,
    scenario::Scenario,
    udp_relay::{RelayConfig, RelayReport, UdpRelay},
};

/// Puts an emulated link between UDP clients and a UDP server.
#[derive(Parser)]
#[command(name = "udp-relay", version)]
struct Args {
    /// Where clients send to.
    #[arg(long, default_value = "127.0.0.1:7000")]
    listen: SocketAddr,
    /// Where the server is.
    #[arg(long)]
    to: SocketAddr,
    /// A scenario's name, or a path ending in `.toml`.
    #[arg(long, default_value = "demo")]
    scenario: String,
    /// Fixes all chances: the same seed loses the same packets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Exchange the directions: data flows from the server to the clients.
    #[arg(long)]
    download: bool,
}

fn main() -> ExitCode {
    let outcome = run(&Args::parse());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "udp-relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let scenario = Scenario::load(&args.scenario)?;
    let (to_server, to_client) = if args.download {
        (scenario.back, scenario.forward)
    } else {
        (scenario.forward, scenario.back)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let relay = UdpRelay::start(RelayConfig {
            listen: args.listen,
            server: args.to,
            to_server,
            to_client,
            seed: args.seed,
        })
        .with_context(|| format!("cannot listen on {}", args.listen))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}: {}", scenario.name, scenario.about)?;
        writeln!(
            out,
            "{} -> {}, seed {}",
            relay.local_addr(),
            args.to,
            args.seed
        )?;
        tokio::signal::ctrl_c().await?;
        print_report(&mut out, &relay.stop()?)
    })
}

fn print_report(out: &mut impl Write, report: &RelayReport) -> anyhow::Result<()> {
    print_direction(out, "to server", &report.to_server)?;
    print_direction(out, "to client", &report.to_client)?;
    writeln!(
        out,
        "{} clients, {} packets unsendable, latest delivery {:?} behind the link",
        report.clients, report.unsendable, report.max_late
    )?;
    Ok(())
}

fn print_direction(out: &mut impl Write, name: &str, link: &LinkCounters) -> anyhow::Result<()> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(
        out,
        "{name}: {} packets offered, {} delivered, {} lost, {} dropped at the queue, {} policed, {} too big; \
         queue mean {:.1} ms, p95 {:.1} ms",
        link.offered,
        link.delivered,
        link.lost,
        link.queue_dropped,
        link.policed,
        link.too_big,
        ms(link.queue_delay.mean),
        ms(link.queue_delay.p95),
    )?;
    Ok(())
}
