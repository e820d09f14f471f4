//! A server that is killed and started again under load, and one whose rules change under load: how soon
//! clients are served again, and whether anything hangs, drops or leaks. The load is in `load`.

mod load;

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;

use self::load::Load;
use crate::{
    adversary::stage::Stage,
    connections::{crowd::Crowd, echo},
    programs::{self, Programs},
    threshold::Row,
    usage::Usage,
};

/// Longest time from the server's return until every client was served again.
const RECOVERY: Duration = Duration::from_secs(3);

/// How long recovery is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the load runs between two disturbances.
const CALM: Duration = Duration::from_secs(1);

/// How long the server stays away, at most: longer absences let the pauses between attempts grow.
const AWAY: Duration = Duration::from_secs(3);

/// How long descriptors have to be closed after the load has ended.
const SETTLE: Duration = Duration::from_secs(10);

/// What is done how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kills with restarts, and changes of the rules.
    pub times: u32,
    /// Clients that work at once.
    pub clients: usize,
    /// Ready-made programs; built if absent.
    pub programs: Option<PathBuf>,
}

/// Measures both.
///
/// # Errors
/// The programs cannot be built or started.
pub fn run(options: &Options, note: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Row>> {
    let programs = match &options.programs {
        Some(folder) => Programs::in_folder(folder),
        None => programs::build()?,
    };
    let mut rows = killed(&programs, options, note)?;
    rows.extend(reloaded(&programs, options)?);
    Ok(rows)
}

/// Kills and restarts the server.
fn killed(
    programs: &Programs,
    options: &Options,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::new(programs, 0)?;
    let (_echo, target) = echo(&stage)?;
    let proxy = stage.proxy()?;
    let mut crowd = Crowd::new()?;
    ensure!(
        crowd.connect(proxy, target, options.clients) == 0,
        "no echo"
    );
    crowd.leave();
    sleep(CALM);
    let client = stage.client_processes()[0];
    let before = (descriptors(client)?, descriptors(stage.server_process())?);
    let load = Load::start(proxy, target, options.clients)?;
    let mut slowest = Duration::ZERO;
    for time in 0..options.times {
        sleep(CALM);
        stage.kill_server()?;
        sleep(AWAY * (time + 1) / options.times);
        stage.start_server()?;
        let took = load.served_again(Instant::now(), PATIENCE);
        note(&format!("served again after {:.2} s", took.as_secs_f64()));
        slowest = slowest.max(took);
    }
    sleep(CALM);
    let report = load.stop();
    let began = Instant::now();
    let after = loop {
        let after = (descriptors(client)?, descriptors(stage.server_process())?);
        if (after.0 <= before.0 && after.1 <= before.1) || began.elapsed() > SETTLE {
            break after;
        }
        sleep(Duration::from_millis(100));
    };
    let times = options.times;
    let name = format!("server killed and restarted {times} times: slowest recovery");
    let above = |after: u64, before: u64| after.saturating_sub(before) as f64;
    Ok(vec![
        Row::at_most(&name, slowest.as_secs_f64(), RECOVERY.as_secs_f64(), "s"),
        Row::at_most("  exchanges that hang", report.hung as f64, 0.0, ""),
        Row::told("  exchanges that were cut", report.cut as f64, ""),
        Row::told("  exchanges that went well", report.done as f64, ""),
        Row::at_most(
            "  rpclient: descriptors above the start",
            above(after.0, before.0),
            0.0,
            "",
        ),
        Row::at_most(
            "  rpserver: descriptors above the start",
            above(after.1, before.1),
            0.0,
            "",
        ),
    ])
}

/// Changes what clients may reach.
fn reloaded(programs: &Programs, options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::new(programs, 0)?;
    let (_echo, target) = echo(&stage)?;
    let proxy = stage.proxy()?;
    let load = Load::start(proxy, target, options.clients)?;
    for time in 1..=options.times {
        sleep(CALM / 2);
        let other = format!("10.{time}.0.0/16");
        stage.allow(&["127.0.0.0/8", &other])?;
        let began = Instant::now();
        while stage.server_log()?.matches("settings read again").count() < time as usize {
            ensure!(
                began.elapsed() < PATIENCE,
                "rpserver does not read its settings"
            );
            sleep(Duration::from_millis(5));
        }
    }
    sleep(CALM);
    let report = load.stop();
    let name = format!(
        "allow rules changed {} times by SIGHUP: exchanges that were cut",
        options.times
    );
    Ok(vec![
        Row::at_most(&name, (report.cut + report.hung) as f64, 0.0, ""),
        Row::told("  exchanges that went well", report.done as f64, ""),
    ])
}

fn descriptors(process: u32) -> anyhow::Result<u64> {
    Ok(Usage::of(process)?.descriptors)
}
