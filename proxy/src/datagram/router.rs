//! The datagrams of one connection: those that arrive go to their associations, and those that leave take turns.
//! What an association does with them is its own affair.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use rp_protocol::{Connection, error::SendDatagramError};
use tokio::{sync::Mutex as TurnMutex, task::AbortHandle};

use super::{
    message::Datagram,
    queue::{Queue, QueueShare},
};

/// Associations by the index of their stream.
struct Routes {
    associations: Mutex<HashMap<u64, Arc<Queue>>>,
    share: Arc<QueueShare>,
}

impl Routes {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Queue>>> {
        self.associations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    //= spec/10-proxy.md#udp
    //# A receiver MUST discard a DATAGRAM frame that names no association of its connection, or is
    //# malformed.
    fn route(&self, data: &Bytes) {
        let queue = match Datagram::decode_frame(data) {
            Ok((association, datagram)) => {
                let queue = self.lock().get(&association).cloned();
                queue.map(|queue| (queue, datagram))
            }
            Err(_malformed) => None,
        };
        match queue {
            Some((queue, datagram)) => queue.push(datagram),
            None => self.share.on_discarded(),
        }
    }
}

/// Reads a connection's datagrams and sends those of its associations. Ends with its last handle.
pub(crate) struct Router {
    connection: Connection,
    routes: Arc<Routes>,
    /// Waiters get it in the order they came.
    turn: TurnMutex<()>,
    reader: AbortHandle,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let associations = self.routes.lock().len();
        write!(f, "Router({associations} associations)")
    }
}

impl Router {
    /// The one reader of `connection`'s datagrams, which may keep what `share` allows.
    pub(crate) fn start(connection: Connection, share: Arc<QueueShare>) -> Arc<Self> {
        let routes = Arc::new(Routes {
            associations: Mutex::default(),
            share,
        });
        let reading = {
            let (connection, routes) = (connection.clone(), routes.clone());
            async move {
                while let Ok(data) = connection.read_datagram().await {
                    routes.route(&data);
                }
            }
        };
        let reader = tokio::spawn(reading).abort_handle();
        Arc::new(Self {
            connection,
            routes,
            turn: TurnMutex::new(()),
            reader,
        })
    }

    /// Lets datagrams for `association` wait in a queue of its own.
    pub(crate) fn register(self: &Arc<Self>, association: u64) -> Route {
        let queue = Arc::new(Queue::new(self.routes.share.clone()));
        self.routes.lock().insert(association, queue.clone());
        Route {
            router: self.clone(),
            association,
            queue,
        }
    }

    //= spec/10-proxy.md#udp
    //# The associations of a connection MUST take turns in sending.
    /// Sends a DATAGRAM frame when it is its turn.
    pub(crate) async fn send(&self, data: Bytes) -> Result<(), SendDatagramError> {
        let _turn = self.turn.lock().await;
        self.connection.send_datagram(data).await
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// One association's place in a router; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Route {
    router: Arc<Router>,
    association: u64,
    queue: Arc<Queue>,
}

impl Route {
    /// What arrived and waits.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Another queue within the same share, for datagrams that cannot be sent yet.
    pub(crate) fn waiting_room(&self) -> Queue {
        Queue::new(self.router.routes.share.clone())
    }

    /// Sends `datagram` in a frame; [`SendDatagramError::TooLarge`] and [`SendDatagramError::Unsupported`] if it
    /// cannot.
    pub(crate) async fn send(&self, datagram: &Datagram) -> Result<(), SendDatagramError> {
        self.router
            .send(datagram.encode_frame(self.association))
            .await
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.queue.close();
        self.router.routes.lock().remove(&self.association);
    }
}
