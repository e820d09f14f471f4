//! What an application sees: events, back-pressure, priorities, blocks.

use bytes::Bytes;

use super::pair::{Pair, RTT, bytes, deliver, events, read_all, transmit, write_up_to};
use crate::{
    config::TransportConfig,
    error::{ReadError, WriteError},
    stream::{StreamEvent, StreamSent},
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

const CODE: CloseCode = CloseCode::from_u32(3);

fn data_of(sent: &[StreamSent]) -> Vec<StreamId> {
    let id = |what: &StreamSent| match what {
        StreamSent::Data { id, .. } => Some(*id),
        _ => None,
    };
    sent.iter().filter_map(id).collect()
}

#[test]
fn events_come_once_and_again_only_after_the_application_asked() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Bi).unwrap();
    for round in 0..3 {
        pair.client.write(id, b"hello").unwrap();
        pair.settle();
        pair.client.write(id, b"again").unwrap();
        pair.settle();
        let mut expected = vec![StreamEvent::Readable(id)];
        if round == 0 {
            expected.insert(0, StreamEvent::Opened(Dir::Bi));
        }
        assert_eq!(events(&mut pair.server), expected, "round {round}");
        assert_eq!(read_all(&mut pair.server, id).0, b"helloagain");
    }
    pair.client.finish(id).unwrap();
    pair.settle();
    assert_eq!(events(&mut pair.server), [StreamEvent::Readable(id)]);
    assert_eq!(events(&mut pair.client), [StreamEvent::Finished(id)]);
    assert_eq!(pair.server.read(id, 1), Ok(None));
    assert_eq!(pair.server.read(id, 1), Err(ReadError::Closed));
}

#[test]
fn accepting_goes_by_the_order_of_first_frames() {
    let mut pair = Pair::new();
    let first = pair.client.open(Dir::Uni).unwrap();
    let second = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(second, b"2").unwrap();
    pair.settle();
    pair.client.write(first, b"1").unwrap();
    pair.settle();
    let opened = StreamEvent::Opened(Dir::Uni);
    assert_eq!(
        events(&mut pair.server),
        [
            opened,
            StreamEvent::Readable(second),
            StreamEvent::Readable(first)
        ]
    );
    assert_eq!(pair.server.accept(Dir::Uni), Some(second));
    assert_eq!(pair.server.accept(Dir::Uni), Some(first));
    assert_eq!(pair.server.accept(Dir::Uni), None);
    let third = pair.client.open(Dir::Uni).unwrap();
    pair.client.finish(third).unwrap();
    pair.settle();
    assert_eq!(events(&mut pair.server)[0], opened);
}

#[test]
fn nothing_can_be_opened_before_the_peer_has_spoken() {
    let transport = TransportConfig::default();
    let mut pair = Pair::with(&transport);
    let config = crate::stream::StreamsConfig::new(
        crate::units::Side::Client,
        &transport,
        crate::stream::credit::Budget::default(),
    );
    let mut early = crate::stream::Streams::new(config);
    assert_eq!(early.open(Dir::Bi), None);
    super::pair::introduce(&mut early, &pair.server);
    assert_eq!(events(&mut early), [StreamEvent::Available(Dir::Bi)]);
    assert!(early.open(Dir::Bi).is_some());
    assert!(!early.interest().any());
    assert!(pair.client.open(Dir::Bi).is_some());
}

#[test]
fn a_full_buffer_blocks_and_acks_wake_the_writer() {
    let transport = TransportConfig::default().initial_stream_credit(8 << 20);
    let mut pair = Pair::with(&transport);
    let id = pair.client.open(Dir::Bi).unwrap();
    let written = write_up_to(&mut pair.client, id, 0, 8 << 20);
    assert_eq!(written, 256 << 10);
    let mut acked = 0;
    while events(&mut pair.client).is_empty() {
        let packet = transmit(&mut pair.client).unwrap();
        deliver(&mut pair.server, &packet, pair.now).unwrap();
        packet.sent.into_iter().for_each(|s| pair.client.on_ack(s));
        acked = written - pair.client.unacked_bytes();
    }
    // Not for one packet, but long before the pipe is empty.
    assert!((32 << 10..128 << 10).contains(&acked), "{acked}");
    assert!(write_up_to(&mut pair.client, id, written, 8 << 20) > written);
}

