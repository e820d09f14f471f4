//! Streams of one connection beside each other: idle and stuck ones cost a fast one nothing, and a fast one does not hold
//! up one that says little.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::time::{Duration, Instant};

use bytes::Bytes;
use pair::{
    Pair, Setup,
    transfer::{Receiver, Sender, pattern},
};
use rp_protocol::{
    config::{Policy, TransportConfig},
    units::{Bandwidth, Dir},
    wire::id::StreamId,
};

const RATE: u64 = 100_000_000;
const BULK: usize = 10_000_000;

/// A connection that sends at [`RATE`] over a path of 50 ms.
fn connected() -> Pair {
    let rate = Bandwidth::from_bits_per_second(RATE);
    let mut pair = Setup {
        client: TransportConfig::default().policy(Policy::Fixed(rate)),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair
}

/// Carries [`BULK`] bytes to a reader that takes them at once; how long that took.
fn bulk(pair: &mut Pair) -> Duration {
    let start = pair.now;
    assert_eq!(pair.transfer(BULK), pattern(BULK));
    pair.now - start
}

fn open(pair: &mut Pair, count: usize) -> Vec<StreamId> {
    (0..count)
        .map(|_| pair.client().open(Dir::Uni).expect("allowed"))
        .collect()
}

#[test]
fn a_thousand_idle_streams_cost_a_fast_one_nothing() {
    let alone = bulk(&mut connected());
    let mut pair = connected();
    for id in open(&mut pair, 1000) {
        let mut hello = Bytes::from_static(b"hello");
        pair.client().write_bytes(id, &mut hello).unwrap();
    }
    pair.drive();
    let beside = bulk(&mut pair);
    assert!(
        beside <= alone + alone / 20,
        "{beside:?} and {alone:?} alone"
    );
}

#[test]
fn a_thousand_streams_that_nobody_reads_do_not_stall_a_fast_one() {
    let alone = bulk(&mut connected());
    let mut pair = connected();
    let mut stuck: Vec<_> = open(&mut pair, 1000)
        .into_iter()
        .map(|id| Sender::new(id, 1_000_000))
        .collect();
    // Each takes what its share gives, and nobody reads any of it.
    for _ in 0..20 {
        for sender in &mut stuck {
            sender.pump(pair.client());
        }
        pair.run(Duration::from_millis(100));
    }
    let beside = bulk(&mut pair);
    assert!(beside <= 2 * alone, "{beside:?} and {alone:?} alone");
}

/// The longest time a message of 100 bytes takes on a stream of its own beside `senders`, one each 20 ms.
fn slowest_message(pair: &mut Pair, senders: &mut [Sender]) -> Duration {
    let mut receivers: Vec<_> = senders.iter().map(|_| Receiver::default()).collect();
    let talk = pair.client().open(Dir::Uni).expect("allowed");
    let (mut said, mut heard) = (Vec::<Instant>::new(), 0);
    let mut slowest = Duration::ZERO;
    for tick in 0.. {
        for sender in senders.iter_mut().filter(|sender| !sender.finished) {
            sender.pump(pair.client());
        }
        // Streams that begin together all have a first turn before anything else.
        if tick >= 500 && tick % 20 == 0 && said.len() < 100 {
            let mut message = Bytes::from_static(&[b'm'; 100]);
            let written = pair.client().write_bytes(talk, &mut message);
            written.expect("the stream is open");
            said.push(pair.now);
        }
        pair.run(Duration::from_millis(1));
        for (sender, receiver) in senders.iter().zip(&mut receivers) {
            receiver.pump(pair.server(), sender.id);
        }
        let mut bytes = 0;
        while let Ok(Some(read)) = pair.server().read(talk, usize::MAX) {
            bytes += read.len();
        }
        for at in said.iter().skip(heard).take(bytes / 100) {
            slowest = slowest.max(pair.now - *at);
        }
        heard += bytes / 100;
        if heard == 100 {
            break;
        }
        assert!(tick < 100_000, "{heard} of 100 messages");
    }
    slowest
}

//= spec/05-streams.md#sending
//= type=test
//# A sender SHOULD serve a stream before the others of its priority as long as it sends less than
//# one turn in the time in which each of them has one.
#[test]
fn one_that_says_little_waits_for_no_fast_one_however_many_there_are() {
    for count in [1, 10, 1000] {
        let mut pair = connected();
        // Its rate found and its window open.
        bulk(&mut pair);
        let mut fast: Vec<_> = open(&mut pair, count)
            .into_iter()
            .map(|id| Sender::new(id, 40_000_000 / count))
            .collect();
        let slowest = slowest_message(&mut pair, &mut fast);
        // Half a round trip, and a few milliseconds of what is paced.
        let most = pair.delay + Duration::from_millis(10);
        assert!(slowest <= most, "{slowest:?} beside {count}");
    }
}
