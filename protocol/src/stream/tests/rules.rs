//! What the specification demands of frames, one rule at a time.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, bytes, deliver, events, read_all, transmit, write_up_to};
use crate::{
    config::TransportConfig,
    error::{ReadError, TransportCode, WriteError},
    stream::{StreamEvent, StreamSent},
    units::{CloseCode, Dir, Side},
    wire::{Frame, frame, id::StreamId},
};

const CODE: CloseCode = CloseCode::from_u32(7);

fn client_bi(index: u64) -> StreamId {
    StreamId::new(Side::Client, Dir::Bi, index)
}

fn stream(id: StreamId, offset: u64, len: usize, fin: bool) -> Frame {
    Frame::Stream(frame::Stream {
        id,
        offset,
        fin,
        data: Bytes::from(vec![0; len]),
    })
}

fn reset(id: StreamId, final_size: u64) -> Frame {
    Frame::ResetStream(frame::ResetStream {
        id,
        code: CODE,
        final_size,
    })
}

fn stop(id: StreamId) -> Frame {
    Frame::StopSending(frame::StopSending { id, code: CODE })
}

fn max_stream_data(id: StreamId, limit: u64) -> Frame {
    Frame::MaxStreamData(frame::MaxStreamData { id, limit, read: 0 })
}

/// The code with which the server refuses the last of `frames`, having taken the others.
fn refused(pair: &mut Pair, frames: Vec<Frame>) -> TransportCode {
    let mut results: Vec<_> = frames.into_iter().map(|f| pair.server_gets(f)).collect();
    let last = results.pop().unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    last.unwrap_err().code
}

//= spec/05-streams.md#stream-ids
//= type=test
//# A receiver MUST close the connection with STREAM_STATE_ERROR when a frame names a stream that only it
//# could have opened and has not.
#[test]
fn a_frame_for_a_stream_of_ours_never_opened_is_refused() {
    let id = StreamId::new(Side::Server, Dir::Bi, 0);
    let mut pair = Pair::new();
    let code = refused(&mut pair, vec![stream(id, 0, 1, false)]);
    assert_eq!(code, TransportCode::STREAM_STATE_ERROR);
    assert_eq!(pair.server.open(Dir::Bi), Some(id));
    assert_eq!(pair.server_gets(stream(id, 0, 1, false)), Ok(()));
}

//= spec/05-streams.md#stream-ids
//= type=test
//# A receiver MUST close the connection with STREAM_STATE_ERROR when
//# STREAM, RESET_STREAM or STREAM_DATA_BLOCKED names a unidirectional stream of its own, or STOP_SENDING
//# or MAX_STREAM_DATA one of the peer.
#[test]
fn frames_against_the_direction_of_a_stream_are_refused() {
    let theirs = StreamId::new(Side::Client, Dir::Uni, 0);
    let ours = StreamId::new(Side::Server, Dir::Uni, 0);
    let blocked = Frame::StreamDataBlocked(frame::StreamDataBlocked { id: ours, limit: 0 });
    for frame in [
        stream(ours, 0, 1, false),
        reset(ours, 0),
        blocked,
        stop(theirs),
        max_stream_data(theirs, 1),
    ] {
        let mut pair = Pair::new();
        assert_eq!(pair.server.open(Dir::Uni), Some(ours));
        let code = refused(&mut pair, vec![stream(theirs, 0, 1, false), frame]);
        assert_eq!(code, TransportCode::STREAM_STATE_ERROR);
    }
}

//= spec/05-streams.md#stream-ids
//= type=test
//# A receiver MUST ignore a frame for a stream that is closed: it is
//# late, not wrong.
#[test]
fn frames_for_a_closed_stream_are_ignored() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, b"all").unwrap();
    pair.client.finish(id).unwrap();
    pair.settle();
    assert_eq!(read_all(&mut pair.server, id), (b"all".to_vec(), true));
    assert!(!pair.server.has_open() && !pair.client.has_open());
    let unread = pair.server.unread_bytes();
    for frame in [stream(id, 0, 3, true), reset(id, 99)] {
        assert_eq!(pair.server_gets(frame), Ok(()));
    }
    assert_eq!(pair.client.handle(pair.now, stop(id)), Ok(()));
    assert!(!pair.server.has_open());
    assert_eq!(pair.server.unread_bytes(), unread);
    assert_eq!(pair.server.counters().late_frames, 2);
}