#[test]
fn the_send_buffer_follows_the_window_up_to_its_ceiling() {
    let transport = TransportConfig::default()
        .initial_stream_credit(64 << 20)
        .send_buffer(4 << 20);
    let mut pair = Pair::with(&transport);
    let id = pair.client.open(Dir::Bi).unwrap();
    let end = 64 << 20;
    let written = write_up_to(&mut pair.client, id, 0, end);
    assert_eq!(pair.client.write(id, b"x"), Err(WriteError::Blocked));
    pair.client.tune(pair.now, RTT, 1 << 20);
    assert_eq!(events(&mut pair.client), [StreamEvent::Writable(id)]);
    let written = write_up_to(&mut pair.client, id, written, end);
    assert_eq!(written, 2 << 20);
    pair.client.tune(pair.now, RTT, 1 << 30);
    assert_eq!(write_up_to(&mut pair.client, id, written, end), 4 << 20);
}

#[test]
fn a_stream_without_credit_does_not_take_the_buffer_from_others() {
    let transport = TransportConfig::default().initial_stream_credit(64 << 10);
    let mut pair = Pair::with(&transport);
    let ids: Vec<_> = (0..100)
        .map(|_| pair.client.open(Dir::Bi).unwrap())
        .collect();
    // Nobody reads the first ones: they fill their credit and stop.
    let mut offsets = vec![0; 99];
    for _ in 0..50 {
        for (id, offset) in ids.iter().zip(&mut offsets) {
            *offset = write_up_to(&mut pair.client, *id, *offset, 1 << 20);
        }
        pair.settle();
    }
    assert!(offsets.iter().all(|&offset| offset == 64 << 10));
    assert_eq!(pair.client.unacked_bytes(), 0);
    let last = ids[99];
    let mut offset = 0;
    let mut read = 0;
    while read < 1 << 20 {
        pair.settle();
        offset = write_up_to(&mut pair.client, last, offset, 1 << 20);
        pair.settle();
        let data = read_all(&mut pair.server, last).0;
        assert!(!data.is_empty(), "starved at {read}");
        read += data.len();
    }
}

#[test]
fn a_small_stream_gets_room_when_a_large_one_has_filled_the_buffer() {
    let transport = TransportConfig::default().initial_stream_credit(8 << 20);
    let mut pair = Pair::with(&transport);
    let bulk = pair.client.open(Dir::Bi).unwrap();
    write_up_to(&mut pair.client, bulk, 0, 8 << 20);
    let small = pair.client.open(Dir::Bi).unwrap();
    let written = write_up_to(&mut pair.client, small, 0, 1 << 20);
    assert_eq!(written, 16 << 10);
    pair.client.set_priority(small, 1).unwrap();
    let packet = transmit(&mut pair.client).unwrap();
    assert_eq!(data_of(&packet.sent), [small]);
}

#[test]
fn every_blocked_writer_is_woken_in_the_end() {
    let transport = TransportConfig::default();
    let mut pair = Pair::with(&transport);
    let ids: Vec<_> = (0..300)
        .map(|_| pair.client.open(Dir::Uni).unwrap())
        .collect();
    for &id in &ids {
        write_up_to(&mut pair.client, id, 0, 1 << 20);
        assert_eq!(pair.client.write(id, b"x").err(), Some(WriteError::Blocked));
    }
    let mut woken: Vec<StreamId> = Vec::new();
    for _ in 0..10_000 {
        pair.settle();
        while let Some(id) = pair.server.accept(Dir::Uni) {
            assert!(woken.len() < ids.len() || id.index() < 300);
        }
        for &id in &ids {
            if pair.server.counters().accepted > id.index() {
                let _ = pair.server.read(id, usize::MAX);
            }
        }
        for event in events(&mut pair.client) {
            if let StreamEvent::Writable(id) = event {
                woken.push(id);
            }
        }
        if woken.len() == ids.len() {
            break;
        }
    }
    woken.sort_unstable();
    woken.dedup();
    assert_eq!(woken, ids);
}

#[test]
fn priorities_order_new_data_and_repairs_and_can_change() {
    let mut pair = Pair::new();
    let low = pair.client.open(Dir::Bi).unwrap();
    let high = pair.client.open(Dir::Bi).unwrap();
    for id in [low, high] {
        pair.client.write(id, &bytes(0..20_000)).unwrap();
    }
    pair.client.set_priority(high, 5).unwrap();
    let first = transmit(&mut pair.client).unwrap();
    assert_eq!(data_of(&first.sent), [high]);
    pair.client.set_priority(low, 9).unwrap();
    let second = transmit(&mut pair.client).unwrap();
    assert_eq!(data_of(&second.sent), [low]);
    for packet in [first, second] {
        packet.sent.into_iter().for_each(|s| pair.client.on_loss(s));
    }
    let repair = transmit(&mut pair.client).unwrap();
    assert_eq!(data_of(&repair.sent)[0], low);
    deliver(&mut pair.server, &repair, pair.now).unwrap();
    pair.settle();
    assert_eq!(read_all(&mut pair.server, low).0, bytes(0..20_000));
    assert_eq!(read_all(&mut pair.server, high).0, bytes(0..20_000));
}

