//! Receive coalescing: how long to wait before the next poll of the socket while packets arrive one by one,
//! as network cards do with interrupts. `receive` does the polling.
//!
//! Each poll costs several thread switches, one more packet in it costs next to nothing, and the kernel's
//! timestamps preserve the arrival times. What it costs is delay: a part of the round trip so small that
//! nobody notices, so that on a local network, where a microsecond counts, only bulk transfers wait.

use std::time::{Duration, Instant};

/// Part of the smallest round trip by which a packet may be delayed.
const PART_OF_RTT: u32 = 32;
/// Longest wait: what the pacing of the fastest sender bunches anyway, and long before ACKs are due.
const LONGEST: Duration = Duration::from_millis(2);
/// Shorter waits are not worth a timer.
const SHORTEST: Duration = Duration::from_micros(200);
/// Most datagrams to coalesce: the smallest receive buffer that is usual, 208 KB, holds three times as
/// many.
const COALESCED: u32 = 32;
/// Datagrams a wait must promise.
const WORTH: u32 = 3;
/// Spacing of a burst so dense, 500 Mbit/s, that the shortest wait is worth its while whoever sends it:
/// requests that follow answers are no such burst on any network.
const DENSE: Duration = Duration::from_micros(25);
/// Datagrams in one poll from which waiting would coalesce no more.
const FULL_BATCH: usize = 64;
/// What is counted over such a time says what to expect in the next.
const COUNTED: Duration = Duration::from_millis(10);

/// Longest delay for packets of a connection with this round trip; zero before it is known.
pub(super) fn max_delay(min_rtt: Option<Duration>) -> Duration {
    min_rtt.map_or(Duration::ZERO, |rtt| (rtt / PART_OF_RTT).min(LONGEST))
}

/// Decides after each poll when the next one is due.
#[derive(Debug)]
pub(super) struct Moderation {
    since: Instant,
    count: u32,
    /// Least of the connections heard of since then.
    max_delay: Duration,
    /// What the time counted before has shown.
    expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    spacing: Duration,
    max_delay: Duration,
}

impl Moderation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            max_delay: LONGEST,
            expected: None,
        }
    }

    /// A poll at `now` found `datagrams` for connections of at least this `max_delay`. Returns when to poll
    /// again, if not as soon as the socket is readable.
    pub(super) fn on_poll(
        &mut self,
        now: Instant,
        datagrams: usize,
        max_delay: Duration,
    ) -> Option<Instant> {
        let found = u32::try_from(datagrams).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(found);
        self.max_delay = self.max_delay.min(max_delay);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= COUNTED {
            // A count over a longer time includes a pause.
            self.expected = (self.count > 0 && elapsed < 2 * COUNTED).then(|| Expected {
                spacing: elapsed / self.count,
                max_delay: self.max_delay,
            });
            self.since = now;
            self.count = 0;
            self.max_delay = max_delay;
        }
        let expected = self.expected?;
        let mut max_delay = expected.max_delay.min(self.max_delay);
        if expected.spacing <= DENSE {
            max_delay = max_delay.max(SHORTEST);
        }
        let wait = max_delay.min(expected.spacing * COALESCED);
        let is_worth_it = wait >= SHORTEST && wait >= expected.spacing * WORTH;
        (is_worth_it && (1..FULL_BATCH).contains(&datagrams)).then_some(now + wait)
    }
}

#[cfg(test)]
mod tests;