//= spec/05-streams.md#stream-limits
//= type=test
//# A receiver MUST
//# close the connection with STREAM_LIMIT_ERROR when a frame names a stream whose index is not below the
//# limit it announced.
#[test]
fn a_stream_beyond_the_limit_is_refused() {
    let transport = TransportConfig::default().max_streams_bi(10);
    let mut pair = Pair::with(&transport);
    let frames = vec![stream(client_bi(9), 0, 1, false), stop(client_bi(10))];
    assert_eq!(
        refused(&mut pair, frames),
        TransportCode::STREAM_LIMIT_ERROR
    );
}

//= spec/05-streams.md#stream-limits
//= type=test
//# A sender MUST NOT open a stream whose index is not below the limit the peer announced.
//= spec/05-streams.md#stream-limits
//= type=test
//# A receiver MUST raise the limit when an eighth of the streams it allows at once
//# have closed since it last announced one.
//= spec/05-streams.md#stream-limits
//= type=test
//# A sender that would open a stream and may not SHOULD say so
//# with STREAMS_BLOCKED, once per limit.
#[test]
fn streams_can_be_opened_again_after_others_are_over() {
    let transport = TransportConfig::default().max_streams_uni(4);
    let mut pair = Pair::with(&transport);
    for round in 0..20 {
        let ids: Vec<_> = std::iter::from_fn(|| pair.client.open(Dir::Uni)).collect();
        assert_eq!(ids.len(), 4, "round {round}");
        for id in ids {
            pair.client.write(id, b"x").unwrap();
            pair.client.finish(id).unwrap();
        }
        pair.settle();
        while let Some(id) = pair.server.accept(Dir::Uni) {
            assert!(read_all(&mut pair.server, id).1);
        }
        pair.settle();
        assert!(events(&mut pair.client).contains(&StreamEvent::Available(Dir::Uni)));
    }
    assert_eq!(pair.server.counters().peer_streams_blocked, 20);
}

//= spec/05-streams.md#stream-ids
//= type=test
//# A receiver MUST treat all
//# streams of a kind as open that have a lower index than one it has seen, as packets may overtake each
//# other; it SHOULD spend no memory on one before a frame names it.
#[test]
fn a_high_index_opens_the_lower_ones_without_cost() {
    let mut pair = Pair::new();
    pair.server_gets(stream(client_bi(16_000), 0, 1, false))
        .unwrap();
    assert_eq!(pair.server.accept(Dir::Bi), Some(client_bi(16_000)));
    assert_eq!(pair.server.accept(Dir::Bi), None);
    pair.server_gets(stream(client_bi(5), 0, 1, false)).unwrap();
    assert_eq!(pair.server.accept(Dir::Bi), Some(client_bi(5)));
    assert_eq!(pair.server.counters().accepted, 2);
}

//= spec/05-streams.md#final-size
//= type=test
//# A receiver MUST close the connection with FINAL_SIZE_ERROR when a
//# frame reaches beyond the final size, gives another one, or gives one below bytes already received.
#[test]
fn the_end_of_a_stream_does_not_move() {
    let id = client_bi(0);
    let end = stream(id, 90, 10, true);
    for last in [
        vec![end.clone(), stream(id, 100, 1, false)],
        vec![end.clone(), stream(id, 90, 9, true)],
        vec![end.clone(), reset(id, 99)],
        vec![end.clone(), reset(id, 101)],
        vec![reset(id, 100), stream(id, 100, 1, false)],
        vec![stream(id, 50, 51, false), end],
        vec![stream(id, 50, 51, false), reset(id, 100)],
    ] {
        let mut pair = Pair::new();
        assert_eq!(refused(&mut pair, last), TransportCode::FINAL_SIZE_ERROR);
    }
}

