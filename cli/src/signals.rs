//! What a running program is told by signals: to end, to end at once, to read its settings again.
//! What it does then is its own business.

use std::{fs::OpenOptions, io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, interval, sleep_until},
};
use tracing::info;

use crate::exit_code::Failure;

/// How often it is looked whether a draining program has finished.
const LOOK: Duration = Duration::from_millis(50);

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// End once what is under way has ended (SIGTERM).
    Drain,
    /// End (SIGINT, or the terminal is gone).
    End,
    /// Read the settings again (SIGHUP).
    Reload,
}

/// The signals of a program; from the first value on they do not end it by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    had_terminal: bool,
}

impl Signals {
    /// Takes the signals over. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind).map_err(|error: io::Error| {
                Failure::other(format!("cannot handle signals: {error}"))
            })
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hang_up: take(SignalKind::hangup())?,
            had_terminal: has_terminal(),
        })
    }

    /// The next thing we are told.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::Drain,
            _ = self.hang_up.recv() => match self.had_terminal && !has_terminal() {
                // The same signal says that whoever started us has closed the window.
                true => Told::End,
                false => Told::Reload,
            },
        }
    }

    /// Waits until we are told to end, in whatever way.
    pub async fn ended(&mut self) {
        while self.next().await == Told::Reload {}
    }

    /// Waits until `left` is none, for at most `limit`; any signal but SIGHUP cuts it short.
    pub async fn drain(&mut self, limit: Duration, left: impl Fn() -> u64) {
        let deadline = Instant::now() + limit;
        let mut looks = interval(LOOK);
        let mut is_told = false;
        loop {
            let left = left();
            if left == 0 {
                return;
            }
            if !is_told {
                is_told = true;
                info!(
                    left,
                    limit_s = limit.as_secs(),
                    "ending when what is under way has ended"
                );
            }
            tokio::select! {
                _ = looks.tick() => {}
                told = self.next() => if told != Told::Reload {
                    info!(left, "told again: ending at once");
                    return;
                },
                () = sleep_until(deadline) => {
                    info!(left, "ending although not everything has ended: --drain is over");
                    return;
                }
            }
        }
    }
}

/// Whether the process has a terminal that still is there.
fn has_terminal() -> bool {
    OpenOptions::new().read(true).open("/dev/tty").is_ok()
}

/// Whether a program takes nothing new. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Draining(Arc<watch::Sender<bool>>);

impl Default for Draining {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Draining {
    /// From here on it takes nothing new.
    pub fn start(&self) {
        self.0.send_replace(true);
    }

    /// Whether that is so.
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is so.
    pub async fn on(&self) {
        // The sender lives as long as we do.
        let _ = self.0.subscribe().wait_for(|is_on| *is_on).await;
    }

    /// Does `work`, which takes what is new, until it is so, and then drops it. Never ends, as what was
    /// taken goes on.
    pub async fn stops(self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = self.on() => {}
            () = work => {}
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
