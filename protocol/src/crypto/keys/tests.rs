//! Packets of the handshake levels: sealed, opened, damaged; vectors made independently.

use super::*;
use crate::{
    crypto::testing::{hex, sealing_vectors},
    wire::{Header, packet_number::Truncated},
};
use bytes::Bytes;

const DCID: ConnectionId = ConnectionId::new([0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);

/// A packet with `payload` appended to `buffer`, sealed by `keys`.
fn seal(keys: &LevelKeys, pn: u64, payload: &[u8], buffer: &mut Vec<u8>) -> Result<(), SealError> {
    let header = Header::Initial {
        dcid: DCID,
        scid: DCID,
        token: Bytes::new(),
        number: Truncated::with_len(pn, 2),
    };
    let layout = header.encode(buffer);
    buffer.extend_from_slice(payload);
    layout.finish(buffer);
    keys.seal(pn, buffer, layout)
}

/// Where the packet number of these packets stands: after first byte, version, ids, token length
/// and length.
const PN_OFFSET: usize = 1 + 4 + 16 + 1 + 2;

fn open(keys: &LevelKeys, pn: u64, packet: &mut [u8]) -> Result<Vec<u8>, OpenError> {
    let seen = keys
        .unprotect_header(packet, PN_OFFSET)
        .ok_or(OpenError::Failed)?;
    let Some((header, payload)) = packet.split_at_mut_checked(PN_OFFSET + seen.pn_len) else {
        return Err(OpenError::Failed);
    };
    let len = keys.open(pn, header, payload)?;
    Ok(payload[..len].to_vec())
}

fn pair() -> (LevelKeys, LevelKeys) {
    (
        initial_keys(&DCID, Side::Client),
        initial_keys(&DCID, Side::Server),
    )
}

#[test]
fn initial_packets_open_at_the_other_side_both_ways() {
    let (client, server) = pair();
    for (from, to) in [(&client, &server), (&server, &client)] {
        let mut packet = Vec::new();
        seal(from, 0x1234, b"hello, peer", &mut packet).unwrap();
        let seen = to.unprotect_header(&mut packet.clone(), PN_OFFSET).unwrap();
        assert_eq!((seen.pn_len, seen.truncated), (2, 0x1234));
        assert!(seen.first.is_long() && !seen.first.has_reserved_bits());
        assert_eq!(open(to, 0x1234, &mut packet).unwrap(), b"hello, peer");
    }
}

#[test]
fn packets_share_a_buffer_and_are_sealed_one_after_the_other() {
    let (client, server) = pair();
    let mut buffer = Vec::new();
    seal(&client, 0, b"first packet", &mut buffer).unwrap();
    let end = buffer.len();
    seal(&client, 1, b"second", &mut buffer).unwrap();
    let (first, second) = buffer.split_at_mut(end);
    assert_eq!(open(&server, 0, first).unwrap(), b"first packet");
    assert_eq!(open(&server, 1, second).unwrap(), b"second");
}

//= spec/02-handshake.md#initial-keys
//= type=test
//# The input keying material of the Initial secret MUST be the five bytes "RPP/1" followed by the
//# destination connection id of the client's first Initial packet.
#[test]
fn initial_packet_is_that_of_an_independent_implementation() {
    let mut packet = Vec::new();
    seal(
        &initial_keys(&DCID, Side::Client),
        2,
        b"vector",
        &mut packet,
    )
    .unwrap();
    assert_eq!(packet, INITIAL_VECTOR);
}

/// Made with HKDF, AES-GCM and AES-ECB of Python's `cryptography`, following RFC 9001 section 5.
const INITIAL_VECTOR: [u8; 48] = [
    0xcf, 0x52, 0x50, 0x50, 0x01, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0x83, 0x94, 0xc8,
    0xf0, 0x3e, 0x51, 0x57, 0x08, 0x00, 0x40, 0x18, 0x5c, 0x77, 0x17, 0xd5, 0x88, 0xfd, 0x4d, 0x87,
    0xe0, 0xe4, 0xd9, 0x86, 0x86, 0x3e, 0xf3, 0x6b, 0x27, 0x7c, 0x71, 0xcf, 0xaf, 0x00, 0x47, 0xa5,
];

#[test]
fn quic_cannot_open_what_rpp_sealed() {
    let mut packet = Vec::new();
    seal(
        &initial_keys(&DCID, Side::Client),
        2,
        b"vector",
        &mut packet,
    )
    .unwrap();
    let quic = LevelKeys::new(initial_suite().keys(
        DCID.as_bytes(),
        rustls::Side::Server,
        quic::Version::V1,
    ));
    assert_eq!(open(&quic, 2, &mut packet), Err(OpenError::Failed));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (client, server) = pair();
    let mut packet = Vec::new();
    seal(&client, 7, b"hello, peer", &mut packet).unwrap();
    for bit in 0..packet.len() * 8 {
        let mut damaged = packet.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            open(&server, 7, &mut damaged),
            Err(OpenError::Failed),
            "bit {bit}"
        );
    }
}

