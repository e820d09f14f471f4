//! Sealing and opening of packets, header protection and key update; see `spec/02-handshake.md`.
//! Header layout and packet number coding live in `wire`.
//!
//! Everything here works in place: a packet is built as header and plaintext in the buffer it is
//! sent from, and opened in the buffer it was received into.

use std::fmt;

use rustls::{
    crypto::aws_lc_rs,
    quic::{self, HeaderProtectionKey, PacketKeySet},
};
use thiserror::Error;

use crate::{
    error::{TransportCode, TransportError},
    units::Side,
    wire::{
        header::{FirstByte, HeaderLayout, SAMPLE_LEN},
        id::ConnectionId,
        packet_number,
    },
};

mod data;

#[cfg(test)]
mod tests;

pub(crate) use data::DataKeys;

/// Makes Initial secrets RPP's own: a QUIC endpoint cannot open them, nor the reverse.
const INITIAL_CONTEXT: &[u8; 5] = b"RPP/1";

/// A packet's header after its protection is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unprotected {
    /// The first byte in the clear.
    pub(crate) first: FirstByte,
    /// Length of the packet number.
    pub(crate) pn_len: usize,
    /// The packet number as it was sent, its upper bytes missing.
    pub(crate) truncated: u32,
}

/// A packet opened under data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Length of the plaintext, which stands where the ciphertext stood.
    pub(crate) len: usize,
    /// This is the first packet opened under the present keys after an update: the caller now
    /// calls [`DataKeys::drop_previous_at`].
    pub(crate) is_first_of_phase: bool,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum SealError {
    /// Packet number and plaintext together are shorter than header protection needs; pad.
    #[error("packet too short for header protection")]
    TooShort,
    /// Longer than the cipher takes, which is more than any datagram holds.
    #[error("packet too long to seal")]
    TooLong,
    /// The cipher's confidentiality limit is reached and the peer confirmed no key update.
    #[error("the keys have sealed as many packets as is safe")]
    LimitReached,
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Forged, damaged, or sealed with keys we do not have: drop it.
    #[error("the packet does not open")]
    Failed,
    /// More packets failed to open than the cipher allows: the connection is over.
    #[error("too many packets failed to open")]
    LimitReached,
    /// The peer updated keys again before it could know that we followed: the connection is over.
    #[error("a key update before the last one was answered")]
    EarlyUpdate,
}

impl OpenError {
    /// What to close with, where dropping the packet is not enough.
    pub(crate) const fn fatal(self) -> Option<TransportError> {
        match self {
            Self::Failed => None,
            Self::LimitReached => Some(TransportError::new(
                TransportCode::AEAD_LIMIT_REACHED,
                "too many packets failed to open",
            )),
            Self::EarlyUpdate => Some(TransportError::new(
                TransportCode::KEY_UPDATE_ERROR,
                "a key update before the last one was answered",
            )),
        }
    }
}

/// Header protection of both directions; the same for the life of its level.
struct HeaderKeys {
    local: Box<dyn HeaderProtectionKey>,
    remote: Box<dyn HeaderProtectionKey>,
}

impl HeaderKeys {
    fn unprotect(&self, packet: &mut [u8], pn_offset: usize) -> Option<Unprotected> {
        let (first, number, sample) = split(packet, pn_offset)?;
        self.remote.decrypt_in_place(sample, first, number).ok()?;
        let pn_len = FirstByte(*first).number_len();
        let truncated = number[..pn_len]
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte));
        Some(Unprotected {
            first: FirstByte(*first),
            pn_len,
            truncated,
        })
    }

    /// Seals with `seal` what `buffer` holds from `layout.start` on, appends the tag and masks the
    /// header.
    fn seal(
        &self,
        buffer: &mut Vec<u8>,
        layout: HeaderLayout,
        seal: impl FnOnce(&mut [u8], &mut [u8]) -> Result<quic::Tag, rustls::Error>,
    ) -> Result<(), SealError> {
        //= spec/02-handshake.md#header-protection
        //# A sender MUST pad the plaintext so that packet number and plaintext together have at
        //# least four bytes.
        if buffer.len() < layout.pn_offset + packet_number::MAX_LEN {
            return Err(SealError::TooShort);
        }
        let header_len = layout.payload_offset() - layout.start;
        let (header, payload) = buffer[layout.start..].split_at_mut(header_len);
        let tag = seal(header, payload).map_err(|_| SealError::TooLong)?;
        buffer.extend_from_slice(tag.as_ref());
        let packet = &mut buffer[layout.start..];
        let (first, number, sample) =
            split(packet, layout.pn_offset - layout.start).ok_or(SealError::TooShort)?;
        self.local
            .encrypt_in_place(sample, first, &mut number[..layout.pn_len])
            .map_err(|_| SealError::TooShort)
    }
}

