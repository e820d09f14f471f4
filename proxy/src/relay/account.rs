//! What a relay is counted by. Numbers are kept where they are told from.

use std::sync::Arc;

use super::Traffic;
use crate::{client::ClientCounters, error::OpenError};

/// What a relay counts in; it lives as long as the relay does.
pub trait Account {
    /// Where bytes are counted.
    fn traffic(&self) -> &Traffic;

    /// An exit's reply has come that nobody had waited for.
    fn on_reply(&self, _outcome: Result<(), &OpenError>) {}
}

impl Account for Arc<Traffic> {
    fn traffic(&self) -> &Traffic {
        self
    }
}

/// A client's counters, and others that live as long as a relay does.
#[derive(Debug)]
pub(crate) struct Held<T> {
    traffic: Arc<Traffic>,
    counters: Arc<ClientCounters>,
    _others: T,
}

impl<T> Held<T> {
    pub(crate) fn new(traffic: Arc<Traffic>, counters: Arc<ClientCounters>, others: T) -> Self {
        Self {
            traffic,
            counters,
            _others: others,
        }
    }
}

impl<T> Account for Held<T> {
    fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn on_reply(&self, outcome: Result<(), &OpenError>) {
        self.counters.on_outcome(outcome);
    }
}
