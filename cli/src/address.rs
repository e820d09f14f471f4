//! Hosts and ports as users write them, and the addresses they mean.
//! What is done at an address is the caller's.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use thiserror::Error;

use crate::exit_code::{ExitCode, Failure};

#[cfg(test)]
mod tests;

/// `host`, `host:port`, `[address]`, `[address]:port` or a bare IPv6 address taken apart: the host
/// without brackets and the text of the port. Either may be empty or nonsense.
pub(crate) fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        is_ipv6(host).then_some(())?;
        return match port {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some(_) if is_ipv6(text) => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

/// Whether `text` is an IPv6 address, perhaps with the interface it is to be reached by.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    address.parse::<Ipv6Addr>().is_ok() && is_zone(zone)
}

fn is_zone(zone: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/@[]%".contains(c);
    !zone.is_empty() && !zone.contains(is_odd)
}

/// Why a program cannot listen on `place` (`udp 0.0.0.0:443`), and what helps.
pub(crate) fn cannot_listen(place: impl fmt::Display, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => ExitCode::Permission,
        _ => ExitCode::Failed,
    };
    Failure::new(
        code,
        format!("cannot listen on {place}: {error}{}", advice(error)),
    )
}

/// What helps where a socket could not be bound because of `error`, to be put behind it; empty where nothing is known
/// to.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 needs CAP_NET_BIND_SERVICE: run as root, set AmbientCapabilities= in the unit, or take \
             another port"
        }
        _ => "",
    }
}

/// The port that `text` is: digits only, as `u16` would take a sign as well.
pub(crate) fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Whether `host` can be a name or an address.
pub(crate) fn is_host(host: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/@[]%:".contains(c);
    is_ipv6(host) || !host.is_empty() && !host.contains(is_odd)
}

/// The addresses of `host`, a name or an address. An IPv6 address of the local link has its
/// interface after a `%` (RFC 4007 section 11).
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if let Some((address, zone)) = host.split_once('%')
        && let Ok(address) = address.parse::<Ipv6Addr>()
    {
        if !address.is_unicast_link_local() {
            return wrong(format!(
                "only an address that begins with fe80: has an interface after it; write {address}"
            ));
        }
        let scope = interface_index(zone)?;
        return Ok(vec![SocketAddrV6::new(address, port, 0, scope).into()]);
    }
    match host.parse() {
        Ok(IpAddr::V6(address)) if address.is_unicast_link_local() => wrong(format!(
            "an address of the local link needs the interface to reach it by: [{address}%eth0]"
        )),
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}

/// The number of the interface `zone`, which is its name or the number itself.
fn interface_index(zone: &str) -> io::Result<u32> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    name_to_index(socket, zone).map_err(|_| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network interface {zone}"),
        )
    })
}

/// Where a program listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: ListenHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ListenHost {
    /// All addresses of this machine.
    Any,
    /// The one the program takes by default.
    Default,
    /// A name or an address.
    Named(String),
}

/// Text that is no address to listen on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not an address to listen on; write ADDRESS:PORT, NAME:PORT, [IPV6]:PORT, :PORT or PORT")]
pub struct ListenAddressError;

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    /// `HOST:PORT`; `:PORT` and `*:PORT` for all addresses; `PORT` for the program's own address.
    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let port = |text: &str| port(text).ok_or(ListenAddressError);
        let (host, port) = match split(text).ok_or(ListenAddressError)? {
            ("" | "*", Some(digits)) => (ListenHost::Any, port(digits)?),
            (host, Some(digits)) if is_host(host) => {
                (ListenHost::Named(host.to_owned()), port(digits)?)
            }
            (digits, None) => (ListenHost::Default, port(digits)?),
            _ => return Err(ListenAddressError),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            ListenHost::Any => write!(f, ":{port}"),
            ListenHost::Default => write!(f, "{port}"),
            ListenHost::Named(host) if host.contains(':') => write!(f, "[{host}]:{port}"),
            ListenHost::Named(host) => write!(f, "{host}:{port}"),
        }
    }
}

impl ListenAddress {
    /// The addresses to try, the first that can be bound being the one meant. `default` is the
    /// address of a program that was told a port only.
    ///
    /// # Errors
    /// The name has no address, or there is no such interface.
    pub async fn resolve(&self, default: IpAddr) -> io::Result<Vec<SocketAddr>> {
        let port = self.port;
        match &self.host {
            // The first takes IPv4 as well; the second is for a system without IPv6.
            ListenHost::Any => {
                let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
                Ok(any.map(|ip| SocketAddr::new(ip, port)).to_vec())
            }
            ListenHost::Default => Ok(vec![SocketAddr::new(default, port)]),
            ListenHost::Named(host) => {
                let mut found = resolve(host, port).await?;
                // Of a name with both, as localhost, IPv4 is what programs are usually told.
                found.sort_by_key(SocketAddr::is_ipv6);
                Ok(found)
            }
        }
    }
}
