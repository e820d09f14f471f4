//! Copying files: what `rpcp` does with its command line, and the service `rpserver` offers it.
//! How a file is read, written and checked lies in the crate `rp-transfer`, how bytes travel in
//! `rp-protocol`; here the two meet.
//!
//! A copy in another place than these is: a variant of [`location::Location`] and a file beside
//! `push` and `pull`.

mod activity;
mod arrivals;
mod control;
mod drive;
mod expand;
pub mod files;
pub mod filter;
mod identity;
mod job;
mod keys;
mod link;
pub mod location;
mod manifest;
mod outcome;
mod pull;
mod push;
mod requests;
mod run_half;
mod say;
pub mod service;
mod ssh;
mod stats;
mod tree;

pub use self::{
    activity::SILENCE,
    ssh::{Ports, PortsError, SshError},
};

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use rp_protocol::{
    config::{Policy, TransportConfig},
    error::ConnectionError,
    trace::Tracer,
    units::Bandwidth,
};
use rp_transfer::{
    batch::Report,
    error::Error,
    message::{Durability, Put, Resume, Status},
    xattrs::{Privilege, Xattrs},
};
use thiserror::Error as ThisError;

use self::{
    filter::FilterError,
    job::{Job, missing_source},
    keys::{Keys, Pace},
    link::Link,
    location::LocationError,
    manifest::Manifest,
    outcome::{Copied, Task},
    say::Voice,
};
use crate::{
    args::copy::{ConnectionArgs, CopyArgs, FsyncArg, PolicyArg, ResumeArg},
    connect::{ConnectFailure, Server},
    exit_code::{ExitCode, Failure},
    logging::{self, Format, Level},
    once_key::OnceKeyError,
    progress::{
        Screen, Watched,
        json::{Event, Summary},
    },
    run,
    trace_files::TraceFiles,
};

/// Bytes in flight or waiting for it, and credit given: enough for 1 Gbit/s over 250 ms, and
/// little enough that a copy stays far under 64 MB of memory.
pub const WINDOW: u64 = 32 << 20;

/// Why nothing was copied.
#[derive(Debug, ThisError)]
pub enum CopyError {
    /// What was typed makes no sense.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A pattern that was typed is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// What was typed cannot be done.
    #[error("{0}")]
    Usage(&'static str),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    /// A list of digests is none.
    #[error("{0}: is there and is no list of digests as b3sum writes it")]
    Manifest(String),
    /// What was copied is not what the list of digests says.
    #[error("{0} files differ from the manifest, listed above")]
    Differs(usize),
    /// The key of `--once-key` is none.
    #[error(transparent)]
    OnceKey(#[from] OnceKeyError),
    /// There is no connection that ssh could have made.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The connection was lost on the way.
    #[error("connection lost: {0}")]
    Lost(#[from] ConnectionError),
    /// The copy itself failed.
    #[error(transparent)]
    Transfer(#[from] Error),
    /// The source is not there.
    #[error("{0}")]
    NoSource(Error),
    /// The other side is there and does nothing.
    #[error(
        "the other side is connected, but has done nothing for {} s; --timeout says how long to wait",
        .0.as_secs()
    )]
    Stalled(Duration),
    /// Signals cannot be waited for.
    #[error(transparent)]
    Signals(Failure),
    /// Some of many files were not copied; which ones was said.
    #[error("{failed} of {all} not copied, listed above")]
    Some {
        /// How many were not.
        failed: u64,
        /// How many there were.
        all: u64,
        /// How the program ends.
        code: ExitCode,
    },
}

/// What a file keeps, and when it is on the disk.
#[derive(Clone, Copy, Debug)]
struct FileOptions {
    preserve: bool,
    durability: Durability,
    resume: Resume,
    sparse: bool,
    xattrs: bool,
    /// Whether what only root may keep is kept: that is asked for by `-p`.
    privilege: Privilege,
    /// Whether an older file at the destination is made use of.
    reduce: bool,
}

impl CopyError {
    /// The same with what to do about it, where the server of a copy did not take the connection: a client
    /// learns that only after its own part of the handshake.
    fn explained(self, server: &Server) -> Self {
        let Self::Lost(lost) = self else { return self };
        match ConnectFailure::explain(lost.clone().into(), server, service::SERVICE) {
            ConnectFailure::Connect { .. } => Self::Lost(lost),
            failure => Self::Connect(failure),
        }
    }

    /// How the program ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Location(_)
            | Self::Filter(_)
            | Self::Usage(_)
            | Self::Manifest(_)
            | Self::OnceKey(_) => ExitCode::Usage,
            Self::Differs(_) => ExitCode::Integrity,
            Self::Connect(failure) => failure.exit_code(),
            Self::Ssh(error) => error.exit_code(),
            Self::Lost(ConnectionError::TimedOut) | Self::Stalled(_) => ExitCode::Timeout,
            Self::Lost(_) => ExitCode::Connect,
            Self::NoSource(_) => ExitCode::NotFound,
            Self::Signals(failure) => failure.code,
            Self::Some { code, .. } => *code,
            // The other side may be interrupted too, but only our own user knows of it.
            Self::Transfer(Error::Interrupted) => ExitCode::Interrupted,
            Self::Transfer(error) => code_of(error.status()),
        }
    }
}

