//! Forwards as ssh writes them: `[BIND:]PORT:HOST:PORT`, with Unix sockets on either side.
//! Which run at present is in `forwards`.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use rp_proxy::{
    datagram::DatagramPorts,
    listening::{self, Listening},
    socket_path::SocketPath,
    target::{Destination, Host, ListenAt, Target},
};
use thiserror::Error;

use crate::address;

#[cfg(test)]
mod tests;

/// Which side listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We do, and the server dials: `-L`.
    Local,
    /// The server does, and we dial: `-R`.
    Remote,
}

impl Direction {
    /// The flag that asks for it.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Local => "-L",
            Self::Remote => "-R",
        }
    }
}

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Connections, of TCP or Unix sockets.
    Streams,
    /// UDP datagrams.
    Datagrams,
}

/// Where a forward listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenSpec {
    /// At a TCP or UDP port; 0 for any.
    Port(BindHost, u16),
    /// At a Unix socket.
    Unix(SocketPath),
}

/// At which addresses a forward listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindHost {
    /// The loopback addresses, where none is named.
    Loopback,
    /// All: `*` or nothing before the colon.
    Any,
    /// This one.
    Named(String),
}

/// One forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSpec {
    /// Where it listens.
    pub listen: ListenSpec,
    /// Where it leads, seen from the other side.
    pub to: Destination,
    /// What it carries.
    pub carried: Carried,
}

/// Text that is no forward.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadForward {
    /// Not of the form.
    #[error(
        "not a forward; write [BIND:]PORT:HOST:PORT[/udp], [BIND:]PORT:/SOCKET, /SOCKET:HOST:PORT or \
         /SOCKET:/SOCKET, and IPv6 addresses in brackets"
    )]
    Form,
    /// A port that is none.
    #[error("{0:?} is no port: a number up to 65535 is")]
    Port(String),
    /// A host that is none.
    #[error("{0:?} is neither an address nor a name")]
    Host(String),
    /// A path that is none.
    #[error("{0:?}: {1}")]
    Path(String, rp_proxy::socket_path::BadSocketPath),
    /// A socket that carries datagrams.
    #[error("/udp goes from a port to a port")]
    UdpSocket,
}

/// The pieces of `text` between its colons; those in brackets stay whole.
fn pieces(text: &str) -> Option<Vec<&str>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let end = match rest.starts_with('[') {
            true => rest.find(']')? + 1,
            false => rest.find(':').unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        match after.strip_prefix(':') {
            Some(after) => rest = after,
            None if after.is_empty() => return Some(pieces),
            None => return None,
        }
    }
}

fn port(text: &str) -> Result<u16, BadForward> {
    address::port(text).ok_or_else(|| BadForward::Port(text.to_owned()))
}

fn path(text: &str) -> Result<SocketPath, BadForward> {
    text.parse()
        .map_err(|error| BadForward::Path(text.to_owned(), error))
}

fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // Nothing but an IPv6 address stands in brackets: `[*]` is no `*`.
    inner.filter(|inner| inner.contains(':')).unwrap_or(host)
}

impl ListenSpec {
    /// Takes the listening side off the front of `pieces`.
    fn take<'a>(pieces: &'a [&'a str], behind: usize) -> Result<(Self, &'a [&'a str]), BadForward> {
        match pieces {
            [socket, rest @ ..] if socket.starts_with('/') => Ok((Self::Unix(path(socket)?), rest)),
            [bind, number, rest @ ..] if rest.len() == behind => {
                Ok((Self::Port(BindHost::parse(bind)?, port(number)?), rest))
            }
            [number, rest @ ..] if rest.len() == behind => {
                Ok((Self::Port(BindHost::Loopback, port(number)?), rest))
            }
            _ => Err(BadForward::Form),
        }
    }

    /// Listens there, on this machine. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no such address, or it is taken.
    pub async fn listen(&self) -> io::Result<Listening> {
        match self {
            Self::Unix(path) => Listening::at_path(path.as_path()),
            Self::Port(BindHost::Loopback, port) => Listening::at(&listening::loopback(*port)),
            Self::Port(BindHost::Any, port) => Listening::everywhere(*port),
            Self::Port(BindHost::Named(name), port) => {
                Listening::at(&address::resolve(name, *port).await?)
            }
        }
    }

    /// The same for the server.
    ///
    /// # Errors
    /// The server cannot be told such a host.
    pub fn at_server(&self) -> Result<ListenAt, BadForward> {
        let bad = |name: &str| BadForward::Host(name.to_owned());
        let (host, port) = match self {
            Self::Unix(path) => return Ok(ListenAt::Unix(path.clone())),
            Self::Port(BindHost::Loopback, port) => ("localhost", port),
            Self::Port(BindHost::Any, port) => ("::", port),
            Self::Port(BindHost::Named(name), port) => (name.as_str(), port),
        };
        let host = Host::parse(host).map_err(|_| bad(host))?;
        Ok(ListenAt::Tcp(host, *port))
    }
}

/// What is listened with.
#[derive(Debug)]
pub enum Bound {
    /// For connections.
    Streams(Arc<Listening>),
    /// For datagrams.
    Datagrams(DatagramPorts),
}

impl Bound {
    /// The first address; that of no port for a Unix socket.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Streams(listening) => listening.local_addr(),
            Self::Datagrams(ports) => ports.local_addr(),
        }
    }
}

