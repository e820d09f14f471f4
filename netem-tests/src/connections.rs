//! Thousands of connections through the released programs, over loopback: whether all work, and what an
//! idle one costs each side. The load is in `crowd`.
//!
//! A new measurement is: one function, one line in [`ALL`].

pub(crate) mod crowd;
mod half_open;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use self::crowd::Crowd;
use crate::{
    adversary::stage::{Running, Stage, TIMEOUT},
    peer::echo::LISTENING,
    programs::{self, Programs},
    threshold::Row,
    usage::Usage,
};

/// Most memory that an idle connection may take on each side.
const IDLE_BYTES: f64 = 4096.0;

/// Most memory that each side may hold more, once all are gone, than before any was there.
const LEFT_MB: f64 = 10.0;

/// Most processor time that each side may take in a minute with nothing but idle connections.
const IDLE_PROCESSOR_S: f64 = 0.05;

/// How long the programs have to come to rest after the last byte has moved.
const SETTLE: Duration = Duration::from_secs(5);

/// How long memory has to fall back.
const FALL: Duration = Duration::from_secs(30);

/// What the echo server's output is called by.
const ECHO: &str = "echo";

/// Descriptors that each process needs beside those of connections.
const OTHER_DESCRIPTORS: usize = 1000;

/// What is measured how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of [`ALL`]; none means all.
    pub names: Vec<String>,
    /// Ready-made programs; built if absent.
    pub programs: Option<PathBuf>,
    /// Over one RPP connection, and half-open ones.
    pub connections: usize,
    /// How long the programs' processor time is watched.
    pub idle: Duration,
}

/// What measures, and says meanwhile what it does.
type Run = fn(&Programs, &Options, &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Row>>;

/// A measurement by the name it is chosen with.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// What it is about.
    pub name: &'static str,
    run: Run,
}

/// All measurements, in the order in which they run.
pub const ALL: &[Measurement] = &[
    Measurement {
        name: "one",
        run: one,
    },
    Measurement {
        name: "many",
        run: many,
    },
    Measurement {
        name: "half-open",
        run: half_open::run,
    },
];

