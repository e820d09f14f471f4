//! Packet headers: what stands in front of the sealed payload (spec/01-packet.md).
//! Header protection and sealing live in `crypto`; a decoded header here is a claim, not a fact.

#[cfg(test)]
mod tests;
mod unsealed;

use std::ops::Range;

use bytes::Bytes;

use super::{
    packet_number::{self, Truncated},
    reader::{DecodeError, Reader},
    varint,
};
use crate::wire::id::ConnectionId;

pub use unsealed::{RETRY_TAG_LEN, Retry, VersionNegotiation};

/// RPP/1 (spec/registry.md#versions).
pub const VERSION: u32 = 0x5250_5001;

/// Length of every AEAD tag RPP uses.
pub const TAG_LEN: usize = 16;

/// Bytes of ciphertext that header protection samples (RFC 9001 section 5.4.2).
pub const SAMPLE_LEN: usize = 16;

/// Smallest UDP payload a client may open a connection with.
pub const MIN_INITIAL_DATAGRAM: usize = 1200;

const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
const TYPE_INITIAL: u8 = 0x00;
const TYPE_HANDSHAKE: u8 = 0x20;
const TYPE_RETRY: u8 = 0x30;
const TYPE_MASK: u8 = 0x30;
const LONG_RESERVED: u8 = 0x0c;
const SHORT_RESERVED: u8 = 0x18;
const KEY_PHASE: u8 = 0x04;
const NUMBER_LEN: u8 = 0x03;

/// The Length field is always written in two bytes, so that it can be filled in last.
const LENGTH_LEN: usize = 2;
const MAX_LENGTH: usize = 0x3fff;

/// The header of a sealed packet, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// Carries the first handshake bytes, under keys anyone can derive.
    Initial {
        /// Whom it goes to.
        dcid: ConnectionId,
        /// Whom to answer.
        scid: ConnectionId,
        /// From a Retry, or empty.
        token: Bytes,
        /// The packet's number.
        number: Truncated,
    },
    /// Carries the rest of the handshake.
    Handshake {
        /// Whom it goes to.
        dcid: ConnectionId,
        /// Whom to answer.
        scid: ConnectionId,
        /// The packet's number.
        number: Truncated,
    },
    /// Carries everything else.
    Short {
        /// Whom it goes to, and on which path.
        dcid: ConnectionId,
        /// Which of two key generations sealed it.
        key_phase: bool,
        /// The packet's number.
        number: Truncated,
    },
}

impl Header {
    /// Appends the header; the payload is appended after it, then [`HeaderLayout::finish`] is
    /// called, then the packet is sealed.
    pub fn encode(&self, out: &mut Vec<u8>) -> HeaderLayout {
        let start = out.len();
        let (number, length_at) = match self {
            Self::Initial {
                dcid,
                scid,
                token,
                number,
            } => {
                put_long(
                    out,
                    TYPE_INITIAL | number_bits(*number),
                    VERSION,
                    *dcid,
                    *scid,
                );
                varint::put(out, token.len() as u64);
                out.extend_from_slice(token);
                (*number, Some(put_length(out)))
            }
            Self::Handshake { dcid, scid, number } => {
                put_long(
                    out,
                    TYPE_HANDSHAKE | number_bits(*number),
                    VERSION,
                    *dcid,
                    *scid,
                );
                (*number, Some(put_length(out)))
            }
            Self::Short {
                dcid,
                key_phase,
                number,
            } => {
                let phase = if *key_phase { KEY_PHASE } else { 0 };
                out.push(FIXED | phase | number_bits(*number));
                out.extend_from_slice(dcid.as_bytes());
                (*number, None)
            }
        };
        let pn_offset = out.len();
        number.encode(out);
        HeaderLayout {
            start,
            pn_offset,
            pn_len: number.encoded_len(),
            length_at,
        }
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        const LONG_LEN: usize = 1 + 4 + 2 * ConnectionId::LEN;
        match self {
            Self::Initial { token, number, .. } => {
                let token = varint::len(token.len() as u64) + token.len();
                LONG_LEN + token + LENGTH_LEN + number.encoded_len()
            }
            Self::Handshake { number, .. } => LONG_LEN + LENGTH_LEN + number.encoded_len(),
            Self::Short { number, .. } => 1 + ConnectionId::LEN + number.encoded_len(),
        }
    }
}

