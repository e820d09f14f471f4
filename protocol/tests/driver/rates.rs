//! Rates that connections keep together, on a real clock: nothing is ever too early, whatever else
//! the machine does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rp_protocol::{RateLimit, RateLimits, units::Bandwidth};

use super::{Pair, pattern, within};

const RATE: Bandwidth = Bandwidth::from_bytes_per_second(2_000_000);

/// What each of two connections carries.
const BYTES: usize = 800_000;

/// The least time both need together, less the burst that is allowed.
const LEAST: Duration = Duration::from_millis(800 - 150);

/// Sends `bytes` on a stream of each of two connections at once and reads them at the other ends.
#[expect(clippy::unwrap_used, reason = "fails the test that calls it")]
async fn carry(pairs: &[Pair; 2]) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time that passes is what is tested"
    )]
    let start = Instant::now();
    let carry = async |pair: &Pair| {
        let sending = async {
            let mut stream = pair.near.open_uni().await.unwrap();
            let data = Bytes::from(pattern(BYTES));
            stream.write_bytes(data).await.unwrap();
            stream.finish().unwrap();
            stream.finished().await.unwrap();
        };
        let receiving = async {
            let mut stream = pair.far.accept_uni().await.unwrap();
            let mut read = Vec::new();
            while let Some(data) = stream.read_bytes(usize::MAX).await.unwrap() {
                read.extend_from_slice(&data);
            }
            assert!(read == pattern(BYTES));
        };
        tokio::join!(sending, receiving);
    };
    within(async { tokio::join!(carry(&pairs[0]), carry(&pairs[1])) }).await;
    start.elapsed()
}

#[tokio::test]
async fn connections_share_the_rate_of_what_they_send() {
    let pairs = [Pair::new().await, Pair::new().await];
    let send = Some(RateLimit::new(RATE));
    for pair in &pairs {
        pair.near.set_limits(RateLimits {
            send: send.clone(),
            receive: None,
        });
    }
    let elapsed = carry(&pairs).await;
    assert!(elapsed >= LEAST, "{elapsed:?}");
}

#[tokio::test]
async fn connections_share_the_rate_of_what_they_receive() {
    let pairs = [Pair::new().await, Pair::new().await];
    let receive = Some(RateLimit::new(RATE));
    for pair in &pairs {
        pair.far.set_limits(RateLimits {
            send: None,
            receive: receive.clone(),
        });
    }
    let elapsed = carry(&pairs).await;
    assert!(elapsed >= LEAST, "{elapsed:?}");
}

#[tokio::test]
async fn stream_that_waits_for_its_turn_hears_of_the_end() {
    let pair = Pair::new().await;
    let limit = Some(RateLimit::new(Bandwidth::from_bytes_per_second(100)));
    pair.near.set_limits(RateLimits {
        send: limit.clone(),
        receive: limit,
    });
    let mut stream = pair.near.open_uni().await.unwrap();
    let writing = async {
        loop {
            if let Err(error) = stream.write_bytes(Bytes::from(pattern(10_000))).await {
                return error;
            }
        }
    };
    let closing = async {
        // The first turn has passed; the second is half a minute away.
        let mut arrived = pair.far.accept_uni().await.unwrap();
        arrived.read_bytes(1).await.unwrap();
        pair.far.close(7_u32.into(), b"");
    };
    within(async { tokio::join!(writing, closing) }).await;
}
