//! The vectors of `spec/vectors` in both directions: bytes to meaning, meaning to bytes.
//! Other implementations read the same files; what else the codecs must do is tested beside them.

#[path = "vectors/frames.rs"]
mod frames;
#[path = "vectors/json.rs"]
mod json;

use bytes::Bytes;
use rp_protocol::{
    units::Side,
    wire::{
        FirstByte, FrameIter, Header, PartialHeader, Reader, TransportParameters,
        header::{PacketKind, Retry, TAG_LEN, VersionNegotiation},
        id::ConnectionId,
        packet_number::{self, Truncated},
        varint,
    },
};
use serde_json::Value;

use json::{array, flag, hex, load, number, text};

#[test]
fn integers() {
    let file = load("varint");
    for case in array(&file, "accepted") {
        let bytes = hex(case, "hex");
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.varint(), Ok(number(case, "value")), "{case}");
        assert!(reader.is_empty(), "{case}");
        if flag(case, "canonical", true) {
            let mut out = Vec::new();
            varint::put(&mut out, number(case, "value"));
            assert_eq!(out, bytes, "{case}");
        }
    }
    for case in array(&file, "refused") {
        assert!(Reader::new(&hex(case, "hex")).varint().is_err(), "{case}");
    }
}

#[test]
fn packet_numbers() {
    let file = load("packet_number");
    for case in array(&file, "sent") {
        let acked = (!case["largest_acked"].is_null()).then(|| number(case, "largest_acked"));
        let mut out = Vec::new();
        Truncated::new(number(case, "number"), acked).encode(&mut out);
        assert_eq!(out, hex(case, "hex"), "{case}");
    }
    for case in array(&file, "received") {
        let (bits, len) = truncated(&hex(case, "hex"));
        let read = packet_number::decode(number(case, "expected"), bits, len);
        assert_eq!(read, number(case, "number"), "{case}");
    }
}

#[test]
fn headers() {
    let file = load("header");
    for case in array(&file, "accepted") {
        sealed_header(case);
    }
    for case in array(&file, "unsealed") {
        unsealed_packet(case);
    }
    for case in array(&file, "refused") {
        assert!(PartialHeader::decode(&hex(case, "hex")).is_err(), "{case}");
    }
}

fn sealed_header(case: &Value) {
    let bytes = hex(case, "header");
    let (bits, len) = truncated(&hex(case, "number"));
    let number_field = Truncated::with_len(u64::from(bits), len);
    let dcid = connection_id(case, "dcid");
    let header = match text(case, "packet") {
        "initial" => Header::Initial {
            dcid,
            scid: connection_id(case, "scid"),
            token: hex(case, "token").into(),
            number: number_field,
        },
        "handshake" => Header::Handshake {
            dcid,
            scid: connection_id(case, "scid"),
            number: number_field,
        },
        _ => Header::Short {
            dcid,
            key_phase: flag(case, "key_phase", false),
            number: number_field,
        },
    };
    let payload = usize::try_from(number(case, "payload")).expect("a length");
    let mut packet = Vec::new();
    let layout = header.encode(&mut packet);
    packet.resize(packet.len() + payload, 0);
    layout.finish(&mut packet);
    packet.resize(packet.len() + TAG_LEN, 0);
    assert_eq!(packet[..bytes.len()], bytes, "{case}");
    assert_eq!(layout.payload_offset(), bytes.len(), "{case}");

    // A long header must find its end in front of another packet, a short one has none.
    let whole = packet.len();
    if layout.length_at.is_some() {
        packet.extend_from_slice(b"next packet");
    }
    let decoded = PartialHeader::decode(&packet).expect("an accepted header");
    assert_eq!(decoded.packet_len, whole, "{case}");
    assert_eq!(decoded.dcid, dcid, "{case}");
    assert_eq!(decoded.pn_offset(), Some(layout.pn_offset), "{case}");
    let first = FirstByte(packet[0]);
    assert_eq!(first.number_len(), len, "{case}");
    assert!(!first.has_reserved_bits(), "{case}");
    match (text(case, "packet"), decoded.kind) {
        ("initial", PacketKind::Initial { scid, token, .. }) => {
            assert_eq!(scid, connection_id(case, "scid"));
            assert_eq!(packet[token], hex(case, "token"));
        }
        ("handshake", PacketKind::Handshake { scid, .. }) => {
            assert_eq!(scid, connection_id(case, "scid"));
        }
        ("short", PacketKind::Short { .. }) => {
            assert_eq!(first.key_phase(), flag(case, "key_phase", false));
        }
        (_, kind) => unreachable!("{kind:?} for {case}"),
    }
}