/// Runs them; `note` hears what is going on, `tell` what each has come to. One that cannot be run is a row that
/// does not hold.
///
/// # Errors
/// The programs cannot be built, or `tell` fails.
pub fn run(
    options: &Options,
    note: &mut dyn FnMut(&str),
    tell: &mut dyn FnMut(&str, Vec<Row>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let programs = match &options.programs {
        Some(folder) => Programs::in_folder(folder),
        None => programs::build()?,
    };
    let is_wanted =
        |name: &str| options.names.is_empty() || options.names.iter().any(|n| n == name);
    for one in ALL.iter().filter(|one| is_wanted(one.name)) {
        let found = (one.run)(&programs, options, note)
            .unwrap_or_else(|error| vec![Row::unmeasured(one.name, &error)]);
        tell(one.name, found)?;
    }
    Ok(())
}

/// As many connections as asked for, over one RPP connection.
fn one(
    programs: &Programs,
    options: &Options,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    measure(programs, options, &[options.connections], note)
}

/// As many as the descriptors of a process allow, to one server, of several clients with keys of their own.
fn many(
    programs: &Programs,
    options: &Options,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    let all = room()?;
    let clients = all.div_ceil(options.connections).max(2);
    measure(programs, options, &vec![all / clients; clients], note)
}

/// Connections that one process may have.
fn room() -> anyhow::Result<usize> {
    let descriptors = rp_cli::run::raise_descriptor_limit();
    ensure!(
        descriptors > 2 * OTHER_DESCRIPTORS,
        "a process may open no more than {descriptors} files here (ulimit -n)"
    );
    // Some are enough for a statement where there is no limit.
    Ok(descriptors.min(100_000) - OTHER_DESCRIPTORS)
}

/// Connections of several clients to one target: `shares` are how many each client has.
fn measure(
    programs: &Programs,
    options: &Options,
    shares: &[usize],
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    let count: usize = shares.iter().sum();
    ensure!(
        count <= room()?,
        "{count} connections are more than a process may have here (ulimit -n)"
    );
    let mut stage = Stage::without_files(programs)?;
    let (_echo, target) = echo(&stage)?;
    let mut proxies = Vec::new();
    for _ in shares {
        let key = stage.another_user()?;
        proxies.push(stage.proxy_of(&key, stage.address, &[])?);
    }
    let mut crowd = Crowd::new()?;
    // Whatever the first connections allocate for good.
    for &proxy in &proxies {
        ensure!(crowd.connect(proxy, target, 8) == 0, "not even one echoes");
    }
    crowd.leave();
    sleep(SETTLE);
    let before = Sides::now(&stage)?;
    let began = Instant::now();
    let mut failed = 0;
    for (&proxy, &share) in proxies.iter().zip(shares) {
        failed += crowd.connect(proxy, target, share);
    }
    note(&format!(
        "{count} connections made in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    sleep(SETTLE);
    let full = Sides::now(&stage)?;
    note(&format!("{} idle seconds", options.idle.as_secs()));
    sleep(options.idle);
    let rested = Sides::now(&stage)?;
    failed += crowd.echo();
    crowd.leave();
    let after = fallen(&stage, &before)?;
    let name = match shares.len() {
        1 => format!("{count} connections over one RPP connection"),
        clients => format!("{count} connections of {clients} clients to one server"),
    };
    let mut rows = vec![Row::at_most(
        &format!("{name}: not echoed"),
        failed as f64,
        0.0,
        "",
    )];
    rows.extend(before.rows(&full, &rested, &after, shares, options.idle));
    Ok(rows)
}

/// Starts what answers every byte with the same, in a process of its own; where it listens.
pub(crate) fn echo(stage: &Stage) -> anyhow::Result<(Running, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe().context("no program of our own")?);
    command.args(["peer", "echo", "--port", "0"]);
    let running = stage.beside(command, ECHO)?;
    let began = Instant::now();
    loop {
        let said = stage.said(ECHO)?;
        if let Some((line, _)) = said.split_once('\n') {
            let address = line.strip_prefix(LISTENING);
            let address = address.with_context(|| format!("the echo server says: {said}"))?;
            return Ok((running, address.parse()?));
        }
        ensure!(began.elapsed() < TIMEOUT, "the echo server does not listen");
        sleep(Duration::from_millis(20));
    }
}

/// What both sides hold and have used; of several clients, each.
struct Sides {
    clients: Vec<Usage>,
    server: Usage,
}

impl Sides {
    fn now(stage: &Stage) -> anyhow::Result<Self> {
        let clients = stage.client_processes().into_iter().map(Usage::of);
        Ok(Self {
            clients: clients.collect::<Result<_, _>>()?,
            server: Usage::of(stage.server_process())?,
        })
    }

    /// Every program beside how it was before.
    fn with<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (String, Usage, Usage)> + 'a {
        let clients = self.clients.iter().zip(&before.clients).enumerate();
        let name = move |index| match self.clients.len() {
            1 => "rpclient".to_owned(),
            _ => format!("rpclient {}", index + 1),
        };
        clients
            .map(move |(index, (now, before))| (name(index), *now, *before))
            .chain([("rpserver".to_owned(), self.server, before.server)])
    }

    /// Whether memory and descriptors are back where they were.
    fn is_back(&self, before: &Self) -> bool {
        self.with(before).all(|(_, now, before)| {
            now.descriptors <= before.descriptors && megabytes_above(now, before) <= LEFT_MB
        })
    }

    fn rows(
        &self,
        full: &Self,
        rested: &Self,
        after: &Self,
        shares: &[usize],
        idle: Duration,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        let counts = || shares.iter().copied().chain([shares.iter().sum()]);
        for ((name, now, before), count) in full.with(self).zip(counts()) {
            let each = now.rss_bytes.saturating_sub(before.rss_bytes) as f64 / count as f64;
            let what = format!("  {name}: memory of an idle connection");
            rows.push(Row::at_most(&what, each, IDLE_BYTES, "bytes"));
        }
        for (name, now, before) in rested.with(full) {
            let used = now.processor.saturating_sub(before.processor);
            let what = format!(
                "  {name}: processor time of {} idle seconds",
                idle.as_secs()
            );
            let limit = IDLE_PROCESSOR_S * idle.as_secs_f64() / 60.0;
            rows.push(Row::at_most(&what, used.as_secs_f64(), limit, "s"));
        }
        for (name, now, before) in after.with(self) {
            let what = format!("  {name}: memory above the start once they are gone");
            let above = megabytes_above(now, before);
            rows.push(Row::at_most(&what, above, LEFT_MB, "MB"));
            let left = now.descriptors.saturating_sub(before.descriptors);
            let what = format!("  {name}: descriptors above the start");
            rows.push(Row::at_most(&what, left as f64, 0.0, ""));
        }
        rows
    }
}

fn megabytes_above(now: Usage, before: Usage) -> f64 {
    now.rss_bytes.saturating_sub(before.rss_bytes) as f64 / 1e6
}

/// Waits until all is back where it was, or for a while; how it is then.
fn fallen(stage: &Stage, before: &Sides) -> anyhow::Result<Sides> {
    let began = Instant::now();
    loop {
        let now = Sides::now(stage)?;
        if now.is_back(before) || began.elapsed() > FALL {
            return Ok(now);
        }
        sleep(Duration::from_millis(200));
    }
}
