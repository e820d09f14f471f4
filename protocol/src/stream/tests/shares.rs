//! Streams that nobody reads leave the others their share of the connection's credit.

use super::pair::{Pair, RTT, bytes, events, read_all, write_up_to};
use crate::{
    config::TransportConfig,
    stream::StreamEvent,
    units::{CloseCode, Dir},
    wire::{Frame, frame::MaxStreamData, id::StreamId},
};

const CREDIT: u64 = 4 << 20;

/// Ends whose pool is used up by a few streams.
fn pair() -> Pair {
    Pair::with(
        &TransportConfig::default()
            .initial_stream_credit(1 << 20)
            .max_stream_credit(2 << 20)
            .max_connection_credit(CREDIT),
    )
}

/// Lets the client write on all of `ids` until nothing moves, while nobody reads; the bytes written.
fn fill(pair: &mut Pair, ids: &[StreamId]) -> u64 {
    let mut offsets = vec![0; ids.len()];
    loop {
        let before: u64 = offsets.iter().sum();
        for (&id, offset) in ids.iter().zip(&mut offsets) {
            *offset = write_up_to(&mut pair.client, id, *offset, 8 << 20);
        }
        pair.settle();
        events(&mut pair.client);
        if offsets.iter().sum::<u64>() == before {
            return before;
        }
    }
}

fn open(pair: &mut Pair, count: usize) -> Vec<StreamId> {
    (0..count)
        .map(|_| pair.client.open(Dir::Bi).unwrap())
        .collect()
}

/// Carries `size` bytes to a reader that is there, over a new stream; the round trips it took.
fn carry(pair: &mut Pair, size: u64) -> u64 {
    let id = pair.client.open(Dir::Bi).unwrap();
    let rounds = go_on(pair, id, 0, size);
    pair.client.finish(id).unwrap();
    pair.settle();
    assert_eq!(read_all(&mut pair.server, id), (Vec::new(), true));
    pair.server.finish(id).unwrap();
    pair.settle();
    rounds
}

/// Writes and reads a stream from `start` up to `end`.
fn go_on(pair: &mut Pair, id: StreamId, start: u64, end: u64) -> u64 {
    let (mut written, mut read, mut rounds) = (start, start, 0);
    while read < end {
        pair.now += RTT;
        pair.client.tune(pair.now, RTT, 1 << 20);
        written = write_up_to(&mut pair.client, id, written, end);
        pair.settle();
        read += read_all(&mut pair.server, id).0.len() as u64;
        pair.settle();
        events(&mut pair.client);
        rounds += 1;
        assert!(rounds < 10_000, "stuck at {read} of {end}");
    }
    rounds
}

//= spec/05-streams.md#shares
//= type=test
//# A sender SHOULD NOT send new bytes of a stream while its unread bytes, those it has sent less those the
//# peer said were read, are not below its share.
#[test]
fn thirty_unread_streams_leave_the_others_most_of_the_reserve() {
    let mut pair = pair();
    let unread = open(&mut pair, 30);
    fill(&mut pair, &unread);
    let held = pair.server.unread_bytes();
    assert!(
        (CREDIT / 2..CREDIT * 4 / 5).contains(&held),
        "{held} of {CREDIT}"
    );
    assert_eq!(carry(&mut pair, 1000), 1);
    let rounds = carry(&mut pair, 8 << 20);
    assert!(rounds <= 200, "{rounds} round trips for 8 MiB");
}

#[test]
fn a_thousand_unread_streams_leave_a_new_one_something() {
    let mut pair = pair();
    let unread = open(&mut pair, 1000);
    fill(&mut pair, &unread);
    for _ in 0..10 {
        carry(&mut pair, 1000);
    }
    carry(&mut pair, 100_000);
}

#[test]
fn a_stream_alone_may_hold_most_of_the_pool() {
    let mut pair = Pair::with(
        &TransportConfig::default()
            .initial_stream_credit(CREDIT)
            .max_stream_credit(CREDIT)
            .max_connection_credit(CREDIT),
    );
    let id = open(&mut pair, 1);
    fill(&mut pair, &id);
    let held = pair.server.unread_bytes();
    assert!(held > CREDIT * 5 / 8, "{held} of {CREDIT}");
}

