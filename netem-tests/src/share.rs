//! Competing traffic: several flows over one bottleneck at the same time, and what each gets of it. Implementations are the
//! same as in `grid`; the records, their table and plots are in `report::share`.
//!
//! What a flow gets is counted where all are alike: IP bytes that leave the bottleneck towards its port.

mod case;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

pub use self::case::{Case, CaseError, Member};
use crate::{
    implementation::{self, Implementation, Kit, PORT, Recipe, Run, Stage, Task, window},
    leftovers, netns,
    peer::monotonic_ns,
    record::{Circumstances, Journal, Outcome},
    report::{
        grid::LinkFacts,
        share::{Flow, Record, jain},
    },
    scenario::Scenario,
    tun::Arrivals,
};

/// What to run: every case over every buffer.
#[derive(Debug)]
pub struct Options {
    /// Who shares.
    pub cases: Vec<Case>,
    /// Bits per second of the bottleneck.
    pub rate: String,
    /// Without queues.
    pub round_trip: Duration,
    /// Behind the bottleneck, each way.
    pub loss: String,
    /// Depths of its queue in bandwidth-delay products.
    pub buffers: Vec<f64>,
    /// How long all flows are there together, and longer if some start later.
    pub seconds: u32,
    /// Of this time, how much is not counted at its beginning.
    pub warm_up: u32,
    /// Of the link's chances.
    pub seed: u64,
    /// Where the records go.
    pub out: PathBuf,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs that were watched to their end.
    pub complete: usize,
    /// Runs that went wrong.
    pub failed: usize,
    /// Not tried, for lack of root.
    pub skipped: usize,
}

/// Ports between one flow's first and the next one's.
const PORTS: u16 = 10;

/// Time between two looks at what has arrived.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Runs all of it until `is_stopped`; `tell` hears what is going on, a line at a time.
///
/// # Errors
/// Records cannot be written, or a link cannot be described. A run that goes wrong is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let runs: Vec<(&Case, f64)> = options
        .cases
        .iter()
        .flat_map(|case| options.buffers.iter().map(move |buffer| (case, *buffer)))
        .collect();
    if let Some(reason) = netns::unavailable() {
        for (case, buffer) in &runs {
            tell(&format!("skipped: {case} at {buffer} BDP: {reason}"));
        }
        summary.skipped = runs.len();
        return Ok(summary);
    }
    leftovers::clean()?;
    let mut journal = Journal::open(&options.out)?;
    tell(&format!(
        "{} runs of {} s or more, {} min",
        runs.len(),
        options.seconds,
        (runs.len() as f64 * f64::from(options.seconds + 2) / 60.0).ceil()
    ));
    for (index, (case, buffer)) in runs.iter().enumerate() {
        let record = options.measure(case, *buffer, kit)?;
        if is_stopped() {
            break;
        }
        match record.outcome {
            Outcome::Failed { .. } => summary.failed += 1,
            _ => summary.complete += 1,
        }
        journal.append(&record)?;
        tell(&format!(
            "{:>3}/{} {}",
            index + 1,
            runs.len(),
            record.brief()
        ));
    }
    Ok(summary)
}

impl Options {
    fn scenario(&self, buffer: f64) -> anyhow::Result<Scenario> {
        let text = format!(
            "about = \"A bottleneck that is shared.\"\n[link]\nrate = \"{}\"\ndelay = \"{}us\"\n\
             loss = \"{}\"\nqueue = \"{buffer}BDP\"\nmtu = \"1500B\"\n",
            self.rate,
            self.round_trip.as_micros() / 2,
            self.loss,
        );
        Ok(Scenario::parse(Path::new("shared.toml"), &text)?)
    }

    fn measure(&self, case: &Case, buffer: f64, kit: &Kit) -> anyhow::Result<Record> {
        let scenario = self.scenario(buffer)?;
        let mut record = Record {
            kind: Record::KIND.to_owned(),
            case: case.to_string(),
            link: LinkFacts::of(&scenario),
            buffer_bdp: buffer,
            seconds: self.seconds,
            warm_up_s: self.warm_up,
            seed: self.seed,
            outcome: Outcome::Complete,
            flows: Vec::new(),
            jain: 0.0,
            queue_mean_ms: 0.0,
            queue_p95_ms: 0.0,
            queue_dropped: 0,
            circumstances: Circumstances::now(),
        };
        match self.watch(case, &scenario, kit, &mut record) {
            Ok(()) => record.jain = jain(record.flows.iter().map(|flow| flow.mean_mbit)),
            Err(error) => {
                record.outcome = Outcome::Failed {
                    reason: format!("{error:#}"),
                };
            }
        }
        Ok(record)
    }

