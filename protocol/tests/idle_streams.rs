//! What ten thousand streams cost that nobody uses at the moment, counted by the allocator.
//! One test alone: the counters are the process's.

use std::{alloc::System, time::Duration};

use bytes::Bytes;
use rp_protocol::{
    config::TransportConfig,
    stream::{Streams, StreamsConfig, credit::Budget},
    units::{Dir, Side},
    wire::{Frame, FrameIter, FrameWriter, TransportParameters, frame, id::StreamId},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What an idle stream may cost, all of it.
const IDLE_BYTES: usize = 1024;
const STREAMS: usize = 10_000;

fn new(side: Side) -> Streams {
    let transport = TransportConfig::default();
    Streams::new(StreamsConfig::new(side, &transport, Budget::default()))
}

fn introduce(streams: &mut Streams, peer: &Streams) {
    let mut parameters = TransportParameters::default();
    peer.describe(&mut parameters);
    streams.set_peer_parameters(&parameters);
}

/// Lets both talk until neither has anything to say.
fn settle(ends: &mut [Streams; 2], now: std::time::Instant) {
    let mut payload = Vec::with_capacity(1200);
    let mut sent = Vec::new();
    while ends.iter().any(|end| end.interest().any()) {
        for from in [0, 1] {
            let mut out = FrameWriter::new(&mut payload, 1200);
            ends[from].write_control(&mut out, &mut |what| sent.push(what));
            ends[from].write_data(&mut out, &mut |what| sent.push(what));
            for frame in FrameIter::new(Bytes::copy_from_slice(&payload)) {
                let frame = frame.expect("what was written parses");
                let result = ends[1 - from].handle(now, frame);
                result.expect("what was written keeps the rules");
            }
            payload.clear();
            sent.drain(..).for_each(|what| ends[from].on_ack(what));
        }
    }
}

fn live_bytes(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made any other way"
)]
fn ten_thousand_idle_streams_cost_a_kilobyte_each_and_unopened_ones_nothing() {
    let now = std::time::Instant::now();
    let mut ends = [new(Side::Client), new(Side::Server)];
    let (client, server) = ends.split_at_mut(1);
    introduce(&mut client[0], &server[0]);
    introduce(&mut server[0], &client[0]);

    let region = Region::new(ALLOCATOR);
    let high = StreamId::new(Side::Server, Dir::Bi, 16_383);
    let touch = Frame::MaxStreamData(frame::MaxStreamData {
        id: high,
        limit: 1,
        read: 0,
    });
    ends[0].handle(now, touch).unwrap();
    let cost = live_bytes(&region);
    assert!(cost < 4096, "a high index cost {cost} bytes");

    let region = Region::new(ALLOCATOR);
    for _ in 0..STREAMS / 100 {
        for _ in 0..100 {
            let id = ends[0].open(Dir::Bi).unwrap();
            ends[0].write(id, b"question").unwrap();
        }
        settle(&mut ends, now);
        while let Some(id) = ends[1].accept(Dir::Bi) {
            assert_eq!(ends[1].read(id, 100).unwrap().unwrap(), "question");
            assert!(ends[1].read(id, 100).is_err());
            ends[1].write(id, b"answer").unwrap();
        }
    }
    settle(&mut ends, now + Duration::from_secs(1));
    for index in 0..STREAMS as u64 {
        let id = StreamId::new(Side::Client, Dir::Bi, index);
        assert_eq!(ends[0].read(id, 100).unwrap().unwrap(), "answer");
        assert!(ends[0].read(id, 100).is_err());
    }
    settle(&mut ends, now + Duration::from_secs(2));
    for end in &mut ends {
        while end.poll_event().is_some() {}
    }
    // Two ends, each with its own record of every stream.
    let each = live_bytes(&region) / (2 * STREAMS);
    assert!(each <= IDLE_BYTES, "{each} bytes per idle stream");
}
