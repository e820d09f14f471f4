//! `+` and `-`, typed on the terminal while a copy runs, change its rate. How the rate is kept to lies in the
//! protocol.

use std::{
    convert::Infallible,
    future, io,
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rp_protocol::{Connection, RateLimit, RateLimits, units::Bandwidth};
use rp_transfer::session::Progress;
use rustix::{
    fs::{Mode, OFlags},
    process::{Signal, getpgrp},
    termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr},
};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
};

use crate::progress::json::bits_per_second;

/// What one key does to the rate: four steps up make up for four and a half down.
const FASTER: f64 = 1.25;
const SLOWER: f64 = 0.8;

/// The least rate that keys lead to.
const LEAST: Bandwidth = Bandwidth::from_bits_per_second(64_000);

/// The terminal as it was before keys were read from it.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// The most that a copy may take of its path.
#[derive(Debug)]
pub(super) struct Pace {
    connection: Connection,
    /// Whether the other side sends.
    receives: bool,
    begun: Instant,
    /// Bits a second; zero without a limit.
    limit: AtomicU64,
}

impl Pace {
    /// At most `limit` on `connection`, in the direction of the files.
    pub(super) fn new(connection: &Connection, receives: bool, limit: Option<Bandwidth>) -> Self {
        let pace = Self {
            connection: connection.clone(),
            receives,
            begun: Instant::now(),
            limit: AtomicU64::new(0),
        };
        // What this side sends was limited when it connected.
        if let (true, Some(limit)) = (receives, limit) {
            pace.set(limit);
        }
        let bits = limit.map_or(0, Bandwidth::bits_per_second);
        pace.limit.store(bits, Ordering::Relaxed);
        pace
    }

    fn limit(&self) -> Option<Bandwidth> {
        match self.limit.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(Bandwidth::from_bits_per_second(bits)),
        }
    }

    fn set(&self, limit: Bandwidth) {
        self.limit.store(limit.bits_per_second(), Ordering::Relaxed);
        match self.receives {
            // By the credit that the other side gets.
            true => self.connection.set_limits(RateLimits {
                receive: Some(RateLimit::new(limit)),
                send: None,
            }),
            false => self.connection.set_rate(Some(limit)),
        }
    }

    /// Goes one step up or down. Without a limit there is no way up, and down begins at the rate so far.
    fn step(&self, factor: f64, progress: &Progress) -> Option<Bandwidth> {
        let present = match self.limit() {
            Some(limit) => limit,
            None if factor > 1.0 => return None,
            None => {
                let bits = bits_per_second(progress.bytes(), self.begun.elapsed());
                Bandwidth::from_bits_per_second(bits)
            }
        };
        let limit = present.scaled(factor).max(LEAST);
        self.set(limit);
        Some(limit)
    }

    /// Does as the user's keys say, for as long as it is awaited.
    pub(super) async fn follow(
        &self,
        keys: Option<Keys>,
        progress: &Progress,
        say: impl Fn(Bandwidth),
    ) -> Infallible {
        let Some(keys) = keys else {
            return future::pending().await;
        };
        loop {
            let step = match keys.next().await {
                b'+' | b'=' => self.step(FASTER, progress),
                b'-' | b'_' => self.step(SLOWER, progress),
                _ => None,
            };
            if let Some(limit) = step {
                say(limit);
            }
        }
    }
}

/// The user's keys, one by one as they are typed. The terminal is as it was when this is dropped.
pub(super) struct Keys {
    terminal: AsyncFd<OwnedFd>,
}

impl Keys {
    /// Those of standard input; `None` where it is no terminal, or that of another job.
    pub(super) fn open() -> Option<Self> {
        let input = io::stdin();
        if !isatty(&input) || !is_foreground(&input) {
            return None;
        }
        // Opened anew: what is set here is not set for others that have it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open("/dev/stdin", flags, Mode::empty()).ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let saved = (terminal.try_clone().ok()?, before);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        set_single_keys(&terminal);
        #[expect(
            deprecated,
            reason = "the successor is unsafe because not every descriptor stays open while registered; \
                      one moved in does"
        )]
        let terminal = AsyncFd::new(terminal).ok()?;
        Some(Self { terminal })
    }

    /// The next key; waits for ever when there are no more.
    async fn next(&self) -> u8 {
        let Ok(mut continued) = signal(SignalKind::from_raw(Signal::CONT.as_raw())) else {
            return future::pending().await;
        };
        loop {
            let ready = tokio::select! {
                ready = self.terminal.readable() => ready,
                _ = continued.recv() => {
                    // The shell had the terminal meanwhile.
                    set_single_keys(self.terminal.get_ref());
                    continue;
                }
            };
            let Ok(mut ready) = ready else {
                return future::pending().await;
            };
            // To read in the background would stop the program.
            if !is_foreground(self.terminal.get_ref()) {
                return future::pending().await;
            }
            let mut key = [0];
            match ready.try_io(|terminal| Ok(rustix::io::read(terminal, &mut key)?)) {
                Ok(Ok(1)) => return key[0],
                Ok(_) => return future::pending().await,
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Leaves the terminal as it was.
pub(super) fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, before)) = before
        && is_foreground(&terminal)
    {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// Keys arrive without Enter, and are not shown. Signals come as before.
fn set_single_keys(terminal: &OwnedFd) {
    if let Ok(mut modes) = tcgetattr(terminal)
        && is_foreground(terminal)
    {
        modes
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        let _ = tcsetattr(terminal, OptionalActions::Now, &modes);
    }
}

/// Whether the terminal is with this job. One that does not control jobs is.
fn is_foreground(terminal: impl std::os::fd::AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}
