//! Tests of frames: round trips of every kind, refusals, and that bytes are not copied.

mod any;

use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;

use self::any::{ack_head, any_frame, range_set};
use super::{
    Ack, AckHead, AckRanges, Close, Crypto, Datagram, Frame, FrameError, FrameIter, FrameWriter,
    MaxData, Nak, Stream, StreamHead, control::MAX_STREAMS, kind,
};
use crate::{
    error::{TransportCode, TransportError},
    testing::proptest_config,
    units::{CloseCode, MAX_VARINT},
    wire::{
        id::{PathId, StreamId},
        varint,
    },
};

fn decode_all(payload: &[u8]) -> Result<Vec<Frame>, FrameError> {
    FrameIter::new(Bytes::copy_from_slice(payload)).collect()
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn what_is_written_is_read(frames in prop::collection::vec(any_frame(), 1..8)) {
        let mut payload = Vec::new();
        for frame in &frames {
            let before = payload.len();
            frame.encode(&mut payload);
            prop_assert_eq!(payload.len() - before, frame.encoded_len());
            prop_assert_eq!(payload[before], frame.kind());
        }
        prop_assert_eq!(decode_all(&payload).unwrap(), frames);
    }

    #[test]
    fn a_frame_cut_off_is_an_error_and_the_last_item(frame in any_frame()) {
        //= spec/01-packet.md#frames
        //= type=test
        //# A receiver MUST close the connection with FRAME_ENCODING_ERROR when a packet that opened holds a frame of
        //# an unknown type or one that does not parse.
        let mut whole = Vec::new();
        frame.encode(&mut whole);
        for len in 1..whole.len() {
            let mut frames = FrameIter::new(Bytes::copy_from_slice(&whole[..len]));
            let error = frames.next().unwrap().unwrap_err();
            let error = TransportError::from(error);
            prop_assert_eq!(error.code, TransportCode::FRAME_ENCODING_ERROR);
            prop_assert!(frames.next().is_none());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_survive_a_round_trip(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        for frame in FrameIter::new(bytes.into()).map_while(Result::ok) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(decode_all(&again).unwrap(), [frame]);
        }
    }

    #[test]
    fn an_ack_holds_the_newest_ranges_that_fit(
        head in ack_head(),
        set in range_set(),
        limit in 0..120_usize,
    ) {
        let mut out = vec![0xaa; 10];
        let mut writer = FrameWriter::new(&mut out, 10 + limit);
        let written = Ack::encode_from(&head, set.iter().rev(), &mut writer);
        prop_assert!(out.len() <= 10 + limit);
        if written == 0 {
            prop_assert_eq!(out.len(), 10);
            return Ok(());
        }
        let expected: Vec<Range<u64>> = set.iter().rev().take(written).collect();
        let frames = decode_all(&out[10..]).unwrap();
        let Frame::Ack(ack) = &frames[0] else { panic!("{frames:?}") };
        prop_assert_eq!(&ack.head, &head);
        prop_assert_eq!(half_open(&ack.ranges), expected);
        // One more range would not have fitted.
        if written < set.len() {
            let ranges = AckRanges::new(set.iter().rev().take(written + 1)).unwrap();
            let longer = Ack { head, ranges }.encoded_len();
            prop_assert!(longer > limit);
        }
    }

    #[test]
    fn a_nak_holds_the_newest_gaps_that_fit(set in range_set(), limit in 0..60_usize) {
        let within = set.min().unwrap()..set.max().unwrap() + 1;
        let mut out = Vec::new();
        let mut writer = FrameWriter::new(&mut out, limit);
        let gaps = set.gaps(within).rev();
        let written = Nak::encode_from(PathId(3), gaps.clone(), &mut writer);
        prop_assert!(out.len() <= limit);
        if written > 0 {
            let frames = decode_all(&out).unwrap();
            let Frame::Nak(nak) = &frames[0] else { panic!("{frames:?}") };
            let expected: Vec<Range<u64>> = gaps.take(written).collect();
            prop_assert_eq!(half_open(&nak.ranges), expected);
        }
    }
}

fn half_open(ranges: &AckRanges) -> Vec<Range<u64>> {
    let list: Vec<_> = ranges.iter().map(|r| *r.start()..r.end() + 1).collect();
    assert_eq!(list.len() as u64, ranges.count());
    assert_eq!(list[0].end - 1, ranges.largest());
    list
}

#[test]
fn stream_data_is_a_slice_of_the_packet() {
    let frame = Frame::Stream(Stream {
        id: StreamId(4),
        offset: 9,
        fin: true,
        data: Bytes::from_static(&[7; 100]),
    });
    let mut payload = Vec::new();
    frame.encode(&mut payload);
    let payload = Bytes::from(payload);
    let within = payload.as_ptr_range();
    let Some(Ok(Frame::Stream(stream))) = FrameIter::new(payload).next() else {
        panic!("not a stream frame");
    };
    assert!(within.contains(&stream.data.as_ptr()));
    assert_eq!(stream.data, [7; 100][..]);
}

#[test]
fn a_stream_frame_without_length_takes_the_rest() {
    let head = StreamHead {
        id: StreamId(4),
        offset: 0,
        fin: false,
        len: None,
    };
    let mut payload = Vec::new();
    head.encode(&mut payload);
    assert_eq!(payload.len(), head.encoded_len());
    payload.extend_from_slice(&[1, 1, 1]);
    let frames = decode_all(&payload).unwrap();
    let data = Bytes::from_static(&[1, 1, 1]);
    assert_eq!(
        frames,
        [Frame::Stream(Stream {
            id: StreamId(4),
            offset: 0,
            fin: false,
            data
        })]
    );
}

#[test]
fn a_datagram_without_length_takes_the_rest() {
    let frames = decode_all(&[kind::DATAGRAM, 5, 6]).unwrap();
    assert_eq!(
        frames,
        [Frame::Datagram(Datagram {
            data: Bytes::from_static(&[5, 6])
        })]
    );
}

#[test]
fn padding_is_one_frame_however_long() {
    let mut payload = vec![0; 1000];
    payload.push(kind::PING);
    payload.push(0);
    let frames = decode_all(&payload).unwrap();
    assert_eq!(
        frames,
        [Frame::Padding(1000), Frame::Ping, Frame::Padding(1)]
    );
    let mut again = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut again));
    assert_eq!(again, payload);
}

