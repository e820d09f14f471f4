//! A peer that holds the keys and breaks the rules.

use std::{ops::Range, time::Duration};

use bytes::Bytes;

#[path = "../../tests/pair/mod.rs"]
#[expect(dead_code, reason = "the harness serves many tests")]
mod pair;

use self::pair::{Pair, Setup, transfer::pattern};
use super::receive::Origin;
use crate::{
    config::TransportConfig,
    crypto::handshake::Level,
    error::{ConnectionError, TransportCode, TransportError},
    wire::{
        frame::{
            Ack, AckHead, AckPolicy, AckRanges, Crypto, Datagram, Frame, Nak, NewConnectionId,
            RetireConnectionId, Train, TrainReport,
        },
        id::{ConnectionId, PathId},
    },
};

/// Which end the peer's frame is handed to.
#[derive(Clone, Copy)]
enum To {
    Client,
    Server,
}

fn connected() -> Pair {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.transfer(50_000), pattern(50_000));
    pair.run(Duration::from_millis(300));
    pair
}

fn hand(pair: &mut Pair, to: To, frame: Frame) -> Result<(), TransportError> {
    let now = pair.now;
    let remote = match to {
        To::Client => pair.server.address,
        To::Server => pair.client.address,
    };
    let origin = Origin {
        path: PathId::INITIAL,
        remote,
        local_ip: None,
        ecn: None,
        at: now,
        bytes: 1200,
    };
    let connection = match to {
        To::Client => pair.client(),
        To::Server => pair.server(),
    };
    let result = connection.handle_frame(now, origin, frame);
    connection.settle();
    result
}

fn code(result: Result<(), TransportError>) -> TransportCode {
    result.expect_err("a rule was broken").code
}

fn ranges(numbers: Range<u64>) -> AckRanges {
    AckRanges::new(std::iter::once(numbers)).expect("not empty")
}

fn ack(acked: Range<u64>) -> Frame {
    let head = AckHead {
        path: PathId::INITIAL,
        delay_us: 0,
        received_at_us: 0,
        ecn: None,
    };
    Frame::Ack(Ack {
        head,
        ranges: ranges(acked),
    })
}

fn nak(path: u32, missing: Range<u64>) -> Frame {
    Frame::Nak(Nak {
        path: PathId(path),
        ranges: ranges(missing),
    })
}

//= spec/03-reliability.md#skipped-numbers
//= type=test
//# An endpoint that receives an ACK of a packet number it skipped or never sent MUST close the
//# connection with PROTOCOL_VIOLATION.
#[test]
fn ack_of_a_packet_never_sent_is_a_violation() {
    let mut pair = connected();
    let result = hand(&mut pair, To::Client, ack(0..1_000_000));
    assert_eq!(code(result), TransportCode::PROTOCOL_VIOLATION);
}

#[test]
fn a_violation_closes_the_connection_on_both_ends() {
    let mut pair = connected();
    let now = pair.now;
    let error = hand(&mut pair, To::Client, ack(0..1_000_000)).expect_err("a violation");
    pair.client().fail(now, error);
    pair.run(Duration::from_millis(200));
    let told = pair.saw(true, |event| {
        matches!(event, super::Event::Closed(ConnectionError::PeerTransport { code, .. })
            if *code == TransportCode::PROTOCOL_VIOLATION)
    });
    assert!(told);
}

//= spec/03-reliability.md#skipped-numbers
//= type=test
//# A NAK of a number above all that were sent MUST be answered in the same way.
#[test]
fn nak_of_a_packet_never_sent_is_a_violation() {
    let mut pair = connected();
    let result = hand(&mut pair, To::Client, nak(0, 900_000..900_001));
    assert_eq!(code(result), TransportCode::PROTOCOL_VIOLATION);
}

//= spec/04-congestion.md#trains
//= type=test
//# An endpoint that receives a TRAIN_REPORT of a train it never sent MUST close the
//# connection with PROTOCOL_VIOLATION.
#[test]
fn report_of_a_train_never_sent_is_a_violation() {
    let mut pair = connected();
    let report = |train| {
        Frame::TrainReport(TrainReport {
            path: PathId::INITIAL,
            train,
            first: 0,
            last: 7,
            span_ns: 1000,
        })
    };
    let result = hand(&mut pair, To::Client, report(1000));
    assert_eq!(code(result), TransportCode::PROTOCOL_VIOLATION);
    // One that was sent is believed once, whatever it says.
    for _ in 0..2 {
        hand(&mut pair, To::Client, report(0)).expect("harmless");
    }
}

#[test]
fn nak_of_everything_acknowledged_repairs_nothing() {
    let mut pair = connected();
    let before = pair.client().stats().paths[0].clone();
    for _ in 0..1000 {
        hand(&mut pair, To::Client, nak(0, 0..20)).expect("harmless");
    }
    pair.run(Duration::from_millis(300));
    let after = &pair.client().stats().paths[0];
    assert_eq!(after.idle_naks - before.idle_naks, 1000);
    assert!(after.sent_packets <= before.sent_packets + 2);
}

