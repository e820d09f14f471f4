//! Whose turn it is in a copy, and whether the other side does anything about it: a peer that is
//! connected and does nothing would be waited for without end. What is sent and received lies in
//! `drive`.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rp_protocol::Connection;
use tokio::time::Instant;

/// How long a side that is busy on its own says nothing before it says so.
pub(super) const WORKING_AFTER: Duration = Duration::from_secs(10);

/// How long the other side may do nothing while it is its turn: as long as a connection lasts without
/// packets, and three times what an honest side lets pass.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long the other side is waited for while it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// While it does nothing.
    pub(super) silence: Duration,
    /// While it says that it is working, and does nothing else.
    pub(super) working: Duration,
}

/// The longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What happens in one copy, told by those who do it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The half has done all it can and waits for input.
    half_waits: AtomicBool,
    /// A write waits until the other side takes more.
    is_sending: AtomicBool,
    /// How often the other side said, sent or took something.
    events: AtomicU64,
    /// How often it said that it is working.
    claims: AtomicU64,
    is_done: AtomicBool,
    /// Data streams that the other side put in the place of others.
    replacements: AtomicU64,
    is_stalled: AtomicBool,
}

impl Activity {
    /// The other side said, sent or took something.
    pub(super) fn on_event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    /// The other side said that it is working.
    pub(super) fn on_working(&self) {
        self.claims.fetch_add(1, Relaxed);
    }

    /// The other side said Done.
    pub(super) fn on_done(&self) {
        self.is_done.store(true, Relaxed);
    }

    /// The other side named a data stream that takes the place of another.
    pub(super) fn on_replaced(&self) {
        self.replacements.fetch_add(1, Relaxed);
    }

    /// How often it did.
    pub(super) fn replacements(&self) -> u64 {
        self.replacements.load(Relaxed)
    }

    /// Whether the other side has said Done.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Relaxed)
    }

    pub(super) fn set_half_waits(&self, waits: bool) {
        self.half_waits.store(waits, Relaxed);
    }

    /// Does `write`, which waits for the other side.
    pub(super) async fn sending<T>(&self, write: impl Future<Output = T>) -> T {
        self.is_sending.store(true, Relaxed);
        let written = write.await;
        self.is_sending.store(false, Relaxed);
        self.on_event();
        written
    }

    /// Whether the copy was ended for want of any activity.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    /// Returns when the other side did nothing, while it was its turn, for longer than `patience` goes.
    pub(super) async fn stalled(&self, connection: &Connection, patience: Patience) {
        let Patience { silence, working } = patience;
        let mut silent = Standstill::new(Instant::now());
        let mut standstill = silent;
        loop {
            tokio::time::sleep(LOOK_EVERY.min(silence.min(working) / 8)).await;
            // Bytes leave for the first time when the other side has given credit for them; what
            // waits in the send buffer may need long on a slow path.
            let sent = connection.stats().streams.sent_bytes;
            let progress = (self.events.load(Relaxed), sent);
            let turn = self.is_sending.load(Relaxed) || self.half_waits.load(Relaxed);
            let claims = (progress.0 + self.claims.load(Relaxed), sent);
            let now = Instant::now();
            //= spec/20-copy.md#silence
            //# A server MUST bound how long a client says nothing but Working.
            let overdue = standstill.look(now, turn.then_some(progress)) >= working;
            if overdue || silent.look(now, turn.then_some(claims)) >= silence {
                self.is_stalled.store(true, Relaxed);
                return;
            }
        }
    }
}

/// How long nothing has changed.
#[derive(Clone, Copy, Debug)]
struct Standstill {
    seen: Option<(u64, u64)>,
    since: Instant,
}

impl Standstill {
    fn new(now: Instant) -> Self {
        Self {
            seen: None,
            since: now,
        }
    }

    /// How long the other side has done nothing. `progress` changes with whatever it does, and is
    /// `None` while it is not its turn.
    //= spec/20-copy.md#silence
    //# A side MUST end a copy in which it waits for the other when for 30 seconds no message and no
    //# byte of the data stream came, and no byte of its own was taken.
    fn look(&mut self, now: Instant, progress: Option<(u64, u64)>) -> Duration {
        if progress.is_none() || progress != self.seen {
            self.seen = progress;
            self.since = now;
        }
        now - self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_only_while_it_is_their_turn_and_nothing_moves() {
        //= spec/20-copy.md#silence
        //= type=test
        //# A side MUST end a copy in which it waits for the other when for 30 seconds no message and
        //# no byte of the data stream came, and no byte of its own was taken.
        let begun = Instant::now();
        let mut standstill = Standstill::new(begun);
        let silent: Vec<_> = [
            Some((0, 0)),
            Some((0, 0)),
            Some((1, 0)),
            Some((1, 9)),
            Some((1, 9)),
            None,
            None,
            Some((1, 9)),
            Some((1, 9)),
        ]
        .into_iter()
        .zip(1..)
        .map(|(progress, second)| {
            let now = begun + Duration::from_secs(second);
            standstill.look(now, progress).as_secs()
        })
        .collect();
        assert_eq!(silent, [0, 1, 0, 0, 1, 0, 0, 0, 1]);
    }
}