/// Where the parts of a header just written lie. All offsets count from the start of the buffer,
/// not of the packet: several packets share one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLayout {
    /// The packet's first byte.
    pub start: usize,
    /// The packet number's first byte.
    pub pn_offset: usize,
    /// The packet number's length, 1 to 4.
    pub pn_len: usize,
    /// The Length field of a long header.
    pub length_at: Option<usize>,
}

impl HeaderLayout {
    /// The first byte of the payload.
    pub const fn payload_offset(&self) -> usize {
        self.pn_offset + self.pn_len
    }

    /// Fills in the Length field when `out` ends with the plaintext and sealing will add
    /// [`TAG_LEN`] bytes. A packet must stay below 16 KiB where it has a Length field.
    pub fn finish(&self, out: &mut [u8]) {
        let Some(at) = self.length_at else { return };
        let length = out.len() - self.pn_offset + TAG_LEN;
        debug_assert!(length <= MAX_LENGTH, "long-header packet of {length} bytes");
        let length = u16::try_from(length.min(MAX_LENGTH)).unwrap_or(u16::MAX);
        out[at..at + LENGTH_LEN].copy_from_slice(&(0x4000 | length).to_be_bytes());
    }
}

fn number_bits(number: Truncated) -> u8 {
    // 1 to 4 bytes are written as 0 to 3.
    match number.encoded_len() {
        1 => 0,
        2 => 1,
        3 => 2,
        _ => 3,
    }
}

//= spec/01-packet.md#first-byte
//# A sender MUST set the reserved bits to zero before it protects the header.
fn put_long(out: &mut Vec<u8>, bits: u8, version: u32, dcid: ConnectionId, scid: ConnectionId) {
    out.push(LONG | FIXED | bits);
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(dcid.as_bytes());
    out.extend_from_slice(scid.as_bytes());
}

fn put_length(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0x40, 0]);
    at
}

/// The first byte of a sealed packet once header protection is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstByte(pub u8);

impl FirstByte {
    /// Whether the packet has a long header; readable under header protection too.
    pub const fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    /// Length of the packet number, 1 to 4.
    pub const fn number_len(self) -> usize {
        (self.0 & NUMBER_LEN) as usize + 1
    }

    /// The key phase bit of a short header.
    pub const fn key_phase(self) -> bool {
        self.0 & KEY_PHASE != 0
    }

    /// Whether a bit is set that must be zero; judge only after the packet has opened.
    //= spec/01-packet.md#first-byte
    //# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened
    //# has a reserved bit set.
    pub const fn has_reserved_bits(self) -> bool {
        let mask = if self.is_long() {
            LONG_RESERVED
        } else {
            SHORT_RESERVED
        };
        self.0 & mask != 0
    }
}

/// What can be read of a packet before its keys are known: everything before the packet number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialHeader {
    /// Whom the packet goes to.
    pub dcid: ConnectionId,
    /// Length of this packet; the rest of the datagram holds further packets.
    pub packet_len: usize,
    /// The rest, by type.
    pub kind: PacketKind,
}

/// The types of packets. Ranges and offsets count from the packet's first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Opens a connection.
    Initial {
        /// Whom to answer.
        scid: ConnectionId,
        /// Where the token lies; empty for none.
        token: Range<usize>,
        /// Where the packet number starts.
        pn_offset: usize,
    },
    /// Goes on with the handshake.
    Handshake {
        /// Whom to answer.
        scid: ConnectionId,
        /// Where the packet number starts.
        pn_offset: usize,
    },
    /// Carries data.
    Short {
        /// Where the packet number starts.
        pn_offset: usize,
    },
    /// Asks the client to come again with a token.
    Retry {
        /// The server's new id.
        scid: ConnectionId,
        /// Where the token lies.
        token: Range<usize>,
        /// The integrity tag at the end.
        tag: [u8; RETRY_TAG_LEN],
    },
    /// Lists the versions a server speaks; decode it with [`VersionNegotiation::decode`].
    VersionNegotiation {
        /// The server's echo of the client's destination id.
        scid: ConnectionId,
    },
    /// A long header of a version that is not ours; nothing after the ids is known.
    UnknownVersion {
        /// The version it claims.
        version: u32,
        /// Whom to answer.
        scid: ConnectionId,
    },
}

