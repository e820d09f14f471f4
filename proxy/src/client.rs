//! The near side: opens one stream per target over the link, and serves front ends on a listener.
//! What the front ends speak lives in `front`.

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{Connection, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    time::sleep,
};
use tracing::{debug, warn};

use self::remote::Arrivals;
pub use self::remote::{Arrived, PendingBind, RemoteListener};
use crate::{
    auth::Credentials,
    datagram::association::Associations,
    error::OpenError,
    front::{
        self, FrontEndContext,
        transparent::{self, TransparentCounters, TransparentListener},
    },
    link::{Generation, Link, LinkGuard},
    open::{self, Request},
    places::Places,
    ports::PortSet,
    relay::{Far, Traffic, code},
    target::Destination,
};

pub mod forward;
mod remote;

/// Silence after which a relayed connection is given up: the least RFC 5382 section 5 grants an
/// established TCP connection through a NAT.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(124 * 60);

/// Clients served at once by default; each costs two descriptors at most and some 10 KB.
pub const DEFAULT_MAX_CLIENTS: usize = 16384;

/// Times a target is asked for when the connection to the server fails under the question.
const MAX_ASKED: usize = 3;

/// Pause after `accept` failed, in which descriptors may become free.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes one read of a target's takes at most.
const READ_BYTES: usize = 64 << 10;

/// How long the body of a request may be waited for by default: as long as its head.
pub const DEFAULT_BODY_GRACE: Duration = Duration::from_secs(60);

/// Where FTP's control connections go by default.
pub const DEFAULT_FTP_PORTS: &str = "21";

/// What a front end's user may choose.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) credentials: Credentials,
    pub(crate) idle: Duration,
    pub(crate) body_grace: Duration,
    pub(crate) max_clients: usize,
    pub(crate) optimistic: PortSet,
    pub(crate) udp_reply_address: Option<IpAddr>,
    pub(crate) ftp_ports: PortSet,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            idle: DEFAULT_IDLE,
            body_grace: DEFAULT_BODY_GRACE,
            max_clients: DEFAULT_MAX_CLIENTS,
            optimistic: PortSet::default(),
            udp_reply_address: None,
            ftp_ports: DEFAULT_FTP_PORTS.parse().expect("a port"),
        }
    }
}

impl ClientConfig {
    /// Whom to let in. Default: everybody.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Silence after which a relayed connection is reset. Default [`DEFAULT_IDLE`].
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long the body of a request may be waited for in all, on top of a second for each 100 bytes of it;
    /// not counted once the origin answers. Default [`DEFAULT_BODY_GRACE`].
    #[must_use]
    pub fn body_grace(mut self, grace: Duration) -> Self {
        self.body_grace = grace;
        self
    }

    /// Clients served at once; more wait in the listener's backlog. One host may have a quarter of them,
    /// this machine seven eighths. Default [`DEFAULT_MAX_CLIENTS`].
    #[must_use]
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Ports whose diverted connections are followed as FTP control connections. Default
    /// [`DEFAULT_FTP_PORTS`].
    #[must_use]
    pub fn ftp_ports(mut self, ports: PortSet) -> Self {
        self.ftp_ports = ports;
        self
    }

    /// Targets' ports for which SOCKS and CONNECT say success before the dial, which saves a round trip;
    /// a dial that fails is then a reset. Default: none.
    #[must_use]
    pub fn optimistic(mut self, ports: PortSet) -> Self {
        self.optimistic = ports;
        self
    }

    /// The address that SOCKS5 clients are told to send their datagrams to, for those that reach us through a
    /// NAT. Default: the one they have reached us at.
    #[must_use]
    pub fn udp_reply_address(mut self, address: Option<IpAddr>) -> Self {
        self.udp_reply_address = address;
        self
    }
}

