//! Packets and frames from arbitrary bytes: what decodes must encode to the same meaning.

use bytes::Bytes;

use super::input::Input;
use crate::{
    crypto::keys::initial_keys,
    units::{MAX_VARINT, Side},
    wire::{
        Frame, FrameIter, Header, PartialHeader, RangeSet, TransportParameters,
        header::{PacketKind, Retry, SAMPLE_LEN, VersionNegotiation},
        id::ConnectionId,
        packet_number::{self, Truncated},
    },
};

/// `data` as a datagram a server receives, and as choices from which a packet is built and read.
pub fn packet(data: &[u8]) {
    received(data);
    built(&mut Input::new(data));
}

/// Walks the packets of a datagram as an endpoint does; an Initial is opened.
fn received(datagram: &[u8]) {
    let mut rest = datagram;
    while let Ok(header) = PartialHeader::decode(rest) {
        assert!((1..=rest.len()).contains(&header.packet_len));
        let (packet, after) = rest.split_at(header.packet_len);
        match &header.kind {
            PacketKind::Initial {
                token, pn_offset, ..
            } => {
                assert!(token.end < *pn_offset);
                open_initial(packet, header.dcid, *pn_offset);
            }
            PacketKind::Handshake { pn_offset, .. } | PacketKind::Short { pn_offset } => {
                assert!(pn_offset + packet_number::MAX_LEN + SAMPLE_LEN <= packet.len());
            }
            PacketKind::Retry { .. } => {
                let packet = Bytes::copy_from_slice(packet);
                let (retry, tag) = Retry::decode(&packet).expect("its header decoded");
                let mut again = Vec::new();
                retry.encode_untagged(&mut again);
                again.extend_from_slice(&tag);
                // The low four bits of the first byte mean nothing.
                assert_eq!(again[1..], packet[1..]);
            }
            PacketKind::VersionNegotiation { .. } => {
                if let Ok(decoded) = VersionNegotiation::decode(packet) {
                    let mut again = Vec::new();
                    decoded.encode(&mut again);
                    assert_eq!(again[1..], packet[1..]);
                }
            }
            PacketKind::UnknownVersion { .. } => {}
        }
        rest = after;
    }
}

fn open_initial(packet: &[u8], dcid: ConnectionId, pn_offset: usize) {
    let keys = initial_keys(&dcid, Side::Server);
    let mut packet = packet.to_vec();
    let Some(unprotected) = keys.unprotect_header(&mut packet, pn_offset) else {
        return;
    };
    let number = packet_number::decode(0, unprotected.truncated, unprotected.pn_len);
    let (header, payload) = packet.split_at_mut(pn_offset + unprotected.pn_len);
    if let Ok(len) = keys.open(number, header, payload) {
        frame(&payload[..len]);
    }
}

/// Builds, seals, reads and opens a packet of chosen fields: it must come out as it went in.
fn built(input: &mut Input<'_>) {
    let dcid = ConnectionId::new(input.array());
    let scid = ConnectionId::new(input.array());
    let acked = input.bool().then(|| input.u64() % (MAX_VARINT / 2));
    let number = acked.map_or(0, |acked| acked + 1) + u64::from(input.u16());
    let truncated = Truncated::new(number, acked);
    let kind = input.u8() % 3;
    let header = match kind {
        0 => Header::Initial {
            dcid,
            scid,
            token: Bytes::copy_from_slice(input.bytes(64)),
            number: truncated,
        },
        1 => Header::Handshake {
            dcid,
            scid,
            number: truncated,
        },
        _ => Header::Short {
            dcid,
            key_phase: input.bool(),
            number: truncated,
        },
    };
    let plaintext = input.bytes(1400);
    // Another packet may lie in front of it in the batch.
    let mut buffer = vec![0xff; input.below(32)];
    let layout = header.encode(&mut buffer);
    buffer.extend_from_slice(plaintext);
    buffer.resize(
        buffer.len().max(layout.pn_offset + packet_number::MAX_LEN),
        0,
    );
    let plain_len = buffer.len() - layout.payload_offset();
    layout.finish(&mut buffer);
    let sealed = initial_keys(&dcid, Side::Client).seal(number, &mut buffer, layout);
    assert!(sealed.is_ok(), "a packet of legal size seals");

    let packet = &mut buffer[layout.start..];
    let partial = PartialHeader::decode(packet).expect("a packet we built");
    assert_eq!(partial.packet_len, packet.len());
    assert_eq!(partial.dcid, dcid);
    let pn_offset = partial.pn_offset().expect("a numbered packet");
    assert_eq!(layout.start + pn_offset, layout.pn_offset);
    let keys = initial_keys(&dcid, Side::Server);
    let unprotected = keys
        .unprotect_header(packet, pn_offset)
        .expect("long enough");
    assert_eq!(unprotected.pn_len, truncated.encoded_len());
    assert!(!unprotected.first.has_reserved_bits());
    let expected = acked.map_or(0, |acked| acked + 1);
    let decoded = packet_number::decode(expected, unprotected.truncated, unprotected.pn_len);
    assert_eq!(decoded, number);
    let (head, payload) = packet.split_at_mut(pn_offset + unprotected.pn_len);
    let opened = keys
        .open(number, head, payload)
        .expect("sealed by its peer");
    assert_eq!(opened, plain_len);
    assert_eq!(payload[..plaintext.len()], *plaintext);
}

/// `data` as the payload of an opened packet, and as transport parameters.
pub fn frame(data: &[u8]) {
    for decoded in FrameIter::new(Bytes::copy_from_slice(data)) {
        let Ok(frame) = decoded else { break };
        let mut again = Vec::with_capacity(frame.encoded_len());
        frame.encode(&mut again);
        assert_eq!(again.len(), frame.encoded_len());
        let mut frames = FrameIter::new(again.into());
        assert_eq!(frames.next().as_ref(), Some(&Ok(frame.clone())));
        assert!(frames.next().is_none());
        match &frame {
            Frame::Ack(ack) => numbers(&ack.ranges),
            Frame::Nak(nak) => numbers(&nak.ranges),
            _ => {}
        }
    }
    for sender in [Side::Client, Side::Server] {
        if let Ok(parameters) = TransportParameters::decode(data, sender) {
            let mut again = Vec::new();
            parameters.encode(&mut again);
            assert_eq!(TransportParameters::decode(&again, sender), Ok(parameters));
        }
    }
}

/// Ranges from the wire go into a set and come out of it unchanged.
fn numbers(ranges: &crate::wire::frame::AckRanges) {
    let set: RangeSet = ranges.iter().map(|r| *r.start()..r.end() + 1).collect();
    assert_eq!(set.len() as u64, ranges.count());
    assert_eq!(set.max(), Some(ranges.largest()));
    assert!(
        set.iter()
            .rev()
            .map(|r| r.start..=r.end - 1)
            .eq(ranges.iter())
    );
}
