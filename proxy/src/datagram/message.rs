//! A datagram as bytes (`spec/10-proxy.md#udp`), in a DATAGRAM frame and in a stream. Which of them carries
//! it is `carrier`'s choice.

use bytes::{Bytes, BytesMut};

use crate::{
    error::{DialFailure, FailureKind},
    target::Target,
    wire::{self, MAX_ADDRESS_BYTES, Prefix},
};

/// Longest head of a datagram in a stream: payload length and address.
const MAX_HEAD_BYTES: usize = 2 + MAX_ADDRESS_BYTES;

/// Longest payload UDP has over IPv4; over IPv6 it is 20 bytes longer, and nobody sends such.
pub const MAX_PAYLOAD_BYTES: usize = 65_507;

/// A datagram and its other end: the target of one that goes out, the sender of one that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it goes to, or comes from.
    pub address: Target,
    /// What it holds, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

impl Datagram {
    /// The data of a DATAGRAM frame that carries it for `association`.
    pub fn encode_frame(&self, association: u64) -> Bytes {
        let mut out = Vec::with_capacity(8 + MAX_ADDRESS_BYTES + self.payload.len());
        wire::put_varint(association, &mut out);
        wire::put_target(&self.address, &mut out);
        out.extend_from_slice(&self.payload);
        out.into()
    }

    /// Reads the data of a DATAGRAM frame: the association it is for, and the datagram.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode_frame(data: &Bytes) -> Result<(u64, Self), DialFailure> {
        let cut = || DialFailure::because(FailureKind::Malformed, "a datagram that is cut off");
        let mut prefix = Prefix::new(data);
        let association = prefix.varint().ok_or_else(cut)?;
        let address = prefix.target()?.ok_or_else(cut)?;
        let payload = data.slice(prefix.taken()..);
        Ok((association, Self { address, payload }))
    }

    /// What carries it in a stream.
    pub fn encode_in_stream(&self) -> Bytes {
        let payload = &self.payload[..self.payload.len().min(MAX_PAYLOAD_BYTES)];
        let mut out = Vec::with_capacity(MAX_HEAD_BYTES + payload.len());
        let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        wire::put_target(&self.address, &mut out);
        out.extend_from_slice(payload);
        out.into()
    }

    /// Takes a datagram off the front of `bytes`, which came from a stream; `None` while bytes are missing.
    ///
    /// # Errors
    /// The stream is malformed.
    pub fn take_from_stream(bytes: &mut BytesMut) -> Result<Option<Self>, DialFailure> {
        let mut prefix = Prefix::new(bytes);
        let Some(len) = prefix.u16() else {
            return Ok(None);
        };
        let Some(address) = prefix.target()? else {
            return Ok(None);
        };
        let Some(payload) = prefix.take(len.into()) else {
            return Ok(None);
        };
        // A copy: a slice would keep everything alive that was read with it.
        let payload = Bytes::copy_from_slice(payload);
        let taken = prefix.taken();
        let _ = bytes.split_to(taken);
        Ok(Some(Self { address, payload }))
    }
}

#[cfg(test)]
mod tests;
