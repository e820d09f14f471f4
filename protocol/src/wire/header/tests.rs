//! Tests of packet headers.

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    FirstByte, Header, HeaderLayout, PacketKind, PartialHeader, Retry, SAMPLE_LEN, TAG_LEN,
    VersionNegotiation,
};
use crate::{
    testing::proptest_config,
    wire::{id::ConnectionId, packet_number::Truncated},
};

const DCID: ConnectionId = ConnectionId::new(*b"the dcid");
const SCID: ConnectionId = ConnectionId::new(*b"the scid");

fn initial(token: &'static [u8]) -> Header {
    Header::Initial {
        dcid: DCID,
        scid: SCID,
        token: Bytes::from_static(token),
        number: Truncated::with_len(7, 2),
    }
}

fn handshake() -> Header {
    Header::Handshake {
        dcid: DCID,
        scid: SCID,
        number: Truncated::with_len(7, 1),
    }
}

fn short() -> Header {
    Header::Short {
        dcid: DCID,
        key_phase: true,
        number: Truncated::with_len(0x01_0203, 3),
    }
}

/// Appends a packet with `payload` bytes of payload and room for the tag.
fn append(header: &Header, payload: usize, out: &mut Vec<u8>) -> HeaderLayout {
    let layout = header.encode(out);
    assert_eq!(out.len() - layout.start, header.encoded_len());
    assert_eq!(out.len(), layout.payload_offset());
    out.resize(out.len() + payload, 0xee);
    layout.finish(out);
    out.resize(out.len() + TAG_LEN, 0xdd);
    layout
}

#[test]
fn coalesced_packets_split_where_they_were_joined() {
    let mut datagram = Vec::new();
    let layouts = [
        append(&initial(b"token"), 40, &mut datagram),
        append(&handshake(), 60, &mut datagram),
        append(&short(), 80, &mut datagram),
    ];
    for (index, layout) in layouts.iter().enumerate() {
        let header = PartialHeader::decode(&datagram[layout.start..]).unwrap();
        assert_eq!(header.dcid, DCID);
        assert_eq!(header.pn_offset(), Some(layout.pn_offset - layout.start));
        let end = layouts
            .get(index + 1)
            .map_or(datagram.len(), |next| next.start);
        assert_eq!(layout.start + header.packet_len, end);
    }
}

