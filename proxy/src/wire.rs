//! Fields that the messages of `spec/10-proxy.md` have in common, as bytes: addresses, counted bytes.
//! The messages live in `open` and `datagram`.

use std::net::IpAddr;

use rp_protocol::wire::{Reader, varint};

use crate::{
    error::{DialFailure, FailureKind},
    target::{Host, Target},
};

const ADDRESS_IPV4: u8 = 1;
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
        let host = match self.u8() {
            None => return Ok(None),
            Some(ADDRESS_NAME) => self.counted().map(parse_name).transpose()?,
            Some(kind) => self.ip(kind)?.map(Host::Ip),
        };
        let (Some(host), Some(port)) = (host, self.u16()) else {
            return Ok(None);
        };
        Target::new(host, port)
            .map(Some)
            .map_err(|error| DialFailure::because(FailureKind::Malformed, error.to_string()))
    }
}

fn parse_name(name: &[u8]) -> Result<Host, DialFailure> {
    let text = std::str::from_utf8(name).ok();
    text.and_then(|name| Host::parse(name).ok())
        .ok_or_else(|| DialFailure::because(FailureKind::Malformed, "bad name"))
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
    match target.host() {
        Host::Ip(ip) => put_ip(*ip, out),
        Host::Name(name) => {
            out.push(ADDRESS_NAME);
            put_counted(name.as_str().as_bytes(), out);
        }
    }
    out.extend_from_slice(&target.port().to_be_bytes());
}

/// Appends `bytes`, 255 of them at most, behind their count.
pub(crate) fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}
