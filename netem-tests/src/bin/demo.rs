//! `cargo demo`: the main job over an emulated bad link; see `cargo demo --help`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use rp_netem_tests::{
    demo::{self, Options},
    leftovers,
    quantity::Size,
    scenario::Scenario,
};

/// Copies and downloads a file over an emulated bad link on this machine, and compares with plain TCP.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Args {
    /// The link: a scenario's name, or a path ending in `.toml`
    #[arg(long, default_value = "demo")]
    scenario: String,
    /// How much to copy, and to download
    #[arg(long, default_value = "100MB")]
    size: Size,
    /// Fixes what the link loses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave plain TCP out
    #[arg(long)]
    without_tcp: bool,
    /// Use the programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// How the demo ended.
enum End {
    Right,
    Wrong,
    Interrupted,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(End::Right) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::FAILURE,
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(error) => {
            say(&format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<End> {
    let options = Options {
        scenario: Scenario::load(&args.scenario)?,
        bytes: args.size.0,
        seed: args.seed,
        without_tcp: args.without_tcp,
        programs: args.programs,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let end = runtime.block_on(async {
        let mut tell = |what: &str| say(&format!("demo: {what}"));
        tokio::select! {
            table = demo::run(&options, &mut tell) => {
                let table = table?;
                write!(io::stdout(), "\n{table}")?;
                Ok(if table.is_right() { End::Right } else { End::Wrong })
            }
            () = interrupted() => Ok(End::Interrupted),
        }
    });
    // Threads that still measure plain TCP end with the process; what they made must not stay.
    runtime.shutdown_timeout(Duration::from_millis(100));
    leftovers::remove_own();
    end
}

/// Until somebody wants us to stop.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Says something beside the result; a closed standard error does not matter.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