#[test]
fn another_number_or_another_connection_does_not_open() {
    let (client, server) = pair();
    let mut packet = Vec::new();
    seal(&client, 7, b"hello, peer", &mut packet).unwrap();
    assert_eq!(
        open(&server, 8, &mut packet.clone()),
        Err(OpenError::Failed)
    );
    let other = initial_keys(&ConnectionId::new([0; 8]), Side::Server);
    assert_eq!(open(&other, 7, &mut packet.clone()), Err(OpenError::Failed));
    // Nor does a packet come back to its sender.
    assert_eq!(open(&client, 7, &mut packet), Err(OpenError::Failed));
}

//= spec/02-handshake.md#header-protection
//= type=test
//# A receiver MUST drop a packet that is too short to hold the sample.
#[test]
fn packet_cut_anywhere_is_dropped() {
    let (client, server) = pair();
    let mut packet = Vec::new();
    seal(&client, 7, b"hello, peer", &mut packet).unwrap();
    for len in 0..packet.len() {
        let mut cut = packet[..len].to_vec();
        if len < PN_OFFSET + packet_number::MAX_LEN + SAMPLE_LEN {
            assert_eq!(server.unprotect_header(&mut cut, PN_OFFSET), None, "{len}");
            assert_eq!(cut, packet[..len]);
        }
        assert_eq!(open(&server, 7, &mut cut), Err(OpenError::Failed), "{len}");
    }
}

//= spec/02-handshake.md#header-protection
//= type=test
//# A sender MUST pad the plaintext so that packet number and plaintext together have at least
//# four bytes.
#[test]
fn plaintext_without_the_padding_it_needs_is_not_sealed() {
    let (client, server) = pair();
    let mut packet = Vec::new();
    assert_eq!(
        seal(&client, 7, b"1", &mut packet),
        Err(SealError::TooShort)
    );
    packet.clear();
    seal(&client, 7, b"12", &mut packet).unwrap();
    assert_eq!(open(&server, 7, &mut packet).unwrap(), b"12");
}

#[test]
fn initial_packets_are_those_of_the_vectors() {
    let vectors = sealing_vectors();
    let initial = &vectors["initial"];
    let id = ConnectionId::new(hex(initial, "original_id").try_into().unwrap());
    for (sender, side) in [("client", Side::Client), ("server", Side::Server)] {
        let case = &initial[sender]["packet"];
        let number = case["number"].as_u64().unwrap();
        let header = hex(case, "header");
        let mut plaintext = hex(case, "plaintext");
        let padding = case["padding"].as_u64().unwrap_or(0);
        plaintext.resize(plaintext.len() + usize::try_from(padding).unwrap(), 0);

        let pn_len = FirstByte(header[0]).number_len();
        let layout = Header::Initial {
            dcid: ConnectionId::new(header[5..13].try_into().unwrap()),
            scid: ConnectionId::new(header[13..21].try_into().unwrap()),
            token: Bytes::new(),
            number: Truncated::with_len(number, pn_len),
        };
        let mut packet = Vec::new();
        let layout = layout.encode(&mut packet);
        packet.extend_from_slice(&plaintext);
        layout.finish(&mut packet);
        assert_eq!(packet[..header.len()], header, "{sender}");
        initial_keys(&id, side)
            .seal(number, &mut packet, layout)
            .unwrap();
        assert_eq!(packet, hex(case, "sealed"), "{sender}");

        let reader = initial_keys(&id, side.peer());
        let seen = reader
            .unprotect_header(&mut packet, layout.pn_offset)
            .unwrap();
        let (header, payload) = packet.split_at_mut(layout.pn_offset + seen.pn_len);
        let len = reader.open(number, header, payload).unwrap();
        assert_eq!(payload[..len], plaintext, "{sender}");
    }
}
