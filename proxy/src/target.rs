//! Where a proxied connection should go: a validated host and a port.
//! Resolving and dialling live in `exit`; the wire form lives in `open`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use thiserror::Error;

use crate::socket_path::SocketPath;

/// Longest name a target may have, the limit of SOCKS5 (RFC 1928 section 5).
pub const MAX_NAME_BYTES: usize = 255;

/// A DNS name that is safe to log and to hand to a resolver: 1 to 255 bytes of letters, digits,
/// `-`, `_` and `.`, and not an IP address in disguise of its canonical spelling.
///
/// ```
/// use rp_proxy::target::Host;
///
/// let Ok(Host::Name(name)) = Host::parse("db.example") else { unreachable!() };
/// assert_eq!(name.as_str(), "db.example");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host part of a target.
///
/// ```
/// use rp_proxy::target::Host;
///
/// assert!(matches!(Host::parse("[::1]"), Ok(Host::Ip(ip)) if ip.is_loopback()));
/// assert!(matches!(Host::parse("db.example"), Ok(Host::Name(_))));
/// assert!(Host::parse("a b").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address, dialled as it is once policy allowed it.
    Ip(IpAddr),
    /// A name, resolved at the exit.
    Name(Name),
}

impl Host {
    /// A host from what a client wrote: an address (IPv6 with or without brackets) or a name.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(TargetError::Host)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| TargetError::Host)?;
            return Ok(Self::Ip(ip.into()));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty()
            || text.len() > MAX_NAME_BYTES
            || !text.bytes().all(allowed)
            || text.starts_with('.')
        {
            return Err(TargetError::Host);
        }
        Ok(Self::Name(Name(text.into())))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Where to connect: a host and a port that is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: Host,
    port: u16,
}

impl Target {
    /// A target of `host` and `port`; port 0 names nothing.
    pub fn new(host: Host, port: u16) -> Result<Self, TargetError> {
        if port == 0 {
            return Err(TargetError::Port);
        }
        Ok(Self { host, port })
    }

    /// A target from `host:port` text, as in a CONNECT request line; `default_port` stands in
    /// where none is written. User information before an `@` is refused.
    ///
    /// ```
    /// use rp_proxy::target::Target;
    ///
    /// let target = Target::parse("www.example.com", Some(80))?;
    /// assert_eq!(target.to_string(), "www.example.com:80");
    /// assert!(Target::parse("2001:db8::1:80", None).is_err(), "brackets are missing");
    /// # Ok::<(), rp_proxy::target::TargetError>(())
    /// ```
    pub fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        let colon = authority
            .rfind(':')
            .filter(|&at| authority.rfind(']').is_none_or(|bracket| bracket < at));
        let (host, port) = match colon {
            Some(at) => (&authority[..at], parse_port(&authority[at + 1..])?),
            None => (authority, default_port.ok_or(TargetError::Port)?),
        };
        // An IPv6 address needs its brackets here: without them the port is ambiguous.
        if host.contains(':') && !host.starts_with('[') {
            return Err(TargetError::Host);
        }
        Self::new(Host::parse(host)?, port)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    text.parse().map_err(|_| TargetError::Port)
}

impl TryFrom<SocketAddr> for Target {
    type Error = TargetError;

    fn try_from(addr: SocketAddr) -> Result<Self, TargetError> {
        Self::new(Host::Ip(addr.ip()), addr.port())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a stream is to be joined with at the exit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A TCP port of a host.
    Tcp(Target),
    /// A Unix socket of the exit's machine.
    Unix(SocketPath),
}

impl From<Target> for Destination {
    fn from(target: Target) -> Self {
        Self::Tcp(target)
    }
}

impl From<&Target> for Destination {
    fn from(target: &Target) -> Self {
        Self::Tcp(target.clone())
    }
}

impl From<&Self> for Destination {
    fn from(destination: &Self) -> Self {
        destination.clone()
    }
}

impl From<SocketPath> for Destination {
    fn from(path: SocketPath) -> Self {
        Self::Unix(path)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(target) => target.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Where to listen: at an address or a name of this machine, or at a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAt {
    /// A TCP port; 0 for any that is free.
    Tcp(Host, u16),
    /// A Unix socket, made for the purpose.
    Unix(SocketPath),
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Why text is no target.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// Neither an address nor a name we accept.
    #[error("the host is neither an IP address nor a valid name")]
    Host,
    /// Missing, zero, or not a number up to 65535.
    #[error("the port is missing or not between 1 and 65535")]
    Port,
}

#[cfg(test)]
mod tests;
