//! Connecting to an `rpserver`: name to addresses, whichever answers first, and whom to trust.
//! What is said over the connection is the caller's.

mod identities;
mod pinned;
mod refusal;
mod retry;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use rp_protocol::{
    Connection, Endpoint,
    config::{ClientConfig, TransportConfig},
    crypto::identity::Identity,
    error::{ConnectError, ConnectionError, TransportCode},
    units::CloseCode,
};
use rp_transfer::error::printable;
use thiserror::Error;
use tokio::{task::JoinSet, time::timeout};

use self::identities::Identities;
pub use self::pinned::connect_pinned;

use crate::{
    address, close_code,
    exit_code::ExitCode,
    host_key::{HostKeyError, HostKeyPolicy},
    identity::{self, IdentityError},
    known_hosts::{HostName, KnownHosts},
    memory::MemoryBudget,
    openssh::Fingerprint,
    prompt::Prompt,
};

/// The UDP port of an `rpserver` that names none.
pub const DEFAULT_PORT: u16 = 7377;

/// How long an address may stay without answer before the next is tried beside it (RFC 8305
/// section 5, "Connection Attempt Delay").
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// How long the last bytes and the end of a connection may wait to be sent, each.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// TLS alert no_application_protocol (RFC 7301 section 3.2).
const NO_APPLICATION_PROTOCOL: TransportCode = TransportCode::crypto(120);

/// TLS alert access_denied (RFC 8446 section 6.2): our key was refused (spec/02-handshake.md).
const ACCESS_DENIED: TransportCode = TransportCode::crypto(49);

/// A server as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Server {
    type Err = ServerError;

    /// `HOST`, `HOST:PORT`, or an IPv6 address with a port in brackets: `[::1]:7377`; one of the local
    /// link with its interface, `[fe80::1%eth0]:7377`.
    fn from_str(text: &str) -> Result<Self, ServerError> {
        let bad = || ServerError(text.chars().take(64).collect());
        let (host, port) = address::split(text).ok_or_else(bad)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => address::port(port).filter(|&p| p != 0).ok_or_else(bad)?,
        };
        if !address::is_host(host) {
            return Err(bad());
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

impl Server {
    /// Its addresses.
    ///
    /// # Errors
    /// The name has none.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        address::resolve(&self.host, self.port).await
    }
}

/// Text that names no server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{:?} is no server: write HOST, HOST:PORT or [IPV6]:PORT", .0)]
pub struct ServerError(String);

/// Which addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both kinds.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    pub(crate) fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// Who we are and whom we trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Our key, instead of the user's default one.
    pub identity: Option<PathBuf>,
    /// The one key the server must have.
    pub host_key: Option<Fingerprint>,
    /// The list of known hosts, instead of the user's own.
    pub known_hosts: Option<PathBuf>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectFailure {
    /// We have no usable key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no home folder to keep the list of known hosts in.
    #[error("no home folder for the list of known hosts; name the server's key with --host-key")]
    NoKnownHosts,
    /// The name gives no address.
    #[error("{server}: {source}")]
    Resolve {
        /// The server.
        server: Server,
        /// The resolver's answer.
        source: io::Error,
    },
    /// The name gives no address of the kind asked for.
    #[error("{0}: no address of the kind asked for")]
    NoAddress(Server),
    /// No socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[source] io::Error),
    /// The server's key is not known and stays so.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The server does not offer what we came for.
    #[error("{server} does not offer the service {service}: other version, or switched off there")]
    NoService {
        /// The server.
        server: Server,
        /// What was asked for.
        service: String,
    },
    /// Nobody answered.
    #[error(
        "no answer from {0}: check the address and that rpserver runs there; if both are right, \
         something on the path blocks UDP, and that port must be opened for it"
    )]
    Silence(Server),
    /// We are not let in.
    #[error(
        "{0} does not let our key in: add its public half to the authorized_keys that rpserver \
         uses, or choose another key with -i"
    )]
    KeyRefused(Server),
    /// Our key is known and may not be used like this.
    #[error("{server} turns our key away: {reason}")]
    NotPermitted {
        /// The server.
        server: Server,
        /// Its words, printable.
        reason: String,
    },
    /// The server has as many connections as it takes.
    #[error(
        "{server} takes no further connection: {reason}; end others or try later, or have its \
         operator raise the limit (rpserver --max-connections and its kin)"
    )]
    TooMany {
        /// The server.
        server: Server,
        /// Its words, printable.
        reason: String,
    },
    /// There is no common version.
    #[error("{0} speaks another version of the protocol: install the same release on both sides")]
    Version(Server),
    /// The handshake failed.
    #[error("{server}: {source}")]
    Connect {
        /// The server.
        server: Server,
        /// What happened.
        source: ConnectError,
    },
}

