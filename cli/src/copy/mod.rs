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
pub mod location;
mod pull;
mod push;
mod run_half;
pub mod service;

pub use self::activity::SILENCE;

use std::{
    ffi::OsString,
    future::Future,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser as _;
use rp_protocol::{
    Endpoint,
    config::{Policy, TransportConfig},
    error::ConnectionError,
    trace::Tracer,
    units::{Bandwidth, CloseCode},
};
use rp_transfer::{
    error::Error,
    message::Status,
    session::{Progress, Summary},
    source::Source,
};
use thiserror::Error as ThisError;

use self::{
    location::{Location, LocationError, Remote},
    pull::Target,
};
use crate::{
    args::copy::{CopyArgs, PolicyArg},
    connect::{ConnectFailure, Connected, Server, Trust, connect},
    exit_code::{ExitCode, Failure},
    logging::{self, Format, Level},
    path_memory::PathFile,
    progress::Bar,
    prompt::Terminal,
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
    /// What was typed cannot be done.
    #[error("{0}")]
    Usage(&'static str),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
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
}

/// What ends a copy before its time.
struct Limits<S> {
    /// How long the other side may do nothing while it is its turn.
    silence: Duration,
    /// Done when the user wants it to end.
    stop: S,
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
            Self::Location(_) | Self::Usage(_) => ExitCode::Usage,
            Self::Connect(failure) => failure.exit_code(),
            Self::Lost(ConnectionError::TimedOut) | Self::Stalled(_) => ExitCode::Timeout,
            Self::Lost(_) => ExitCode::Connect,
            Self::NoSource(_) => ExitCode::NotFound,
            Self::Signals(failure) => failure.code,
            // The other side may be interrupted too, but only our own user knows of it.
            Self::Transfer(Error::Interrupted) => ExitCode::Interrupted,
            Self::Transfer(error) => match error.status() {
                Status::Ok => ExitCode::Ok,
                Status::Permission => ExitCode::Permission,
                Status::NoSpace => ExitCode::NoSpace,
                Status::Integrity => ExitCode::Integrity,
                Status::SourceChanged => ExitCode::SourceChanged,
                Status::Unsupported => ExitCode::Version,
                _ => ExitCode::Failed,
            },
        }
    }
}

/// Runs `rpcp` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub fn main() -> Result<(), Failure> {
    let args = CopyArgs::parse();
    logging::start(Level::WARN, args.verbose, Format::Text);
    let traces = TraceFiles::start(args.trace.as_deref(), "rpcp")?;
    let tracer = traces.as_ref().map(TraceFiles::tracer);
    let result = run::block_on(async { run_copy(&args, tracer).await.map_err(Failure::from) });
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

/// What is to be copied, opened on this side.
enum Job {
    Push {
        source: Box<Source>,
        name: Vec<u8>,
        to: Remote,
    },
    Pull {
        from: Remote,
        target: Target,
    },
}

impl Job {
    fn open(args: &CopyArgs) -> Result<Self, CopyError> {
        if args.recursive {
            return Err(CopyError::Usage("-r: copying folders is not there yet"));
        }
        let [from, to] = args.locations.as_slice() else {
            return Err(CopyError::Usage(
                "copying several files at once is not there yet",
            ));
        };
        match (parse(from)?, parse(to)?) {
            (Location::Remote(_), Location::Remote(_)) => Err(CopyError::Usage(
                "both sides are remote: one of them must be this machine",
            )),
            (Location::Remote(_), _) if args.max_rate().is_some() => Err(CopyError::Usage(
                "a rate limits what this side sends; it cannot slow a server down yet",
            )),
            (Location::Remote(from), _) if from.file_name().is_none() => {
                Err(LocationError::Folder(from.to_string()).into())
            }
            (Location::Standard, Location::Remote(to)) if to.file_name().is_none() => {
                Err(LocationError::NeedsName(to.to_string()).into())
            }
            (Location::Remote(from), to) => Ok(Self::Pull {
                target: pull::open_target(&to, &from)?,
                from,
            }),
            (from, Location::Remote(to)) => Ok(Self::Push {
                source: Box::new(push::open_source(&from).map_err(missing_source)?),
                name: from.source_name(),
                to,
            }),
            _ => Err(CopyError::Usage(
                "both sides are on this machine: one of them must be rp://HOST/PATH",
            )),
        }
    }

    fn remote(&self) -> &Remote {
        match self {
            Self::Push { to, .. } => to,
            Self::Pull { from, .. } => from,
        }
    }

    /// For the progress bar and the digest.
    fn name(&self) -> String {
        let name = match self {
            Self::Push { name, .. } => name.clone(),
            Self::Pull { from, .. } => Location::Remote(from.clone()).source_name(),
        };
        match name.as_slice() {
            b"" => "-".to_owned(),
            name => rp_transfer::error::printable(name),
        }
    }

    fn prints_to_standard_output(&self) -> bool {
        matches!(
            self,
            Self::Pull {
                target: Target::Standard,
                ..
            }
        )
    }
}

fn parse(typed: &OsString) -> Result<Location, CopyError> {
    Ok(Location::parse(typed)?)
}

/// A source that is not there has an exit code of its own; a missing target folder has not.
fn missing_source(error: Error) -> CopyError {
    match error.status() {
        Status::NotFound => CopyError::NoSource(error),
        _ => CopyError::Transfer(error),
    }
}

