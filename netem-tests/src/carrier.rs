//! What the carriers in real time share: precise waiting on descriptors, and a wish to stop.
//! What they carry, and between which devices, is in `udp_relay` and `tun`.

use std::{
    num::NonZeroU64,
    os::fd::BorrowedFd,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Longest wait without a look at the stop flag.
const STOP_LATENCY: Duration = Duration::from_millis(20);

/// After a sleep of this length the processor itself may have been asleep.
const LONG: Duration = Duration::from_millis(5);

/// What waking a sleeping processor may take, most of all that of a virtual machine: so much earlier the
/// thread wakes after a long sleep, and then looks at the clock without rest. That is at most a twentieth of
/// a processor, and nothing at all where packets follow each other within 5 ms.
const WAKING: Duration = Duration::from_micros(250);

/// Tells a carrier's thread to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A low real-time priority (sched(7)): above all ordinary threads.
const REAL_TIME: &str = "1";

/// Makes this thread punctual: timers fire within a microsecond instead of the kernel's default of 50,
/// and what is measured does not push aside what measures it.
///
/// Nice values do not do it: under automatic task groups they only count within one session.
pub(crate) fn be_punctual() {
    // Where either is refused, for lack of root or otherwise, the reports show the lateness that follows.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", REAL_TIME, &thread])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Waits until `deadline` or until one of `fds` is readable; `ready` receives which ones are.
///
/// ppoll counts nanoseconds, so no timer descriptor is needed.
pub(crate) fn wait(
    fds: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
    ready: &mut Vec<bool>,
) -> rustix::io::Result<()> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let (sleep, spin_until) = split(left.unwrap_or(STOP_LATENCY), deadline);
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let mut found = poll_for(&mut polled, sleep)?;
    while found == 0 && spin_until.is_some_and(|at| Instant::now() < at) {
        found = poll_for(&mut polled, Duration::ZERO)?;
    }
    ready.clear();
    ready.extend(polled.iter().map(|fd| !fd.revents().is_empty()));
    Ok(())
}

/// How long to sleep when `left` is left, and until when to look at the clock afterwards.
fn split(left: Duration, deadline: Option<Instant>) -> (Duration, Option<Instant>) {
    if left > STOP_LATENCY {
        // The second half is long again.
        (STOP_LATENCY.min(left / 2), None)
    } else if left >= LONG && deadline.is_some() {
        (left - WAKING, deadline)
    } else {
        (left, None)
    }
}

/// Polls for `time`, less than a second; how many descriptors are ready.
fn poll_for(polled: &mut [PollFd<'_>], time: Duration) -> rustix::io::Result<usize> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(polled, Some(&timeout)) {
        Err(Errno::INTR) => Ok(0),
        result => result,
    }
}

/// The earlier of two optional times.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