impl ConnectFailure {
    /// How a program ends that needed the connection.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoService { .. } | Self::Version(_) => ExitCode::Version,
            _ => ExitCode::Connect,
        }
    }

    /// Why the connection to `server` for `service` failed, with what to do about it.
    pub fn explain(source: ConnectError, server: &Server, service: &str) -> Self {
        let server = server.clone();
        match source {
            ConnectError::Connection(ConnectionError::PeerTransport {
                code: NO_APPLICATION_PROTOCOL,
                ..
            }) => Self::NoService {
                server,
                service: service.to_owned(),
            },
            ConnectError::Connection(ConnectionError::PeerTransport {
                code: ACCESS_DENIED,
                ..
            }) => Self::KeyRefused(server),
            ConnectError::Connection(ConnectionError::PeerClosed { code, reason })
                if code == close_code::NOT_PERMITTED =>
            {
                let reason = printable(&reason);
                Self::NotPermitted { server, reason }
            }
            ConnectError::Connection(ConnectionError::PeerClosed { code, reason })
                if code == close_code::TOO_MANY =>
            {
                let reason = printable(&reason);
                Self::TooMany { server, reason }
            }
            ConnectError::Connection(ConnectionError::HandshakeTimedOut) => Self::Silence(server),
            ConnectError::Connection(ConnectionError::VersionMismatch) => Self::Version(server),
            source => Self::Connect { server, source },
        }
    }
}

/// A connection and the endpoint it runs over.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// Its endpoint.
    pub endpoint: Endpoint,
}

impl Connected {
    /// Sends what was written, ends the connection and waits until the server has been told. Should that
    /// be lost on the way, the server finds out by itself; waiting for it would cost every program a few
    /// round trips.
    pub async fn close(&self, code: CloseCode, reason: &[u8]) {
        let Self { connection, .. } = self;
        let _ = timeout(CLOSE_TIMEOUT, connection.flushed()).await;
        connection.close(code, reason);
        let _ = timeout(CLOSE_TIMEOUT, connection.flushed()).await;
    }
}

/// Connects to `server` for `service`.
///
/// An unknown host key is put to `prompt` once the server has shown it, and if it is accepted a
/// second connection is made.
///
/// # Errors
/// See [`ConnectFailure`]; its text says what to do.
pub async fn connect(
    server: &Server,
    family: Family,
    trust: &Trust,
    service: &str,
    transport: TransportConfig,
    prompt: &dyn Prompt,
) -> Result<Connected, ConnectFailure> {
    Connector::new(server.clone(), family, trust, prompt)?
        .connect(service, transport, prompt)
        .await
}

/// Connects to one server as often as needed, with the key and the trust it was made with.
#[derive(Clone, Debug)]
pub struct Connector {
    server: Server,
    family: Family,
    identities: Arc<Identities>,
    policy: Arc<HostKeyPolicy>,
    memory: MemoryBudget,
}

impl Connector {
    /// Loads our key, asking `prompt` for its passphrase.
    ///
    /// # Errors
    /// We have no usable key, or no place for known hosts.
    pub fn new(
        server: Server,
        family: Family,
        trust: &Trust,
        prompt: &dyn Prompt,
    ) -> Result<Self, ConnectFailure> {
        let identities = identity::load(trust.identity.as_deref(), prompt)?;
        let identities = Arc::new(Identities::new(identities));
        let policy = Arc::new(host_key_policy(&server, trust)?);
        Ok(Self {
            server,
            family,
            identities,
            policy,
            memory: MemoryBudget::of_machine(),
        })
    }

