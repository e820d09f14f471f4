//! One transfer in virtual time, told line by line: what the engine's own numbers say of it.
//! The world itself is `rp_netem_tests::world`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use rp_netem_tests::{
    quantity::{Size, Time},
    scenario::Scenario,
    trace::Recorder,
    world::World,
};
use rp_protocol::{config::TransportConfig, trace::Tracer};

/// Sends bytes from one engine to another over a scenario's link in virtual time.
#[derive(Parser)]
#[command(name = "world", version)]
struct Args {
    /// A scenario's name, or a path ending in `.toml`
    #[arg(default_value = "demo")]
    scenario: String,
    /// How much to send
    #[arg(long, default_value = "100MB")]
    size: Size,
    /// Give up after this much virtual time
    #[arg(long, default_value = "60s")]
    limit: Time,
    /// Print a line this often, in virtual time
    #[arg(long, default_value = "500ms")]
    every: Time,
    /// Fixes all chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write what the sender does, event by event (qlog), to this file; or both ends' to this folder
    #[arg(long, value_name = "PATH")]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "world: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let scenario = Scenario::load(&args.scenario)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {}", scenario.name, scenario.about)?;
    let mut world = World::new(scenario.forward, scenario.back, args.seed);
    let recorder = match &args.trace {
        Some(path) => Some(Arc::new(Recorder::new(path)?)),
        None => None,
    };
    let tracer = recorder.clone().map(|recorder| recorder as Arc<dyn Tracer>);
    let transport = TransportConfig::default().tracer(tracer);
    let pair = world.add_transfer(args.size.0, transport)?;
    let mut until = Duration::ZERO;
    while world.completed_after(pair).is_none() && until < args.limit.0 {
        until = (until + args.every.0.max(Duration::from_millis(1))).min(args.limit.0);
        world.run(until, |world| world.completed_after(pair).is_some());
        write_line(&mut out, &world, pair, until)?;
    }
    let (forward, back) = world.links();
    writeln!(out, "there: {forward:?}\nback: {back:?}")?;
    for stats in world
        .sender_stats(pair)
        .iter()
        .chain(&world.receiver_stats(pair))
    {
        writeln!(out, "{stats:#?}")?;
    }
    match world.completed_after(pair) {
        Some(took) => writeln!(
            out,
            "complete after {took:?}, {:.1} Mbit/s",
            args.size.0 as f64 * 8e-6 / took.as_secs_f64()
        )?,
        None => writeln!(out, "not complete")?,
    }
    let is_complete = world.completed_after(pair).is_some();
    // Traces end with their connections.
    drop(world);
    if let Some(recorder) = recorder {
        for path in recorder.finish()? {
            writeln!(out, "trace: {}", path.display())?;
        }
    }
    Ok(is_complete)
}

fn write_line(
    out: &mut impl Write,
    world: &World,
    pair: usize,
    at: Duration,
) -> anyhow::Result<()> {
    let arrived = world
        .receiving(pair)
        .map_or(0, |receiving| receiving.bytes());
    let Some(stats) = world.sender_stats(pair) else {
        writeln!(out, "{at:>8.2?}  {arrived} bytes, the connection is over")?;
        return Ok(());
    };
    for path in &stats.paths {
        writeln!(
            out,
            "{:>6.2} s  {:<8} rate {:<12} delivery {:<12} window {:>8} in flight {:>8}  rtt {:>6.1} ms  \
             queue {:>5.1} ms  lost {} of {}, random loss {:.3}  arrived {:.1} MB",
            at.as_secs_f64(),
            path.state,
            path.pacing_rate.to_string(),
            path.delivery_rate.to_string(),
            path.window,
            path.in_flight,
            path.rtt.as_secs_f64() * 1e3,
            path.queue_delay.as_secs_f64() * 1e3,
            path.lost_packets,
            path.sent_packets,
            path.random_loss,
            arrived as f64 / 1e6,
        )?;
    }
    Ok(())
}
