//! Having the exit listen: commands 2 and 4 of `spec/10-proxy.md`, and the streams it opens for what
//! comes. What is done with a connection that came is the caller's.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{Connection, RecvStream, SendStream};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tracing::debug;

use super::{Client, TargetStream};
use crate::{
    error::OpenError,
    link::{Generation, LinkGuard},
    open::{Arrival, MAX_ARRIVAL_BYTES, Options, Request},
    relay::{Far, abandon, code},
    target::{ListenAt, Target},
};

/// Connections of one listener that may wait to be taken; further ones are turned away.
const MAX_WAITING: usize = 256;

/// Streams whose heads may be incomplete at once; further ones wait.
const MAX_PENDING: usize = 64;

/// Time a stream of the exit has to bring its head, which is its first bytes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Streams the exit opened, told apart by the listeners they are for.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<HashMap<Generation, Arc<Inbox>>>);

/// The listeners of one connection, by the numbers of the streams that asked for them.
#[derive(Debug, Default)]
struct Inbox(Mutex<HashMap<u64, mpsc::Sender<Arrived>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arrivals {
    /// The inbox of `connection`, read by a task of its own for as long as that lives.
    fn inbox(self: &Arc<Self>, connection: &Connection, generation: Generation) -> Arc<Inbox> {
        let mut inboxes = lock(&self.0);
        if let Some(inbox) = inboxes.get(&generation) {
            return Arc::clone(inbox);
        }
        let inbox = Arc::<Inbox>::default();
        inboxes.insert(generation, Arc::clone(&inbox));
        let (arrivals, connection) = (Arc::clone(self), connection.clone());
        let reading = Arc::clone(&inbox);
        tokio::spawn(async move {
            reading.read(&connection).await;
            lock(&arrivals.0).remove(&generation);
        });
        inbox
    }
}

impl Inbox {
    /// Hands out what the exit opens, until the connection ends.
    async fn read(self: &Arc<Self>, connection: &Connection) {
        let pending = Arc::new(Semaphore::new(MAX_PENDING));
        while let Ok(turn) = Arc::clone(&pending).acquire_owned().await {
            let Ok((mut send, mut recv)) = connection.accept_bi().await else {
                return;
            };
            let inbox = Arc::clone(self);
            tokio::spawn(async move {
                let head = timeout(HEAD_TIMEOUT, read_head(&mut recv)).await;
                drop(turn);
                //= spec/10-proxy.md#listening
                //# A client MUST reset a stream of the exit that brings no complete arrival within 30
                //# seconds, or one for no listener of its own, with code 3.
                let Ok(Some((head, early))) = head else {
                    return abandon(&mut send, &mut recv, code::MALFORMED);
                };
                let Some(listener) = lock(&inbox.0).get(&head.listener).cloned() else {
                    return abandon(&mut send, &mut recv, code::MALFORMED);
                };
                let arrived = Arrived {
                    peer: head.peer,
                    far: Far {
                        send,
                        recv,
                        early,
                        awaits_reply: false,
                    },
                };
                if let Err(error) = listener.try_send(arrived) {
                    debug!("more connections came than are taken");
                    error.into_inner().refuse();
                }
            });
        }
    }
}

async fn read_head(recv: &mut RecvStream) -> Option<(Arrival, Bytes)> {
    let mut head = BytesMut::new();
    loop {
        let piece = recv.read_bytes(MAX_ARRIVAL_BYTES).await.ok()??;
        head.extend_from_slice(&piece);
        if let Some((arrival, len)) = Arrival::decode(&head).ok()? {
            return Some((arrival, head.split_off(len).freeze()));
        }
    }
}

/// A connection that came to a listener at the exit.
#[derive(Debug)]
pub struct Arrived {
    /// Who connected, as the exit says; `0.0.0.0:0` over a Unix socket.
    pub peer: SocketAddr,
    /// Its bytes.
    pub far: Far,
}

impl Arrived {
    /// Has the exit reset the connection.
    pub fn refuse(mut self) {
        abandon(&mut self.far.send, &mut self.far.recv, code::RESET);
    }
}

/// A listener at the exit; dropping it ends it.
pub struct RemoteListener {
    bound: SocketAddr,
    generation: Generation,
    client: Client,
    inbox: Arc<Inbox>,
    arrived: mpsc::Receiver<Arrived>,
    send: SendStream,
    recv: RecvStream,
    guard: LinkGuard,
}

impl fmt::Debug for RemoteListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteListener({})", self.bound)
    }
}