    /// What its connections may use. Default: a part of what the machine has.
    #[must_use]
    pub fn memory(mut self, memory: MemoryBudget) -> Self {
        self.memory = memory;
        self
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A connection for `service`; an unknown host key is put to `prompt` as [`connect`] does.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(
        &self,
        service: &str,
        transport: TransportConfig,
        prompt: &dyn Prompt,
    ) -> Result<Connected, ConnectFailure> {
        match self.again(service, transport.clone()).await {
            Err(_) if self.policy.unknown().is_some() => {
                self.policy.settle(prompt)?;
                self.again(service, transport).await
            }
            other => other,
        }
    }

    /// A connection for `service`, with nobody asked about an unknown host key. The name is
    /// resolved each time, for servers move.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn again(
        &self,
        service: &str,
        transport: TransportConfig,
    ) -> Result<Connected, ConnectFailure> {
        let addresses = resolve(&self.server, self.family).await?;
        let attempt = Attempt {
            identity: self.identities.first(),
            policy: Arc::clone(&self.policy),
            service: service.to_owned(),
            transport,
            memory: self.memory,
        };
        let connected = self.identities.try_each(&addresses, &attempt).await;
        connected.map_err(|failure| match failure {
            Failure::Socket(error) => ConnectFailure::Socket(error),
            Failure::Connect(source) => ConnectFailure::explain(source, &self.server, service),
        })
    }
}

fn host_key_policy(server: &Server, trust: &Trust) -> Result<HostKeyPolicy, ConnectFailure> {
    let host = HostName::new(&server.host, server.port);
    let list = trust.known_hosts.clone().or_else(KnownHosts::default_path);
    let list = list.map(KnownHosts::new);
    if let Some(fingerprint) = &trust.host_key {
        return Ok(HostKeyPolicy::fingerprint(host, fingerprint.clone(), list));
    }
    let list = list.ok_or(ConnectFailure::NoKnownHosts)?;
    Ok(HostKeyPolicy::known(host, list))
}

/// The addresses of `server` of the family.
///
/// # Errors
/// The name has none.
pub async fn resolve(server: &Server, family: Family) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let found = address::resolve(&server.host, server.port).await;
    let found = found.map_err(|source| ConnectFailure::Resolve {
        server: server.clone(),
        source,
    })?;
    let takes = |address: &SocketAddr| family.takes(address.ip());
    let addresses: Vec<_> = found.into_iter().filter(takes).collect();
    if addresses.is_empty() {
        return Err(ConnectFailure::NoAddress(server.clone()));
    }
    Ok(addresses)
}

/// What every attempt to connect is made with.
#[derive(Clone)]
struct Attempt {
    identity: Arc<Identity>,
    policy: Arc<HostKeyPolicy>,
    service: String,
    transport: TransportConfig,
    memory: MemoryBudget,
}

/// Why one attempt failed.
enum Failure {
    Socket(io::Error),
    Connect(ConnectError),
}

impl Failure {
    /// Whether the attempt reached the server: then another address of it will not do better.
    fn is_answer(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Connection(error)) => {
                *error != ConnectionError::HandshakeTimedOut
            }
            _ => false,
        }
    }
}

impl Attempt {
    async fn run(self, address: SocketAddr) -> Result<Connected, Failure> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = SocketAddr::new(any, 0);
        let endpoint = Endpoint::bind(local, self.memory.client(), None);
        let endpoint = endpoint.map_err(Failure::Socket)?;
        let config = ClientConfig::new(self.identity, self.policy, &self.service);
        let connection = retry::connect(&endpoint, address, config.transport(self.transport));
        let connection = connection.await.map_err(Failure::Connect)?;
        Ok(Connected {
            connection,
            endpoint,
        })
    }
}

/// Tries the addresses one after the other, each a moment after the one before, and gives the
/// first that answers.
async fn race(addresses: &[SocketAddr], attempt: &Attempt) -> Result<Connected, Failure> {
    let mut running = JoinSet::new();
    let mut waiting = addresses.iter().copied();
    let mut last = None;
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            running.spawn(attempt.clone().run(address));
        }
        let delay = match next {
            Some(_) => NEXT_ADDRESS,
            None => Duration::MAX,
        };
        match timeout(delay, running.join_next()).await {
            Err(_) => {}
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(failure)))) if failure.is_answer() => return Err(failure),
            Ok(Some(Ok(Err(failure)))) => last = Some(failure),
            Ok(Some(Err(panic))) => last = Some(Failure::Socket(io::Error::other(panic))),
            Ok(None) => break,
        }
    }
    Err(last.unwrap_or_else(|| Failure::Socket(io::ErrorKind::AddrNotAvailable.into())))
}
