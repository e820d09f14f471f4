//! Datagrams of the application: how many wait, and what they leave to streams.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::time::Duration;

use bytes::Bytes;
use pair::{Pair, Setup};
use rp_protocol::{config::TransportConfig, engine::Connection, units::Bandwidth};

/// Payload of each datagram.
const BYTES: usize = 1000;

/// A pair whose client sends 20 Mbit/s at most.
fn limited() -> Pair {
    let rate = Bandwidth::from_bits_per_second(20_000_000);
    let client = TransportConfig::default().max_rate(Some(rate));
    let setup = Setup {
        client,
        ..Setup::default()
    };
    let mut pair = setup.build();
    pair.connect();
    pair
}

/// Queues datagrams until no more fit; how many.
fn flood(connection: &mut Connection) -> usize {
    let payload = Bytes::from(vec![0; BYTES]);
    (0..10_000)
        .take_while(|_| connection.send_datagram(payload.clone()).is_ok())
        .count()
}

#[test]
fn datagrams_wait_for_20_ms_at_most() {
    //= spec/05-streams.md#datagrams
    //= type=test
    //# A sender SHOULD queue no more datagrams than leave within 20 ms, nor fewer than 16 KiB of them.
    let mut pair = limited();
    assert!(flood(pair.client()) >= (16 << 10) / BYTES);
    for _ in 0..2000 {
        flood(pair.client());
        pair.run(Duration::from_millis(1));
    }
    // Until nothing waits.
    pair.run(Duration::from_secs(1));
    let rate = pair.client().stats().paths[0].pacing_rate;
    let within = rate.bytes_in(Duration::from_millis(20));
    let queued = (flood(pair.client()) * BYTES) as u64;
    assert!(within > 16 << 10, "{rate:?} is too slow to tell");
    assert!(
        queued <= within && queued > within / 2,
        "{queued} of {within}"
    );
}

#[test]
fn datagrams_and_streams_share_the_rate() {
    //= spec/05-streams.md#datagrams
    //= type=test
    //# Where both wait, a sender SHOULD send packets of datagrams and packets of new stream data in turns.
    const LEN: usize = 2_000_000;
    let mut pair = limited();
    let mut datagrams = 0;
    pair.stream(false, LEN, |pair, _| {
        flood(pair.client());
        while let Some(data) = pair.server().read_datagram() {
            datagrams += data.len();
        }
    });
    let share = datagrams as f64 / (datagrams + LEN) as f64;
    assert!((0.3..0.6).contains(&share), "{share}");
}
