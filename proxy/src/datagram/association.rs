//! The near side of a UDP association: opening one over the link, sending to targets, receiving from them.
//! It ends with its stream; opening another one is the front end's business.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{Connection, RecvStream, error::ReadError};
use thiserror::Error;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    carrier::{Carrier, StreamEnd, receive},
    message::Datagram,
    queue::QueueBudget,
    router::Router,
};
use crate::{
    client::Client,
    error::OpenError,
    link::{Generation, Link, LinkGuard},
    open::{self, Request},
    relay::code,
    target::{Host, Target},
};

/// What the datagrams that wait for a client's own software may take in all.
const QUEUE_BYTES: usize = 32 << 20;

/// Why an association carries nothing more.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AssociationEnd {
    /// It was never opened, or its connection was lost.
    #[error(transparent)]
    Failed(#[from] OpenError),
    /// Nothing was sent or received for long.
    #[error("idle for too long")]
    Idle,
    /// The server ended it.
    #[error("the server ended the association")]
    Closed,
}

/// What the associations of one client have in common.
#[derive(Debug)]
pub(crate) struct Associations {
    budget: Arc<QueueBudget>,
    router: Mutex<Option<(Generation, Weak<Router>)>>,
}

impl Default for Associations {
    fn default() -> Self {
        Self {
            budget: QueueBudget::new(QUEUE_BYTES, Arc::default()),
            router: Mutex::default(),
        }
    }
}

impl Associations {
    /// The router of this connection: a connection's datagrams have one reader.
    fn router(&self, connection: &Connection, generation: Generation) -> Arc<Router> {
        let mut known = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, router)) = &*known
            && *of == generation
            && let Some(router) = router.upgrade()
        {
            return router;
        }
        let router = Router::start(connection.clone(), self.budget.share());
        *known = Some((generation, Arc::downgrade(&router)));
        router
    }
}

/// How far an association is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Asked,
    /// The exit has given it this address.
    Open(SocketAddr),
    Ended(AssociationEnd),
}

/// UDP sockets at the exit, and what they send and receive. Dropping it closes them.
#[derive(Debug)]
pub struct Association {
    carrier: Arc<Carrier>,
    progress: watch::Receiver<Progress>,
    reader: AbortHandle,
    link: Link,
    generation: Generation,
    _guard: LinkGuard,
}

impl Client {
    /// Asks for an association, which costs no round trip: datagrams may be sent at once.
    ///
    /// # Errors
    /// There is no connection to the server.
    pub async fn associate(&self) -> Result<Association, OpenError> {
        self.associate_by(&Request::Associate, None).await
    }

