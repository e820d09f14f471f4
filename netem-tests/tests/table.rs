//! Goodput by loss and round trip, in virtual time, as a reviewed table.
//! Links with other faults, and several flows, have their own files.

use std::{fmt::Write as _, time::Duration};

use rp_netem_tests::{link::LinkConfig, loss::Loss, world::World};
use rp_protocol::{config::TransportConfig, units::Bandwidth};

const RATE_BITS: u64 = 100_000_000;

/// What TCP carries of a full packet: the yardstick of the baseline, for every transport alike.
const PAYLOAD_SHARE: f64 = 1448.0 / 1500.0;

const LOSSES: [f64; 5] = [0.0, 0.01, 0.05, 0.1, 0.3];

struct Cell {
    /// Of the link's physical limit, whole transfer from the first packet to the last byte; what
    /// arrived until the time limit if it was cut off.
    share: f64,
    /// The same for the second half of the bytes alone, without the start.
    later_share: f64,
    /// Bytes put on the link per byte delivered.
    wire: f64,
    /// 95th percentile of the queue's delay.
    queue_p95: Duration,
    /// Why it did not complete, if it did not.
    failure: Option<String>,
}

/// Sends as many bytes as the link carries in `span` and measures how long it really takes.
fn measure(loss: f64, rtt: Duration, span: Duration) -> Cell {
    let link = LinkConfig::new(Bandwidth::from_bits_per_second(RATE_BITS), rtt / 2)
        .loss(Loss::bernoulli(loss))
        .mtu(1500);
    let limit = RATE_BITS as f64 / 8.0 * (1.0 - loss) * PAYLOAD_SHARE;
    let bytes = RATE_BITS / 8 * span.as_secs();
    let mut world = World::new(link.clone(), link, 1);
    let pair = world
        .add_transfer(bytes, TransportConfig::default())
        .expect("the world's own address and service are valid");
    let arrived = |world: &World| {
        world
            .receiving(pair)
            .map_or(0, |receiving| receiving.bytes())
    };
    let patience = span * 20;
    world.run(patience, |world| arrived(world) >= bytes / 2);
    let (half, half_took) = (arrived(&world), world.elapsed());
    world.run(patience, |world| world.completed_after(pair).is_some());
    let arrived = arrived(&world);
    let failure = world.completed_after(pair).is_none().then(|| {
        let error = world.near(pair).applications().find_map(|app| app.error());
        format!(
            "loss {loss}, rtt {rtt:?}, seed 1: {arrived} of {bytes} bytes, {error:?}, {:?}",
            world.sender_stats(pair)
        )
    });
    let took = world
        .completed_after(pair)
        .unwrap_or_else(|| world.elapsed());
    let (forward, _) = world.links();
    Cell {
        share: arrived as f64 / took.as_secs_f64() / limit,
        later_share: (arrived - half) as f64 / (took - half_took).as_secs_f64() / limit,
        wire: forward.offered_bytes as f64 / arrived.max(1) as f64,
        queue_p95: forward.queue_delay.p95,
        failure,
    }
}

/// One row of the table for each loss, at one round trip; with what did not complete.
fn column(rtt: Duration, span: Duration) -> (String, Vec<String>) {
    let mut failures = Vec::new();
    let mut table = format!(
        "100 Mbit/s, {} ms, queue 1 BDP, {} s of link: share of C(1-p)*1448/1500\n\
         loss    share  2nd half  wire bytes/byte  queue p95\n",
        rtt.as_millis(),
        span.as_secs()
    );
    for loss in LOSSES {
        let cell = measure(loss, rtt, span);
        let cut = if cell.failure.is_some() {
            "  cut off"
        } else {
            ""
        };
        failures.extend(cell.failure);
        writeln!(
            table,
            "{:>3.0} %    {:.2}      {:.2}  {:>15.2}  {:>6} ms{cut}",
            loss * 100.0,
            cell.share,
            cell.later_share,
            cell.wire,
            cell.queue_p95.as_millis()
        )
        .expect("writing to a string cannot fail");
    }
    (table, failures)
}

#[test]
fn goodput_by_loss_at_10_ms() {
    let (table, failures) = column(Duration::from_millis(10), Duration::from_secs(10));
    insta::assert_snapshot!(table);
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn goodput_by_loss_at_100_ms() {
    let (table, failures) = column(Duration::from_millis(100), Duration::from_secs(10));
    insta::assert_snapshot!(table);
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn goodput_by_loss_at_300_ms() {
    let (table, failures) = column(Duration::from_millis(300), Duration::from_secs(20));
    insta::assert_snapshot!(table);
    assert_eq!(failures, Vec::<String>::new());
}
