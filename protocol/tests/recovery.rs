//! Loss, silence and reordering: what arrives, how soon, and at what cost.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::time::Duration;

use pair::{Fate, Pair, Setup, transfer::pattern};
use rp_protocol::{
    config::{Policy, TransportConfig},
    units::{Bandwidth, Dir},
    wire::id::StreamId,
};

/// Drops a scripted share of datagrams, evenly but without a fixed period.
fn lossy(percent: usize) -> pair::Script {
    Box::new(move |count, _| {
        if (count.wrapping_mul(0x9E37_79B9) >> 7) % 100 < percent {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    })
}

/// Two connected ends, a round trip of 100 ms apart.
fn connected_over_100_ms() -> Pair {
    let mut pair = Setup {
        delay: Duration::from_millis(50),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair
}

#[test]
fn thirty_percent_loss_each_way_is_survived() {
    let mut pair = Pair::new();
    pair.connect();
    pair.client.script = lossy(30);
    pair.server.script = lossy(30);
    assert_eq!(pair.transfer(500_000), pattern(500_000));
}

#[test]
fn lossy_ack_path_costs_few_repairs() {
    let mut pair = Pair::new();
    pair.connect();
    pair.server.script = lossy(20);
    assert_eq!(pair.transfer(5_000_000), pattern(5_000_000));
    let stats = &pair.client().stats().paths[0];
    assert!(
        stats.lost_packets * 50 <= stats.sent_packets,
        "{} of {}",
        stats.lost_packets,
        stats.sent_packets
    );
}

#[test]
fn single_lost_packet_is_repaired_within_a_quarter_of_a_round_trip_more() {
    let mut pair = connected_over_100_ms();
    pair.run(Duration::from_millis(500));
    let clean = {
        let start = pair.now;
        pair.transfer(12_000);
        pair.now - start
    };
    let victim = pair.client.sent_datagrams + 2;
    pair.client.script = Box::new(move |count, _| {
        if count == victim {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    let start = pair.now;
    assert_eq!(pair.transfer(12_000), pattern(12_000));
    let spent = pair.now - start;
    let repair = spent - clean;
    assert!(
        repair <= Duration::from_millis(125),
        "repaired after {repair:?}"
    );
    assert!(pair.server().stats().paths[0].naks_sent >= 1);
}

#[test]
fn lost_repair_is_repaired_like_any_loss() {
    let mut pair = connected_over_100_ms();
    pair.run(Duration::from_millis(500));
    // The same stream bytes are lost three times: once at first, twice as repairs.
    let first = pair.client.sent_datagrams + 2;
    let mut drops = 0;
    pair.client.script = Box::new(move |count, payload| {
        let lost = count == first || (count > first + 20 && drops < 2 && payload.len() > 600);
        drops += usize::from(lost && count != first);
        if lost { Fate::Drop } else { Fate::Deliver }
    });
    let start = pair.now;
    assert_eq!(pair.transfer(24_000), pattern(24_000));
    assert!(
        pair.now - start <= Duration::from_millis(900),
        "took {:?}",
        pair.now - start
    );
}

/// Writes 500 bytes to `id` and says how long they took to arrive.
fn message(pair: &mut Pair, id: StreamId) -> Duration {
    let start = pair.now;
    pair.client()
        .write(id, &[7; 500])
        .expect("the stream is open");
    let mut left = 500;
    pair.drive_while(|pair| {
        while left > 0
            && let Ok(Some(bytes)) = pair.server().read(id, usize::MAX)
        {
            left -= bytes.len();
        }
        left > 0
    });
    pair.now - start
}

/// A path of 100 ms, idle, that has lost `percent` before.
fn after_losses_of(percent: usize) -> Pair {
    let mut pair = connected_over_100_ms();
    pair.client.script = lossy(percent);
    pair.transfer(500_000);
    pair.run(Duration::from_secs(1));
    pair
}

/// Ten messages a round trip apart, the first datagram of each lost; on a path that has lost `percent` before.
fn messages_that_are_lost(percent: usize) -> Vec<Duration> {
    let mut pair = after_losses_of(percent);
    let mut large = 0;
    pair.client.script = Box::new(move |_, payload| {
        large += usize::from(payload.len() > 500);
        if payload.len() > 500 && large % 2 == 1 {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    let id = pair.client().open(Dir::Uni).expect("a stream is allowed");
    (0..10)
        .map(|_| {
            pair.run(Duration::from_millis(100));
            message(&mut pair, id)
        })
        .collect()
}

//= spec/03-reliability.md#redundant-sending
//= type=test
//# A sender with nothing left to send whose data in flight fill less than a sixteenth of its window MAY
//# send another 10000 bytes of messages twice.
#[test]
fn a_lost_message_of_a_thin_flow_costs_no_round_trip_where_packets_get_lost() {
    let took = messages_that_are_lost(5);
    let longest = took.iter().max().expect("ten messages");
    assert!(*longest < Duration::from_millis(60), "{took:?}");
}

#[test]
fn nothing_is_sent_twice_on_a_path_that_loses_nothing() {
    let took = messages_that_are_lost(0);
    let first = took.first().expect("ten messages");
    assert!(*first > Duration::from_millis(150), "{took:?}");
}

//= spec/03-reliability.md#redundant-sending
//= type=test
//# On a path where at least 0.5 % of recent packets were lost, a sender MAY send messages of up to
//# 10000 bytes twice, ahead of new data, for a sixty-fourth of the bytes it sends.
#[test]
fn lost_messages_beside_a_bulk_transfer_cost_no_round_trip() {
    let mut pair = connected_over_100_ms();
    pair.client()
        .set_max_rate(Some(Bandwidth::from_bits_per_second(50_000_000)));
    pair.client.script = lossy(5);
    let bulk = pair.client().open(Dir::Uni).expect("a stream is allowed");
    let urgent = pair.client().open(Dir::Uni).expect("a stream is allowed");
    pair.client().set_priority(urgent, 1).expect("it is open");
    let mut sender = pair::transfer::Sender::new(bulk, 60_000_000);
    let mut receiver = pair::transfer::Receiver::default();
    let mut pump = |pair: &mut Pair| {
        sender.pump(pair.client());
        receiver.pump(pair.server(), bulk);
        !receiver.done
    };
    let warm = pair.now + Duration::from_secs(1);
    pair.drive_while(|pair| pump(pair) && pair.now < warm);
    let mut took = Vec::new();
    for _ in 0..20 {
        // The first full datagram from here on is lost, and the message with it.
        let mut dropped = false;
        let mut rest = lossy(5);
        pair.client.script = Box::new(move |count, payload| {
            if payload.len() > 600 && !std::mem::replace(&mut dropped, true) {
                Fate::Drop
            } else {
                rest(count, payload)
            }
        });
        let start = pair.now;
        (pair.client().write(urgent, &[7; 500])).expect("the stream is open");
        let mut left: usize = 500;
        pair.drive_while(|pair| {
            while let Ok(Some(bytes)) = pair.server().read(urgent, usize::MAX) {
                left -= bytes.len();
            }
            assert!(pump(pair), "the bulk transfer was to last longer");
            left > 0
        });
        took.push(pair.now - start);
    }
    took.sort_unstable();
    assert!(took[14] < Duration::from_millis(60), "{took:?}");
}

#[test]
fn copies_of_many_messages_are_a_small_part_of_what_is_sent() {
    let mut pair = after_losses_of(5);
    pair.client.script = lossy(5);
    let before = pair.client().stats();
    let messages: Vec<StreamId> = (0..200)
        .map(|_| {
            let id = pair.client().open(Dir::Uni).expect("a stream is allowed");
            (pair.client().write(id, &[7; 1000])).expect("the stream is open");
            id
        })
        .collect();
    pair.run(Duration::from_millis(30));
    let after = pair.client().stats();
    let lost = after.paths[0].lost_bytes - before.paths[0].lost_bytes;
    let copied = after.streams.repaired_bytes - before.streams.repaired_bytes - lost;
    assert!(copied >= 5_000, "{copied}");
    assert!(copied <= 200_000 / 64 + 2 * 10_000, "{copied}");
    pair.run(Duration::from_secs(1));
    for id in messages {
        let mut receiver = pair::transfer::Receiver::default();
        receiver.pump(pair.server(), id);
        assert_eq!(receiver.data, [7; 1000], "{id}");
    }
}

//= spec/03-reliability.md#redundant-sending
//= type=test
//# On a path where at least 0.5 % of recent packets were lost, a sender MAY send messages of up to
//# 10000 bytes twice, ahead of new data, for a sixty-fourth of the bytes it sends.
#[test]
fn a_lost_end_of_a_stream_costs_no_round_trip_where_packets_get_lost() {
    let mut pair = after_losses_of(5);
    let id = pair.client().open(Dir::Uni).expect("a stream is allowed");
    let mut receiver = pair::transfer::Receiver::default();
    (pair.client().write(id, &[7; 500])).expect("the stream is open");
    pair.run(Duration::from_millis(500));
    receiver.pump(pair.server(), id);
    assert_eq!((receiver.data.len(), receiver.done), (500, false));
    let mut dropped = false;
    pair.client.script = Box::new(move |_, _| {
        if std::mem::replace(&mut dropped, true) {
            Fate::Deliver
        } else {
            Fate::Drop
        }
    });
    let start = pair.now;
    pair.client().finish(id).expect("the stream is open");
    pair.drive_while(|pair| {
        receiver.pump(pair.server(), id);
        !receiver.done
    });
    let took = pair.now - start;
    assert!(took < Duration::from_millis(60), "{took:?}");
}

#[test]
fn outage_of_three_seconds_ends_soon_after_it_ends() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(200));
    let start = pair.now;
    pair.client.script = Box::new(|_, _| Fate::Drop);
    let id = pair.client().open(Dir::Uni).expect("allowed");
    let mut sender = pair::transfer::Sender::new(id, 100_000);
    sender.pump(pair.client());
    pair.run(Duration::from_secs(3));
    pair.client.script = Box::new(|_, _| Fate::Deliver);
    let mut receiver = pair::transfer::Receiver::default();
    pair.drive_while(|pair| {
        sender.pump(pair.client());
        receiver.pump(pair.server(), id);
        !receiver.done
    });
    assert_eq!(receiver.data, pattern(100_000));
    assert!(
        pair.now - start <= Duration::from_millis(5500),
        "took {:?}",
        pair.now - start
    );
}

#[test]
fn reordering_widens_the_window_until_nothing_is_repaired_in_vain() {
    let mut pair = Setup {
        delay: Duration::from_millis(40),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.client.script = Box::new(|count, _| {
        if count % 50 == 9 {
            Fate::Delay(Duration::from_millis(30))
        } else {
            Fate::Deliver
        }
    });
    assert_eq!(pair.transfer(8_000_000), pattern(8_000_000));
    let stats = &pair.client().stats().paths[0];
    assert!(stats.spurious_losses > 0, "it had to learn");
    assert!(
        stats.reorder_window >= Duration::from_millis(20),
        "{:?}",
        stats.reorder_window
    );
    assert!(
        stats.lost_packets * 100 <= stats.sent_packets,
        "{} of {}",
        stats.lost_packets,
        stats.sent_packets
    );
}

#[test]
fn keys_are_updated_in_the_course_of_time_and_data_goes_on() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..10 {
        assert_eq!(pair.transfer(20_000), pattern(20_000));
        pair.run(Duration::from_secs(20));
    }
    assert!(pair.client().stats().key_updates >= 2);
    assert_eq!(
        pair.client().stats().key_updates,
        pair.server().stats().key_updates
    );
    assert_eq!(pair.server().stats().dropped.unauthentic, 0);
}

#[test]
fn marks_reach_the_sender() {
    let mut pair = Pair::new();
    pair.connect();
    pair.congested = true;
    assert_eq!(pair.transfer(100_000), pattern(100_000));
    assert!(pair.client().stats().paths[0].congestion_marks > 10);
}

//= spec/03-reliability.md#ack-policy
//= type=test
//# A packet marked CE, and a packet that carries a PING frame, MUST be acknowledged at once.
#[test]
fn marked_packets_and_pings_are_acknowledged_at_once() {
    let client = TransportConfig::default().keep_alive(Duration::from_secs(2));
    let mut pair = Setup {
        client,
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.run(Duration::from_secs(1));
    let id = pair.client().open(Dir::Bi).expect("a stream is allowed");
    for (congested, acks) in [(false, 0), (true, 1)] {
        pair.congested = congested;
        let sent = pair.server.sent_datagrams;
        pair.client().write(id, b"x").expect("the stream is open");
        pair.run(Duration::from_millis(26));
        assert_eq!(pair.server.sent_datagrams - sent, acks, "{congested}");
        pair.run(Duration::from_millis(200));
    }
    pair.congested = false;
    let (asked, answered) = (pair.client.sent_datagrams, pair.server.sent_datagrams);
    pair.drive_while(|pair| pair.client.sent_datagrams == asked);
    pair.run(Duration::from_millis(26));
    assert_eq!(pair.server.sent_datagrams - answered, 1);
}

//= spec/03-reliability.md#probes
//= type=test
//# When nothing is acknowledged for a probe interval, smoothed RTT + max(4 x RTT variation, 1 ms) +
//# the delay it allowed the peer, a sender MUST send two probe packets whatever window and pacer say.
//= spec/03-reliability.md#probes
//= type=test
//# A probe timeout alone MUST NOT declare anything lost.
#[test]
fn full_window_is_probed_with_two_packets_and_none_is_declared_lost() {
    let mut pair = connected_over_100_ms();
    pair.run(Duration::from_millis(500));
    pair.client.script = Box::new(|_, _| Fate::Drop);
    let id = pair.client().open(Dir::Uni).expect("a stream is allowed");
    (pair.client().write(id, &pattern(1_000_000))).expect("there is room");
    let lost = pair.client().stats().paths[0].lost_packets;
    let timeouts = pair.client().stats().paths[0].probe_timeouts;
    let mut before = 0;
    pair.drive_while(|pair| {
        if pair.client().stats().paths[0].probe_timeouts == timeouts {
            before = pair.client.sent_datagrams;
            return true;
        }
        false
    });
    pair.run(Duration::from_millis(1));
    assert_eq!(pair.client.sent_datagrams - before, 2);
    pair.run(Duration::from_secs(3));
    let path = &pair.client().stats().paths[0];
    assert!(path.probe_timeouts > timeouts + 2);
    assert_eq!(path.lost_packets, lost);
}

//= spec/03-reliability.md#skipped-numbers
//= type=test
//# A sender SHOULD skip a packet number now and then, at distances the peer cannot predict.
#[test]
fn numbers_are_missed_although_no_packet_was_lost() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.transfer(1_000_000), pattern(1_000_000));
    let (lost, named) = (
        pair.client().stats().paths[0].lost_packets,
        pair.server().stats().paths[0].naks_sent,
    );
    assert_eq!(pair.transfer(8_000_000), pattern(8_000_000));
    assert_eq!(pair.client().stats().paths[0].lost_packets, lost);
    assert!(pair.server().stats().paths[0].naks_sent > named);
}

/// The window of a CUBIC sender after a transfer over a wire that `script` disturbs, and how many packets it
/// declared lost.
fn window_of_cubic(mtu_discovery: bool, script: pair::Script) -> (u64, u64) {
    let client = TransportConfig::default()
        .policy(Policy::Cubic)
        .mtu_discovery(mtu_discovery);
    let mut pair = Setup {
        client,
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.client.script = script;
    assert_eq!(pair.transfer(400_000), pattern(400_000));
    pair.run(Duration::from_millis(200));
    let path = &pair.client().stats().paths[0];
    (path.window, path.lost_packets)
}

//= spec/03-reliability.md#loss-detection
//= type=test
//# A sender MUST tell its congestion controller of packets that were declared lost and arrived after
//# all.
#[test]
fn late_packet_leaves_the_window_as_it_was() {
    let late = |count| Duration::from_millis(20 * u64::from(count == 30));
    let (undisturbed, _) = window_of_cubic(false, Box::new(|_, _| Fate::Deliver));
    let delayed = Box::new(move |count, _: &[u8]| Fate::Delay(late(count)));
    let (window, lost) = window_of_cubic(false, delayed);
    assert!(lost > 0);
    assert!(window > undisturbed * 9 / 10, "{window} of {undisturbed}");
}

//= spec/07-paths.md#packet-size
//= type=test
//# The loss of a probe MUST NOT be reported to the congestion controller as a loss.
#[test]
fn lost_probes_of_the_packet_size_leave_the_window_as_it_was() {
    let large = |payload: &[u8]| payload.len() > 1200;
    let (undisturbed, _) = window_of_cubic(false, Box::new(|_, _| Fate::Deliver));
    let small_path = Box::new(move |_, payload: &[u8]| match large(payload) {
        true => Fate::Drop,
        false => Fate::Deliver,
    });
    let (window, _) = window_of_cubic(true, small_path);
    assert!(window > undisturbed * 9 / 10, "{window} of {undisturbed}");
}