/// How the program ends when a copy ended like that.
fn code_of(status: Status) -> ExitCode {
    match status {
        Status::Ok => ExitCode::Ok,
        Status::Permission => ExitCode::Permission,
        Status::NoSpace => ExitCode::NoSpace,
        Status::Integrity => ExitCode::Integrity,
        Status::SourceChanged => ExitCode::SourceChanged,
        Status::Unsupported => ExitCode::Version,
        _ => ExitCode::Failed,
    }
}

/// Runs `rpcp` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub fn main() -> Result<(), Failure> {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    if first == "--server" {
        return ssh::server::main();
    }
    if first == "ls" || first == "rm" || first == "mkdir" {
        return files::main();
    }
    let args = CopyArgs::of_process();
    run_with(&args.connection, |tracer| run_copy(&args, tracer))
}

/// Does `work` with the logging and the trace that were asked for.
fn run_with<F>(
    args: &ConnectionArgs,
    work: impl FnOnce(Option<Arc<dyn Tracer>>) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), CopyError>>,
{
    logging::start(Level::WARN, args.verbose, Format::Text);
    let traces = TraceFiles::start(args.trace.as_deref(), "rpcp")?;
    let tracer = traces.as_ref().map(TraceFiles::tracer);
    // Each file of a batch is open until all of them are on the disk.
    run::raise_descriptor_limit();
    let result = run::block_on(async { work(tracer).await.map_err(Failure::from) });
    TraceFiles::end(traces);
    result
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        if let CopyError::Transfer(Error::Io { source, .. }) = &error
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            return Self::broken_pipe();
        }
        let note = match error.exit_code() {
            ExitCode::Interrupted => "; the partial file stays",
            _ => "",
        };
        Self::new(error.exit_code(), format!("{error}{note}"))
    }
}

async fn run_copy(args: &CopyArgs, tracer: Option<Arc<dyn Tracer>>) -> Result<(), CopyError> {
    let voice = Voice::of(args);
    let mut summary = Summary::default();
    let result = run_job(args, tracer, voice, &mut summary).await;
    if let Some(out) = voice.program() {
        let error = result.as_ref().err();
        let code = error.map_or(ExitCode::Ok, CopyError::exit_code);
        summary.exit_code = code.number();
        summary.error = error.map(ToString::to_string);
        out.tell(&Event::Summary(Box::new(summary)));
    }
    result
}

async fn run_job(
    args: &CopyArgs,
    tracer: Option<Arc<dyn Tracer>>,
    voice: Voice,
    summary: &mut Summary,
) -> Result<(), CopyError> {
    let manifest = args.manifest.as_deref().map(Manifest::open).transpose()?;
    let mut job = Job::open(args)?;
    let stop = requests::watch_signals();
    let how = Sending {
        policy: policy(args)?,
        max_rate: args.max_rate(),
    };
    let with = (transport(how).tracer(tracer), how);
    let from = match job.sources_elsewhere() {
        Some(places) => {
            Some(Link::open(places, &args.connection, with.clone(), stop.clone()).await?)
        }
        None => None,
    };
    let link = Link::open(job.places(), &args.connection, with, stop).await?;
    let task = Task {
        requests: Arc::clone(&link.requests),
        from: from.as_ref().map(|from| Arc::clone(&from.requests)),
        progress: Arc::default(),
        report: match manifest.is_some() || args.checksum {
            true => Report::keeping_digests(),
            false => Report::default(),
        },
        voice,
    };
    let connection = link.connected.connection.clone();
    let watched = Watched {
        progress: &task.progress,
        report: &task.report,
        connection: &connection,
    };
    let quiet = args.connection.quiet;
    let mut screen = Screen::new(&job.name(), quiet, voice.program());
    let pace = Pace::new(&connection, job.receives(), args.max_rate());
    let keys = match quiet || args.json || !io::stderr().is_terminal() || job.reads_standard_input()
    {
        true => None,
        false => Keys::open(),
    };
    let begun = Instant::now();
    let say_rate = |limit| screen_line(&format!("at most {limit}"));
    let result = tokio::select! {
        result = copy(&task, job, args) => result,
        never = screen.follow(watched) => match never {},
        never = pace.follow(keys, &task.progress, say_rate) => match never {},
    };
    screen.finish(watched);
    let waited = link.requests.worker.waited();
    *summary = stats::summary(&task.progress, begun.elapsed(), &connection, waited);
    if args.stats {
        stats::print(summary, &link.connected.endpoint, &connection);
    }
    if let Some(from) = from {
        // Why it failed, the link to the target says.
        let how = match &result {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Interrupted.into()),
        };
        let _ = from.close(how).await;
    }
    let told = screen.told();
    let copied = link.close(result).await.inspect_err(|_| {
        // What failed before the end says as much as the end.
        voice.outcome(&task.report.take(), told);
    })?;
    if let Copied::Tree(outcome) = &copied {
        summary.failed = outcome.failures.len() as u64;
    }
    let differing = match manifest {
        Some(manifest) if !args.dry_run => manifest.finish(copied.digests())?,
        _ => Vec::new(),
    };
    copied.say(voice, told, args.checksum)?;
    voice.failures(&differing);
    match differing.len() {
        0 => Ok(()),
        differing => Err(CopyError::Differs(differing)),
    }
}