//= spec/03-reliability.md#nak-schedule
//= type=test
//# A sender MUST treat a packet named in a NAK as lost, unless it was acknowledged or is being
//# repaired already.
#[test]
fn repeated_nak_repairs_once() {
    let mut pair = connected();
    pair.server.script = Box::new(|_, _| pair::Fate::Drop);
    let id = pair.client().open(crate::units::Dir::Uni).expect("allowed");
    let before = pair.client().stats().paths[0].sent_packets;
    pair.client()
        .write(id, &pattern(3000))
        .expect("there is room");
    pair.run(Duration::from_millis(1));
    let sent = pair.client().stats().paths[0].sent_packets;
    assert!(sent > before);
    // Numbers may be ahead of the count by those skipped: name the last ones that are surely there.
    for _ in 0..100 {
        hand(&mut pair, To::Client, nak(0, sent - 1..sent)).expect("it was sent");
    }
    pair.run(Duration::from_millis(5));
    assert!(pair.client().stats().paths[0].sent_packets <= sent + 2);
}

//= spec/07-paths.md#path-ids
//= type=test
//# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a frame names a path that was never
//# opened.
#[test]
fn frames_of_unknown_paths_are_a_violation() {
    let path = PathId(1);
    let head = AckHead {
        path,
        delay_us: 0,
        received_at_us: 0,
        ecn: None,
    };
    let frames = [
        Frame::Ack(Ack {
            head,
            ranges: ranges(0..1),
        }),
        nak(1, 0..1),
        Frame::AckPolicy(AckPolicy {
            path,
            sequence: 1,
            packets: 2,
            delay_us: 1,
            reorder_us: 1,
        }),
        Frame::NewConnectionId(NewConnectionId {
            path,
            sequence: 9,
            retire_prior_to: 0,
            id: ConnectionId::new([9; 8]),
            reset_token: [9; 16],
        }),
        Frame::RetireConnectionId(RetireConnectionId { path, sequence: 0 }),
        Frame::Train(Train {
            path,
            train: 0,
            index: 0,
            count: 2,
        }),
        Frame::TrainReport(TrainReport {
            path,
            train: 0,
            first: 0,
            last: 1,
            span_ns: 1,
        }),
    ];
    for frame in frames {
        for to in [To::Client, To::Server] {
            let mut pair = connected();
            let result = hand(&mut pair, to, frame.clone());
            assert_eq!(code(result), TransportCode::PROTOCOL_VIOLATION, "{frame:?}");
        }
    }
}

//= spec/02-handshake.md#levels
//= type=test
//# A server MUST close the connection with PROTOCOL_VIOLATION when it receives HANDSHAKE_DONE.
#[test]
fn handshake_done_from_a_client_is_a_violation() {
    let mut pair = connected();
    assert_eq!(
        code(hand(&mut pair, To::Server, Frame::HandshakeDone)),
        TransportCode::PROTOCOL_VIOLATION
    );
}

#[test]
fn handshake_bytes_after_the_handshake_are_a_violation() {
    let mut pair = connected();
    let crypto = Crypto {
        offset: 0,
        data: Bytes::from_static(b"hello again"),
    };
    assert_eq!(
        code(hand(&mut pair, To::Server, Frame::Crypto(crypto))),
        TransportCode::PROTOCOL_VIOLATION
    );
}

fn offer(sequence: u64, retire_prior_to: u64) -> Frame {
    Frame::NewConnectionId(NewConnectionId {
        path: PathId::INITIAL,
        sequence,
        retire_prior_to,
        id: ConnectionId::new(sequence.to_be_bytes()),
        reset_token: [7; 16],
    })
}

//= spec/07-paths.md#connection-ids
//= type=test
//# An endpoint MUST close the connection with CONNECTION_ID_LIMIT_ERROR when the peer offers more
//# than four ids that are not retired.
#[test]
fn flood_of_connection_ids_is_refused() {
    let mut pair = connected();
    let error = (2..20).find_map(|sequence| hand(&mut pair, To::Server, offer(sequence, 0)).err());
    assert_eq!(
        error.expect("the limit is four").code,
        TransportCode::CONNECTION_ID_LIMIT_ERROR
    );
}

#[test]
fn endless_forced_retirement_is_refused() {
    let mut pair = connected();
    pair.client.script = Box::new(|_, _| pair::Fate::Drop);
    let error =
        (2..100).find_map(|sequence| hand(&mut pair, To::Server, offer(sequence, sequence)).err());
    assert_eq!(
        error.expect("retirements pile up").code,
        TransportCode::CONNECTION_ID_LIMIT_ERROR
    );
}

