//! Frames that carry bytes: handshake, streams, datagrams.
//! Order, credit and buffers live in `stream`.

use bytes::Bytes;

use super::{bytes_len, kind, put_bytes, shared};
use crate::{
    units::MAX_VARINT,
    wire::{
        id::StreamId,
        reader::{DecodeError, Reader},
        varint,
    },
};

/// A piece of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Where it belongs in the handshake bytes of its packet type.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
}

impl Crypto {
    pub(super) fn decode(payload: &Bytes, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.varint()?;
        let len = reader.varint()?;
        let data = reader.bytes(len)?;
        check_end(offset, data)?;
        Ok(Self {
            offset,
            data: shared(payload, data),
        })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Self::encode_slice(self.offset, &self.data, out);
    }

    /// Appends a frame of `data` at `offset`.
    pub fn encode_slice(offset: u64, data: &[u8], out: &mut Vec<u8>) {
        out.push(kind::CRYPTO);
        varint::put(out, offset);
        put_bytes(out, data);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        1 + varint::len(self.offset) + bytes_len(&self.data)
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        kind::CRYPTO
    }
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The stream.
    pub id: StreamId,
    /// Where it belongs.
    pub offset: u64,
    /// Whether the stream ends with it.
    pub fin: bool,
    /// The bytes: a slice of the packet.
    pub data: Bytes,
}

impl Stream {
    #[inline]
    pub(super) fn decode(
        kind: u8,
        payload: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let id = StreamId(reader.varint()?);
        let offset = match kind & kind::STREAM_OFF {
            0 => 0,
            _ => reader.varint()?,
        };
        let data = match kind & kind::STREAM_LEN {
            0 => reader.rest(),
            _ => {
                let len = reader.varint()?;
                reader.bytes(len)?
            }
        };
        check_end(offset, data)?;
        Ok(Self {
            id,
            offset,
            fin: kind & kind::STREAM_FIN != 0,
            data: shared(payload, data),
        })
    }

    /// The frame without its bytes, with its length given.
    pub fn head(&self) -> StreamHead {
        StreamHead {
            id: self.id,
            offset: self.offset,
            fin: self.fin,
            len: Some(self.data.len() as u64),
        }
    }

    /// Appends the frame with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.head().encode(out);
        out.extend_from_slice(&self.data);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        self.head().encoded_len() + self.data.len()
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        StreamHead {
            id: self.id,
            offset: self.offset,
            fin: self.fin,
            len: Some(0),
        }
        .kind()
    }
}

/// What stands before the bytes of a STREAM frame, so that a sender can copy them straight from
/// its buffers into the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub id: StreamId,
    /// Where the bytes belong.
    pub offset: u64,
    /// Whether the stream ends with them.
    pub fin: bool,
    /// How many follow; `None` for all to the end of the packet.
    pub len: Option<u64>,
}

impl StreamHead {
    /// Appends the head.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        varint::put(out, self.id.into_inner());
        if self.offset > 0 {
            varint::put(out, self.offset);
        }
        if let Some(len) = self.len {
            varint::put(out, len);
        }
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        let offset = match self.offset {
            0 => 0,
            offset => varint::len(offset),
        };
        let len = match self.len {
            None => 0,
            Some(len) => varint::len(len),
        };
        1 + varint::len(self.id.into_inner()) + offset + len
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        let mut kind = kind::STREAM;
        if self.offset > 0 {
            kind |= kind::STREAM_OFF;
        }
        if self.len.is_some() {
            kind |= kind::STREAM_LEN;
        }
        if self.fin {
            kind |= kind::STREAM_FIN;
        }
        kind
    }
}

/// A message that is delivered whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The message.
    pub data: Bytes,
}

impl Datagram {
    pub(super) fn decode(
        kind: u8,
        payload: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let data = match kind {
            kind::DATAGRAM => reader.rest(),
            _ => {
                let len = reader.varint()?;
                reader.bytes(len)?
            }
        };
        Ok(Self {
            data: shared(payload, data),
        })
    }

    /// Appends the frame with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::DATAGRAM_LEN);
        put_bytes(out, &self.data);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        1 + bytes_len(&self.data)
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        kind::DATAGRAM_LEN
    }
}

//= spec/01-packet.md#frames
//# The end of the data in a CRYPTO or STREAM frame MUST NOT exceed offset 2^62 - 1.
fn check_end(offset: u64, data: &[u8]) -> Result<(), DecodeError> {
    if data.len() as u64 > MAX_VARINT - offset {
        return Err(DecodeError::new("stream data: ends beyond 2^62 - 1"));
    }
    Ok(())
}
