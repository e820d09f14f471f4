//! The near side: opens one stream per target over the link, and serves front ends on a listener.
//! What the front ends speak lives in `front`.

mod counters;
mod stream;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rp_protocol::Connection;
use tokio::{net::TcpListener, time::sleep};
use tracing::{debug, warn};

pub(crate) use self::stream::TargetReader;
pub use self::{
    counters::ClientCounters,
    remote::{Arrived, PendingBind, RemoteListener},
    stream::TargetStream,
};
use self::{remote::Arrivals, stream::Asked};
use crate::{
    auth::Credentials,
    datagram::association::Associations,
    error::OpenError,
    front::{
        self, FrontEndContext,
        transparent::{self, TransparentCounters, TransparentListener},
    },
    link::{Generation, Link},
    open::{self, Options, Request},
    pace::Pace,
    places::Places,
    ports::PortSet,
    relay::Traffic,
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

/// How long the body of a request may be waited for by default: as long as its head.
pub const DEFAULT_BODY_GRACE: Duration = Duration::from_secs(60);

/// Where FTP's control connections go by default.
pub const DEFAULT_FTP_PORTS: &str = "21";

/// What a front end's user may choose.
///
/// ```
/// use std::time::Duration;
///
/// use rp_proxy::{ClientConfig, auth::Credentials};
///
/// let mut users = Credentials::default();
/// users.add("alice", "sesame");
/// let config = ClientConfig::default()
///     .credentials(users)
///     .optimistic("443".parse()?)
///     .idle(Duration::from_secs(600));
/// # drop(config);
/// # Ok::<(), rp_proxy::ports::PortSetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) credentials: Credentials,
    pub(crate) idle: Duration,
    pub(crate) body_grace: Duration,
    pub(crate) max_clients: usize,
    pub(crate) optimistic: PortSet,
    pub(crate) udp_reply_address: Option<IpAddr>,
    pub(crate) ftp_ports: PortSet,
    pub(crate) pace: Pace,
    pub(crate) tells_source: bool,
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
            pace: Pace::default(),
            tells_source: false,
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

    /// How fast clients are taken on. Default: at once.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Whether the exit is told where clients are, for targets that want to know. Default: it is not.
    #[must_use]
    pub fn tells_source(mut self, tells: bool) -> Self {
        self.tells_source = tells;
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
///
/// ```
/// use rp_proxy::{Client, ClientConfig, Link};
/// use tokio::net::TcpListener;
///
/// /// Serves HTTP and SOCKS clients at `listen` over `link`.
/// async fn serve(link: Link, listen: &str) -> std::io::Result<()> {
///     let client = Client::new(link, ClientConfig::default());
///     client.serve(TcpListener::bind(listen).await?).await;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
    config: Arc<ClientConfig>,
    traffic: Arc<Traffic>,
    associations: Arc<Associations>,
    transparent: Arc<TransparentCounters>,
    arrivals: Arc<Arrivals>,
    counters: Arc<ClientCounters>,
    /// On whose behalf it asks, if the exit is to know.
    source: Option<SocketAddr>,
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
            counters: Arc::default(),
            source: None,
        }
    }

    /// The same on behalf of whoever is at `source`, which the exit is told where the user asked for that.
    //= spec/10-proxy.md#request
    //# A client MUST NOT say where a connection comes from unless its user has asked for that.
    #[must_use]
    pub fn on_behalf_of(&self, source: SocketAddr) -> Self {
        Self {
            source: self.config.tells_source.then_some(source),
            ..self.clone()
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

    /// What became of requests so far.
    pub fn counters(&self) -> &ClientCounters {
        &self.counters
    }

    pub(crate) fn shared_counters(&self) -> Arc<ClientCounters> {
        self.counters.clone()
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
    ///
    /// ```
    /// use bytes::Bytes;
    /// use rp_proxy::{Client, target::Target};
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    ///
    /// /// What a web server says, seen from the exit.
    /// async fn fetch(client: &Client, target: &Target) -> Result<String, Box<dyn std::error::Error>> {
    ///     let (_bound, mut stream) = client.connect(target, Bytes::new()).await?;
    ///     stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    ///     let mut answer = String::new();
    ///     stream.read_to_string(&mut answer).await?;
    ///     Ok(answer)
    /// }
    /// ```
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
        let mut guard = self.link.acquire();
        loop {
            let current = self.link.current_for(&mut guard, failed).await;
            let (connection, generation) =
                current.inspect_err(|error| self.counters.on_outcome(Err(error)))?;
            let options = Options {
                source: self.source,
            };
            let mut stream = match Self::open_with(&connection, target, options).await {
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
                counters: self.counters.clone(),
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
        Self::open_with(connection, target, Options::default()).await
    }

    async fn open_with(
        connection: &Connection,
        target: impl Into<Destination>,
        options: Options,
    ) -> Result<TargetStream, OpenError> {
        let (send, recv) = connection.open_bi().await?;
        let mut stream = TargetStream::new(send, recv);
        let request = Request::Connect(target.into());
        stream.ask(&request, options).await?;
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
            self.config.pace.turn().await;
            match listener.accept().await {
                Ok((tcp, from)) => {
                    let Some(place) = places.take(place, from.ip()) else {
                        self.counters.on_refused();
                        warn!(%from, "client refused: its host has its share of connections");
                        continue;
                    };
                    let (context, counters) = (context.on_behalf_of(from), self.counters.clone());
                    tokio::spawn(async move {
                        if let Err(error) = front::serve(tcp, &context, place).await {
                            counters.on_unserved(&error);
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
