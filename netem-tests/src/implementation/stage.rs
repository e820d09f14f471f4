//! One measured transfer: the link, the programs of a recipe on both sides, what they used and what the
//! link saw. Which implementation, which link and how often is decided in `grid`.
//!
//! The clock runs from just before the trigger is started to the last byte at the far side. Processor
//! time is that of all programs and their children on a side from that moment on; what the kernel does
//! for them inside the emulator's thread is in nobody's figure.

use std::{fs, io, path::Path, thread, time::Duration};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task,
    look::{is_open, parse_tally, written},
    program::Program,
    wire::{Carrier, Wire},
};
use crate::{
    cgroup::Group, content, link::LinkConfig, netem::NetemLab, netns::Namespace,
    peer::monotonic_ns, record::Outcome, scenario::Scenario, sysctl::Raised, tun::TunLab,
};

/// What to transfer.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The link.
    pub scenario: &'a Scenario,
    /// How much.
    pub bytes: u64,
    /// When to give up.
    pub limit: Duration,
    /// Fixes what the link loses.
    pub seed: u64,
}

/// What a transfer came to, whether or not it was complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Payload that arrived.
    pub bytes: u64,
    /// To the last byte, or to the cut-off.
    pub elapsed_s: f64,
    /// Processor time of the near side's programs; absent where the machine cannot tell.
    pub cpu_near_s: Option<f64>,
    /// Of the far side's.
    pub cpu_far_s: Option<f64>,
    /// IP bytes put on the link towards far, before queue and loss.
    pub wire_forward_bytes: u64,
    /// Towards near.
    pub wire_back_bytes: u64,
    /// Packets towards far.
    pub forward_packets: u64,
    /// Of them, dropped at the queue.
    pub queue_dropped: u64,
    /// Of them, lost behind it at random.
    pub lost: u64,
    /// Mean time in the queue towards far.
    pub queue_mean_ms: f64,
    /// 95th percentile over packets.
    pub queue_p95_ms: f64,
    /// How late the emulator delivered, 99th percentile.
    pub late_p99_us: f64,
    /// Packets a kernel dropped because the emulator was not scheduled; not zero means a busy machine.
    pub overrun: u64,
}

/// The first port of a transfer's ten.
pub(crate) const PORT: u16 = 7400;

/// What buffers hold, in bandwidth-delay products: what is under way, as much again in the queue, and
/// as much again behind a hole.
const WINDOW_BDP: u64 = 4;

/// Smallest window given to anybody.
const LEAST_WINDOW: u64 = 8 << 20;

/// Largest socket buffer programs may ask for while the lab measures.
const SOCKET_BUFFER: u64 = 64 << 20;

/// Time a program gets to open its port.
const STARTUP: Duration = Duration::from_secs(60);

/// Time between two looks at what has arrived.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Time the last bytes get to show once the trigger has ended.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// Moves `job.bytes` by `implementation` over a link of their own.
///
/// # Errors
/// The link or a program could not be set up; the text says why.
pub fn transfer(
    implementation: &dyn Implementation,
    kit: &Kit,
    job: &Job<'_>,
) -> anyhow::Result<(Outcome, Figures)> {
    transfer_over::<TunLab>(implementation, kit, job)
}

/// The same over a link of that kind.
///
/// # Errors
/// The link or a program could not be set up; the text says why.
pub fn transfer_by(
    carrier: Carrier,
    implementation: &dyn Implementation,
    kit: &Kit,
    job: &Job<'_>,
) -> anyhow::Result<(Outcome, Figures)> {
    match carrier {
        Carrier::Tun => transfer_over::<TunLab>(implementation, kit, job),
        Carrier::Netem => transfer_over::<NetemLab>(implementation, kit, job),
    }
}

/// The same over a link of any kind.
pub(crate) fn transfer_over<W: Wire>(
    implementation: &dyn Implementation,
    kit: &Kit,
    job: &Job<'_>,
) -> anyhow::Result<(Outcome, Figures)> {
    let stage = Stage::<W>::set(
        kit,
        job.scenario,
        job.seed,
        implementation.has_default_buffers(),
    )?;
    if let Some(congestion) = implementation.congestion() {
        stage.use_congestion(congestion)?;
    }
    let (source, digest) = kit.source(job.bytes)?;
    let folder = stage.folder.path().to_path_buf();
    let recipe = implementation.recipe(&Task {
        kit,
        folder: &folder,
        source: &source,
        bytes: job.bytes,
        rate: job
            .scenario
            .forward
            .rate()
            .context("the link has no rate")?,
        round_trip: job.scenario.forward.delay() + job.scenario.back.delay(),
        window: window(&job.scenario.forward, &job.scenario.back)?,
        port: PORT,
    })?;
    let mut run = stage.begin(&recipe, "0")?;
    let cpu_before = stage.used();
    run.start(&stage, &recipe)?;
    let (outcome, bytes, elapsed) = run.watch(job, &recipe.progress)?;
    let outcome = check(outcome, &recipe.progress, digest)?;
    let mut figures = stage.end(run, cpu_before)?;
    figures.bytes = bytes;
    figures.elapsed_s = elapsed.as_secs_f64();
    Ok((outcome, figures))
}

