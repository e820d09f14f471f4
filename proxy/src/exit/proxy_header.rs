//! The header of the PROXY protocol, version 2 (HAProxy, `proxy-protocol.txt` section 2.2), with which a connection
//! to a target begins that wants to know whom it serves, and the rules that say which targets those are.
//! Where the source comes from is the exit's business.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use thiserror::Error;

use crate::target::{Host, Target};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header of a connection from `source` to `destination`. Where their families differ, both are IPv6.
pub(super) fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_AND_COMMAND);
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (family, addresses) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (TCP_OVER_IPV4, [from.octets(), to.octets()].concat())
        }
        (from, to) => {
            let addresses = [ipv6(from).octets(), ipv6(to).octets()];
            (TCP_OVER_IPV6, addresses.concat())
        }
    };
    let ports = [
        source.port().to_be_bytes(),
        destination.port().to_be_bytes(),
    ]
    .concat();
    header.push(family);
    let len = u16::try_from(addresses.len() + ports.len()).expect("36 bytes at most");
    header.extend_from_slice(&len.to_be_bytes());
    header.extend_from_slice(&addresses);
    header.extend_from_slice(&ports);
    header
}

fn ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Targets as a rule names them: `HOST:PORT`, the host as clients ask for it, either of them `*` for any.
///
/// ```
/// use rp_proxy::exit::TargetPattern;
///
/// let pattern: TargetPattern = "web.example:*".parse()?;
/// assert_eq!(pattern.to_string(), "web.example:*");
/// # Ok::<(), rp_proxy::exit::TargetPatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPattern {
    host: Option<Host>,
    port: Option<u16>,
}

impl TargetPattern {
    /// Whether `target` is meant.
    pub fn fits(&self, target: &Target) -> bool {
        let is_host = match (&self.host, target.host()) {
            (None, _) => true,
            (Some(Host::Name(named)), Host::Name(asked)) => {
                named.as_str().eq_ignore_ascii_case(asked.as_str())
            }
            (Some(named), asked) => named == asked,
        };
        is_host && self.port.is_none_or(|port| port == target.port())
    }
}

/// Text that is no pattern.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("write HOST:PORT, [IPV6]:PORT, or * for any host or any port")]
pub struct TargetPatternError;

impl FromStr for TargetPattern {
    type Err = TargetPatternError;

    fn from_str(text: &str) -> Result<Self, TargetPatternError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetPatternError)?;
        let port = match port {
            "*" => None,
            // As a target's port is read.
            port => Some(
                Target::parse(&format!("host:{port}"), None)
                    .map_err(|_| TargetPatternError)?
                    .port(),
            ),
        };
        let host = match host {
            "*" => None,
            // The last group of an address without brackets would be the port.
            host if host.contains(':') && !host.starts_with('[') => return Err(TargetPatternError),
            host => Some(Host::parse(host).map_err(|_| TargetPatternError)?),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}:")?,
            None => f.write_str("*:")?,
        }
        match self.port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests;
