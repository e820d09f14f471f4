//! What happened to the connections that were diverted to us, for statistics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of diverted connections, and of datagrams that led back.
#[derive(Debug, Default)]
pub struct TransparentCounters {
    accepted: AtomicU64,
    loops: AtomicU64,
    over_share: AtomicU64,
}

impl TransparentCounters {
    /// Connections that were diverted to us.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections and datagrams refused because they led to ourselves or to our server.
    pub fn loops(&self) -> u64 {
        self.loops.load(Ordering::Relaxed)
    }

    /// Connections refused because their address held all it may.
    pub fn over_share(&self) -> u64 {
        self.over_share.load(Ordering::Relaxed)
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_loop(&self) {
        self.loops.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_over_share(&self) {
        self.over_share.fetch_add(1, Ordering::Relaxed);
    }
}
