//! Whole transfers between two engines.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::time::Duration;

use pair::{
    Fate, Pair, Setup,
    transfer::{Receiver, Sender, pattern},
};
use rp_protocol::{engine::Event, stream::StreamEvent, units::Dir};

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

#[test]
fn both_directions_at_once() {
    let mut pair = Pair::new();
    pair.connect();
    let up = pair.client().open(Dir::Uni).expect("allowed");
    let down = pair.server().open(Dir::Uni).expect("allowed");
    let (mut there, mut back) = (Sender::new(up, 1_000_000), Sender::new(down, 1_000_000));
    let (mut at_server, mut at_client) = (Receiver::default(), Receiver::default());
    pair.drive_while(|pair| {
        there.pump(pair.client());
        back.pump(pair.server());
        at_server.pump(pair.server(), up);
        at_client.pump(pair.client(), down);
        !(at_server.done && at_client.done)
    });
    assert_eq!(at_server.data, pattern(1_000_000));
    assert_eq!(at_client.data, pattern(1_000_000));
}

#[test]
fn a_thousand_streams_all_arrive() {
    let mut pair = Pair::new();
    pair.connect();
    let mut senders: Vec<_> = (0..1000)
        .map(|_| Sender::new(pair.client().open(Dir::Uni).expect("allowed"), 3000))
        .collect();
    let mut receivers: Vec<_> = senders
        .iter()
        .map(|sender| (sender.id, Receiver::default()))
        .collect();
    pair.drive_while(|pair| {
        senders
            .iter_mut()
            .filter(|sender| !sender.finished)
            .for_each(|sender| sender.pump(pair.client()));
        receivers
            .iter_mut()
            .filter(|(_, receiver)| !receiver.done)
            .for_each(|(id, receiver)| receiver.pump(pair.server(), *id));
        receivers.iter().any(|(_, receiver)| !receiver.done)
    });
    assert!(
        receivers
            .iter()
            .all(|(_, receiver)| receiver.data == pattern(3000))
    );
}

#[test]
fn blocks_are_handed_over_before_the_gap_is_closed() {
    let mut pair = Setup {
        delay: Duration::from_millis(50),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.run(Duration::from_millis(500));
    let victim = pair.client.sent_datagrams;
    pair.client.script = Box::new(move |count, _| {
        if count == victim {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    let id = pair.client().open(Dir::Uni).expect("allowed");
    let mut sender = Sender::new(id, 20_000);
    sender.pump(pair.client());
    let mut pieces = Vec::new();
    let mut ended = false;
    pair.drive_while(|pair| {
        loop {
            match pair.server().read_block(id) {
                Ok(Some(block)) => pieces.push(block),
                Ok(None) => ended = true,
                Err(_) => break,
            }
            if ended {
                break;
            }
        }
        !ended
    });
    assert!(
        pieces[0].0 > 0,
        "the first block was lost, a later one was handed over"
    );
    pieces.sort_by_key(|(offset, _)| *offset);
    let data: Vec<u8> = pieces
        .into_iter()
        .flat_map(|(_, bytes)| bytes.to_vec())
        .collect();
    assert_eq!(data, pattern(20_000));
}

#[test]
fn finished_is_reported_once_all_is_acknowledged() {
    let mut pair = Pair::new();
    pair.connect();
    pair.transfer(10_000);
    pair.run(Duration::from_millis(200));
    let finished = |event: &Event| matches!(event, Event::Stream(StreamEvent::Finished(_)));
    assert!(pair.saw(false, finished));
}

#[test]
fn reader_that_does_not_read_stops_the_sender_within_its_credit() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.client().open(Dir::Uni).expect("allowed");
    let mut sender = Sender::new(id, 20_000_000);
    pair.drive_while(|pair| {
        sender.pump(pair.client());
        pair.now - pair.start < Duration::from_secs(10)
    });
    let received = pair.server().stats().paths[0].received_bytes;
    assert!(received < 8_900_000, "{received} bytes without a reader");
    let mut receiver = Receiver::default();
    pair.drive_while(|pair| {
        sender.pump(pair.client());
        receiver.pump(pair.server(), id);
        !receiver.done
    });
    assert_eq!(receiver.data.len(), 20_000_000);
}