/// First byte, the four bytes the packet number may take, and the sample behind them.
//= spec/02-handshake.md#header-protection
//# A receiver MUST drop a packet that is too short to hold the sample.
fn split(packet: &mut [u8], pn_offset: usize) -> Option<(&mut u8, &mut [u8], &[u8])> {
    let (head, rest) = packet.split_at_mut_checked(pn_offset)?;
    let (number, rest) = rest.split_at_mut_checked(packet_number::MAX_LEN)?;
    Some((head.first_mut()?, number, rest.get(..SAMPLE_LEN)?))
}

/// The keys of Initial or of Handshake packets.
pub(crate) struct LevelKeys {
    header: HeaderKeys,
    packet: PacketKeySet,
}

/// The one suite of Initial packets, for both peers must know it in advance.
fn initial_suite() -> quic::Suite {
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(|suite| suite.quic_suite())
        .expect("the suite is one of TLS 1.3 and serves QUIC")
}

/// The keys of Initial packets, which anybody who saw `dcid`, the client's first destination
/// connection id, can compute.
//= spec/02-handshake.md#initial-keys
//# The input keying material of the Initial secret MUST be the five bytes "RPP/1" followed by the
//# destination connection id of the client's first Initial packet.
pub(crate) fn initial_keys(dcid: &ConnectionId, side: Side) -> LevelKeys {
    let mut material = [0; INITIAL_CONTEXT.len() + ConnectionId::LEN];
    material[..INITIAL_CONTEXT.len()].copy_from_slice(INITIAL_CONTEXT);
    material[INITIAL_CONTEXT.len()..].copy_from_slice(dcid.as_bytes());
    let side = match side {
        Side::Client => rustls::Side::Client,
        Side::Server => rustls::Side::Server,
    };
    LevelKeys::new(initial_suite().keys(&material, side, quic::Version::V1))
}

impl LevelKeys {
    pub(super) fn new(keys: quic::Keys) -> Self {
        let (header, packet) = take_apart(keys);
        Self { header, packet }
    }

    /// Seals the packet that starts at `layout.start` of `buffer` and ends with it, header and
    /// plaintext, under the number `pn`, and appends the tag.
    ///
    /// # Errors
    /// The buffer holds no packet to send: see [`SealError`].
    pub(crate) fn seal(
        &self,
        pn: u64,
        buffer: &mut Vec<u8>,
        layout: HeaderLayout,
    ) -> Result<(), SealError> {
        self.header.seal(buffer, layout, |header, payload| {
            self.packet.local.encrypt_in_place(pn, header, payload)
        })
    }

    /// Takes header protection off the packet; `None` if it is too short to carry any. Nothing
    /// learnt here is to be believed before the packet opens.
    pub(crate) fn unprotect_header(
        &self,
        packet: &mut [u8],
        pn_offset: usize,
    ) -> Option<Unprotected> {
        self.header.unprotect(packet, pn_offset)
    }

    /// Opens `payload` in place and gives the plaintext's length.
    ///
    /// # Errors
    /// [`OpenError::Failed`]; what was in `payload` is lost.
    pub(crate) fn open(
        &self,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, OpenError> {
        self.packet
            .remote
            .decrypt_in_place(pn, header, payload)
            .map(<[u8]>::len)
            .map_err(|_| OpenError::Failed)
    }
}

fn take_apart(keys: quic::Keys) -> (HeaderKeys, PacketKeySet) {
    let quic::Keys { local, remote } = keys;
    let header = HeaderKeys {
        local: local.header,
        remote: remote.header,
    };
    let packet = PacketKeySet {
        local: local.packet,
        remote: remote.packet,
    };
    (header, packet)
}

impl fmt::Debug for LevelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelKeys")
    }
}
