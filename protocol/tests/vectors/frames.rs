//! A frame from its description in `frame.json`.

use rp_protocol::{
    error::TransportCode,
    units::{CloseCode, Dir, Side},
    wire::{
        Frame,
        frame::{
            Ack, AckHead, AckPolicy, AckRanges, Close, Crypto, DataBlocked, Datagram, EcnCounts,
            MaxData, MaxStreamData, MaxStreams, Nak, NewConnectionId, PathChallenge, PathResponse,
            ResetStream, RetireConnectionId, StopSending, Stream, StreamDataBlocked,
            StreamsBlocked, Train, TrainReport,
        },
        id::{ConnectionId, PathId, StreamId},
    },
};
use serde_json::Value;

use crate::json::{array, as_number, flag, hex, number, text};

/// The frame `case` describes.
pub(crate) fn frame(case: &Value) -> Frame {
    let n = |field| number(case, field);
    match text(case, "frame") {
        "padding" => Frame::Padding(usize::try_from(n("len")).expect("a length")),
        "ping" => Frame::Ping,
        "ack" | "nak" | "ack_policy" | "train" | "train_report" => feedback(case),
        "crypto" => Frame::Crypto(Crypto {
            offset: n("offset"),
            data: hex(case, "data").into(),
        }),
        "stream" => Frame::Stream(Stream {
            id: stream(case),
            offset: n("offset"),
            fin: flag(case, "fin", false),
            data: hex(case, "data").into(),
        }),
        "datagram" => Frame::Datagram(Datagram {
            data: hex(case, "data").into(),
        }),
        "new_connection_id" => Frame::NewConnectionId(NewConnectionId {
            path: path(case),
            sequence: n("sequence"),
            retire_prior_to: n("retire_prior_to"),
            id: ConnectionId::new(fixed(case, "id")),
            reset_token: fixed(case, "reset_token"),
        }),
        "retire_connection_id" => Frame::RetireConnectionId(RetireConnectionId {
            path: path(case),
            sequence: n("sequence"),
        }),
        "path_challenge" => Frame::PathChallenge(PathChallenge {
            data: fixed(case, "data"),
        }),
        "path_response" => Frame::PathResponse(PathResponse {
            data: fixed(case, "data"),
        }),
        "close_transport" => Frame::Close(Close::Transport {
            code: TransportCode::from(n("code")),
            frame_type: n("frame_type"),
            reason: hex(case, "reason").into(),
        }),
        "close_application" => Frame::Close(Close::Application {
            code: code(case),
            reason: hex(case, "reason").into(),
        }),
        "handshake_done" => Frame::HandshakeDone,
        _ => stream_control(case),
    }
}

fn feedback(case: &Value) -> Frame {
    let n = |field| number(case, field);
    let path = path(case);
    match text(case, "frame") {
        "ack" => {
            let ecn = (!case["ecn"].is_null()).then(|| EcnCounts {
                ect0: number(&case["ecn"], "ect0"),
                ect1: number(&case["ecn"], "ect1"),
                ce: number(&case["ecn"], "ce"),
            });
            let (delay_us, received_at_us) = (n("delay_us"), n("received_at_us"));
            let head = AckHead {
                path,
                delay_us,
                received_at_us,
                ecn,
            };
            Frame::Ack(Ack {
                head,
                ranges: ranges(case),
            })
        }
        "nak" => Frame::Nak(Nak {
            path,
            ranges: ranges(case),
        }),
        "ack_policy" => Frame::AckPolicy(AckPolicy {
            path,
            sequence: n("sequence"),
            packets: n("packets"),
            delay_us: n("delay_us"),
            reorder_us: n("reorder_us"),
        }),
        "train" => Frame::Train(Train {
            path,
            train: n("train"),
            index: n("index"),
            count: n("count"),
        }),
        _ => Frame::TrainReport(TrainReport {
            path,
            train: n("train"),
            first: n("first"),
            last: n("last"),
            span_ns: n("span_ns"),
        }),
    }
}

fn stream_control(case: &Value) -> Frame {
    let limit = || number(case, "limit");
    match text(case, "frame") {
        "max_data" => Frame::MaxData(MaxData {
            limit: limit(),
            read: number(case, "read"),
        }),
        "max_stream_data" => Frame::MaxStreamData(MaxStreamData {
            id: stream(case),
            limit: limit(),
            read: number(case, "read"),
        }),
        "max_streams" => Frame::MaxStreams(MaxStreams {
            dir: dir(case),
            limit: limit(),
        }),
        "data_blocked" => Frame::DataBlocked(DataBlocked { limit: limit() }),
        "stream_data_blocked" => Frame::StreamDataBlocked(StreamDataBlocked {
            id: stream(case),
            limit: limit(),
        }),
        "streams_blocked" => Frame::StreamsBlocked(StreamsBlocked {
            dir: dir(case),
            limit: limit(),
        }),
        "reset_stream" => Frame::ResetStream(ResetStream {
            id: stream(case),
            code: code(case),
            final_size: number(case, "final_size"),
        }),
        "stop_sending" => Frame::StopSending(StopSending {
            id: stream(case),
            code: code(case),
        }),
        unknown => unreachable!("frame {unknown}"),
    }
}

/// Inclusive ranges, newest first.
fn ranges(case: &Value) -> AckRanges {
    let ranges = array(case, "ranges").iter().map(|pair| {
        let bound = |at: usize| as_number(&pair[at]).expect("a packet number");
        bound(0)..bound(1) + 1
    });
    AckRanges::new(ranges).expect("at least one range")
}

fn path(case: &Value) -> PathId {
    PathId(u32::try_from(number(case, "path")).expect("a path id"))
}

fn stream(case: &Value) -> StreamId {
    let id = number(case, "id");
    let initiator = if id & 1 == 0 {
        Side::Client
    } else {
        Side::Server
    };
    let dir = if id & 2 == 0 { Dir::Bi } else { Dir::Uni };
    StreamId::new(initiator, dir, id >> 2)
}

fn dir(case: &Value) -> Dir {
    match text(case, "dir") {
        "bi" => Dir::Bi,
        _ => Dir::Uni,
    }
}

fn code(case: &Value) -> CloseCode {
    CloseCode::try_from(number(case, "code")).expect("a close code")
}

fn fixed<const N: usize>(case: &Value, field: &str) -> [u8; N] {
    hex(case, field).try_into().expect(field)
}
