//! Data streams that arrive on a connection, kept until a message names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rp_protocol::{Connection, RecvStream, error::ConnectionError, units::Side};
use tokio::{sync::Notify, task::AbortHandle};

/// Data streams kept for one connection before a message names them. Two for each request that
/// may run at once; the bytes they hold are bounded by the credit the transport gives.
const MAX_UNNAMED: usize = 128;

/// Ids of streams nobody will name, remembered until they arrive.
const MAX_ABANDONED: usize = 128;

/// Accepts the data streams of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Arrivals {
    shared: Arc<Shared>,
    /// Who opens them.
    peer: Side,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<u64, RecvStream>,
    abandoned: BTreeSet<u64>,
    lost: Option<ConnectionError>,
}

impl State {
    //= spec/20-copy.md#data
    //# A receiver MUST bound how many unnamed data streams it keeps for one connection.
    fn keep(&mut self, stream: RecvStream) {
        let id = stream.id().into_inner();
        // Dropping a stream tells the other side to stop.
        if !self.abandoned.remove(&id) && self.streams.len() < MAX_UNNAMED {
            self.streams.insert(id, stream);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept(&self, connection: &Connection) {
        loop {
            let accepted = connection.accept_uni().await;
            let mut state = self.lock();
            match accepted {
                Ok(stream) => state.keep(stream),
                Err(error) => {
                    state.lost = Some(error);
                    drop(state);
                    self.changed.notify_waiters();
                    return;
                }
            }
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

impl Arrivals {
    /// Those that `peer` opens.
    pub(super) fn new(connection: &Connection, peer: Side) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn({
            let (shared, connection) = (Arc::clone(&shared), connection.clone());
            async move { shared.accept(&connection).await }
        });
        Self {
            shared,
            peer,
            task: task.abort_handle(),
        }
    }

    /// Whether a data stream may have this id.
    pub(super) fn can_bring(&self, id: u64) -> bool {
        // The two lowest bits (spec/05-streams.md#stream-ids): unidirectional, and who opened it.
        let kind = match self.peer {
            Side::Client => 2,
            Side::Server => 3,
        };
        id % 4 == kind
    }

    /// Nobody will take the data stream `id`: it is stopped, now or when it arrives.
    pub(super) fn abandon(&self, id: u64) {
        let mut state = self.shared.lock();
        if state.streams.remove(&id).is_none() {
            state.abandoned.insert(id);
            if state.abandoned.len() > MAX_ABANDONED {
                state.abandoned.pop_first();
            }
        }
    }

    //= spec/20-copy.md#data
    //# A receiver MUST accept data that arrives before the message that names its stream.
    /// The data stream `id`, once it is there. May be dropped at any await.
    pub(super) async fn take(&self, id: u64) -> Result<RecvStream, ConnectionError> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some(stream) = state.streams.remove(&id) {
                    return Ok(stream);
                }
                if let Some(error) = &state.lost {
                    return Err(error.clone());
                }
            }
            changed.await;
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.task.abort();
    }
}