//= spec/05-streams.md#credit
//= type=test
//# A receiver MUST close
//# the connection with FLOW_CONTROL_ERROR when a peer exceeds the credit of a stream or of the
//# connection.
#[test]
fn bytes_beyond_the_credit_are_refused() {
    let transport = TransportConfig::default()
        .initial_stream_credit(1000)
        .max_connection_credit(1500);
    let id = client_bi(0);
    for last in [
        vec![stream(id, 0, 1000, false), stream(id, 1000, 1, false)],
        vec![stream(id, 1000, 0, true), reset(client_bi(1), 1001)],
        vec![
            stream(id, 0, 1000, false),
            stream(client_bi(1), 0, 501, false),
        ],
        vec![stream(id, 0, 1000, false), reset(client_bi(1), 501)],
    ] {
        let mut pair = Pair::with(&transport);
        assert_eq!(refused(&mut pair, last), TransportCode::FLOW_CONTROL_ERROR);
    }
}

//= spec/05-streams.md#credit
//= type=test
//# A sender MUST NOT send bytes beyond the credit of a stream or of the connection.
//= spec/05-streams.md#credit
//= type=test
//# A sender held up SHOULD say so with DATA_BLOCKED or STREAM_DATA_BLOCKED, once per limit.
#[test]
fn a_sender_keeps_to_its_credit_and_says_so_once() {
    let transport = TransportConfig::default()
        .initial_stream_credit(1000)
        .max_connection_credit(1500);
    let mut pair = Pair::with(&transport);
    let ids: Vec<_> = (0..2).map(|_| pair.client.open(Dir::Bi).unwrap()).collect();
    let mut offsets = [0, 0];
    for (&id, offset) in ids.iter().zip(&mut offsets) {
        *offset = write_up_to(&mut pair.client, id, 0, 5000);
        assert_eq!(pair.client.write(id, b"x"), Err(WriteError::Blocked));
    }
    // One stops at its own credit, the other at its share of the connection's.
    assert_eq!(offsets[0], 1000);
    assert!(offsets[1] < 500, "{}", offsets[1]);
    pair.settle();
    let counters = pair.server.counters();
    assert_eq!(counters.peer_data_blocked, 1);
    assert_eq!(counters.peer_stream_data_blocked, 1);
    // Reading lets all of it through in the end.
    let mut read = [0, 0];
    while read != [5000, 5000] {
        for (index, &id) in ids.iter().enumerate() {
            read[index] += read_all(&mut pair.server, id).0.len();
            offsets[index] = write_up_to(&mut pair.client, id, offsets[index], 5000);
        }
        pair.settle();
    }
}

//= spec/05-streams.md#credit
//= type=test
//# A receiver MUST send a lost limit again with its newest value
//# while the peer can still use it.
//= spec/05-streams.md#credit
//= type=test
//# These frames
//# are for statistics: a receiver MUST NOT wait for one before it announces credit.
#[test]
fn a_lost_limit_comes_again_with_its_newest_value() {
    let mut pair = Pair::new();
    let id = client_bi(0);
    let mut limits = Vec::new();
    for half in 0..2 {
        pair.server_gets(stream(id, half * 32_768, 32_768, false))
            .unwrap();
        read_all(&mut pair.server, id);
        pair.now += Duration::from_secs(1);
        pair.server.advance(pair.now);
        limits.extend(transmit(&mut pair.server).unwrap().sent);
    }
    limits.retain(|limit| *limit != StreamSent::MaxData);
    assert_eq!(limits, [StreamSent::MaxStreamData(id); 2]);
    pair.server.on_loss(limits[0]);
    let again = transmit(&mut pair.server).unwrap().frames();
    let (limit, read) = (2 * 65_536, 65_536);
    let newest = Frame::MaxStreamData(frame::MaxStreamData { id, limit, read });
    assert_eq!(again, [newest]);
    // Once the end is known, no limit is of use.
    pair.server_gets(stream(id, 65_536, 1, true)).unwrap();
    pair.server.on_loss(limits[1]);
    assert!(!pair.server.interest().any());
}