    /// Asks by `request` for what carries datagrams as an association does, over a connection made after `failed`
    /// if that is given.
    pub(crate) async fn associate_by(
        &self,
        request: &Request,
        mut failed: Option<Generation>,
    ) -> Result<Association, OpenError> {
        let mut guard = self.link().acquire();
        loop {
            let (connection, generation) = self.link().current_for(&mut guard, failed).await?;
            let router = self.associations().router(&connection, generation);
            match Association::open(&connection, &router, request).await {
                Ok((carrier, recv)) => {
                    let (progress, reader) = Association::start(carrier.clone(), recv);
                    return Ok(Association {
                        carrier,
                        progress,
                        reader,
                        link: self.link().clone(),
                        generation,
                        _guard: guard,
                    });
                }
                Err(OpenError::ConnectionLost(_)) => failed = Some(generation),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Association {
    async fn open(
        connection: &Connection,
        router: &Arc<Router>,
        request: &Request,
    ) -> Result<(Arc<Carrier>, RecvStream), OpenError> {
        let (mut send, recv) = connection.open_bi().await?;
        let route = router.register(send.id().index());
        let mut head = Vec::new();
        request.encode(&mut head);
        send.write_bytes(head.into()).await?;
        //= spec/10-proxy.md#udp
        //# A client MUST use the stream until the reply has arrived.
        let uses_frames = false;
        Ok((Arc::new(Carrier::new(route, send, uses_frames)), recv))
    }

    /// Reads what `recv` brings, in a task of its own.
    fn start(
        carrier: Arc<Carrier>,
        mut recv: RecvStream,
    ) -> (watch::Receiver<Progress>, AbortHandle) {
        let (sender, progress) = watch::channel(Progress::Asked);
        let reading = async move {
            let end = match read_reply(&mut recv).await {
                Ok((bound, early)) => {
                    carrier.use_frames();
                    sender.send_replace(Progress::Open(bound));
                    receive(&mut recv, early, carrier.route()).await.into()
                }
                Err(error) => AssociationEnd::Failed(error),
            };
            let is_malformed = end == AssociationEnd::from(StreamEnd::Malformed);
            sender.send_replace(Progress::Ended(end));
            carrier.route().queue().close();
            if is_malformed {
                carrier.reset(code::MALFORMED).await;
            }
        };
        (progress, tokio::spawn(reading).abort_handle())
    }

    /// Waits for the exit's answer. Whoever only sends and receives need not.
    ///
    /// # Errors
    /// It was refused, or has ended.
    pub async fn opened(&self) -> Result<(), AssociationEnd> {
        self.bound().await.map(drop)
    }

    /// The same with the address that the exit says.
    pub(crate) async fn bound(&self) -> Result<SocketAddr, AssociationEnd> {
        let mut progress = self.progress.clone();
        let known = progress.wait_for(|progress| *progress != Progress::Asked);
        match known.await.as_deref() {
            Ok(Progress::Open(bound)) => Ok(*bound),
            Ok(Progress::Ended(end)) => Err(end.clone()),
            Ok(Progress::Asked) | Err(_) => Err(AssociationEnd::Closed),
        }
    }

    /// What tells the connection it was asked over from later ones.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Waits until another connection has taken the place of its own.
    pub(crate) async fn replaced(&self) {
        self.link.replaced(self.generation).await;
    }

    /// Sends `payload` to `target` when it is this association's turn; a name is resolved at the exit. Nobody
    /// says whether it arrives. May be given up at any time.
    ///
    /// # Errors
    /// The association has ended.
    pub async fn send(&self, target: &Target, payload: Bytes) -> Result<(), AssociationEnd> {
        let datagram = Datagram {
            address: target.clone(),
            payload,
        };
        if self.carrier.send(&datagram).await {
            return Ok(());
        }
        // Its stream may take nothing although it brings something still.
        match &*self.progress.borrow() {
            Progress::Ended(end) => Err(end.clone()),
            _ => Err(AssociationEnd::Closed),
        }
    }

    /// The next datagram that arrived, and its sender. Where they are not taken in time the oldest are
    /// discarded. For one caller at a time.
    ///
    /// # Errors
    /// The association has ended.
    pub async fn recv(&self) -> Result<(SocketAddr, Bytes), AssociationEnd> {
        loop {
            match self.carrier.route().queue().pop().await {
                Some(datagram) => {
                    // The exit names senders by their addresses.
                    if let Host::Ip(ip) = datagram.address.host() {
                        let sender = SocketAddr::new(*ip, datagram.address.port());
                        return Ok((sender, datagram.payload));
                    }
                }
                None => return Err(self.ended().await),
            }
        }
    }

    /// Whether it has ended, or another connection has taken the place of its own, which was silent.
    pub fn has_ended(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Ended(_))
            || self.link.has_replaced(self.generation)
    }

    /// Waits until the association has ended, and says why.
    pub async fn ended(&self) -> AssociationEnd {
        let mut progress = self.progress.clone();
        let over = progress.wait_for(|progress| matches!(progress, Progress::Ended(_)));
        match over.await.as_deref() {
            Ok(Progress::Ended(end)) => end.clone(),
            _ => AssociationEnd::Closed,
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl From<StreamEnd> for AssociationEnd {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Finished => Self::Closed,
            StreamEnd::Malformed => Self::Failed(OpenError::BadReply),
            StreamEnd::Failed(ReadError::Reset(code)) if code == code::IDLE => Self::Idle,
            StreamEnd::Failed(ReadError::Reset(_)) => Self::Closed,
            StreamEnd::Failed(error) => Self::Failed(error.into()),
        }
    }
}

/// Reads the exit's reply: the address it says, and what came behind it.
async fn read_reply(recv: &mut RecvStream) -> Result<(SocketAddr, Bytes), OpenError> {
    let mut head = BytesMut::new();
    loop {
        let Some(piece) = recv.read_bytes(open::MAX_REPLY_BYTES).await? else {
            return Err(OpenError::BadReply);
        };
        head.extend_from_slice(&piece);
        match open::decode_reply(&head) {
            Ok(None) => {}
            Ok(Some((Ok(bound), len))) => return Ok((bound, head.split_off(len).freeze())),
            Ok(Some((Err(failure), _))) => return Err(failure.into()),
            Err(open::BadReply) => return Err(OpenError::BadReply),
        }
    }
}