/// What windows and buffers should hold over such a link.
pub(crate) fn window(forward: &LinkConfig, back: &LinkConfig) -> anyhow::Result<u64> {
    let rate = forward.rate().context("the link has no rate")?;
    let round_trip = forward.delay() + back.delay();
    Ok((WINDOW_BDP * rate.bytes_in(round_trip)).max(LEAST_WINDOW))
}

/// Both sides of a link, ready for programs.
#[derive(Debug)]
pub(crate) struct Stage<W = TunLab> {
    // Dropped in this order: programs end with their groups, then the link they talk over.
    groups: [Option<Group>; 2],
    lab: W,
    raised: Raised,
    folder: tempfile::TempDir,
}

impl<W: Wire> Stage<W> {
    pub(crate) fn set(
        kit: &Kit,
        scenario: &Scenario,
        seed: u64,
        has_default_buffers: bool,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(kit.folder())?;
        let lab = W::start(scenario, seed).context("cannot set up the emulated link")?;
        let raised = Raised::new(kit.folder());
        if !has_default_buffers {
            lab.enlarge_windows()?;
            raised.at_least("net/core/rmem_max", SOCKET_BUFFER)?;
            raised.at_least("net/core/wmem_max", SOCKET_BUFFER)?;
        }
        let label = lab.near().name().rsplit('-').nth(1).unwrap_or("0");
        Ok(Self {
            groups: [
                Group::create(&format!("{label}.near")),
                Group::create(&format!("{label}.far")),
            ],
            lab,
            raised,
            folder,
        })
    }

    /// Makes this the congestion control of TCP on both sides.
    pub(crate) fn use_congestion(&self, name: &str) -> io::Result<()> {
        // Namespaces may only choose what the machine allows to all its users.
        let allowed = "net/ipv4/tcp_allowed_congestion_control";
        self.raised.with_word(allowed, name)?;
        let variable = "net/ipv4/tcp_congestion_control";
        self.lab.near().set(variable, name)?;
        self.lab.far().set(variable, name)
    }

    /// The link.
    pub(crate) fn lab(&self) -> &W {
        &self.lab
    }

    /// In memory, until the stage goes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn namespace(&self, side: Side) -> &Namespace {
        match side {
            Side::Near => self.lab.near(),
            Side::Far => self.lab.far(),
        }
    }

    fn program(&self, invocation: &Invocation, label: &str) -> anyhow::Result<Program> {
        let group = match invocation.side {
            Side::Near => &self.groups[0],
            Side::Far => &self.groups[1],
        };
        let inside = self.namespace(invocation.side);
        Program::start(
            invocation,
            inside,
            group.as_ref(),
            self.folder.path(),
            label,
        )
    }

    /// Starts all but the trigger and waits until each is ready.
    pub(crate) fn begin(&self, recipe: &Recipe, label: &str) -> anyhow::Result<Run> {
        let mut run = Run {
            label: label.to_owned(),
            before: Vec::new(),
            trigger: None,
            began_ns: 0,
        };
        for (index, (invocation, ready)) in recipe.before.iter().enumerate() {
            let mut program = self.program(invocation, &format!("{label}{index}"))?;
            let Ready::Port(port) = *ready;
            let began = monotonic_ns();
            while !is_open(self.namespace(invocation.side), port)? {
                ensure!(
                    program.ended()?.is_none(),
                    "it ended before it was ready; {}",
                    program.said()
                );
                ensure!(
                    monotonic_ns() - began < nanos(STARTUP),
                    "it did not open port {port} within {STARTUP:?}; {}",
                    program.said()
                );
                thread::sleep(LOOK_INTERVAL);
            }
            run.before.push(program);
        }
        Ok(run)
    }

    /// Processor time of either side's programs so far.
    pub(crate) fn used(&self) -> [Option<Duration>; 2] {
        [0, 1].map(|side| self.groups[side].as_ref().and_then(Group::used))
    }

    /// Ends the programs and the link and adds up what they used.
    pub(crate) fn end(
        self,
        run: Run,
        cpu_before: [Option<Duration>; 2],
    ) -> anyhow::Result<Figures> {
        for group in self.groups.iter().flatten() {
            group.kill();
        }
        drop(run);
        let used = self.used();
        let cpu = |side: usize| {
            let used = used[side]?.saturating_sub(cpu_before[side]?);
            Some(used.as_secs_f64())
        };
        let mut figures = Figures {
            cpu_near_s: cpu(0),
            cpu_far_s: cpu(1),
            ..Figures::default()
        };
        self.lab.end(&mut figures)?;
        Ok(figures)
    }
}