#[test]
fn ranges_below_zero_are_refused() {
    //= spec/01-packet.md#ranges
    //= type=test
    //# A receiver MUST refuse ranges that reach below packet number 0.
    for (largest, first, gap, len) in [(5, 6, 0, 0), (5, 5, 0, 0), (5, 2, 2, 0), (5, 1, 1, 2)] {
        let extra = u8::from((largest, first) != (5, 6));
        let payload = [kind::NAK, 0, largest, extra, first, gap, len];
        assert!(decode_all(&payload).is_err(), "{payload:?}");
    }
    // The same with the smallest number exactly 0.
    let frames = decode_all(&[kind::NAK, 0, 5, 1, 1, 0, 2]).unwrap();
    let Frame::Nak(nak) = &frames[0] else {
        panic!("{frames:?}")
    };
    assert!(nak.ranges.iter().eq([4..=5, 0..=2]));
}

#[test]
fn a_range_count_the_packet_cannot_hold_is_refused() {
    //= spec/01-packet.md#ranges
    //= type=test
    //# A receiver MUST refuse a Range Count for
    //# which the rest of the packet is too short before it reserves memory for the ranges.
    let mut payload = vec![kind::NAK, 0];
    varint::put(&mut payload, MAX_VARINT);
    varint::put(&mut payload, MAX_VARINT);
    payload.extend_from_slice(&[0, 0, 0, 0]);
    let error = decode_all(&payload).unwrap_err();
    assert_eq!(error.error.what, "ranges: more than the packet holds");
}

#[test]
fn unordered_ranges_end_the_list() {
    let touching = [10..12, 8..10, 1..2];
    let ranges = AckRanges::new(touching.into_iter()).unwrap();
    assert!(ranges.iter().eq(std::iter::once(10..=11)));
    assert!(AckRanges::new(std::iter::empty()).is_none());
}

#[test]
fn unknown_types_are_refused() {
    for kind in [0x07, 0x1f, 0x24, 0x2f, 0x32, 0x3f, 0x40, 0x80, 0xff] {
        let error = decode_all(&[kind, 0, 0, 0]).unwrap_err();
        assert_eq!(error.frame_type, u64::from(kind));
        assert_eq!(error.error.what, "frame type: unknown");
    }
}

#[test]
fn data_beyond_the_last_offset_is_refused() {
    //= spec/01-packet.md#frames
    //= type=test
    //# The end of the data in a CRYPTO or STREAM frame MUST NOT
    //# exceed offset 2^62 - 1.
    for data in [&b""[..], b"x"] {
        let mut crypto = Vec::new();
        Crypto::encode_slice(MAX_VARINT, data, &mut crypto);
        assert_eq!(decode_all(&crypto).is_ok(), data.is_empty());

        let data = Bytes::copy_from_slice(data);
        let stream = Stream {
            id: StreamId(0),
            offset: MAX_VARINT,
            fin: true,
            data,
        };
        let mut out = Vec::new();
        stream.encode(&mut out);
        assert_eq!(decode_all(&out).is_ok(), stream.data.is_empty());
    }
}