    /// Starts all flows, watches them, and fills in what each got.
    fn watch(
        &self,
        case: &Case,
        scenario: &Scenario,
        kit: &Kit,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let flows = case.flows();
        let mut implementations: Vec<&'static dyn Implementation> = Vec::new();
        for Member { peer, .. } in &flows {
            let implementation = implementation::find(peer)
                .with_context(|| format!("there is no implementation {peer}"))?;
            implementation.install(kit)?;
            implementations.push(implementation);
        }
        let last_start = flows
            .iter()
            .map(|flow| flow.start)
            .max()
            .unwrap_or_default();
        let total = last_start + Duration::from_secs(self.seconds.into());
        let stage: Stage = Stage::set(kit, scenario, self.seed, false)?;
        for (index, flow) in flows.iter().enumerate() {
            if !flow.extra.is_zero() {
                stage.lab().lengthen(ports(index), flow.extra);
            }
        }
        let mut running: Vec<(Recipe, Run)> = Vec::new();
        for (index, implementation) in implementations.iter().enumerate() {
            let recipe = self.recipe(
                *implementation,
                scenario,
                kit,
                &stage,
                (index, &flows, total),
            )?;
            let run = stage.begin(&recipe, &format!("{index}."))?;
            running.push((recipe, run));
        }
        let samples = sample(&stage, &flows, &mut running, total)?;
        let report = stage.lab().report();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        record.queue_mean_ms = millis(report.forward.queue_delay.mean);
        record.queue_p95_ms = millis(report.forward.queue_delay.p95);
        record.queue_dropped = report.forward.queue_dropped;
        let counted_from = last_start.as_secs_f64() + f64::from(self.warm_up);
        for (index, flow) in flows.iter().enumerate() {
            let port = port(index);
            let bytes = |at: f64| bytes_at(&samples, port, at);
            let end = total.as_secs_f64();
            let mean = (bytes(end) - bytes(counted_from)) * 8e-6 / (end - counted_from);
            let seconds = u32::try_from(total.as_secs()).unwrap_or(u32::MAX);
            record.flows.push(Flow {
                peer: flow.peer.clone(),
                extra_ms: millis(flow.extra),
                start_s: flow.start.as_secs_f64(),
                mean_mbit: mean,
                series_mbit: (0..seconds)
                    .map(f64::from)
                    .map(|at| round(bytes(at + 1.0) - bytes(at)))
                    .collect(),
            });
        }
        Ok(())
    }

    fn recipe(
        &self,
        implementation: &dyn Implementation,
        scenario: &Scenario,
        kit: &Kit,
        stage: &Stage,
        (index, flows, total): (usize, &[Member], Duration),
    ) -> anyhow::Result<Recipe> {
        let rate = scenario.forward.rate().context("the link has no rate")?;
        // Nobody may run dry before the end: all of the link for one to three flows, three times an even
        // share for more, because files of that length have to have room at the receiver.
        let whole = rate.bytes_in(total);
        let bytes = (whole * 3 / flows.len().max(3) as u64).max(1);
        let folder = stage.folder().join(index.to_string());
        std::fs::create_dir(&folder)?;
        implementation.recipe(&Task {
            kit,
            folder: &folder,
            source: &kit.zeros(bytes)?,
            bytes,
            rate,
            round_trip: self.round_trip + flows[index].extra,
            window: window(&scenario.forward, &scenario.back)?,
            port: port(index),
        })
    }
}

fn port(index: usize) -> u16 {
    u16::try_from(index).map_or(PORT, |index| {
        PORT.saturating_add(index.saturating_mul(PORTS))
    })
}

/// All ports of a flow.
fn ports(index: usize) -> Range<u16> {
    let first = port(index);
    first..first.saturating_add(PORTS)
}

/// Megabits of so many bytes in a second, to a hundredth.
fn round(bytes: f64) -> f64 {
    (bytes * 8e-4).round() / 1e2
}

/// What had arrived at which time after the first flow's start.
type Samples = Vec<(f64, Arrivals)>;

/// Starts each flow at its time and looks at what arrives until `total` is over.
fn sample(
    stage: &Stage,
    flows: &[Member],
    running: &mut [(Recipe, Run)],
    total: Duration,
) -> anyhow::Result<Samples> {
    let began = Instant::now();
    let mut samples = vec![(0.0, stage.lab().arrivals())];
    let mut started = vec![false; flows.len()];
    let mut ended_ns = vec![None; flows.len()];
    let mut next = SAMPLE_INTERVAL;
    loop {
        let elapsed = began.elapsed();
        for (index, (recipe, run)) in running.iter_mut().enumerate() {
            if !started[index] && elapsed >= flows[index].start {
                started[index] = true;
                run.start(stage, recipe)?;
            } else if started[index]
                && let Some(reason) = run.failure(monotonic_ns(), &mut ended_ns[index])?
            {
                ensure!(elapsed >= total, "{}: {reason}", flows[index].peer);
            }
        }
        if elapsed >= next {
            let arrivals = stage.lab().arrivals();
            samples.push((arrivals.at.duration_since(began).as_secs_f64(), arrivals));
            next = elapsed + SAMPLE_INTERVAL;
        }
        // One more look behind the end, so that the end lies between two.
        if elapsed >= total + 2 * SAMPLE_INTERVAL {
            return Ok(samples);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that had arrived at a port by `at` seconds, in a straight line between two looks.
fn bytes_at(samples: &Samples, port: u16, at: f64) -> f64 {
    let bytes = |arrivals: &Arrivals| arrivals.bytes.get(&port).copied().unwrap_or(0) as f64;
    let after = samples.partition_point(|(time, _)| *time < at);
    match (
        after.checked_sub(1).and_then(|i| samples.get(i)),
        samples.get(after),
    ) {
        (Some((t0, before)), Some((t1, then))) => {
            let share = (at - t0) / (t1 - t0).max(1e-9);
            share.mul_add(bytes(then) - bytes(before), bytes(before))
        }
        (Some((_, only)), None) | (None, Some((_, only))) => bytes(only),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests;