impl ForwardSpec {
    /// Listens where it says, on this machine. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no such address, or it is taken.
    pub async fn listen(&self) -> io::Result<Bound> {
        let (host, port) = match (&self.listen, self.carried) {
            (ListenSpec::Port(host, port), Carried::Datagrams) => (host, *port),
            _ => return self.listen.listen().await.map(Arc::new).map(Bound::Streams),
        };
        let ports = match host {
            BindHost::Loopback => DatagramPorts::at(&listening::loopback(port)),
            BindHost::Any => DatagramPorts::everywhere(port),
            BindHost::Named(name) => DatagramPorts::at(&address::resolve(name, port).await?),
        };
        ports.map(Bound::Datagrams)
    }

    /// What tells it from others of its direction.
    pub fn key(&self) -> ForwardKey {
        ForwardKey {
            listen: self.listen.clone(),
            carried: self.carried,
        }
    }
}

/// What tells a forward from others of its direction: where it listens, and what for. Written as the listening
/// side alone, with `/udp` behind it for datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardKey {
    /// Where it listens.
    pub listen: ListenSpec,
    /// What it carries.
    pub carried: Carried,
}

impl FromStr for ForwardKey {
    type Err = BadForward;

    fn from_str(text: &str) -> Result<Self, BadForward> {
        let (listen, carried) = match text.strip_suffix("/udp") {
            Some(listen) if !text.starts_with('/') => (listen, Carried::Datagrams),
            _ => (text, Carried::Streams),
        };
        Ok(Self {
            listen: listen.parse()?,
            carried,
        })
    }
}

impl fmt::Display for ForwardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.listen, self.carried.suffix())
    }
}

impl Carried {
    /// What stands behind a forward that carries it.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Streams => "",
            Self::Datagrams => "/udp",
        }
    }
}

impl FromStr for ListenSpec {
    type Err = BadForward;

    /// The listening side alone: `[BIND:]PORT` or `/SOCKET`.
    fn from_str(text: &str) -> Result<Self, BadForward> {
        let pieces = pieces(text).ok_or(BadForward::Form)?;
        match Self::take(&pieces, 0)? {
            (listen, []) => Ok(listen),
            _ => Err(BadForward::Form),
        }
    }
}

impl BindHost {
    fn parse(text: &str) -> Result<Self, BadForward> {
        match text {
            "" | "*" => Ok(Self::Any),
            "localhost" => Ok(Self::Loopback),
            text if address::is_host(bare(text)) => {
                let host = bare(text);
                // One spelling for each address.
                let host = host
                    .parse()
                    .map_or_else(|_| host.to_owned(), |ip: IpAddr| ip.to_string());
                Ok(Self::Named(host))
            }
            text => Err(BadForward::Host(text.to_owned())),
        }
    }
}

impl FromStr for ForwardSpec {
    type Err = BadForward;

    fn from_str(text: &str) -> Result<Self, BadForward> {
        let pieces = pieces(text).ok_or(BadForward::Form)?;
        let last = pieces.last().copied().unwrap_or_default();
        if last.starts_with('/') {
            let (listen, rest) = ListenSpec::take(&pieces, 1)?;
            let [socket] = rest else {
                return Err(BadForward::Form);
            };
            return Ok(Self {
                listen,
                to: Destination::Unix(path(socket)?),
                carried: Carried::Streams,
            });
        }
        let (listen, rest) = ListenSpec::take(&pieces, 2)?;
        let &[host, last] = rest else {
            return Err(BadForward::Form);
        };
        let (number, carried) = match last.rsplit_once('/') {
            None => (last, Carried::Streams),
            Some((number, "tcp")) => (number, Carried::Streams),
            Some((number, "udp")) => (number, Carried::Datagrams),
            Some(_) => return Err(BadForward::Form),
        };
        if carried == Carried::Datagrams && matches!(listen, ListenSpec::Unix(_)) {
            return Err(BadForward::UdpSocket);
        }
        let name = Host::parse(host).map_err(|_| BadForward::Host(host.to_owned()))?;
        let to =
            Target::new(name, port(number)?).map_err(|_| BadForward::Port(number.to_owned()))?;
        Ok(Self {
            listen,
            to: to.into(),
            carried,
        })
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.fmt(f),
            Self::Port(BindHost::Loopback, port) => port.fmt(f),
            Self::Port(BindHost::Any, port) => write!(f, "*:{port}"),
            Self::Port(BindHost::Named(host), port) if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Port(BindHost::Named(host), port) => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for ForwardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.listen)?;
        match &self.to {
            Destination::Unix(path) => path.fmt(f)?,
            Destination::Tcp(target) => target.fmt(f)?,
        }
        f.write_str(self.carried.suffix())
    }
}