//= spec/05-streams.md#sending-states
//= type=test
//# A frame that reaches the end of a finished stream MUST carry FIN.
#[test]
fn every_frame_that_reaches_the_end_carries_it() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Bi).unwrap();
    pair.client.write(id, &bytes(0..100)).unwrap();
    let before = transmit(&mut pair.client).unwrap();
    pair.client.finish(id).unwrap();
    let bare = transmit(&mut pair.client).unwrap();
    assert_eq!(bare.frames(), [stream(id, 100, 0, true)]);
    pair.client.on_loss(before.sent[0]);
    let repair = transmit(&mut pair.client).unwrap();
    let Frame::Stream(repair) = &repair.frames()[0] else {
        panic!("not a STREAM frame");
    };
    assert!(repair.fin);
    pair.client.on_loss(bare.sent[0]);
    let again = transmit(&mut pair.client).unwrap();
    assert_eq!(again.frames(), [stream(id, 100, 0, true)]);
}

//= spec/05-streams.md#resetting
//= type=test
//# A sender MUST NOT send STREAM frames after RESET_STREAM, also not
//# again.
#[test]
fn after_a_reset_nothing_else_is_sent_until_it_is_acknowledged() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, &bytes(0..5000)).unwrap();
    let data = transmit(&mut pair.client).unwrap();
    pair.client.reset(id, CODE).unwrap();
    assert_eq!(pair.client.unacked_bytes(), 0);
    let sent = pair.client.counters().sent_bytes;
    for _ in 0..3 {
        let packet = transmit(&mut pair.client).unwrap();
        assert_eq!(packet.frames(), [reset(id, sent)]);
        pair.client.on_loss(packet.sent[0]);
        pair.client.on_loss(data.sent[0]);
    }
    pair.settle();
    assert_eq!(pair.server.read(id, 1), Err(ReadError::Reset(CODE)));
    assert!(!pair.client.has_open() && !pair.server.has_open());
}

//= spec/05-streams.md#resetting
//= type=test
//# A receiver that has every byte of a stream and its end MUST ignore a
//# RESET_STREAM for it.
#[test]
fn a_reset_after_the_last_byte_takes_nothing_away() {
    let mut pair = Pair::new();
    let id = client_bi(0);
    pair.server_gets(stream(id, 0, 10, true)).unwrap();
    pair.server_gets(reset(id, 10)).unwrap();
    assert_eq!(read_all(&mut pair.server, id), (vec![0; 10], true));
    let id = client_bi(1);
    pair.server_gets(reset(id, 0)).unwrap();
    assert_eq!(pair.server.read(id, 1), Err(ReadError::Reset(CODE)));
}

//= spec/05-streams.md#resetting
//= type=test
//# A receiver that has every byte below the final size MUST hand them to its reader before it tells it of the reset.
#[test]
fn a_reset_is_told_after_the_bytes_if_all_of_them_are_there() {
    let mut pair = Pair::new();
    let (whole, holed) = (client_bi(0), client_bi(1));
    pair.server_gets(stream(whole, 0, 10, false)).unwrap();
    pair.server_gets(reset(whole, 10)).unwrap();
    assert_eq!(pair.server.read(whole, 100), Ok(Some(vec![0; 10].into())));
    assert_eq!(
        pair.server.read(whole, 100),
        Err(ReadError::Reset(CODE)),
        "what was cut must not look whole"
    );
    pair.server_gets(stream(holed, 0, 10, false)).unwrap();
    pair.server_gets(reset(holed, 20)).unwrap();
    assert_eq!(pair.server.read(holed, 100), Err(ReadError::Reset(CODE)));
    assert_eq!(pair.server.unread_bytes(), 0);
}