//= spec/07-paths.md#connection-ids
//= type=test
//# An endpoint MUST close the connection with PROTOCOL_VIOLATION when the peer retires an id that was
//# never issued.
#[test]
fn retirement_of_an_id_never_issued_is_a_violation() {
    let mut pair = connected();
    let retirement = RetireConnectionId {
        path: PathId::INITIAL,
        sequence: 77,
    };
    let result = hand(&mut pair, To::Server, Frame::RetireConnectionId(retirement));
    assert_eq!(code(result), TransportCode::PROTOCOL_VIOLATION);
}

//= spec/05-streams.md#datagrams
//= type=test
//# A receiver MUST close the connection with PROTOCOL_VIOLATION when it receives one that is.
#[test]
fn datagram_above_the_announced_limit_is_a_violation() {
    let server = TransportConfig::default().datagram_buffer(100);
    let mut pair = Setup {
        server,
        ..Setup::default()
    }
    .build();
    pair.connect();
    let datagram = |len| {
        Frame::Datagram(Datagram {
            data: Bytes::from(vec![0; len]),
        })
    };
    hand(&mut pair, To::Server, datagram(99)).expect("within the limit");
    assert_eq!(
        code(hand(&mut pair, To::Server, datagram(100))),
        TransportCode::PROTOCOL_VIOLATION
    );
}

/// An empty packet of the client's, with these bits of its first byte set as well.
fn sealed(pair: &mut Pair, bits: u8) -> Vec<u8> {
    let client = pair.client();
    let mut out = Vec::new();
    let (packet, number) = client
        .begin_packet(PathId::INITIAL, 1200, &mut out)
        .expect("there is space");
    assert!(packet.writer(&mut out).put(&Frame::Ping));
    out[0] |= bits;
    let keys = client.keys.as_mut().expect("the handshake is complete");
    (packet.seal_data(&mut out, keys, PathId::INITIAL, number)).expect("the keys are fresh");
    out
}

/// How the server closed the connection, if it did.
fn server_closed(pair: &mut Pair) -> Option<TransportCode> {
    pair.run(Duration::from_millis(1));
    let mut events = pair.server.events.iter();
    events.find_map(|(_, event)| match event {
        super::Event::Closed(ConnectionError::Transport(error)) => Some(error.code),
        _ => None,
    })
}

//= spec/01-packet.md#first-byte
//= type=test
//# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened has a
//# reserved bit set.
#[test]
fn reserved_bits_of_a_genuine_packet_are_a_violation() {
    let violation = Some(TransportCode::PROTOCOL_VIOLATION);
    for (bits, expected) in [(0, None), (0x08, violation), (0x10, violation)] {
        let mut pair = connected();
        let packet = sealed(&mut pair, bits);
        pair.inject(true, packet);
        assert_eq!(server_closed(&mut pair), expected, "{bits:#x}");
    }
}

//= spec/01-packet.md#frames
//= type=test
//# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened holds no frame.
#[test]
fn packet_without_frames_is_a_violation() {
    let mut pair = connected();
    let now = pair.now;
    pair.server().handle_payload(now, Bytes::new(), None);
    let closed = server_closed(&mut pair);
    assert_eq!(closed, Some(TransportCode::PROTOCOL_VIOLATION));
}

//= spec/01-packet.md#frames
//= type=test
//# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a packet that opened holds a
//# frame its packet type does not allow.
#[test]
fn data_frame_in_a_handshake_packet_is_a_violation() {
    let mut pair = connected();
    let now = pair.now;
    let done = Bytes::from_static(&[0x1e]);
    let result = (pair.client()).handle_handshake_frames(now, Level::Handshake, done);
    let error = result.expect_err("HANDSHAKE_DONE is for data packets");
    assert_eq!(error.code, TransportCode::PROTOCOL_VIOLATION);
}

//= spec/05-streams.md#datagrams
//= type=test
//# A sender MUST NOT send a DATAGRAM frame larger than the peer's max_datagram parameter, type and
//# length included.
#[test]
fn largest_datagram_is_what_the_peer_takes() {
    let server = TransportConfig::default().datagram_buffer(100);
    let mut pair = Setup {
        server,
        ..Setup::default()
    }
    .build();
    pair.connect();
    let frame = |len| Datagram {
        data: Bytes::from(vec![0; len]),
    };
    let client = pair.client();
    let sent = (0..=200).rfind(|&len| client.send_datagram(frame(len).data).is_ok());
    let largest = (0..=200).rfind(|&len| frame(len).encoded_len() <= 100);
    assert_eq!(sent, largest);
}

//= spec/02-handshake.md#amplification
//= type=test
//# A server MUST take the client's address as validated when a Handshake packet from it opens.
#[test]
fn end_of_the_handshake_proves_the_address() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.server_handle.is_none());
    let allowance = |pair: &mut Pair| pair.server().paths.active().validation.allowance();
    assert!(allowance(&mut pair) < usize::MAX);
    pair.connect();
    assert_eq!(allowance(&mut pair), usize::MAX);
}
