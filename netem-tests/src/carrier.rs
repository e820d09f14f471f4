//! What the carriers in real time share: precise waiting on descriptors, and a wish to stop.
//! What they carry, and between which devices, is in `udp_relay` and `tun`.

use std::{
    fs::File,
    io::Write,
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

/// Least time from one look at a carrier's devices to the next. A wake-up costs a processor as much as a packet does;
/// one for each of 40 000 packets a second leaves it little time for anything else, and threads that the
/// kernel has put on the same processor wait behind this one for many milliseconds.
const BETWEEN_LOOKS: Duration = Duration::from_micros(50);

/// Where the kernel is told how long its processors may take to wake.
const WAKING_WISH: &str = "/dev/cpu_dma_latency";

/// That time, in microseconds.
const LONGEST_WAKING_US: i32 = 0;

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

/// Leaves the processor to others for what is left of the time between two looks.
pub(crate) fn rest(woke_at: Instant) {
    let left = BETWEEN_LOOKS.saturating_sub(woke_at.elapsed());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// Holds the processors back from sleeping so deep that waking takes them long; until dropped, and however
/// this process ends: the kernel takes a closed file for the end of the wish (PM quality of service).
#[derive(Debug)]
pub(crate) struct Awake {
    _wish: File,
}

impl Awake {
    /// Nothing where the kernel has no such file or this process no right to it: lateness then shows in the
    /// reports.
    pub(crate) fn new() -> Option<Self> {
        let mut wish = File::options().write(true).open(WAKING_WISH).ok()?;
        wish.write_all(&LONGEST_WAKING_US.to_ne_bytes()).ok()?;
        Some(Self { _wish: wish })
    }
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
