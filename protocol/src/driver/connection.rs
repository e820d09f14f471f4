//! A handle to a connection: opening and accepting streams, datagrams, close.
//! Streams themselves are in `send_stream` and `recv_stream`; the work is done by `task`.

use std::{fmt, net::SocketAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    clock,
    rate_limit::RateLimits,
    recv_stream::RecvStream,
    send_stream::SendStream,
    shared::{Established, Shared, State, slot},
};
use crate::{
    config::Policy,
    congestion::PathMemory,
    crypto::identity::PublicKey,
    engine::Stats,
    error::{ConnectionError, SendDatagramError},
    units::{Bandwidth, CloseCode, Dir},
    wire::id::StreamId,
};

/// A connection to a peer whose key was verified, for the service both agreed on.
///
/// Cloning gives another handle to the same connection. When the last handle is dropped the connection
/// is closed with code 0 and an empty reason; its streams do not keep it open. Every `async` method may
/// be dropped at any await without losing anything.
///
/// ```
/// # use std::{error::Error, net::Ipv4Addr, sync::Arc};
/// # use rp_protocol::{Connection, Endpoint, config::{ClientConfig, EndpointConfig, ServerConfig}};
/// # use rp_protocol::crypto::{identity::Identity, trust::AcceptAnyKey};
/// # async fn pair() -> Result<(Connection, Connection), Box<dyn Error + Send + Sync>> {
/// #     let any = (Ipv4Addr::LOCALHOST, 0).into();
/// #     let who = || Identity::generate().map(Arc::new);
/// #     let config = ServerConfig::new(who()?, Arc::new(AcceptAnyKey), &["doc/1"]);
/// #     let server = Endpoint::bind(any, EndpointConfig::default(), Some(config))?;
/// #     let client = Endpoint::bind(any, EndpointConfig::default(), None)?;
/// #     let config = ClientConfig::new(who()?, Arc::new(AcceptAnyKey), "doc/1");
/// #     let address = server.local_addr()?;
/// #     let accept = async { server.accept().await.ok_or("closed")?.accept().await.map_err(Box::from) };
/// #     let connect = async { client.connect(address, config).await.map_err(Box::from) };
/// #     tokio::try_join!(connect, accept)
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
/// let (client, server) = pair().await?;
/// assert_eq!(client.service(), "doc/1");
///
/// // Streams are reliable and independent; datagrams are neither.
/// client.send_datagram("now or never".into()).await?;
/// assert_eq!(&server.read_datagram().await?[..], b"now or never");
///
/// // A smaller rate from here on, and what the path is like.
/// client.set_rate(Some(rp_protocol::units::Bandwidth::from_bits_per_second(8_000_000)));
/// assert_eq!(client.stats().paths.len(), 1);
///
/// client.close(rp_protocol::units::CloseCode::from_u32(3), b"enough");
/// assert!(server.closed().await.to_string().contains("enough"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    _handle: Arc<CloseOnDrop>,
}