#[test]
fn an_initial_gives_its_token() {
    let mut packet = Vec::new();
    append(&initial(b"token"), 40, &mut packet);
    match PartialHeader::decode(&packet).unwrap().kind {
        PacketKind::Initial { scid, token, .. } => {
            assert_eq!(scid, SCID);
            assert_eq!(&packet[token], b"token");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_length_beyond_the_datagram_is_refused() {
    //= spec/01-packet.md#coalescing
    //= type=test
    //# A receiver MUST drop a packet whose Length field reaches beyond the datagram.
    let mut packet = Vec::new();
    append(&handshake(), 40, &mut packet);
    assert!(PartialHeader::decode(&packet).is_ok());
    packet.pop();
    assert!(PartialHeader::decode(&packet).is_err());
}

#[test]
fn a_packet_too_short_for_its_sample_is_refused() {
    //= spec/01-packet.md#sealing
    //= type=test
    //# A receiver MUST drop a sealed packet with fewer than 20 bytes from the packet number on.
    for header in [initial(b""), handshake(), short()] {
        let mut packet = Vec::new();
        let layout = append(&header, 4 - header.number_len(), &mut packet);
        assert_eq!(packet.len() - layout.pn_offset, 4 + SAMPLE_LEN);
        assert!(PartialHeader::decode(&packet).is_ok());

        let mut packet = Vec::new();
        append(&header, 3 - header.number_len(), &mut packet);
        assert!(PartialHeader::decode(&packet).is_err());
    }
}

impl Header {
    fn number_len(&self) -> usize {
        match self {
            Self::Initial { number, .. }
            | Self::Handshake { number, .. }
            | Self::Short { number, .. } => number.encoded_len(),
        }
    }
}

#[test]
fn a_cleared_fixed_bit_is_refused() {
    //= spec/01-packet.md#first-byte
    //= type=test
    //# A receiver MUST
    //# drop a packet of a version it speaks whose fixed bit is zero.
    for header in [initial(b""), handshake(), short()] {
        let mut packet = Vec::new();
        append(&header, 40, &mut packet);
        packet[0] &= !0x40;
        assert!(PartialHeader::decode(&packet).is_err());
    }
}

#[test]
fn the_reserved_type_is_refused() {
    //= spec/01-packet.md#long-header
    //= type=test
    //# A receiver MUST drop a packet of the reserved type.
    let mut packet = Vec::new();
    append(&initial(b""), 40, &mut packet);
    packet[0] |= 0x10;
    assert!(PartialHeader::decode(&packet).is_err());
}

#[test]
fn reserved_bits_are_written_as_zero_and_seen_when_set() {
    //= spec/01-packet.md#first-byte
    //= type=test
    //# A sender
    //# MUST set the reserved bits to zero before it protects the header.
    for (header, reserved) in [(initial(b""), 0x0c), (handshake(), 0x0c), (short(), 0x18)] {
        let mut packet = Vec::new();
        append(&header, 40, &mut packet);
        let first = FirstByte(packet[0]);
        assert!(!first.has_reserved_bits());
        assert_eq!(first.number_len(), header.number_len());
        for bit in (0..8).map(|bit| 1 << bit).filter(|bit| reserved & bit != 0) {
            assert!(FirstByte(packet[0] | bit).has_reserved_bits());
        }
    }
}

#[test]
fn the_key_phase_is_the_bit_of_a_short_header() {
    let mut packet = Vec::new();
    short().encode(&mut packet);
    assert!(FirstByte(packet[0]).key_phase());
    assert!(!FirstByte(packet[0] & !0x04).key_phase());
}

#[test]
fn a_retry_survives_a_round_trip() {
    let retry = Retry {
        dcid: DCID,
        scid: SCID,
        token: Bytes::from_static(b"prove your address"),
    };
    let mut packet = Vec::new();
    retry.encode_untagged(&mut packet);
    packet.extend_from_slice(&[9; 16]);
    assert_eq!(Retry::decode(&packet.into()), Ok((retry, [9; 16])));
}

#[test]
fn a_retry_without_room_for_its_tag_is_refused() {
    let mut packet = Vec::new();
    let retry = Retry {
        dcid: DCID,
        scid: SCID,
        token: Bytes::new(),
    };
    retry.encode_untagged(&mut packet);
    packet.extend_from_slice(&[9; 15]);
    assert!(Retry::decode(&packet.into()).is_err());
}

#[test]
fn version_negotiation_survives_a_round_trip() {
    let packet = VersionNegotiation {
        dcid: DCID,
        scid: SCID,
        versions: vec![0x5250_5001, 0x5250_5002],
    };
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    assert_eq!(VersionNegotiation::decode(&bytes), Ok(packet));
    bytes.pop();
    assert!(VersionNegotiation::decode(&bytes).is_err());
}

#[test]
fn another_version_gives_its_ids_and_nothing_else() {
    let mut packet = Vec::new();
    append(&initial(b""), 40, &mut packet);
    packet[4] = 0x7f;
    packet[0] &= !0x40;
    let header = PartialHeader::decode(&packet).unwrap();
    assert_eq!(header.packet_len, packet.len());
    let kind = PacketKind::UnknownVersion {
        version: 0x5250_507f,
        scid: SCID,
    };
    assert_eq!(header.kind, kind);
    assert_eq!(header.pn_offset(), None);
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn any_bytes_are_refused_or_describe_a_packet_within_them(
        first in any::<u8>(),
        ours in any::<bool>(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        bytes.insert(0, first);
        if ours && bytes.len() >= 5 {
            bytes[1..5].copy_from_slice(&super::VERSION.to_be_bytes());
        }
        if let Ok(header) = PartialHeader::decode(&bytes) {
            prop_assert!(header.packet_len <= bytes.len());
            prop_assert!(header.packet_len > 0);
            if let Some(at) = header.pn_offset() {
                prop_assert!(at + 4 + SAMPLE_LEN <= header.packet_len);
            }
        }
    }
}
