//! How long packets that come in one by one are let gather before the next look at the socket, as network
//! cards do with interrupts. The looking is done by `receive`.
//!
//! Each look costs several changes of threads, a packet more in it next to nothing, and the kernel's
//! timestamps keep what waiting hides. What it costs is time: a part of the round trip so small that
//! nobody notices, so that on a local network, where a microsecond counts, only bulk is waited for.

use std::time::{Duration, Instant};

/// Part of the smallest round trip by which a packet may be kept waiting.
const PART_OF_RTT: u32 = 32;
/// Longest wait: what the pacing of the fastest sender bunches anyway, and long before ACKs are due.
const LONGEST: Duration = Duration::from_millis(2);
/// Shorter waits are not worth a timer.
const SHORTEST: Duration = Duration::from_micros(200);
/// Datagrams that are let gather: the smallest receive buffer that is usual, 208 KB, holds three times as
/// many.
const GATHERED: u32 = 32;
/// Datagrams a wait must promise.
const WORTH: u32 = 3;
/// Spacing of a pour so dense, 500 Mbit/s, that the shortest wait is worth its while whoever sends it:
/// requests that follow answers are no such pour on any network.
const DENSE: Duration = Duration::from_micros(25);
/// Datagrams in one look from which waiting would gather no more.
const HEAP: usize = 64;
/// What is counted over such a time says what to expect in the next.
const COUNTED: Duration = Duration::from_millis(10);

/// How long a connection with this round trip may be kept waiting; not at all before it is known.
pub(super) fn patience(min_rtt: Option<Duration>) -> Duration {
    min_rtt.map_or(Duration::ZERO, |rtt| (rtt / PART_OF_RTT).min(LONGEST))
}

/// Decides after each look when the next one is due.
#[derive(Debug)]
pub(super) struct Moderation {
    since: Instant,
    count: u32,
    /// The least of the connections heard of since then.
    patience: Duration,
    /// What the time counted before has shown.
    expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    spacing: Duration,
    patience: Duration,
}

impl Moderation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            patience: LONGEST,
            expected: None,
        }
    }

    /// A look at `now` found `datagrams` for connections of at least this `patience`; when to look again,
    /// if not as soon as there is something.
    pub(super) fn on_look(
        &mut self,
        now: Instant,
        datagrams: usize,
        patience: Duration,
    ) -> Option<Instant> {
        let found = u32::try_from(datagrams).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(found);
        self.patience = self.patience.min(patience);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= COUNTED {
            // A count over a longer time tells of a pause.
            self.expected = (self.count > 0 && elapsed < 2 * COUNTED).then(|| Expected {
                spacing: elapsed / self.count,
                patience: self.patience,
            });
            self.since = now;
            self.count = 0;
            self.patience = patience;
        }
        let expected = self.expected?;
        let mut patience = expected.patience.min(self.patience);
        if expected.spacing <= DENSE {
            patience = patience.max(SHORTEST);
        }
        let wait = patience.min(expected.spacing * GATHERED);
        let is_worth_it = wait >= SHORTEST && wait >= expected.spacing * WORTH;
        (is_worth_it && (1..HEAP).contains(&datagrams)).then_some(now + wait)
    }
}

#[cfg(test)]
mod tests;