/// Lives as long as any handle.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(CloseCode::default(), b"");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote_address())
            .field("established", &self.shared.established.get())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The first handle, given out once the handshake is complete.
    pub(super) async fn established(shared: Arc<Shared>) -> Result<Self, ConnectionError> {
        // Made first: if this future is dropped, so is the attempt.
        let connection = Self {
            _handle: Arc::new(CloseOnDrop(Arc::clone(&shared))),
            shared,
        };
        connection
            .until(&connection.shared.notify.connected, |_| {
                connection.shared.established.get().map(|_| ())
            })
            .await?;
        Ok(connection)
    }

    /// Waits until the peer has let us in. A client may send before: its handshake is complete a round
    /// trip before it learns whether the server accepts its key.
    ///
    /// # Errors
    /// The connection is over; [`ConnectionError::PeerTransport`] with the alert access_denied says that
    /// the server refused our key.
    pub async fn confirmed(&self) -> Result<(), ConnectionError> {
        self.until(&self.shared.notify.confirmed, |state| {
            state.engine.is_confirmed().then_some(())
        })
        .await
    }

    /// Open a stream in both directions. The peer learns of it by its first bytes, so this costs no
    /// round trip; it waits only while the peer's limit of open streams is reached.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let id = self.open(Dir::Bi).await?;
        Ok((self.send_stream(id), self.recv_stream(id)))
    }

    /// Open a stream that only we send on; otherwise as [`open_bi`](Self::open_bi).
    ///
    /// # Errors
    /// The connection is over.
    pub async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        let id = self.open(Dir::Uni).await?;
        Ok(self.send_stream(id))
    }

    /// The next stream in both directions that the peer opened.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let id = self.accept(Dir::Bi).await?;
        Ok((self.send_stream(id), self.recv_stream(id)))
    }

    /// The next stream that only the peer sends on.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let id = self.accept(Dir::Uni).await?;
        Ok(self.recv_stream(id))
    }

    /// Send a datagram: unordered, not repeated, at most one packet long. Waits while the queue is full.
    ///
    /// # Errors
    /// [`SendDatagramError::TooLarge`] and [`SendDatagramError::Unsupported`] leave the connection as
    /// it was; [`SendDatagramError::Blocked`] is never returned.
    pub async fn send_datagram(&self, data: Bytes) -> Result<(), SendDatagramError> {
        let sent = self.until(&self.shared.notify.datagrams_unblocked, |state| match state
            .engine
            .send_datagram(data.clone())
        {
            Err(SendDatagramError::Blocked) => None,
            result => {
                state.wake_task();
                Some(result)
            }
        });
        sent.await?
    }

    /// The next datagram from the peer.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.until(&self.shared.notify.datagram_received, |state| {
            state.engine.read_datagram()
        })
        .await
    }

    /// The peer's key, proven by the handshake.
    pub fn peer(&self) -> PublicKey {
        self.facts().peer
    }

    /// The service (ALPN) agreed on in the handshake.
    pub fn service(&self) -> &str {
        &self.facts().service
    }

    fn facts(&self) -> &Established {
        self.shared
            .established
            .get()
            .expect("a handle is given out only after the handshake")
    }

    /// Counters and estimates of this moment.
    pub fn stats(&self) -> Stats {
        self.shared.lock().engine.stats()
    }

    /// Where the peer's packets come from at present.
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.lock().engine.remote_address()
    }

    /// Never send faster than `max_rate`; `None` lifts the limit.
    pub fn set_rate(&self, max_rate: Option<Bandwidth>) {
        let mut state = self.shared.lock();
        state.engine.set_max_rate(max_rate);
        state.wake_task();
    }

    /// Let the streams of this connection carry no more than `limits`, which it may share with others.
    /// A limit on receiving also bounds how far the peer may be ahead of the readers, for good.
    pub fn set_limits(&self, limits: RateLimits) {
        let mut state = self.shared.lock();
        if let Some(limit) = &limits.receive {
            state.engine.limit_credit(limit.credit());
        }
        state.limits = limits;
    }

    /// Decide the rate by `policy` from here on. Between [`Policy::Fair`] and [`Policy::Low`] the rate goes
    /// on as it is; any other change starts anew.
    pub fn set_policy(&self, policy: Policy) {
        let mut state = self.shared.lock();
        state.engine.set_policy(clock::now(), policy);
        state.wake_task();
    }

    /// The way to this peer may be one known from before: its rate is then found sooner, if it still is
    /// what it was. To be said before anything is sent.
    pub fn recall(&self, memory: &PathMemory) {
        self.shared.lock().engine.recall(memory);
    }

    /// What this end learnt of the way to the peer by sending, for [`recall`](Self::recall) on a later
    /// connection; `None` as long as too little was sent to tell.
    pub fn path_memory(&self) -> Option<PathMemory> {
        self.shared.lock().engine.path_memory()
    }

    /// End the connection at once: what was not acknowledged is abandoned, `code` and `reason` reach the
    /// peer, and every call waiting on either side fails. Closing again changes nothing.
    pub fn close(&self, code: CloseCode, reason: &[u8]) {
        self.shared.close(code, reason);
    }

    /// Waits until `probes` probe timeouts in a row have brought no answer: the peer, or the path to it,
    /// may be gone. Never ready again once the connection is over.
    pub async fn unanswered(&self, probes: u32) {
        self.until_probed(|count| count >= probes).await;
    }

    /// Waits until no probe timeout is unanswered. Never ready again once the connection is over.
    pub async fn answered(&self) {
        self.until_probed(|count| count == 0).await;
    }

    async fn until_probed(&self, is_met: impl Fn(u32) -> bool) {
        let met = self.until(&self.shared.notify.probed, |state| {
            is_met(state.engine.unanswered_probes()).then_some(())
        });
        if met.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all that was written has been sent once, and so has the end of the connection if it is
    /// closed. Not until it arrives: after [`close`](Self::close) a program may end.
    ///
    /// Takes as long as credit and the path's rate make it; put it under a timeout.
    pub async fn flushed(&self) {
        self.shared.flushed().await;
    }

    /// Waits for the end of the connection, and says why.
    pub async fn closed(&self) -> ConnectionError {
        let ended = self.until(&self.shared.notify.closed, |_| None::<ConnectionError>);
        match ended.await {
            Ok(error) | Err(error) => error,
        }
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        self.until(&self.shared.notify.available[slot(dir)], |state| {
            state.engine.open(dir).inspect(|&id| state.track_sender(id))
        })
        .await
    }

    async fn accept(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        self.until(&self.shared.notify.opened[slot(dir)], |state| {
            let id = state.engine.accept(dir)?;
            if dir == Dir::Bi {
                state.track_sender(id);
            }
            Some(id)
        })
        .await
    }

    fn send_stream(&self, id: StreamId) -> SendStream {
        SendStream::new(Arc::clone(&self.shared), id)
    }

    fn recv_stream(&self, id: StreamId) -> RecvStream {
        RecvStream::new(Arc::clone(&self.shared), id)
    }

    /// Try `attempt` now and after each notification, until it gives something or the connection ends.
    ///
    /// Nothing is taken before the moment it is returned, so dropping the future loses nothing.
    async fn until<T>(
        &self,
        notify: &Notify,
        mut attempt: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        loop {
            let mut notified = pin!(notify.notified());
            // Registered before the check, so that news in between is not missed.
            notified.as_mut().enable();
            {
                let mut state = self.shared.lock();
                state.alive()?;
                if let Some(result) = attempt(&mut state) {
                    return Ok(result);
                }
            }
            notified.await;
        }
    }
}