async fn run_copy(args: &CopyArgs, tracer: Option<Arc<dyn Tracer>>) -> Result<(), CopyError> {
    let job = Job::open(args)?;
    let stop = run::stopped();
    tokio::pin!(stop);
    let trust = Trust {
        identity: args.identity.clone(),
        host_key: args.host_key.clone(),
        known_hosts: args.known_hosts.clone(),
    };
    let server = job.remote().server.clone();
    let transport = transport(args)?.tracer(tracer);
    let family = args.family();
    let connected = tokio::select! {
        connected = connect(&server, family, &trust, service::SERVICE, transport, &Terminal) => {
            connected?
        }
        stopped = &mut stop => {
            return Err(match stopped {
                Ok(()) => Error::Interrupted.into(),
                Err(failure) => CopyError::Signals(failure),
            });
        }
    };
    let Connected {
        connection,
        endpoint,
    } = &connected;
    let paths = PathFile::open(!args.no_path_memory);
    if let Some(paths) = &paths {
        paths.recall(&server, connection);
    }
    let progress = Arc::new(Progress::default());
    let mut bar = Bar::new(&job.name(), args.quiet);
    let (name, to_stderr) = (job.name(), job.prints_to_standard_output());
    let begun = Instant::now();
    // Without signal handlers the copy goes on, and a signal simply ends it.
    let stop = async {
        if stop.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let limits = Limits {
        silence: args.silence(),
        stop,
    };
    let copying = copy(
        connection,
        job,
        args.preserve,
        Arc::clone(&progress),
        limits,
    );
    let result = tokio::select! {
        result = copying => result.map_err(|error| error.explained(&server)),
        () = bar.follow(&progress, connection) => return Ok(()),
    };
    bar.finish(&progress);
    let elapsed = begun.elapsed();
    if args.stats {
        print_stats(&progress, elapsed, endpoint, connection);
    }
    if let Some(paths) = &paths {
        paths.keep(&server, connection);
    }
    let (code, reason): (u32, &[u8]) = match &result {
        Ok(_) => (0, b"done"),
        Err(error) => (error.exit_code().number().into(), b"failed"),
    };
    connected.close(CloseCode::from_u32(code), reason).await;
    let summary = result?;
    warn(&summary.note);
    if args.checksum {
        print_digest(&summary, &name, to_stderr);
    }
    Ok(())
}

async fn copy(
    connection: &rp_protocol::Connection,
    job: Job,
    preserve: bool,
    progress: Arc<Progress>,
    limits: Limits<impl Future<Output = ()>>,
) -> Result<Summary, CopyError> {
    match job {
        Job::Push { source, name, to } => {
            let put = push::Offer {
                to: &to,
                name,
                preserve,
            };
            push::push(connection, *source, put, progress, limits).await
        }
        Job::Pull { from, target } => {
            let result = pull::pull(connection, &from, target, preserve, progress, limits).await;
            result.map_err(|error| match error {
                CopyError::Transfer(error @ Error::Peer(_)) => missing_source(error),
                error => error,
            })
        }
    }
}

fn transport(args: &CopyArgs) -> Result<TransportConfig, CopyError> {
    let policy = match (args.policy, args.max_rate()) {
        (PolicyArg::Fair, _) => Policy::Fair,
        (PolicyArg::Low, _) => Policy::Low,
        (PolicyArg::Fixed, Some(rate)) => Policy::Fixed(rate),
        (PolicyArg::Fixed, None) => {
            return Err(CopyError::Usage("--policy fixed needs --rate"));
        }
    };
    Ok(TransportConfig::default()
        .policy(policy)
        .max_rate(args.max_rate())
        .send_buffer(WINDOW)
        .max_stream_credit(WINDOW)
        // One stream may have two thirds of it.
        .max_connection_credit(WINDOW / 2 * 3))
}

/// Says what a file system could not do for a file that was copied.
fn warn(note: &str) {
    if !note.is_empty() {
        let note = rp_transfer::error::printable(note.as_bytes());
        let _ = writeln!(io::stderr(), "rpcp: warning: {note}");
    }
}

/// The digest in the format of `b3sum`, away from the file itself.
fn print_digest(summary: &Summary, name: &str, to_stderr: bool) {
    let digest = blake3_hex(&summary.digest);
    let line = format!("{digest}  {name}\n");
    // A closed pipe is the reader's choice.
    let _ = match to_stderr {
        true => io::stderr().write_all(line.as_bytes()),
        false => io::stdout().write_all(line.as_bytes()),
    };
}

fn blake3_hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print_stats(
    progress: &Progress,
    elapsed: Duration,
    endpoint: &Endpoint,
    connection: &rp_protocol::Connection,
) {
    let bytes = progress.bytes();
    let seconds = elapsed.as_secs_f64();
    let rate = Bandwidth::from_delivery(bytes, elapsed).unwrap_or_default();
    let socket = endpoint.stats();
    let per = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let mut text = format!(
        "{bytes} bytes in {seconds:.3} s, {rate}\n\
         sent {} datagrams, {:.1} a call; received {}, {:.1} a buffer, {:.1} buffers a call\n",
        socket.sent_datagrams,
        per(socket.sent_datagrams, socket.send_calls),
        socket.received_datagrams,
        per(socket.received_datagrams, socket.receive_batches),
        per(socket.receive_batches, socket.receive_calls),
    );
    for path in &connection.stats().paths {
        text += &format!(
            "{}: rtt {:.1} ms, smallest {:.1} ms; {} packets sent, {} lost, {} of them by mistake\n",
            path.remote,
            path.rtt.as_secs_f64() * 1e3,
            path.min_rtt.as_secs_f64() * 1e3,
            path.sent_packets,
            path.lost_packets,
            path.spurious_losses,
        );
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
