//! Receive coalescing: how long to wait before the next poll of the socket while packets arrive one by one,
//! as network cards do with interrupts. `receive` does the polling.
//!
//! Each poll costs several thread switches, one more packet in it costs next to nothing, and the kernel's
//! timestamps preserve the arrival times. What it costs is delay: a part of the round trip that is small where
//! every packet may be waited for, and larger for bulk data, which arrives in full packets: ACKs of those come a
//! millisecond apart anyway.

use std::time::{Duration, Instant};

/// Part of the minimum RTT by which a packet may be delayed.
const PART_OF_RTT: u32 = 32;
/// Longest wait: what the pacing of the fastest sender bunches anyway, and long before ACKs are due.
const LONGEST: Duration = Duration::from_millis(2);
/// The same for bulk data, of which ACKs are asked for once per millisecond at most: at 100 Mbit/s and 2 ms it takes a
/// receiver from 630 thread switches per MB to 220.
const BULK_PART_OF_RTT: u32 = 2;
const BULK_LONGEST: Duration = Duration::from_millis(1);
/// Mean payload from which datagrams are bulk data: small messages are never waited for so long.
const BULK_BYTES: usize = 900;
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

/// Longest delay for packets of a connection: of any kind, and of bulk data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxDelay {
    pub(super) any: Duration,
    pub(super) bulk: Duration,
}

impl MaxDelay {
    /// Before the minimum RTT is known.
    pub(super) const NONE: Self = Self {
        any: Duration::ZERO,
        bulk: Duration::ZERO,
    };

    /// For datagrams of no connection.
    pub(super) const LONGEST: Self = Self {
        any: LONGEST,
        bulk: LONGEST,
    };

    /// For a connection with this minimum RTT.
    pub(super) fn for_rtt(min_rtt: Option<Duration>) -> Self {
        min_rtt.map_or(Self::NONE, |rtt| {
            let any = (rtt / PART_OF_RTT).min(LONGEST);
            let bulk = (rtt / BULK_PART_OF_RTT).min(BULK_LONGEST).max(any);
            Self { any, bulk }
        })
    }

    /// What packets of both allow.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            any: self.any.min(other.any),
            bulk: self.bulk.min(other.bulk),
        }
    }
}

/// What a poll of the socket found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) datagrams: usize,
    pub(super) bytes: usize,
    /// Least of the connections they are for.
    pub(super) max_delay: MaxDelay,
}

/// Decides after each poll when the next one is due.
#[derive(Debug)]
pub(super) struct Moderation {
    since: Instant,
    count: u32,
    bytes: usize,
    /// Least of the connections heard of since then.
    max_delay: MaxDelay,
    /// What the time counted before has shown.
    expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    spacing: Duration,
    is_bulk: bool,
    max_delay: MaxDelay,
}

impl Moderation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            bytes: 0,
            max_delay: MaxDelay::LONGEST,
            expected: None,
        }
    }

    /// Handles a poll at `now`. Returns when to poll again, if not as soon as the socket is readable.
    pub(super) fn on_poll(&mut self, now: Instant, found: Found) -> Option<Instant> {
        let datagrams = u32::try_from(found.datagrams).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(datagrams);
        self.bytes = self.bytes.saturating_add(found.bytes);
        self.max_delay = self.max_delay.min(found.max_delay);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= COUNTED {
            // A count over a longer time includes a pause.
            self.expected = (self.count > 0 && elapsed < 2 * COUNTED).then(|| Expected {
                spacing: elapsed / self.count,
                is_bulk: self.bytes >= self.count as usize * BULK_BYTES,
                max_delay: self.max_delay,
            });
            self.since = now;
            self.count = 0;
            self.bytes = 0;
            self.max_delay = found.max_delay;
        }
        let expected = self.expected?;
        let allowed = expected.max_delay.min(self.max_delay);
        let mut max_delay = if expected.is_bulk {
            allowed.bulk
        } else {
            allowed.any
        };
        if expected.spacing <= DENSE {
            max_delay = max_delay.max(SHORTEST);
        }
        let wait = max_delay.min(expected.spacing * COALESCED);
        let is_worth_it = wait >= SHORTEST && wait >= expected.spacing * WORTH;
        (is_worth_it && (1..FULL_BATCH).contains(&found.datagrams)).then_some(now + wait)
    }
}

#[cfg(test)]
mod tests;
