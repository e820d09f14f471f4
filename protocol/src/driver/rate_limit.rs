//! Rates that several connections keep together, as all the connections of one key.
//! The rate at which the packets of one connection leave is its controller's business.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use super::clock;
use crate::units::Bandwidth;

#[cfg(test)]
mod tests;

/// How far bytes may be ahead of the rate: whoever comes late for his turn, as on a busy machine, makes
/// up for it within this time, and beyond it the rate is lost.
const BURST: Duration = Duration::from_millis(100);

/// What a stream gets at a time lasts about so long at the rate, so that streams take turns. It is
/// several times what a reader may pause between two reads.
const TURN: Duration = Duration::from_millis(20);

/// The least and the most that a stream gets at a time.
const TURN_BYTES: (u64, u64) = (4 << 10, 256 << 10);

/// A limit holds a peer back by credit, which is not to hold it below the rate over any usual path.
const LONG_ROUND_TRIP: Duration = Duration::from_secs(1);

/// Credit that is given whatever the rate.
const LEAST_CREDIT: u64 = 64 << 10;

/// Longest time a stream waits for its turn: a rate that is as good as none must not leave it asleep for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The most that the streams of one or more connections may carry in one direction.
///
/// Clones share the rate. Bytes pass in the order they are asked for, some milliseconds' worth at a
/// time: a stream with much to carry leaves the others theirs, whichever connections they are of.
#[derive(Clone, Debug)]
pub struct RateLimit {
    schedule: Arc<Mutex<Schedule>>,
}

#[derive(Debug)]
struct Schedule {
    rate: Bandwidth,
    /// When all that was let pass so far has passed at the rate.
    next: Option<Instant>,
}

impl RateLimit {
    /// At most `rate`.
    pub fn new(rate: Bandwidth) -> Self {
        let schedule = Schedule { rate, next: None };
        Self {
            schedule: Arc::new(Mutex::new(schedule)),
        }
    }

    /// How far a peer may be ahead of what is read: enough to fill the rate over a long round trip.
    pub(super) fn credit(&self) -> u64 {
        self.lock().rate.bytes_in(LONG_ROUND_TRIP).max(LEAST_CREDIT)
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schedule {
    /// A turn for some of `wanted` bytes, one at least: how many, and when they may pass.
    fn reserve(&mut self, wanted: u64, now: Instant) -> (u64, Instant) {
        let (least, most) = TURN_BYTES;
        let turn = self.rate.bytes_in(TURN).clamp(least, most);
        let bytes = wanted.clamp(1, turn);
        let begin = self.charge(bytes, now);
        let at = begin.checked_sub(BURST).unwrap_or(now);
        (bytes, at.min(now + LONGEST_WAIT))
    }

    /// Takes `bytes` into account; when their time at the rate begins.
    fn charge(&mut self, bytes: u64, now: Instant) -> Instant {
        let begin = self.next.map_or(now, |next| next.max(now));
        let end = begin.checked_add(self.rate.time_for(bytes));
        self.next = Some(end.unwrap_or(begin));
        begin
    }
}

/// The limits of one connection.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    /// On what its streams send.
    pub send: Option<RateLimit>,
    /// On what is read from its streams. The peer is held to it by the credit it gets.
    pub receive: Option<RateLimit>,
}

/// One stream's turns under a limit, in one direction.
#[derive(Default)]
pub(super) struct Turns {
    /// Bytes of the present turn that have not passed.
    left: u64,
    /// Until the turn comes.
    wait: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turns({} bytes left)", self.left)
    }
}

impl Turns {
    /// How many of `wanted` bytes may pass, at least one; waits for the turn.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limit: &RateLimit,
        wanted: usize,
    ) -> Poll<usize> {
        if self.left == 0 {
            let now = clock::now();
            let (bytes, at) = limit.lock().reserve(wanted as u64, now);
            self.left = bytes;
            self.wait = (at > now).then(|| Box::pin(sleep_until(at.into())));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        Poll::Ready(left.min(wanted).max(1))
    }

    /// `bytes` have passed; a block is passed on whole, even where it is longer than the turn.
    pub(super) fn spend(&mut self, limit: &RateLimit, bytes: usize) {
        let bytes = bytes as u64;
        if bytes > self.left {
            limit.lock().charge(bytes - self.left, clock::now());
        }
        self.left = self.left.saturating_sub(bytes);
    }
}