impl RemoteListener {
    /// Where the exit listens; `0.0.0.0:0` for a Unix socket.
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The next connection; `None` once the exit listens no more, or the link has another connection:
    /// then a new listener has to be asked for.
    pub async fn accept(&mut self) -> Option<Arrived> {
        loop {
            tokio::select! {
                arrived = self.arrived.recv() => return arrived,
                read = self.recv.read_bytes(MAX_ARRIVAL_BYTES) => match read {
                    // Nothing is said here.
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return None,
                },
                () = self.client.link.replaced(self.generation) => return None,
            }
        }
    }

    /// What tells the connection it was asked over from later ones.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// What keeps the connection it was asked over.
    pub(crate) fn guard(&self) -> LinkGuard {
        self.guard.clone()
    }
}

impl Drop for RemoteListener {
    fn drop(&mut self) {
        lock(&self.inbox.0).remove(&self.send.id().into_inner());
        abandon(&mut self.send, &mut self.recv, code::CANCELLED);
    }
}

/// A connection that is still to come, from one host.
#[derive(Debug)]
pub struct PendingBind {
    bound: SocketAddr,
    stream: TargetStream,
}

impl PendingBind {
    /// Where the exit waits for it.
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Waits until it has come: who made it, and its bytes.
    ///
    /// # Errors
    /// Nobody came in time, or the exit is not there any more.
    pub async fn accepted(mut self) -> Result<(SocketAddr, TargetStream), OpenError> {
        self.stream.expect_reply();
        let peer = self.stream.connected().await?;
        Ok((peer, self.stream))
    }

    /// Gives it up.
    pub fn cancel(self) {
        let Far {
            mut send, mut recv, ..
        } = self.stream.into_far();
        abandon(&mut send, &mut recv, code::CANCELLED);
    }
}

impl Client {
    /// Has the exit listen at `at`, over a connection made after `failed` if that is given.
    ///
    /// # Errors
    /// The exit cannot or will not listen there.
    pub(crate) async fn listen_after(
        &self,
        at: &ListenAt,
        failed: Option<Generation>,
    ) -> Result<RemoteListener, OpenError> {
        let mut guard = self.link.acquire();
        let (connection, generation) = self.link.current_for(&mut guard, failed).await?;
        let inbox = self.arrivals.inbox(&connection, generation);
        let (send, recv) = connection.open_bi().await?;
        let (sender, arrived) = mpsc::channel(MAX_WAITING);
        // Connections may come before the answer.
        lock(&inbox.0).insert(send.id().into_inner(), sender);
        let mut stream = TargetStream::new(send, recv);
        let answered = stream
            .ask(&Request::Listen(at.clone()), Options::default())
            .await;
        let bound = match answered {
            Ok(()) => stream.connected().await,
            Err(error) => Err(error),
        };
        let Far { send, recv, .. } = stream.into_far();
        let listener = RemoteListener {
            bound: *bound.as_ref().unwrap_or(&crate::listening::NO_ADDRESS),
            generation,
            client: self.clone(),
            inbox,
            arrived,
            send,
            recv,
            guard,
        };
        bound.map(|_| listener)
    }

    /// Has the exit listen at `at`.
    ///
    /// # Errors
    /// The exit cannot or will not listen there.
    pub async fn listen(&self, at: &ListenAt) -> Result<RemoteListener, OpenError> {
        self.listen_after(at, None).await
    }

    /// Has the exit wait for one connection from the host of `from`, at an address where that reaches it.
    ///
    /// # Errors
    /// The exit cannot or will not listen there.
    pub async fn bind(&self, from: &Target) -> Result<PendingBind, OpenError> {
        let mut guard = self.link.acquire();
        let (connection, generation) = self.link.current_for(&mut guard, None).await?;
        let (send, recv) = connection.open_bi().await?;
        let mut stream = TargetStream::new(send, recv);
        stream
            .ask(&Request::Bind(from.clone()), Options::default())
            .await?;
        stream.asked = Some(super::Asked {
            guard,
            link: self.link.clone(),
            generation,
            counters: self.counters.clone(),
        });
        let bound = stream.connected().await?;
        Ok(PendingBind { bound, stream })
    }
}