#[test]
fn blocks_come_before_the_hole_is_filled() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, &bytes(0..3000)).unwrap();
    pair.client.finish(id).unwrap();
    let packets: Vec<_> = std::iter::from_fn(|| transmit(&mut pair.client)).collect();
    let mut got = vec![0; 3000];
    let mut blocks = 0;
    for packet in packets.iter().rev() {
        deliver(&mut pair.server, packet, pair.now).unwrap();
        while let Ok(Some((offset, data))) = pair.server.read_block(id) {
            got[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
            blocks += 1;
        }
    }
    assert_eq!(blocks, packets.len());
    assert_eq!(Bytes::from(got), bytes(0..3000));
    assert!(!pair.server.has_open(), "the end was read");
}

#[test]
fn a_probe_repeats_the_oldest_data_without_declaring_it_lost() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(id, &bytes(0..1500)).unwrap();
    pair.client.finish(id).unwrap();
    let packets: Vec<_> = std::iter::from_fn(|| transmit(&mut pair.client)).collect();
    let probe = |pair: &mut Pair| {
        let (mut payload, mut sent) = (Vec::new(), Vec::new());
        let mut out = crate::wire::FrameWriter::new(&mut payload, 1200);
        let any = pair.client.write_probe(&mut out, &mut |s| sent.push(s));
        (any, sent)
    };
    assert_eq!(probe(&mut pair), (true, packets[0].sent.clone()));
    assert_eq!(probe(&mut pair), (true, packets[1].sent.clone()));
    assert!(!pair.client.interest().any());
    for packet in packets {
        packet.sent.into_iter().for_each(|s| pair.client.on_ack(s));
    }
    assert_eq!(probe(&mut pair), (false, vec![]));
    assert_eq!(events(&mut pair.client), [StreamEvent::Finished(id)]);
}

#[test]
fn halves_end_independently() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Bi).unwrap();
    pair.client.write(id, b"question").unwrap();
    pair.client.finish(id).unwrap();
    pair.settle();
    assert_eq!(pair.client.write(id, b"x"), Err(WriteError::Closed));
    assert_eq!(read_all(&mut pair.server, id), (b"question".to_vec(), true));
    assert!(pair.server.has_open() && pair.client.has_open());
    pair.server.write(id, b"answer").unwrap();
    pair.server.reset(id, CODE).unwrap();
    pair.settle();
    assert_eq!(pair.client.read(id, 1), Err(ReadError::Reset(CODE)));
    assert!(!pair.server.has_open() && !pair.client.has_open());
}

//= spec/05-streams.md#sending
//= type=test
//# Lost bytes SHOULD be sent before new ones.
#[test]
fn lost_bytes_go_before_new_ones() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Bi).unwrap();
    pair.client.write(id, &bytes(0..20_000)).unwrap();
    let first = transmit(&mut pair.client).unwrap();
    for sent in first.sent.clone() {
        pair.client.on_loss(sent);
    }
    let repair = transmit(&mut pair.client).unwrap();
    assert_eq!(data_of(&first.sent), [id]);
    assert_eq!(repair.sent, first.sent);
}

#[test]
fn a_full_send_budget_shrinks_buffers_and_stops_nobody() {
    const LIMIT: u64 = 4 << 20;
    let transport = TransportConfig::default().initial_stream_credit(8 << 20);
    let pair = Pair::with(&transport);
    let budget = crate::stream::credit::Budget::new(LIMIT);
    let started: Vec<_> = (0..50)
        .map(|_| {
            let config = crate::stream::StreamsConfig::new(
                crate::units::Side::Client,
                &transport,
                budget.clone(),
            );
            let mut streams = crate::stream::Streams::new(config);
            super::pair::introduce(&mut streams, &pair.server);
            streams.tune(pair.now, RTT, 64 << 20);
            let id = streams.open(Dir::Bi).unwrap();
            let written = write_up_to(&mut streams, id, 0, 8 << 20);
            (streams, written)
        })
        .collect();
    assert!(started[0].1 > LIMIT / 4, "{}", started[0].1);
    for (_, written) in &started {
        assert!(*written >= 32 << 10, "{written}");
    }
    let held = budget.sending();
    assert!(held <= LIMIT + 50 * (80 << 10), "{held}");
    drop(started);
    assert_eq!(budget.sending(), 0);
}
