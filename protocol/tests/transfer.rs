//! Whole transfers between two engines, with scripted trouble on the wire.

mod pair;

use std::time::Duration;

use pair::{Fate, Pair, Setup, pattern};

#[test]
fn handshake_takes_one_round_trip() {
    let mut pair = Pair::new();
    pair.connect();
    let client = pair.client();
    assert_eq!(client.service(), Some(pair::SERVICE));
    assert!(client.peer().is_some());
    assert_eq!(
        pair.now - pair.start,
        Duration::from_millis(75),
        "client 1 RTT, server half more"
    );
}

#[test]
fn bytes_arrive_equal_on_a_clean_link() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.transfer(3_000_000), pattern(3_000_000));
    assert_eq!(pair.client().stats().paths[0].lost_packets, 0);
}

#[test]
fn bytes_arrive_equal_when_every_tenth_datagram_is_lost() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|count, _| {
        if count % 10 == 7 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.server.script = Box::new(|count, _| {
        if count % 10 == 3 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.connect();
    assert_eq!(pair.transfer(1_000_000), pattern(1_000_000));
}

#[test]
fn duplicated_datagrams_are_counted_and_harmless() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|_, _| Fate::Double);
    pair.connect();
    assert_eq!(pair.transfer(300_000), pattern(300_000));
    assert!(pair.server().stats().dropped.duplicate > 100);
}

#[test]
fn reordered_datagrams_cause_few_repairs() {
    let mut pair = Setup {
        delay: Duration::from_millis(50),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.client.script = Box::new(|count, _| {
        if count % 30 == 5 {
            Fate::Delay(Duration::from_millis(5))
        } else {
            Fate::Deliver
        }
    });
    assert_eq!(pair.transfer(3_000_000), pattern(3_000_000));
    let stats = &pair.client().stats().paths[0];
    assert!(
        stats.lost_packets * 100 <= stats.sent_packets,
        "{} of {}",
        stats.lost_packets,
        stats.sent_packets
    );
}
