//! The two packets a server sends without keys or state: Retry and Version Negotiation.
//! Making and checking tokens and tags lives in `crypto::token`.

use bytes::Bytes;

use super::{FIXED, LONG, PacketKind, PartialHeader, TYPE_RETRY, VERSION, put_long};
use crate::wire::{
    id::ConnectionId,
    reader::{DecodeError, Reader},
};

/// Length of the tag that ends a Retry.
pub const RETRY_TAG_LEN: usize = 16;

/// Asks a client to repeat its first packet with a token, to prove its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The client's id.
    pub dcid: ConnectionId,
    /// The id the client is to use from here on.
    pub scid: ConnectionId,
    /// To be repeated in the next Initial.
    pub token: Bytes,
}

impl Retry {
    /// Appends everything but the integrity tag, which is computed over it.
    pub fn encode_untagged(&self, out: &mut Vec<u8>) {
        put_long(out, TYPE_RETRY, VERSION, self.dcid, self.scid);
        out.extend_from_slice(&self.token);
    }

    /// Reads a Retry and its tag.
    pub fn decode(packet: &Bytes) -> Result<(Self, [u8; RETRY_TAG_LEN]), DecodeError> {
        let header = PartialHeader::decode(packet)?;
        match header.kind {
            PacketKind::Retry { scid, token, tag } => {
                let retry = Self {
                    dcid: header.dcid,
                    scid,
                    token: packet.slice(token),
                };
                Ok((retry, tag))
            }
            _ => Err(DecodeError::new("retry")),
        }
    }
}

/// Tells a client which versions the server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionNegotiation {
    /// The client's source id.
    pub dcid: ConnectionId,
    /// The client's destination id, as proof that its packet was seen.
    pub scid: ConnectionId,
    /// What the server speaks, best first.
    pub versions: Vec<u32>,
}

impl VersionNegotiation {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(LONG | FIXED);
        out.extend_from_slice(&0_u32.to_be_bytes());
        out.extend_from_slice(self.dcid.as_bytes());
        out.extend_from_slice(self.scid.as_bytes());
        for version in &self.versions {
            out.extend_from_slice(&version.to_be_bytes());
        }
    }

    /// Reads the packet.
    pub fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let header = PartialHeader::decode(packet)?;
        let PacketKind::VersionNegotiation { scid } = header.kind else {
            return Err(DecodeError::new("version negotiation"));
        };
        let mut reader = Reader::new(&packet[1 + 4 + 2 * ConnectionId::LEN..]);
        let mut versions = Vec::with_capacity(reader.remaining() / 4);
        while !reader.is_empty() {
            versions.push(reader.u32()?);
        }
        Ok(Self {
            dcid: header.dcid,
            scid,
            versions,
        })
    }
}
