//! Fields that the messages of `spec/10-proxy.md` have in common, as bytes: addresses, counted bytes.
//! The messages live in `open` and `datagram`.

use std::net::IpAddr;

use rp_protocol::wire::{Reader, varint};

use crate::{
    error::{DialFailure, FailureKind},
    socket_path::SocketPath,
    target::{Host, Target},
};

const ADDRESS_IPV4: u8 = 1;
const ADDRESS_PATH: u8 = 2;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_IPV6: u8 = 4;

/// Longest address: type, length, name, port.
pub(crate) const MAX_ADDRESS_BYTES: usize = 1 + 1 + 255 + 2;

/// Reads from the front of a prefix that may not be complete yet.
pub(crate) struct Prefix<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Prefix<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.at
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// As in `spec/01-packet.md#variable-length-integers`.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let value = Reader::new(rest).varint().ok()?;
        // The first byte says how long it is, which need not be its shortest form.
        let len = 1 << (rest.first()? >> 6);
        self.take(len)?;
        Some(value)
    }

    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// An address of which no name is one.
    pub(crate) fn ip(&mut self, kind: u8) -> Result<Option<IpAddr>, DialFailure> {
        match kind {
            ADDRESS_IPV4 => Ok(self.array::<4>().map(Into::into)),
            ADDRESS_IPV6 => Ok(self.array::<16>().map(Into::into)),
            _ => Err(DialFailure::new(FailureKind::AddressUnsupported)),
        }
    }

    /// Address type, address and port; `None` while bytes are missing.
    pub(crate) fn target(&mut self) -> Result<Option<Target>, DialFailure> {
        match self.host_and_port()? {
            Some((host, port)) => target(host, port).map(Some),
            None => Ok(None),
        }
    }

    /// The same where the port may be zero.
    pub(crate) fn host_and_port(&mut self) -> Result<Option<(Host, u16)>, DialFailure> {
        match self.u8() {
            Some(kind) => self.host(kind),
            None => Ok(None),
        }
    }

    /// The same where a path may stand for the address.
    pub(crate) fn address(&mut self) -> Result<Option<Address>, DialFailure> {
        match self.u8() {
            None => Ok(None),
            Some(ADDRESS_PATH) => {
                let path = self.counted().map(parse_path).transpose()?;
                match (path, self.u16()) {
                    (Some(path), Some(0)) => Ok(Some(Address::Path(path))),
                    (Some(_), Some(_)) => Err(malformed("a socket with a port")),
                    _ => Ok(None),
                }
            }
            Some(kind) => {
                let host = self.host(kind)?;
                Ok(host.map(|(host, port)| Address::Host(host, port)))
            }
        }
    }

    fn host(&mut self, kind: u8) -> Result<Option<(Host, u16)>, DialFailure> {
        let host = match kind {
            ADDRESS_NAME => self.counted().map(parse_name).transpose()?,
            kind => self.ip(kind)?.map(Host::Ip),
        };
        Ok(host.and_then(|host| Some((host, self.u16()?))))
    }
}

/// What an address can be.
pub(crate) enum Address {
    Host(Host, u16),
    Path(SocketPath),
}

/// What can be dialled.
pub(crate) fn target(host: Host, port: u16) -> Result<Target, DialFailure> {
    Target::new(host, port).map_err(|error| malformed(&error.to_string()))
}

fn malformed(reason: &str) -> DialFailure {
    DialFailure::because(FailureKind::Malformed, reason)
}

fn parse_path(path: &[u8]) -> Result<SocketPath, DialFailure> {
    let text = std::str::from_utf8(path).ok();
    text.and_then(|path| path.parse().ok())
        .ok_or_else(|| malformed("bad path of a socket"))
}

fn parse_name(name: &[u8]) -> Result<Host, DialFailure> {
    let text = std::str::from_utf8(name).ok();
    text.and_then(|name| Host::parse(name).ok())
        .ok_or_else(|| malformed("bad name"))
}

/// Appends a variable-length integer.
pub(crate) fn put_varint(value: u64, out: &mut Vec<u8>) {
    varint::put(out, value);
}

/// Appends address type and address.
pub(crate) fn put_ip(ip: IpAddr, out: &mut Vec<u8>) {
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

/// Appends address type, address and port.
pub(crate) fn put_target(target: &Target, out: &mut Vec<u8>) {
    put_host(target.host(), target.port(), out);
}

/// The same of what may have port 0.
pub(crate) fn put_host(host: &Host, port: u16, out: &mut Vec<u8>) {
    match host {
        Host::Ip(ip) => put_ip(*ip, out),
        Host::Name(name) => {
            out.push(ADDRESS_NAME);
            put_counted(name.as_str().as_bytes(), out);
        }
    }
    out.extend_from_slice(&port.to_be_bytes());
}

/// Appends the path of a socket, in place of an address and a port.
pub(crate) fn put_path(path: &SocketPath, out: &mut Vec<u8>) {
    out.push(ADDRESS_PATH);
    put_counted(path.as_str().as_bytes(), out);
    out.extend_from_slice(&[0, 0]);
}

/// Appends `bytes`, 255 of them at most, behind their count.
pub(crate) fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}
