//! The request and the reply at the head of a proxied stream, as bytes (`spec/10-proxy.md`).
//! Sending and awaiting them lives in `client` and `exit`.

use std::net::{IpAddr, SocketAddr};

use crate::{
    error::{DialFailure, FailureKind},
    target::{Host, Target},
};

/// Longest request: command, type, length, name, port, options length, options.
pub const MAX_REQUEST_BYTES: usize = 1 + 1 + 1 + 255 + 2 + 1 + 255;

/// Longest reply: status, length, reason.
pub const MAX_REPLY_BYTES: usize = 1 + 1 + 255;

const COMMAND_CONNECT: u8 = 1;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_IPV6: u8 = 4;
const STATUS_CONNECTED: u8 = 0;

/// Reads from the front of a prefix that may not be complete yet.
struct Prefix<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Prefix<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + len)?;
        self.at += len;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[b]| b)
    }

    fn port(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }
}

fn put_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(ADDRESS_IPV4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(ADDRESS_IPV6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

/// What the client asks of the exit. So far there is one command: dial and relay TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to connect.
    pub target: Target,
}

impl Request {
    /// Appends the wire form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(COMMAND_CONNECT);
        match self.target.host() {
            Host::Ip(ip) => put_ip(*ip, out),
            Host::Name(name) => {
                out.push(ADDRESS_NAME);
                put_counted(name.as_str().as_bytes(), out);
            }
        }
        out.extend_from_slice(&self.target.port().to_be_bytes());
        // No options are defined.
        out.push(0);
    }

    /// Reads a request from the front of `bytes`: the request and its length, `None` while more
    /// bytes are needed, or what to answer if it can never become one.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DialFailure> {
        let mut prefix = Prefix::new(bytes);
        let Some(command) = prefix.u8() else {
            return Ok(None);
        };
        //= spec/10-proxy.md#request
        //# An exit MUST answer a command it does not know with status 7.
        if command != COMMAND_CONNECT {
            return Err(DialFailure::new(FailureKind::CommandUnsupported));
        }
        let Some(kind) = prefix.u8() else {
            return Ok(None);
        };
        let host = match kind {
            ADDRESS_IPV4 => prefix.array::<4>().map(|ip| Ok(Host::Ip(ip.into()))),
            ADDRESS_IPV6 => prefix.array::<16>().map(|ip| Ok(Host::Ip(ip.into()))),
            ADDRESS_NAME => prefix.counted().map(|name| {
                std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| Host::parse(name).ok())
                    .ok_or_else(|| DialFailure::because(FailureKind::Malformed, "bad name"))
            }),
            _ => return Err(DialFailure::new(FailureKind::AddressUnsupported)),
        };
        let (Some(host), Some(port)) = (host.transpose()?, prefix.port()) else {
            return Ok(None);
        };
        let target = Target::new(host, port)
            .map_err(|error| DialFailure::because(FailureKind::Malformed, error.to_string()))?;
        //= spec/10-proxy.md#request
        //# An exit MUST ignore options it does not know.
        if prefix.counted().is_none() {
            return Ok(None);
        }
        Ok(Some((Self { target }, prefix.at)))
    }
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// What the exit answers: the address it dialled from, or why there is no connection.
pub type Reply = Result<SocketAddr, DialFailure>;

/// Appends the wire form of `reply` to `out`.
pub fn encode_reply(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Ok(bound) => {
            out.push(STATUS_CONNECTED);
            put_ip(bound.ip(), out);
            out.extend_from_slice(&bound.port().to_be_bytes());
        }
        Err(failure) => {
            out.push(failure.kind.into_wire());
            put_counted(failure.reason.as_bytes(), out);
        }
    }
}

/// A reply that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

/// Reads a reply from the front of `bytes`: the reply and its length, or `None` while more bytes
/// are needed.
pub fn decode_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, BadReply> {
    let mut prefix = Prefix::new(bytes);
    let Some(status) = prefix.u8() else {
        return Ok(None);
    };
    if status != STATUS_CONNECTED {
        let reply = prefix.counted().map(|reason| {
            Err(DialFailure::because(
                FailureKind::from_wire(status),
                printable(reason),
            ))
        });
        return Ok(reply.map(|reply| (reply, prefix.at)));
    }
    let Some(kind) = prefix.u8() else {
        return Ok(None);
    };
    let ip: Option<IpAddr> = match kind {
        ADDRESS_IPV4 => prefix.array::<4>().map(Into::into),
        ADDRESS_IPV6 => prefix.array::<16>().map(Into::into),
        _ => return Err(BadReply),
    };
    let (Some(ip), Some(port)) = (ip, prefix.port()) else {
        return Ok(None);
    };
    Ok(Some((Ok(SocketAddr::new(ip, port)), prefix.at)))
}

//= spec/10-proxy.md#reply
//# A client MUST NOT show a reason's bytes outside printable ASCII.
fn printable(reason: &[u8]) -> String {
    reason
        .iter()
        .map(|&b| match b {
            0x20..0x7f => char::from(b),
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests;