#[test]
fn streams_whose_bytes_were_read_count_for_nothing() {
    let mut pair = pair();
    let idle = open(&mut pair, 5000);
    for few in idle.chunks(100) {
        for &id in few {
            assert_eq!(pair.client.write(id, &bytes(0..400)), Ok(400));
        }
        pair.settle();
        for &id in few {
            assert_eq!(read_all(&mut pair.server, id).0.len(), 400);
        }
        pair.settle();
    }
    events(&mut pair.client);
    let one = open(&mut pair, 1);
    let held = fill(&mut pair, &one);
    assert_eq!(held, 1 << 20, "its whole window");
}

//= spec/05-streams.md#shares
//= type=test
//# A receiver MUST send MAX_STREAM_DATA when the reader of a stream has taken a quarter of a share since
//# it last said so.
#[test]
fn a_read_stream_goes_on_while_others_hold_the_pool() {
    let mut pair = pair();
    let unread = open(&mut pair, 100);
    fill(&mut pair, &unread);
    let id = pair.client.open(Dir::Bi).unwrap();
    go_on(&mut pair, id, 0, 1 << 20);
}

//= spec/05-streams.md#shares
//= type=test
//# A receiver MUST send it as well for streams whose readers were too near for that when the share was
//# larger.
#[test]
fn what_was_read_before_the_pool_emptied_is_said_when_shares_shrink() {
    let mut pair = pair();
    let id = pair.client.open(Dir::Bi).unwrap();
    // Less than a quarter of a share, and less than half of a window: nobody needs to know.
    let early = 300 << 10;
    go_on(&mut pair, id, 0, early);
    let unread = open(&mut pair, 300);
    fill(&mut pair, &unread);
    go_on(&mut pair, id, early, early + (1 << 20));
}

#[test]
fn streams_held_back_go_on_when_others_end() {
    let mut pair = pair();
    let unread = open(&mut pair, 30);
    fill(&mut pair, &unread);
    let more = open(&mut pair, 30);
    let held = fill(&mut pair, &more);
    for id in unread {
        pair.server.stop(id, CloseCode::from_u32(1)).unwrap();
    }
    // More may be held by each as soon as less is held by all.
    pair.settle();
    let woken = events(&mut pair.client);
    for &id in &more {
        assert!(woken.contains(&StreamEvent::Writable(id)), "{id}");
    }
    let mut offsets = 0;
    for &id in &more {
        offsets += write_up_to(&mut pair.client, id, held / 30, held / 30 + 10_000);
    }
    assert!(offsets > held);
}

#[test]
fn writers_of_unread_streams_leave_the_send_buffer_to_others() {
    let mut pair = pair();
    let unread = open(&mut pair, 24);
    fill(&mut pair, &unread);
    assert_eq!(
        pair.client.unacked_bytes(),
        0,
        "all that was taken was sent"
    );
    let id = pair.client.open(Dir::Bi).unwrap();
    assert_eq!(pair.client.write(id, &bytes(0..4000)), Ok(4000));
}

//= spec/05-streams.md#credit
//= type=test
//# A sender MUST ignore a number of bytes read that is below the one it has, and takes one that is above
//# the bytes it has sent for those.
#[test]
fn no_more_counts_as_read_than_was_sent_and_no_less_than_before() {
    let mut pair = pair();
    let id = pair.client.open(Dir::Bi).unwrap();
    assert_eq!(pair.client.write(id, &bytes(0..3000)), Ok(3000));
    pair.settle();
    assert_eq!(pair.client.write(id, &bytes(3000..4000)), Ok(1000));
    for (read, known) in [(1000, 1000), (500, 1000), (1 << 40, 3000)] {
        let said = Frame::MaxStreamData(MaxStreamData { id, limit: 0, read });
        pair.client.handle(pair.now, said).unwrap();
        let slot = pair.client.table.slot(id).unwrap();
        let send = pair.client.table.get(slot).unwrap().send.as_ref().unwrap();
        assert_eq!(send.read(), known, "{read} said");
    }
}
