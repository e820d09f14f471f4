//! What changes below a connection: addresses and packet sizes.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use pair::{
    Fate, Pair,
    transfer::{Receiver, Sender, pattern},
};
use rp_protocol::units::Dir;

/// Transfers `len` bytes and calls `change` once a quarter of them has arrived.
fn transfer_with(pair: &mut Pair, len: usize, change: impl FnOnce(&mut Pair)) -> Vec<u8> {
    let id = pair.client().open(Dir::Uni).expect("allowed");
    let mut sender = Sender::new(id, len);
    let mut receiver = Receiver::default();
    let mut change = Some(change);
    pair.drive_while(|pair| {
        sender.pump(pair.client());
        receiver.pump(pair.server(), id);
        if receiver.data.len() > len / 4
            && let Some(change) = change.take()
        {
            change(pair);
        }
        !receiver.done
    });
    receiver.data
}

#[test]
fn ethernet_size_is_found_at_once() {
    let mut pair = Pair::new();
    pair.mtu = 1472;
    pair.connect();
    assert_eq!(pair.transfer(1_000_000), pattern(1_000_000));
    assert_eq!(pair.client().stats().paths[0].max_payload, 1472);
}

#[test]
fn jumbo_frames_are_found() {
    let mut pair = Pair::new();
    pair.mtu = 9000;
    pair.connect();
    assert_eq!(pair.transfer(3_000_000), pattern(3_000_000));
    assert_eq!(pair.client().stats().paths[0].max_payload, 8952);
}

#[test]
fn path_that_stops_carrying_large_packets_is_noticed() {
    let mut pair = Pair::new();
    pair.connect();
    let data = transfer_with(&mut pair, 8_000_000, |pair| pair.mtu = 1300);
    assert_eq!(data, pattern(8_000_000));
    let path = &pair.client().stats().paths[0];
    assert_eq!(path.black_holes, 1);
    assert!(path.max_payload <= 1300);
}

//= spec/07-paths.md#packet-size
//= type=test
//# The packet size MUST NOT be lowered unless at least three probes of the size in use were lost
//# while a smaller packet arrived.
#[test]
fn heavy_random_loss_does_not_lower_the_packet_size() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.transfer(200_000), pattern(200_000));
    let size = pair.client().stats().paths[0].max_payload;
    pair.client.script = Box::new(|count, _| {
        if (count.wrapping_mul(0x9E37_79B9) >> 7) % 100 < 20 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    assert_eq!(pair.transfer(3_000_000), pattern(3_000_000));
    assert_eq!(pair.client().stats().paths[0].max_payload, size);
    assert_eq!(pair.client().stats().paths[0].black_holes, 0);
}

//= spec/07-paths.md#ecn
//= type=test
//# An endpoint MUST stop marking packets when acknowledgements of marked packets carry no counts.
#[test]
fn marking_ends_on_a_path_that_takes_the_marks_away() {
    let mut pair = Pair::new();
    pair.bleaches = true;
    pair.connect();
    assert_eq!(pair.transfer(200_000), pattern(200_000));
    let marked = pair.client.marked_datagrams;
    assert!(marked > 0, "it has to try");
    assert_eq!(pair.transfer(200_000), pattern(200_000));
    assert_eq!(pair.client.marked_datagrams, marked);
}