/// The programs of one recipe.
#[derive(Debug)]
pub(crate) struct Run {
    label: String,
    before: Vec<Program>,
    trigger: Option<Program>,
    began_ns: u64,
}

impl Run {
    /// Starts the trigger, and the clock.
    pub(crate) fn start<W: Wire>(
        &mut self,
        stage: &Stage<W>,
        recipe: &Recipe,
    ) -> anyhow::Result<()> {
        self.began_ns = monotonic_ns();
        let label = format!("{}t", self.label);
        self.trigger = Some(stage.program(&recipe.trigger, &label)?);
        Ok(())
    }

    /// Waits for the last byte or the limit; says how it went, what arrived and how long that took.
    pub(crate) fn watch(
        &mut self,
        job: &Job<'_>,
        progress: &Progress,
    ) -> anyhow::Result<(Outcome, u64, Duration)> {
        let since = |began: u64, at: u64| Duration::from_nanos(at.saturating_sub(began));
        let mut ended_ns = None;
        loop {
            if let Some((bytes, at_ns)) = self.complete(progress, job.bytes)? {
                return Ok((Outcome::Complete, bytes, since(self.began_ns, at_ns)));
            }
            let now = monotonic_ns();
            let elapsed = since(self.began_ns, now);
            if elapsed >= job.limit {
                return Ok((Outcome::CutOff, self.arrived(progress)?, elapsed));
            }
            if let Some(reason) = self.failure(now, &mut ended_ns)? {
                let bytes = self.arrived(progress)?;
                return Ok((Outcome::Failed { reason }, bytes, elapsed));
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Processor time of one of the programs before the trigger so far, by its name.
    pub(crate) fn processor_time(&self, name: &str) -> anyhow::Result<Duration> {
        let program = self.before.iter().find(|program| program.name() == name);
        let program = program.with_context(|| format!("{name} is not among the programs"))?;
        Ok(program.processor_time()?)
    }

    /// Waits for the trigger's own end.
    pub(crate) fn wait(&mut self, limit: Duration) -> anyhow::Result<()> {
        let mut ended_ns = None;
        loop {
            let now = monotonic_ns();
            if let Some(reason) = self.failure(now, &mut ended_ns)? {
                bail!("{reason}");
            }
            if let Some(trigger) = &mut self.trigger
                && trigger.ended()?.is_some()
            {
                return Ok(());
            }
            let waited = Duration::from_nanos(now.saturating_sub(self.began_ns));
            ensure!(waited < limit, "it did not end within {limit:?}");
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Why nothing more will come, if a program has ended that should not have.
    pub(crate) fn failure(
        &mut self,
        now: u64,
        ended_ns: &mut Option<u64>,
    ) -> anyhow::Result<Option<String>> {
        for program in &mut self.before {
            if let Some(status) = program.ended()? {
                let ended = *ended_ns.get_or_insert(now);
                if !status.success() || now - ended > nanos(DRAIN_TIME) {
                    return Ok(Some(format!("{status}; {}", program.said())));
                }
            }
        }
        let Some(trigger) = &mut self.trigger else {
            bail!("nothing was started");
        };
        match trigger.ended()? {
            Some(status) if !status.success() => Ok(Some(format!("{status}; {}", trigger.said()))),
            // Kernels still hold what a sender wrote before it left, for as long as the limit allows.
            _ => Ok(None),
        }
    }

    /// The bytes of a transfer that has everything, and when the last of them came. Asked every few
    /// milliseconds, so it must cost next to nothing: the programs measured share the processors.
    fn complete(&self, progress: &Progress, wanted: u64) -> anyhow::Result<Option<(u64, u64)>> {
        let (bytes, at_ns) = match progress {
            Progress::Tally => self.tally()?,
            Progress::File { folder, name } => {
                let now = monotonic_ns();
                let size = fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.len());
                (size, now)
            }
        };
        Ok((bytes >= wanted).then_some((bytes, at_ns)))
    }

    /// Bytes so far.
    fn arrived(&self, progress: &Progress) -> anyhow::Result<u64> {
        match progress {
            Progress::Tally => Ok(self.tally()?.0),
            Progress::File { folder, .. } => Ok(written(folder)?),
        }
    }

    fn tally(&self) -> anyhow::Result<(u64, u64)> {
        let line = self.before.first().map(Program::last_line).transpose()?;
        Ok(parse_tally(line.as_deref().unwrap_or_default()).unwrap_or((0, 0)))
    }
}

/// Compares files that arrived with what was sent.
pub(crate) fn check(
    outcome: Outcome,
    progress: &Progress,
    digest: blake3::Hash,
) -> anyhow::Result<Outcome> {
    match progress {
        Progress::File { folder, name } if outcome == Outcome::Complete => {
            let (arrived, _) = content::digest_of_file(&folder.join(name))?;
            Ok(if arrived == digest {
                outcome
            } else {
                Outcome::Failed {
                    reason: "what arrived differs from what was sent".to_owned(),
                }
            })
        }
        _ => Ok(outcome),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