fn unsealed_packet(case: &Value) {
    let bytes = hex(case, "hex");
    let (dcid, scid) = (connection_id(case, "dcid"), connection_id(case, "scid"));
    let mut out = Vec::new();
    if text(case, "packet") == "retry" {
        let token = hex(case, "token").into();
        let retry = Retry { dcid, scid, token };
        let tag: [u8; 16] = hex(case, "tag").try_into().expect("16 bytes");
        retry.encode_untagged(&mut out);
        out.extend_from_slice(&tag);
        assert_eq!(Retry::decode(&Bytes::from(bytes.clone())), Ok((retry, tag)));
    } else {
        let versions = array(case, "versions").iter();
        let versions = versions
            .map(|v| u32::try_from(v.as_u64().expect("a number")).expect("a version"))
            .collect();
        let packet = VersionNegotiation {
            dcid,
            scid,
            versions,
        };
        packet.encode(&mut out);
        assert_eq!(VersionNegotiation::decode(&bytes), Ok(packet));
    }
    assert_eq!(out, bytes, "{case}");
}

#[test]
fn frames_one_by_one() {
    let file = load("frame");
    for case in array(&file, "accepted") {
        let bytes = hex(case, "hex");
        let meaning = frames::frame(case);
        let decoded: Vec<_> = FrameIter::new(bytes.clone().into()).collect();
        assert_eq!(decoded, [Ok(meaning.clone())], "{case}");
        if flag(case, "canonical", true) {
            let mut out = Vec::new();
            meaning.encode(&mut out);
            assert_eq!(out, bytes, "{case}");
            assert_eq!(meaning.encoded_len(), bytes.len(), "{case}");
        }
    }
    for case in array(&file, "refused") {
        let last = FrameIter::new(hex(case, "hex").into()).last();
        assert!(last.is_some_and(|frame| frame.is_err()), "{case}");
    }
}

#[test]
fn transport_parameters() {
    let file = load("parameters");
    for case in array(&file, "accepted") {
        let bytes = hex(case, "hex");
        let meaning = parameters(&case["parameters"]);
        assert_eq!(
            TransportParameters::decode(&bytes, sender(case)),
            Ok(meaning.clone()),
            "{case}"
        );
        if flag(case, "canonical", true) {
            let mut out = Vec::new();
            meaning.encode(&mut out);
            assert_eq!(out, bytes, "{case}");
        }
    }
    for case in array(&file, "refused") {
        let decoded = TransportParameters::decode(&hex(case, "hex"), sender(case));
        assert!(decoded.is_err(), "{case}");
    }
}

fn sender(case: &Value) -> Side {
    match text(case, "sender") {
        "client" => Side::Client,
        _ => Side::Server,
    }
}

fn parameters(fields: &Value) -> TransportParameters {
    let mut parameters = TransportParameters::default();
    for (name, value) in fields.as_object().expect("an object") {
        let id = || Some(connection_id(fields, name));
        let target = match name.as_str() {
            "idle_timeout_ms" => &mut parameters.idle_timeout_ms,
            "max_udp_payload" => &mut parameters.max_udp_payload,
            "initial_max_data" => &mut parameters.initial_max_data,
            "initial_max_stream_data" => &mut parameters.initial_max_stream_data,
            "initial_max_streams_bi" => &mut parameters.initial_max_streams_bi,
            "initial_max_streams_uni" => &mut parameters.initial_max_streams_uni,
            "max_datagram" => &mut parameters.max_datagram,
            "max_paths" => &mut parameters.max_paths,
            other => {
                match other {
                    "initial_source_id" => parameters.initial_source_id = id(),
                    "original_destination_id" => parameters.original_destination_id = id(),
                    "retry_source_id" => parameters.retry_source_id = id(),
                    "stateless_reset_token" => {
                        let token = hex(fields, name).try_into().expect("16 bytes");
                        parameters.stateless_reset_token = Some(token);
                    }
                    unknown => unreachable!("parameter {unknown}"),
                }
                continue;
            }
        };
        *target = value.as_u64().expect("a number");
    }
    parameters
}

fn connection_id(case: &Value, field: &str) -> ConnectionId {
    ConnectionId::new(hex(case, field).try_into().expect("eight bytes"))
}

/// The bits and the length of a packet number on the wire.
fn truncated(bytes: &[u8]) -> (u32, usize) {
    let bits = bytes
        .iter()
        .fold(0, |bits, &byte| bits << 8 | u32::from(byte));
    (bits, bytes.len())
}
