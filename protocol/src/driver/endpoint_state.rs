//! What the handles of an endpoint, its receive loop and the tasks of its connections share, behind one lock.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::{runtime, sync::Notify};

use super::{shared, socket::Socket};
use crate::{
    engine::{self, ConnectionHandle, EndpointEvent, Transmit},
    units::CloseCode,
};

/// Attempts that may wait for [`Endpoint::accept`](super::Endpoint::accept); further ones are refused. A backlog as for TCP.
const BACKLOG: usize = 1024;

/// What handles, the receive loop and the connections' tasks share.
pub(super) struct Shared {
    pub(super) socket: Socket,
    pub(super) runtime: runtime::Handle,
    pub(super) state: Mutex<State>,
    pub(super) arrived: Notify,
    pub(super) idle: Notify,
    /// Wakes the receive loop to see whether it is still wanted.
    pub(super) stop: Notify,
    pub(super) inbox_drops: AtomicU64,
}

/// The part of an endpoint behind its lock. A connection's lock may be held when this one is taken,
/// never the other way round.
pub(super) struct State {
    pub(super) engine: engine::Endpoint,
    pub(super) connections: FxHashMap<ConnectionHandle, Arc<shared::Shared>>,
    pub(super) incoming: VecDeque<engine::Incoming>,
    pub(super) closed: Option<(CloseCode, Bytes)>,
    /// No handle is left.
    pub(super) abandoned: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in another thread while it held the lock has been reported there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody can still want what the receive loop brings.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.lock();
        !state.abandoned || !state.connections.is_empty()
    }

    /// A client wants to connect.
    pub(super) fn arrived(&self, state: &mut State, incoming: engine::Incoming, out: &mut Vec<u8>) {
        if state.closed.is_some() || state.abandoned || state.incoming.len() >= BACKLOG {
            out.clear();
            let transmit = state.engine.refuse(incoming, out);
            self.send(&transmit, out);
        } else {
            state.incoming.push_back(incoming);
            self.arrived.notify_waiters();
        }
    }

    pub(super) fn refuse(&self, incoming: engine::Incoming) {
        let mut out = Vec::new();
        let transmit = self.lock().engine.refuse(incoming, &mut out);
        self.send(&transmit, &out);
    }

    /// Send an answer that no connection owns. If the socket is full it is lost, as it may be anywhere.
    pub(super) fn send(&self, transmit: &Transmit, out: &[u8]) {
        if let Some(contents) = out.get(..transmit.len)
            && !contents.is_empty()
        {
            let _ = self.socket.try_send(transmit, contents);
        }
    }

    /// A connection's word to the engine's endpoint.
    pub(super) fn handle_event(&self, handle: ConnectionHandle, event: EndpointEvent) {
        let mut state = self.lock();
        state.engine.handle_event(handle, event);
        if event == EndpointEvent::Drained {
            // Under the same lock: the engine may give this handle to the next connection.
            let connection = state.connections.remove(&handle);
            let is_empty = state.connections.is_empty();
            drop(state);
            drop(connection);
            self.on_forgotten(is_empty);
        }
    }

    /// The task of `connection` has ended, maybe with the runtime and before its time.
    pub(super) fn forget(&self, handle: ConnectionHandle, connection: &Arc<shared::Shared>) {
        let mut state = self.lock();
        let known = state.connections.get(&handle);
        if known.is_some_and(|known| Arc::ptr_eq(known, connection)) {
            let known = state.connections.remove(&handle);
            state.engine.handle_event(handle, EndpointEvent::Drained);
            let is_empty = state.connections.is_empty();
            drop(state);
            drop(known);
            self.on_forgotten(is_empty);
        }
    }

    fn on_forgotten(&self, is_empty: bool) {
        if is_empty {
            self.idle.notify_waiters();
            self.stop.notify_one();
        }
    }
}