#[test]
fn more_streams_than_ids_are_refused() {
    //= spec/01-packet.md#frames
    //= type=test
    //# A count of streams MUST NOT exceed 2^60.
    for kind in [
        kind::MAX_STREAMS_BI,
        kind::MAX_STREAMS_UNI,
        kind::STREAMS_BLOCKED_BI,
        kind::STREAMS_BLOCKED_UNI,
    ] {
        for (count, accepted) in [(MAX_STREAMS, true), (MAX_STREAMS + 1, false)] {
            let mut payload = vec![kind];
            varint::put(&mut payload, count);
            assert_eq!(decode_all(&payload).is_ok(), accepted);
        }
    }
}

#[test]
fn a_path_id_above_32_bits_is_refused() {
    //= spec/01-packet.md#path-ids
    //= type=test
    //# A path id
    //# MUST NOT exceed 2^32 - 1.
    for (path, accepted) in [(u64::from(u32::MAX), true), (1 << 32, false)] {
        let mut payload = vec![kind::RETIRE_CONNECTION_ID];
        varint::put(&mut payload, path);
        varint::put(&mut payload, 0);
        assert_eq!(decode_all(&payload).is_ok(), accepted);
    }
}

#[test]
fn handshake_packets_allow_few_frames() {
    //= spec/01-packet.md#frames
    //= type=test
    //# Initial and Handshake packets MUST NOT hold frames other than PADDING, PING, ACK, CRYPTO and CLOSE of
    //# the transport.
    let reason = Bytes::new();
    let ranges = AckRanges::new(std::iter::once(0..1)).unwrap();
    let head = AckHead {
        path: PathId(0),
        delay_us: 0,
        received_at_us: 0,
        ecn: None,
    };
    let code = TransportCode::NO_ERROR;
    for frame in [
        Frame::Padding(1),
        Frame::Ping,
        Frame::Ack(Ack {
            head,
            ranges: ranges.clone(),
        }),
        Frame::Crypto(Crypto {
            offset: 0,
            data: Bytes::new(),
        }),
        Frame::Close(Close::Transport {
            code,
            frame_type: 0,
            reason: reason.clone(),
        }),
    ] {
        assert!(frame.is_allowed_in_handshake(), "{frame:?}");
    }
    for frame in [
        Frame::Nak(Nak {
            path: PathId(0),
            ranges,
        }),
        Frame::HandshakeDone,
        Frame::Close(Close::Application {
            code: CloseCode::default(),
            reason,
        }),
        Frame::MaxData(MaxData { limit: 0, read: 0 }),
        Frame::Datagram(Datagram { data: Bytes::new() }),
    ] {
        assert!(!frame.is_allowed_in_handshake(), "{frame:?}");
    }
}

#[test]
fn acks_and_padding_do_not_elicit_acks() {
    //= spec/01-packet.md#frames
    //= type=test
    //# A packet is ack-eliciting when it holds any frame other than PADDING, ACK, CLOSE and
    //# TRAIN_REPORT, and a receiver MUST acknowledge it within the delay its ACK policy gives.
    let quiet: [&[u8]; 5] = [
        &[kind::PADDING],
        &[kind::ACK, 0, 5, 0, 0, 0, 0],
        &[kind::ACK_ECN, 0, 5, 0, 0, 1, 1, 1, 0, 0],
        &[kind::CLOSE_TRANSPORT, 0, 0, 0],
        &[kind::TRAIN_REPORT, 0, 0, 0, 0, 0],
    ];
    for payload in quiet {
        assert!(
            !decode_all(payload).unwrap()[0].is_ack_eliciting(),
            "{payload:?}"
        );
    }
    let eliciting: [&[u8]; 5] = [
        &[kind::PING],
        &[kind::NAK, 0, 5, 0, 0],
        &[kind::ACK_POLICY, 0, 0, 0, 0, 0],
        &[kind::STREAM, 0],
        &[kind::TRAIN, 0, 0, 0, 0],
    ];
    for payload in eliciting {
        assert!(
            decode_all(payload).unwrap()[0].is_ack_eliciting(),
            "{payload:?}"
        );
    }
}

#[test]
fn a_writer_refuses_what_does_not_fit() {
    let mut out = vec![0; 5];
    let mut writer = FrameWriter::new(&mut out, 7);
    assert_eq!(writer.remaining(), 2);
    let blocked = Frame::MaxData(MaxData { limit: 64, read: 0 });
    assert!(!writer.put(&blocked));
    assert!(writer.put(&Frame::Ping));
    assert!(writer.put(&Frame::HandshakeDone));
    assert!(!writer.put(&Frame::Ping));
    assert_eq!(out.len(), 7);
}
