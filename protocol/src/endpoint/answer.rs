//! What an endpoint answers by itself, keeping nothing: Retry, Version Negotiation, refusals, stateless resets.
//! Whether to answer at all is decided in `mod.rs` and `reset.rs`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;

use super::{ConnectionHandle, Endpoint, Routed, incoming::Key};
use crate::{
    connection::{Datagram, Transmit},
    crypto::{keys::initial_keys, token::retry_tag},
    error::TransportCode,
    units::Side,
    wire::{
        frame::{Close, Frame, FrameWriter},
        header::{Header, MIN_INITIAL_DATAGRAM, Retry, TAG_LEN, VERSION, VersionNegotiation},
        id::{ConnectionId, PathId},
        packet_number::Truncated,
    },
};

impl Endpoint {
    pub(super) fn write_retry(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        original: ConnectionId,
        client_id: ConnectionId,
        out: &mut Vec<u8>,
    ) -> Transmit {
        let scid = self.random_id();
        let token = self.tokens.issue(now, datagram.remote, &original, &scid);
        let retry = Retry {
            dcid: client_id,
            scid,
            token: Bytes::copy_from_slice(&token),
        };
        retry.encode_untagged(out);
        let tag = retry_tag(&original, out);
        out.extend_from_slice(&tag);
        answer(datagram.remote, datagram.local_ip, out)
    }

    pub(super) fn negotiate_version(
        &mut self,
        datagram: &Datagram,
        dcid: ConnectionId,
        scid: ConnectionId,
        out: &mut Vec<u8>,
    ) -> Routed {
        //= spec/02-handshake.md#version-negotiation
        //# A server MUST NOT send a Version Negotiation packet in answer to a datagram shorter than 1200 bytes.
        if self.server.is_none() || datagram.payload.len() < MIN_INITIAL_DATAGRAM {
            self.stats.dropped += 1;
            return Routed::Dropped;
        }
        VersionNegotiation {
            dcid: scid,
            scid: dcid,
            versions: vec![VERSION],
        }
        .encode(out);
        Routed::Response(answer(datagram.remote, datagram.local_ip, out))
    }

    /// The connection whose peer has lost its state and says so with `datagram`.
    pub(super) fn reset_for(&self, datagram: &Datagram) -> Option<ConnectionHandle> {
        let token = datagram.payload.last_chunk::<16>()?;
        self.expected_resets.get(token).copied()
    }

    pub(super) fn reset(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        id: ConnectionId,
        out: &mut Vec<u8>,
    ) -> Routed {
        let token = self.reset_key.token(&id);
        if !self.resets.write(
            now,
            datagram.payload.len(),
            token.as_bytes(),
            &mut self.rng,
            out,
        ) {
            self.stats.dropped += 1;
            return Routed::Dropped;
        }
        self.stats.resets += 1;
        Routed::Response(answer(datagram.remote, datagram.local_ip, out))
    }
}

/// The bytes in `out` go back to where a datagram came from.
fn answer(remote: SocketAddr, local_ip: Option<IpAddr>, out: &[u8]) -> Transmit {
    Transmit {
        path: PathId::INITIAL,
        remote,
        local_ip,
        len: out.len(),
        segment_size: None,
        ecn: None,
    }
}

/// A CLOSE with CONNECTION_REFUSED, under keys the client can compute; keeps no state.
pub(super) fn write_refusal(
    key: Key,
    client_id: ConnectionId,
    local_ip: Option<IpAddr>,
    out: &mut Vec<u8>,
) -> Transmit {
    let number = Truncated::new(0, None);
    let layout = Header::Initial {
        dcid: client_id,
        scid: key.id,
        token: Bytes::new(),
        number,
    }
    .encode(out);
    let close = Close::Transport {
        code: TransportCode::CONNECTION_REFUSED,
        frame_type: 0,
        reason: Bytes::new(),
    };
    FrameWriter::new(out, MIN_INITIAL_DATAGRAM - TAG_LEN).put(&Frame::Close(close));
    layout.finish(out);
    if initial_keys(&key.id, Side::Server)
        .seal(0, out, layout)
        .is_err()
    {
        out.clear();
    }
    answer(key.remote, local_ip, out)
}