impl PartialHeader {
    /// Reads the header of the first packet in `datagram`.
    ///
    /// For a type that is sealed, `packet_len` leaves room for the longest packet number and the
    /// sample of header protection.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8()?;
        if first & LONG != 0 {
            return Self::decode_long(datagram, first);
        }
        //= spec/01-packet.md#first-byte
        //# A receiver MUST drop a packet of a version it speaks whose fixed bit is zero.
        if first & FIXED == 0 {
            return Err(DecodeError::new("fixed bit"));
        }
        let header = Self {
            dcid: ConnectionId::new(reader.array()?),
            packet_len: datagram.len(),
            kind: PacketKind::Short {
                pn_offset: 1 + ConnectionId::LEN,
            },
        };
        header.with_room_for_sample(1 + ConnectionId::LEN)
    }

    fn decode_long(datagram: &[u8], first: u8) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        reader.u8()?;
        let version = reader.u32()?;
        let dcid = ConnectionId::new(reader.array()?);
        let scid = ConnectionId::new(reader.array()?);
        let whole = |kind| Self {
            dcid,
            packet_len: datagram.len(),
            kind,
        };
        match version {
            0 => return Ok(whole(PacketKind::VersionNegotiation { scid })),
            VERSION => {}
            version => return Ok(whole(PacketKind::UnknownVersion { version, scid })),
        }
        if first & FIXED == 0 {
            return Err(DecodeError::new("fixed bit"));
        }
        match first & TYPE_MASK {
            TYPE_INITIAL => {
                let len = reader.varint()?;
                let at = datagram.len() - reader.remaining();
                let token = at..at + reader.bytes(len)?.len();
                Self::sealed(datagram, dcid, &mut reader, |pn_offset| {
                    PacketKind::Initial {
                        scid,
                        token,
                        pn_offset,
                    }
                })
            }
            TYPE_HANDSHAKE => Self::sealed(datagram, dcid, &mut reader, |pn_offset| {
                PacketKind::Handshake { scid, pn_offset }
            }),
            TYPE_RETRY => {
                let at = datagram.len() - reader.remaining();
                let (_, tag) = reader
                    .rest()
                    .split_last_chunk()
                    .ok_or(DecodeError::new("retry tag"))?;
                let token = at..datagram.len() - tag.len();
                Ok(whole(PacketKind::Retry {
                    scid,
                    token,
                    tag: *tag,
                }))
            }
            //= spec/01-packet.md#long-header
            //# A receiver MUST drop a packet of the reserved type.
            _ => Err(DecodeError::new("packet type: reserved")),
        }
    }

    /// Reads the Length field and what follows from it.
    fn sealed(
        datagram: &[u8],
        dcid: ConnectionId,
        reader: &mut Reader<'_>,
        kind: impl FnOnce(usize) -> PacketKind,
    ) -> Result<Self, DecodeError> {
        let length = reader.varint()?;
        let pn_offset = datagram.len() - reader.remaining();
        //= spec/01-packet.md#coalescing
        //# A receiver MUST drop a packet whose Length field reaches beyond the datagram.
        let sealed = reader.bytes(length)?;
        let header = Self {
            dcid,
            packet_len: pn_offset + sealed.len(),
            kind: kind(pn_offset),
        };
        header.with_room_for_sample(pn_offset)
    }

    fn with_room_for_sample(self, pn_offset: usize) -> Result<Self, DecodeError> {
        //= spec/01-packet.md#sealing
        //# A receiver MUST drop a sealed packet with fewer than 20 bytes from the packet number on.
        if self.packet_len < pn_offset + packet_number::MAX_LEN + SAMPLE_LEN {
            return Err(DecodeError::new("length: too short to be sealed"));
        }
        Ok(self)
    }

    /// The sender's id, where the header has one.
    pub const fn scid(&self) -> Option<ConnectionId> {
        match self.kind {
            PacketKind::Initial { scid, .. }
            | PacketKind::Handshake { scid, .. }
            | PacketKind::Retry { scid, .. }
            | PacketKind::VersionNegotiation { scid }
            | PacketKind::UnknownVersion { scid, .. } => Some(scid),
            PacketKind::Short { .. } => None,
        }
    }

    /// Where the packet number starts, where the packet is sealed.
    pub const fn pn_offset(&self) -> Option<usize> {
        match self.kind {
            PacketKind::Initial { pn_offset, .. }
            | PacketKind::Handshake { pn_offset, .. }
            | PacketKind::Short { pn_offset } => Some(pn_offset),
            PacketKind::Retry { .. }
            | PacketKind::VersionNegotiation { .. }
            | PacketKind::UnknownVersion { .. } => None,
        }
    }
}