//= spec/05-streams.md#resetting
//= type=test
//# A sender that wants its bytes to be read first SHOULD send RESET_STREAM when all of them are acknowledged.
#[test]
fn a_reset_after_delivery_waits_for_the_last_acknowledgement() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, &bytes(0..3000)).unwrap();
    pair.client.reset_after_delivery(id, CODE).unwrap();
    assert_eq!(pair.client.write(id, b"x"), Err(WriteError::Closed));
    let lost = transmit(&mut pair.client).unwrap();
    while let Some(packet) = transmit(&mut pair.client) {
        assert!(matches!(packet.frames()[..], [Frame::Stream(_)]));
        deliver(&mut pair.server, &packet, pair.now).unwrap();
        packet
            .sent
            .into_iter()
            .for_each(|what| pair.client.on_ack(what));
    }
    for what in lost.sent {
        pair.client.on_loss(what);
    }
    pair.settle();
    let mut read = Vec::new();
    let end = loop {
        match pair.server.read(id, 1000) {
            Ok(data) => read.extend(data.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (&read[..], end),
        (&bytes(0..3000)[..], ReadError::Reset(CODE))
    );
    pair.settle();
    assert!(!pair.client.has_open() && !pair.server.has_open());
}

//= spec/05-streams.md#stopping
//= type=test
//# The sender of a stream that receives STOP_SENDING before
//# all bytes are acknowledged MUST answer with RESET_STREAM of the same code.
#[test]
fn a_stopped_stream_is_reset_and_its_application_told() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    let offset = write_up_to(&mut pair.client, id, 0, 1 << 20);
    pair.settle();
    pair.server.stop(id, CODE).unwrap();
    assert_eq!(pair.server.read(id, 1), Err(ReadError::Closed));
    pair.settle();
    let stopped = StreamEvent::Stopped { id, code: CODE };
    assert_eq!(events(&mut pair.client), [stopped]);
    assert!(!pair.server.has_open(), "the final size is known");
    assert!(pair.client.has_open(), "the writer has not asked yet");
    assert_eq!(pair.client.write(id, b"x"), Err(WriteError::Stopped(CODE)));
    assert!(!pair.client.has_open());
    // The credit of what nobody read is there again.
    assert!(offset > 0);
    assert_eq!(pair.server.unread_bytes(), 0);
}

//= spec/05-streams.md#stopping
//= type=test
//# A
//# receiver MUST send a lost STOP_SENDING again while it does not know the final size.
#[test]
fn a_lost_stop_is_sent_again_until_the_end_is_known() {
    let mut pair = Pair::new();
    let id = client_bi(0);
    pair.server_gets(stream(id, 0, 10, false)).unwrap();
    pair.server.stop(id, CODE).unwrap();
    let packet = transmit(&mut pair.server).unwrap();
    assert_eq!(packet.frames(), [stop(id)]);
    pair.server.on_loss(packet.sent[0]);
    assert_eq!(transmit(&mut pair.server).unwrap().frames(), [stop(id)]);
    pair.server.on_loss(packet.sent[0]);
    pair.server_gets(stream(id, 500, 0, true)).unwrap();
    assert!(!pair.server.interest().any());
    pair.server.on_loss(packet.sent[0]);
    assert!(!pair.server.interest().any());
}

#[test]
fn data_that_crosses_a_stop_is_accepted_and_dropped() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, &bytes(0..3000)).unwrap();
    let first = transmit(&mut pair.client).unwrap();
    let second = transmit(&mut pair.client).unwrap();
    deliver(&mut pair.server, &first, pair.now).unwrap();
    pair.server.stop(id, CODE).unwrap();
    deliver(&mut pair.server, &second, pair.now).unwrap();
    assert_eq!(pair.server.unread_bytes(), 0);
    pair.settle();
    assert!(!pair.server.has_open());
}