/// A line above those that are drawn again and again.
fn screen_line(text: &str) {
    // Whatever stands in the present line is drawn over.
    let _ = write!(io::stderr(), "\r\x1b[K{text}\n");
}

async fn copy(task: &Task, job: Job, args: &CopyArgs) -> Result<Copied, CopyError> {
    job.check()?;
    let (requests, progress) = (&task.requests, Arc::clone(&task.progress));
    let options = FileOptions {
        preserve: args.preserve,
        durability: durability(args.fsync),
        resume: match args.resume {
            ResumeArg::Auto => Resume::Auto,
            ResumeArg::Never => Resume::Never,
            ResumeArg::Verify => Resume::Verify,
        },
        sparse: args.sparse,
        xattrs: args.xattrs,
        privilege: match args.preserve {
            true => Privilege::Own,
            false => Privilege::Guest,
        },
        reduce: !args.no_reduce,
    };
    let identity = job::identity(args)?;
    let named = job.source_name();
    let summary = match job {
        Job::Push { source, name, to } => {
            let put = Put {
                path: to.path,
                name,
                preserve: options.preserve,
                durability: options.durability,
                resume: options.resume,
                copy: identity.map(|identity| identity.finish()),
                sparse: options.sparse,
                xattrs: match options.xattrs {
                    true => source.xattrs(options.privilege)?,
                    false => Xattrs::default(),
                },
                ..Put::default()
            };
            requests
                .push(*source, put, options.reduce, progress)
                .await?
        }
        Job::Pull { from, target } => {
            let pulled = requests.pull(from.path, target, options, progress).await;
            pulled.map_err(|error| match error {
                CopyError::Transfer(error @ Error::Peer(_)) => missing_source(error),
                error => error,
            })?
        }
        Job::PushTree {
            sources,
            to,
            wanted,
        } => {
            let tree = tree::Tree::new(task, args, wanted, options, identity);
            return tree.push(sources, to.path).await.map(Copied::Tree);
        }
        Job::Relay {
            sources,
            to,
            wanted,
        } => {
            let from = task.from.as_ref().unwrap_or(requests);
            let sources = expand::expand(from, sources).await?;
            let tree = tree::Tree::new(task, args, wanted, options, identity);
            let relayed = tree.relay(Arc::clone(from), sources, to.path).await;
            return relayed.map(Copied::Tree);
        }
        Job::PullTree {
            sources,
            to,
            wanted,
        } => {
            let sources = expand::expand(requests, sources).await?;
            let tree = tree::Tree::new(task, args, wanted, options, identity);
            return tree.pull(sources, to).await.map(Copied::Tree);
        }
    };
    task.progress.add_file();
    Ok(Copied::File { summary, named })
}

fn durability(typed: FsyncArg) -> Durability {
    match typed {
        FsyncArg::File => Durability::File,
        FsyncArg::Batch => Durability::Batch,
        FsyncArg::None => Durability::None,
    }
}

fn policy(args: &CopyArgs) -> Result<Policy, CopyError> {
    match (args.policy, args.max_rate()) {
        (PolicyArg::Fair, _) => Ok(Policy::Fair),
        (PolicyArg::Low, _) => Ok(Policy::Low),
        (PolicyArg::Fixed, Some(rate)) => Ok(Policy::Fixed(rate)),
        (PolicyArg::Fixed, None) => Err(CopyError::Usage("--policy fixed needs --rate")),
    }
}

/// How both sides of a copy send.
#[derive(Clone, Copy, Debug, Default)]
struct Sending {
    policy: Policy,
    max_rate: Option<Bandwidth>,
}

fn transport(how: Sending) -> TransportConfig {
    TransportConfig::default()
        .policy(how.policy)
        .max_rate(how.max_rate)
        .send_buffer(WINDOW)
        .max_stream_credit(WINDOW)
        // One stream may have two thirds of it.
        .max_connection_credit(WINDOW / 2 * 3)
}
