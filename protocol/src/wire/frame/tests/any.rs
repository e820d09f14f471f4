//! Any frame at all, for property tests.

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    error::TransportCode,
    units::{CloseCode, Dir, MAX_VARINT},
    wire::{
        RangeSet,
        frame::{
            Ack, AckHead, AckPolicy, AckRanges, Close, Crypto, DataBlocked, Datagram, EcnCounts,
            Frame, MaxData, MaxStreamData, MaxStreams, Nak, NewConnectionId, PathChallenge,
            PathResponse, ResetStream, RetireConnectionId, StopSending, Stream, StreamDataBlocked,
            StreamsBlocked, Train, TrainReport, control::MAX_STREAMS,
        },
        id::{ConnectionId, PathId, StreamId},
    },
};

fn number() -> impl Strategy<Value = u64> + Clone {
    (0..=MAX_VARINT, 0..62_u32).prop_map(|(value, shift)| value >> shift)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn stream_id() -> impl Strategy<Value = StreamId> {
    number().prop_map(StreamId)
}

fn path() -> impl Strategy<Value = PathId> {
    any::<u32>().prop_map(PathId)
}

fn code() -> impl Strategy<Value = CloseCode> {
    number().prop_map(|code| CloseCode::try_from(code).unwrap())
}

fn dir() -> impl Strategy<Value = Dir> {
    prop_oneof![Just(Dir::Bi), Just(Dir::Uni)]
}

/// Range sets from one number to a few dozen ranges.
pub(super) fn range_set() -> impl Strategy<Value = RangeSet> {
    let range = (0..5000_u64, 1..20_u64).prop_map(|(start, len)| start..start + len);
    (prop::collection::vec(range, 1..40), any::<bool>()).prop_map(|(ranges, high)| {
        let base = if high { MAX_VARINT - 10_000 } else { 0 };
        ranges
            .into_iter()
            .map(|r| base + r.start..base + r.end)
            .collect()
    })
}

fn ranges() -> impl Strategy<Value = AckRanges> {
    range_set().prop_map(|set| AckRanges::new(set.iter().rev()).unwrap())
}

pub(super) fn ack_head() -> impl Strategy<Value = AckHead> {
    let counts = (number(), number(), number());
    let ecn = prop::option::of(counts.prop_map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce }));
    (path(), number(), number(), ecn).prop_map(|(path, delay_us, received_at_us, ecn)| AckHead {
        path,
        delay_us,
        received_at_us,
        ecn,
    })
}

fn feedback_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (ack_head(), ranges()).prop_map(|(head, ranges)| Frame::Ack(Ack { head, ranges })),
        (path(), ranges()).prop_map(|(path, ranges)| Frame::Nak(Nak { path, ranges })),
        (path(), number(), number(), number(), number()).prop_map(
            |(path, sequence, packets, delay_us, reorder_us)| {
                Frame::AckPolicy(AckPolicy {
                    path,
                    sequence,
                    packets,
                    delay_us,
                    reorder_us,
                })
            }
        ),
        (path(), number(), number(), number()).prop_map(|(path, train, index, count)| {
            Frame::Train(Train {
                path,
                train,
                index,
                count,
            })
        }),
        (path(), number(), number(), number(), number()).prop_map(
            |(path, train, first, last, span_ns)| {
                Frame::TrainReport(TrainReport {
                    path,
                    train,
                    first,
                    last,
                    span_ns,
                })
            }
        ),
    ]
}

fn data_frame() -> impl Strategy<Value = Frame> {
    // Offsets leave room for the data below 2^62 - 1.
    let offset = || number().prop_map(|offset| offset.min(MAX_VARINT - 40));
    prop_oneof![
        (offset(), data()).prop_map(|(offset, data)| Frame::Crypto(Crypto { offset, data })),
        (stream_id(), offset(), any::<bool>(), data()).prop_map(|(id, offset, fin, data)| {
            Frame::Stream(Stream {
                id,
                offset,
                fin,
                data,
            })
        }),
        data().prop_map(|data| Frame::Datagram(Datagram { data })),
    ]
}

fn stream_control_frame() -> impl Strategy<Value = Frame> {
    let count = || number().prop_map(|count| count.min(MAX_STREAMS));
    prop_oneof![
        (number(), number()).prop_map(|(limit, read)| Frame::MaxData(MaxData { limit, read })),
        number().prop_map(|limit| Frame::DataBlocked(DataBlocked { limit })),
        (stream_id(), number(), number()).prop_map(|(id, limit, read)| {
            Frame::MaxStreamData(MaxStreamData { id, limit, read })
        }),
        (stream_id(), number())
            .prop_map(|(id, limit)| Frame::StreamDataBlocked(StreamDataBlocked { id, limit })),
        (dir(), count()).prop_map(|(dir, limit)| Frame::MaxStreams(MaxStreams { dir, limit })),
        (dir(), count())
            .prop_map(|(dir, limit)| Frame::StreamsBlocked(StreamsBlocked { dir, limit })),
        (stream_id(), code(), number()).prop_map(|(id, code, final_size)| {
            Frame::ResetStream(ResetStream {
                id,
                code,
                final_size,
            })
        }),
        (stream_id(), code()).prop_map(|(id, code)| Frame::StopSending(StopSending { id, code })),
    ]
}

fn connection_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        Just(Frame::Ping),
        Just(Frame::HandshakeDone),
        (
            path(),
            number(),
            number(),
            any::<[u8; 8]>(),
            any::<[u8; 16]>()
        )
            .prop_map(|(path, sequence, retire_prior_to, id, reset_token)| {
                let id = ConnectionId::new(id);
                Frame::NewConnectionId(NewConnectionId {
                    path,
                    sequence,
                    retire_prior_to,
                    id,
                    reset_token,
                })
            }),
        (path(), number()).prop_map(|(path, sequence)| {
            Frame::RetireConnectionId(RetireConnectionId { path, sequence })
        }),
        any::<[u8; 8]>().prop_map(|data| Frame::PathChallenge(PathChallenge { data })),
        any::<[u8; 8]>().prop_map(|data| Frame::PathResponse(PathResponse { data })),
        (number(), number(), data()).prop_map(|(code, frame_type, reason)| {
            let code = TransportCode::from(code);
            Frame::Close(Close::Transport {
                code,
                frame_type,
                reason,
            })
        }),
        (code(), data())
            .prop_map(|(code, reason)| Frame::Close(Close::Application { code, reason })),
    ]
}

pub(super) fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        feedback_frame(),
        data_frame(),
        stream_control_frame(),
        connection_frame()
    ]
}
