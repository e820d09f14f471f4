//! The event trace: what a connection tells of itself while it runs, for people who debug it.
//! How events are written lives in `qlog.rs`; files, threads and full disks are the programs' business.
//!
//! A connection that is not traced pays one branch an event. No event holds a key, a token or a byte
//! of the application's.

use std::{fmt, net::SocketAddr, time::Instant};

pub use self::{
    event::{Close, Event, LossTrigger, Metrics},
    qlog::Qlog,
};
use crate::{units::Side, wire::id::ConnectionId};

mod event;
pub mod qlog;
#[cfg(test)]
mod tests;

/// Gives each new connection the place its events go to.
pub trait Tracer: Send + Sync + fmt::Debug {
    /// A connection begins; `None` leaves it untraced.
    fn begin(&self, start: &Start) -> Option<Box<dyn TraceSink>>;
}

/// Takes the events of one connection, in order. Dropped when the connection is.
///
/// Called with the connection's lock held: it must neither block nor fail.
pub trait TraceSink: Send {
    /// `event` happened at `now`.
    fn record(&mut self, now: Instant, event: Event);
}

/// A connection as it begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// When.
    pub now: Instant,
    /// Which end this is.
    pub side: Side,
    /// Where the peer is.
    pub remote: SocketAddr,
    /// The client's first destination id: the same at both ends, and nobody's secret.
    pub connection: ConnectionId,
}

/// What traces a connection, if anything does.
#[derive(Default)]
pub(crate) struct Trace {
    active: Option<Box<Active>>,
}

/// The sink, and what it was told last, so that only changes are said.
pub(crate) struct Active {
    sink: Box<dyn TraceSink>,
    pub(crate) acked_bytes: u64,
    pub(crate) state: Option<&'static str>,
    pub(crate) max_payload: Option<u16>,
    pub(crate) estimates_at: Option<Instant>,
}

impl Trace {
    /// Ask `tracer`, if there is one.
    pub(crate) fn begin(tracer: Option<&dyn Tracer>, start: &Start) -> Self {
        let active = tracer.and_then(|tracer| tracer.begin(start)).map(|sink| {
            Box::new(Active {
                sink,
                acked_bytes: 0,
                state: None,
                max_payload: None,
                estimates_at: None,
            })
        });
        Self { active }
    }

    /// Tell of an event, which is made only if somebody listens.
    #[inline]
    pub(crate) fn emit(&mut self, now: Instant, event: impl FnOnce() -> Event) {
        if let Some(active) = &mut self.active {
            active.record(now, event());
        }
    }

    /// For events that compare with what was told before.
    #[inline]
    pub(crate) fn active(&mut self) -> Option<&mut Active> {
        self.active.as_deref_mut()
    }
}

impl Active {
    pub(crate) fn record(&mut self, now: Instant, event: Event) {
        self.sink.record(now, event);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("is_active", &self.active.is_some())
            .finish()
    }
}
