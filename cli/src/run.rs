//! What the long-running programs do around their work: a runtime, a clean end on signals, enough
//! descriptors, and words on standard output.

use std::{
    future::Future,
    io::{self, Write as _},
};

use rustix::process::{self, Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit_code::Failure;

/// Runs `work` on a runtime of its own. Threads that wait for standard input are left behind.
///
/// # Errors
/// That of `work`, or the runtime cannot start.
pub fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        survive_file_size_limit();
        work.await
    });
    runtime.shutdown_background();
    result
}

/// Has a write beyond the file size limit (`ulimit -f`, `LimitFSIZE=`) fail as any other write may,
/// with EFBIG. By default the signal that comes with it ends the process, and with a server all that
/// others have under way.
fn survive_file_size_limit() {
    let exceeded = SignalKind::from_raw(process::Signal::XFSZ.as_raw());
    // The handler stays when the stream is dropped.
    if let Err(error) = signal(exceeded) {
        tracing::debug!(%error, "SIGXFSZ not handled");
    }
}

/// Waits for SIGINT or SIGTERM.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn stopped() -> Result<(), Failure> {
    Stops::new()?.next().await;
    Ok(())
}

/// SIGINT and SIGTERM, one after the other.
#[derive(Debug)]
pub struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// Those from here on.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::other(format!("cannot handle signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Takes all descriptors the system lets us have, for every proxied connection is one, and says how many.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "descriptor limit not raised");
            limit.current
        }
    };
    granted.map_or(usize::MAX, |granted| {
        usize::try_from(granted).unwrap_or(usize::MAX)
    })
}

/// Says `line` on standard output; somebody may have closed it, which is no failure.
pub fn say(line: &str) {
    let _ = said(line);
}

/// As [`say`], and whether it could be said.
pub fn said(line: &str) -> bool {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.is_ok()
}

/// Prints the settings in effect, for `--check`.
///
/// # Errors
/// They cannot be written as TOML.
pub fn print_settings(effective: &impl Serialize) -> Result<(), Failure> {
    let text = toml::to_string(effective)
        .map_err(|error| Failure::other(format!("cannot print the settings: {error}")))?;
    say(text.trim_end());
    Ok(())
}
