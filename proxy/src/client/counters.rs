//! What became of the requests of a client's front ends, for statistics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    error::{FailureKind, OpenError},
    front::FrontError,
};

/// Counters of a client; they only grow.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Targets connected.
    pub connected: AtomicU64,
    /// Requests that the server's rules refused.
    pub denied: AtomicU64,
    /// Requests that failed otherwise.
    pub failed: AtomicU64,
    /// Connections to a front end, and requests and datagrams on them, that made no sense, had no right to it,
    /// or were too many.
    pub refused: AtomicU64,
    /// Datagrams of flows that found no room to wait.
    pub discarded: Arc<AtomicU64>,
    /// Flows of datagrams that were ended to make room for others.
    pub pushed_out: AtomicU64,
}

impl ClientCounters {
    /// Counts the outcome of a dial. A lost connection is none: the target may be asked for again.
    ///
    /// Whoever waits for it by [`TargetStream`](super::TargetStream) need not.
    pub fn on_outcome(&self, outcome: Result<(), &OpenError>) {
        let counter = match outcome {
            Ok(()) => &self.connected,
            Err(OpenError::ConnectionLost(_)) => return,
            Err(error) if error.kind() == FailureKind::Denied => &self.denied,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client that was not served, unless it just went away.
    pub(crate) fn on_unserved(&self, error: &FrontError) {
        if !matches!(error, FrontError::Left | FrontError::Io(_)) {
            self.on_refused();
        }
    }

    /// Counts a client that was turned away.
    pub(crate) fn on_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rp_protocol::error::ConnectionError;

    use super::*;
    use crate::error::DialFailure;

    #[test]
    fn outcomes_are_told_apart_and_what_is_asked_again_is_none() {
        let counters = ClientCounters::default();
        let dial = |kind| OpenError::Dial(DialFailure::new(kind));
        counters.on_outcome(Ok(()));
        counters.on_outcome(Err(&dial(FailureKind::Denied)));
        counters.on_outcome(Err(&dial(FailureKind::Refused)));
        counters.on_outcome(Err(&OpenError::LinkDown("gone".into())));
        counters.on_outcome(Err(&OpenError::ConnectionLost(ConnectionError::TimedOut)));
        counters.on_unserved(&FrontError::Left);
        counters.on_unserved(&FrontError::UnknownProtocol);
        let counts = [
            &counters.connected,
            &counters.denied,
            &counters.failed,
            &counters.refused,
        ];
        assert_eq!(
            counts.map(|count| count.load(Ordering::Relaxed)),
            [1, 1, 2, 1]
        );
    }
}
