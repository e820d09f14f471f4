//! The only place that asks what time it is, and the timer that wakes a connection's task.
//! What is due when is the engine's business.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;

/// The time on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the engine's `now` comes from"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Longest a datagram is believed to have waited in the kernel; a larger difference is a wall clock
/// that was set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Turns the kernel's timestamps, which are wall time, into monotonic time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    now: Instant,
    wall: Duration,
}

impl Arrivals {
    /// For datagrams received just before `now`.
    #[expect(
        clippy::disallowed_methods,
        reason = "only the difference to the kernel's timestamp is used"
    )]
    pub(super) fn at(now: Instant) -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self { now, wall }
    }

    /// When the datagram with this timestamp arrived; the time of the call if there is none.
    pub(super) fn instant(&self, timestamp: Option<Duration>) -> Instant {
        timestamp
            .and_then(|timestamp| self.wall.checked_sub(timestamp))
            .filter(|&waited| waited <= LONGEST_WAIT)
            .and_then(|waited| self.now.checked_sub(waited))
            .unwrap_or(self.now)
    }
}

/// Wakes the task that polls it once a deadline has passed.
///
/// Tokio's own timers tick in milliseconds: at 1 Gbit/s that is 83 packets. On Linux this is a timerfd,
/// exact to some tens of microseconds; elsewhere, and when no file descriptor is to be had, tokio's.
#[derive(Debug)]
pub(super) struct Timer {
    source: Source,
    /// When the source will fire next.
    armed: Option<Instant>,
}

#[derive(Debug)]
enum Source {
    #[cfg(target_os = "linux")]
    TimerFd(AsyncFd<OwnedFd>),
    Tokio(Pin<Box<Sleep>>),
}

impl Timer {
    /// A timer that is not armed. Must be called within a tokio runtime.
    pub(super) fn new() -> Self {
        Self {
            source: Source::new(),
            armed: None,
        }
    }

    /// Have the task of `cx` woken at `deadline`, or soon after.
    ///
    /// A deadline that moves later leaves the source alone: loss and idle deadlines move with every
    /// packet, and one early wake-up is cheaper than a system call for each. The caller compares the
    /// clock with the deadline anyway and calls again.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>, deadline: Instant, now: Instant) {
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.source.set(deadline.saturating_duration_since(now));
            self.armed = Some(deadline);
        }
        while self.source.poll_fired(cx).is_ready() {
            let Some(armed) = self.armed else { return };
            let now = self::now();
            if now >= deadline {
                // It passed between the caller's reading of the clock and ours.
                self.armed = None;
                cx.waker().wake_by_ref();
                return;
            }
            if now >= armed {
                self.source.set(deadline.saturating_duration_since(now));
                self.armed = Some(deadline);
            }
        }
    }
}

impl Source {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            #[expect(
                deprecated,
                reason = "the successor is unsafe because not every descriptor stays open while \
                          registered; an `OwnedFd` moved in does"
            )]
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)
                .map_err(std::io::Error::from)
                .and_then(|fd| AsyncFd::with_interest(fd, tokio::io::Interest::READABLE));
            match fd {
                Ok(fd) => return Self::TimerFd(fd),
                Err(error) => {
                    tracing::debug!(%error, "no timerfd, pacing falls back to milliseconds");
                }
            }
        }
        Self::Tokio(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    fn set(&mut self, after: Duration) {
        match self {
            #[cfg(target_os = "linux")]
            Self::TimerFd(fd) => set_timerfd(fd.get_ref(), after),
            Self::Tokio(sleep) => {
                let deadline = tokio::time::Instant::now() + after;
                sleep.as_mut().reset(deadline);
            }
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::TimerFd(fd) => match fd.poll_read_ready(cx) {
                // The expiry count is never read: setting the timer clears it, and every expiry is
                // an edge of its own.
                Poll::Ready(Ok(mut ready)) => {
                    ready.clear_ready();
                    Poll::Ready(())
                }
                // Only while the runtime shuts down, and then nothing is due any more.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            },
            Self::Tokio(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

#[cfg(target_os = "linux")]
fn set_timerfd(fd: &OwnedFd, after: Duration) {
    use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
    // All zeroes would disarm it.
    let after = after.max(Duration::from_nanos(1));
    let value = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()),
        },
    };
    if let Err(error) = timerfd_settime(fd, TimerfdTimerFlags::empty(), &value) {
        // Not reached with a valid descriptor and value.
        tracing::warn!(%error, "timerfd_settime");
    }
}

#[cfg(test)]
mod tests;