/// The near side of the proxy. Clones share the link and the counters.
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
    config: Arc<ClientConfig>,
    traffic: Arc<Traffic>,
    associations: Arc<Associations>,
    transparent: Arc<TransparentCounters>,
    arrivals: Arc<Arrivals>,
}

impl Client {
    /// A client whose streams run over `link`.
    pub fn new(link: Link, config: ClientConfig) -> Self {
        Self {
            link,
            config: Arc::new(config),
            traffic: Arc::default(),
            associations: Arc::default(),
            transparent: Arc::default(),
            arrivals: Arc::default(),
        }
    }

    /// What its streams run over.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn associations(&self) -> &Associations {
        &self.associations
    }

    /// Bytes relayed so far.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What became of diverted connections so far.
    pub fn transparent_counters(&self) -> &Arc<TransparentCounters> {
        &self.transparent
    }

    /// See [`Link::server_address`].
    pub(crate) fn server_address(&self) -> Option<SocketAddr> {
        self.link.server_address()
    }

    /// Opens a stream to `target` and sends `early` behind the request; costs no round trip. The
    /// dial's outcome arrives on the stream.
    //= spec/10-proxy.md#request
    //# A client MAY send the target's first bytes directly behind the request.
    pub async fn open(
        &self,
        target: impl Into<Destination>,
        early: Bytes,
    ) -> Result<TargetStream, OpenError> {
        let (stream, _) = self.ask(&target.into(), early, None).await?;
        Ok(stream)
    }

    /// Opens a stream to `target`, sends `early` behind the request, and waits for the dial's outcome:
    /// the address the exit dialled from.
    ///
    /// Where the connection is lost or replaced before the answer and nothing but the request was sent,
    /// it is asked again over the next one: the target has seen nothing of the client at worst.
    //= spec/10-proxy.md#request
    //# A client whose connection is lost or falls silent before the reply MAY send the request again
    //# over another connection.
    pub async fn connect(
        &self,
        target: impl Into<Destination>,
        early: Bytes,
    ) -> Result<(SocketAddr, TargetStream), OpenError> {
        let target = target.into();
        let mut failed = None;
        for _ in 1..MAX_ASKED {
            //= spec/10-proxy.md#request
            //# A client MUST NOT send a request again behind which it has sent bytes for the target.
            if !early.is_empty() {
                break;
            }
            let (mut stream, generation) = self.ask(&target, Bytes::new(), failed).await?;
            tokio::select! {
                bound = stream.connected() => match bound {
                    Err(OpenError::ConnectionLost(_)) => {}
                    bound => return bound.map(|bound| (bound, stream)),
                },
                () = self.link.replaced(generation) => {}
            }
            failed = Some(generation);
        }
        let (mut stream, _) = self.ask(&target, early, failed).await?;
        let bound = stream.connected().await?;
        Ok((bound, stream))
    }

    /// Opens a stream on the link's connection, one made after `failed` if that is given.
    async fn ask(
        &self,
        target: &Destination,
        early: Bytes,
        mut failed: Option<Generation>,
    ) -> Result<(TargetStream, Generation), OpenError> {
        let guard = self.link.acquire();
        loop {
            let (connection, generation) = self.link.current(failed).await?;
            let mut stream = match Self::open_on(&connection, target).await {
                Ok(stream) => stream,
                // Nothing has left yet.
                Err(OpenError::ConnectionLost(_)) => {
                    failed = Some(generation);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !early.is_empty() {
                stream.send.write_bytes(early).await?;
            }
            stream.asked = Some(Asked {
                guard,
                link: self.link.clone(),
                generation,
            });
            return Ok((stream, generation));
        }
    }

    /// Waits until the exit has answered anything on `connection`: it has let us in.
    //= spec/10-proxy.md#request
    //# A client MAY send command 0 to learn whether it is let in; it is never defined.
    pub async fn confirm_access(connection: &Connection) -> Result<(), OpenError> {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_bytes(Bytes::from_static(&[0])).await?;
        // The exit may have refused it and stopped the stream already, which is an answer.
        let _ = send.finish();
        match recv.read_bytes(open::MAX_REPLY_BYTES).await? {
            Some(_refusal) => Ok(()),
            None => Err(OpenError::BadReply),
        }
    }

    /// Opens a stream to `target` on `connection`, which the caller looks after.
    pub async fn open_on(
        connection: &Connection,
        target: impl Into<Destination>,
    ) -> Result<TargetStream, OpenError> {
        let (send, recv) = connection.open_bi().await?;
        let mut stream = TargetStream::new(send, recv);
        stream.ask(&Request::Connect(target.into())).await?;
        Ok(stream)
    }

    /// Serves every connection that the kernel diverts to `listener`, whose client knows of no proxy.
    /// Ends only if dropped.
    pub async fn serve_transparent(&self, listener: TransparentListener) {
        let context = FrontEndContext::new(self.clone(), self.config.clone(), self.traffic.clone());
        transparent::serve(listener, context, self.transparent.clone()).await;
    }

    /// Serves every client that connects to `listener`. Ends only if dropped.
    pub async fn serve(&self, listener: TcpListener) {
        let places = Places::new(self.config.max_clients);
        let context = FrontEndContext::new(self.clone(), self.config.clone(), self.traffic.clone());
        loop {
            let place = places.free().await;
            match listener.accept().await {
                Ok((tcp, from)) => {
                    let Some(place) = places.take(place, from.ip()) else {
                        warn!(%from, "client refused: its host has its share of connections");
                        continue;
                    };
                    let context = context.clone();
                    tokio::spawn(async move {
                        if let Err(error) = front::serve(tcp, &context, place).await {
                            debug!(%from, %error, "client refused");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a client");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// How far the reply at the head of the stream has been read.
#[derive(Debug)]
enum Progress {
    Waiting(BytesMut),
    Connected(SocketAddr, Bytes),
    Failed(OpenError),
}

/// A stream to a target. Bytes written go out at once; reading first takes the exit's reply off the
/// head, and fails with it if the dial failed.
#[derive(Debug)]
pub struct TargetStream {
    send: SendStream,
    recv: RecvStream,
    reply: Progress,
    asked: Option<Asked>,
}

/// Over what a target was asked for.
#[derive(Debug)]
struct Asked {
    guard: LinkGuard,
    link: Link,
    generation: Generation,
}

impl TargetStream {
    /// A stream on which nothing was said yet.
    fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            reply: Progress::Waiting(BytesMut::new()),
            asked: None,
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<(), OpenError> {
        let mut head = Vec::with_capacity(open::MAX_REQUEST_BYTES);
        request.encode(&mut head);
        Ok(self.send.write_bytes(head.into()).await?)
    }

    /// Takes what follows the reply for another reply.
    fn expect_reply(&mut self) {
        if let Progress::Connected(_, early) = &self.reply {
            self.reply = Progress::Waiting(BytesMut::from(early.as_ref()));
        }
    }

    /// Waits for the dial's outcome: the address the exit dialled from.
    pub async fn connected(&mut self) -> Result<SocketAddr, OpenError> {
        poll_fn(|cx| self.poll_connected(cx)).await
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketAddr, OpenError>> {
        let (send, mut reader) = self.split();
        let connected = ready!(reader.poll_connected(cx));
        if connected.is_err() {
            send.reset(code::CANCELLED);
        }
        Poll::Ready(connected)
    }

    /// Both directions, for use at the same time.
    pub(crate) fn split(&mut self) -> (&mut SendStream, TargetReader<'_>) {
        let reader = TargetReader {
            recv: &mut self.recv,
            reply: &mut self.reply,
            asked: self.asked.as_ref(),
        };
        (&mut self.send, reader)
    }

    /// Puts bytes that were read back in front of those still to come.
    #[must_use]
    pub(crate) fn put_back(mut self, read: Bytes) -> Self {
        if let Progress::Connected(_, early) = &mut self.reply
            && !read.is_empty()
        {
            *early = [read, early.clone()].concat().into();
        }
        self
    }

    /// The parts, for a relay, which takes the exit's reply off the head where that was not waited for.
    pub fn into_far(self) -> Far {
        let (early, awaits_reply) = match self.reply {
            Progress::Connected(_, early) => (early, false),
            Progress::Waiting(head) => (head.freeze(), true),
            // The stream was stopped, which ends the relay.
            Progress::Failed(_) => (Bytes::new(), true),
        };
        Far {
            send: self.send,
            recv: self.recv,
            early,
            awaits_reply,
        }
    }

    /// The mark that the link is in use, to be kept as long as the parts.
    pub fn take_guard(&mut self) -> Option<LinkGuard> {
        self.asked.take().map(|asked| asked.guard)
    }
}

/// The direction from a target: the exit's reply first, then the target's bytes.
#[derive(Debug)]
pub(crate) struct TargetReader<'a> {
    recv: &'a mut RecvStream,
    reply: &'a mut Progress,
    asked: Option<&'a Asked>,
}

impl TargetReader<'_> {
    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketAddr, OpenError>> {
        loop {
            let head = match self.reply {
                Progress::Connected(bound, _) => return Poll::Ready(Ok(*bound)),
                Progress::Failed(error) => return Poll::Ready(Err(error.clone())),
                Progress::Waiting(head) => head,
            };
            *self.reply = match open::decode_reply(head) {
                Err(open::BadReply) => Progress::Failed(OpenError::BadReply),
                Ok(Some((Err(failure), _))) => Progress::Failed(failure.into()),
                Ok(Some((Ok(bound), len))) => {
                    Progress::Connected(bound, Bytes::copy_from_slice(&head[len..]))
                }
                Ok(None) => {
                    let mut piece = [0; open::MAX_REPLY_BYTES];
                    let mut piece = ReadBuf::new(&mut piece);
                    match ready!(Pin::new(&mut *self.recv).poll_read(cx, &mut piece)) {
                        Err(error) => Progress::Failed(open_error(&error)),
                        Ok(()) if piece.filled().is_empty() => {
                            Progress::Failed(OpenError::BadReply)
                        }
                        Ok(()) => {
                            head.extend_from_slice(piece.filled());
                            continue;
                        }
                    }
                }
            };
            if matches!(self.reply, Progress::Failed(_)) {
                self.recv.stop(code::CANCELLED);
            }
        }
    }

    /// The target's next bytes, `None` at its end; holds no buffer while it waits. Fails with the
    /// dial's outcome if that failed.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, OpenError> {
        poll_fn(|cx| self.poll_connected(cx)).await?;
        if let Progress::Connected(_, early) = self.reply
            && !early.is_empty()
        {
            return Ok(Some(std::mem::take(early)));
        }
        Ok(self.recv.read_bytes(READ_BYTES).await?)
    }

    /// Waits until the link has replaced the connection this stream belongs to, which was silent or
    /// lost: what got no answer may be asked again.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + use<> {
        let asked = self
            .asked
            .map(|asked| (asked.link.clone(), asked.generation));
        async move {
            match asked {
                Some((link, generation)) => link.replaced(generation).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether there is nothing to read, not even an end. What there is may be lost.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut read = pin!(self.read());
        poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await
    }
}

/// The reason a read failed, as the stream's own error where it is one.
fn open_error(error: &io::Error) -> OpenError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rp_protocol::error::ReadError>())
        .map_or(OpenError::BadReply, |error| error.clone().into())
}

impl AsyncRead for TargetStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_connected(cx)).map_err(io::Error::other)?;
        if let Progress::Connected(_, early) = &mut self.reply
            && !early.is_empty()
        {
            let len = early.len().min(buf.remaining());
            buf.put_slice(&early.split_to(len));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.recv).poll_read(cx, buf)
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
