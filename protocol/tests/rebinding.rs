//! A client whose address changes under its connection is followed, and its transfers go on.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::{net::SocketAddr, time::Duration};

use pair::{Fate, Pair, Setup};
use rp_protocol::{units::Dir, wire::id::StreamId};

const MS: Duration = Duration::from_millis(1);
/// One way on the harness's wire, and both.
const DELAY: Duration = Duration::from_millis(25);
const RTT: Duration = Duration::from_millis(50);
/// A quarter of what is transferred.
const LEN: usize = 2_000_000;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// How long a transfer stands still when the client moves after a quarter of it: `moves` are addresses, and how
/// long after the first. With `cut`, what it had on the wire is lost each time.
fn longest_gap(
    pair: &mut Pair,
    down: bool,
    moves: &[(Duration, SocketAddr)],
    cut: bool,
) -> Duration {
    let mut moves = moves.iter();
    let mut next = moves.next();
    let mut begun = None;
    let mut last = (0, pair.now);
    let mut longest = Duration::ZERO;
    pair.stream(down, 4 * LEN, |pair, arrived| {
        if arrived > last.0 {
            longest = longest.max(pair.now - last.1);
            last = (arrived, pair.now);
        }
        let Some(&(after, to)) = next else {
            return;
        };
        if arrived > LEN && pair.now >= *begun.get_or_insert(pair.now) + after {
            pair.client.address = to;
            if cut {
                pair.lose_what_is_on_the_wire();
            }
            last.1 = pair.now;
            longest = Duration::ZERO;
            next = moves.next();
        }
    });
    assert!(next.is_none(), "the transfer lasted long enough");
    longest
}

//= spec/07-paths.md#rebinding
//= type=test
//# A server MUST challenge a candidate, and MUST follow the client there when the challenge is answered, not before.
#[test]
fn transfers_resume_within_three_round_trips_and_a_second() {
    let port = address("192.0.2.2:50123");
    let near = address("192.0.2.9:40000");
    let far = address("198.51.100.7:50123");
    for moved in [port, near, far] {
        for down in [true, false] {
            for cut in [false, true] {
                for delay in [MS, DELAY, 6 * DELAY] {
                    let mut pair = Setup {
                        delay,
                        ..Setup::default()
                    }
                    .build();
                    pair.connect();
                    let gap = longest_gap(&mut pair, down, &[(Duration::ZERO, moved)], cut);
                    let case = format!("to {moved}, down: {down}, cut: {cut}, delay {delay:?}");
                    assert!(gap <= 6 * delay + Duration::from_secs(1), "{case}: {gap:?}");
                    assert_eq!(pair.server().remote_address(), moved, "{case}");
                }
            }
        }
    }
}

#[test]
fn client_that_moves_twice_within_a_round_trip_is_followed() {
    let first = address("198.51.100.7:50123");
    for second in ["198.51.100.7:50124", "203.0.113.5:7", "192.0.2.2:40000"] {
        for down in [true, false] {
            for after in [MS, DELAY, DELAY + MS, 2 * DELAY - MS] {
                for cut in [false, true] {
                    let second = address(second);
                    let mut pair = Pair::new();
                    pair.connect();
                    let moves = [(Duration::ZERO, first), (after, second)];
                    let gap = longest_gap(&mut pair, down, &moves, cut);
                    let case = format!("{after:?} later to {second}, down: {down}, cut: {cut}");
                    assert!(gap <= 3 * RTT + Duration::from_secs(1), "{case}: {gap:?}");
                    assert_eq!(pair.server().remote_address(), second, "{case}");
                }
            }
        }
    }
}

/// A question over a tunnel that has been idle, and its answer; says how long it took.
fn ask(pair: &mut Pair, id: StreamId) -> Duration {
    let begun = pair.now;
    pair.client().write(id, b"question").expect("there is room");
    let mut answered = false;
    let mut done = false;
    pair.drive_while(|pair| {
        if !answered && pair.server().read(id, 100).is_ok() {
            pair.server().write(id, b"answer").expect("there is room");
            answered = true;
        }
        done |= pair.client().read(id, 100).is_ok();
        !done
    });
    assert!(done, "the answer came");
    pair.now - begun
}

#[test]
fn idle_tunnel_survives_every_move() {
    let home = address("192.0.2.2:40000");
    for moved in ["192.0.2.2:50123", "192.0.2.9:40000", "198.51.100.7:50123"] {
        let mut pair = Pair::new();
        pair.connect();
        let id = pair.client().open(Dir::Bi).expect("allowed");
        ask(&mut pair, id);
        for to in [address(moved), home, address(moved)] {
            pair.run(Duration::from_secs(7));
            pair.client.address = to;
            let took = ask(&mut pair, id);
            assert!(
                took <= 3 * RTT + Duration::from_secs(1),
                "to {to}: {took:?}"
            );
            assert_eq!(pair.server().remote_address(), to);
        }
    }
}

//= spec/07-paths.md#rebinding
//= type=test
//# A client MUST discard datagrams that do not come from the address and port it sends to.
#[test]
fn client_believes_nothing_that_comes_from_elsewhere() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(RTT * 4);
    let id = pair.server().open(Dir::Uni).expect("allowed");
    pair.server.captured = Some(Vec::new());
    pair.server.script = Box::new(|_, _| Fate::Drop);
    pair.server().write(id, b"hello").expect("there is room");
    pair.run(MS);
    let captured = pair.server.captured.take().expect("set above").remove(0);
    let received = pair.client().stats().paths[0].received_packets;
    pair.inject_from(address("192.0.2.1:7378"), false, captured.clone());
    pair.inject_from(address("192.0.2.3:7377"), false, captured.clone());
    assert_eq!(pair.client().stats().paths[0].received_packets, received);
    pair.inject(false, captured);
    assert_eq!(
        pair.client().stats().paths[0].received_packets,
        received + 1
    );
}

/// An attacker who races single packets of a client that really moves holds nothing up.
#[test]
fn move_is_followed_although_copies_race_it() {
    let moved = address("198.51.100.7:50123");
    for every in [2, 3, 50] {
        for down in [true, false] {
            let mut pair = Pair::new();
            pair.connect();
            let names = ["192.0.2.77:9", "203.0.113.66:6666", "203.0.113.67:1"].map(address);
            pair.copies = Some(Box::new(move |count, _| {
                let races = count > 20 && count % every == 0;
                let copy = (names[count % names.len()], DELAY - MS);
                races.then_some(copy).into_iter().collect()
            }));
            let gap = longest_gap(&mut pair, down, &[(Duration::ZERO, moved)], true);
            let case = format!("every {every}, down: {down}");
            assert!(gap <= 3 * RTT + Duration::from_secs(1), "{case}: {gap:?}");
            pair.run(2 * RTT);
            assert_eq!(pair.server().remote_address(), moved, "{case}");
        }
    }
}

//= spec/07-paths.md#rebinding
//= type=test
//# A client that received eight packets or more that ask for an ACK, sent none itself since the first of them, and hears nothing
//# for one and a half round trips, at least 50 ms, SHOULD send a PING while it has streams open.
#[test]
fn client_that_hears_nothing_in_a_download_asks() {
    let moved = address("198.51.100.7:50123");
    let mut pair = Pair::new();
    pair.connect();
    let mut moved_at = None;
    let mut resumed_at = None;
    let mut before = 0;
    pair.stream(true, 4 * LEN, |pair, arrived| {
        if arrived > LEN && moved_at.is_none() {
            moved_at = Some(pair.now);
            before = arrived;
            pair.client.address = moved;
            pair.lose_what_is_on_the_wire();
            // What the last arrivals ask for is lost as well.
            let next = pair.client.sent_datagrams;
            pair.client.script = Box::new(move |count, _| {
                if count < next + 2 {
                    Fate::Drop
                } else {
                    Fate::Deliver
                }
            });
        }
        if arrived > before && moved_at.is_some() {
            resumed_at.get_or_insert(pair.now);
        }
    });
    let gap = resumed_at.expect("it went on") - moved_at.expect("it moved");
    assert!(gap <= 3 * RTT + Duration::from_secs(1), "{gap:?}");
}

//= spec/07-paths.md#rebinding
//= type=test
//# Packets sent to the old address MUST NOT count as losses or RTT samples of the new path; a server SHOULD repair them at once.
#[test]
fn new_port_costs_no_rate_and_no_losses() {
    let mut pair = Pair::new();
    pair.connect();
    let mut lost = None;
    pair.stream(true, 4 * LEN, |pair, arrived| {
        if arrived > LEN && lost.is_none() {
            lost = Some(pair.server().stats().paths[0].lost_packets);
            pair.client.address = address("192.0.2.2:50123");
        }
    });
    let path = &pair.server().stats().paths[0];
    assert_eq!(Some(path.lost_packets), lost);
    assert!(path.rtt < RTT * 2, "{:?}", path.rtt);
}

//= spec/07-paths.md#rebinding
//= type=test
//# An endpoint MUST reset its congestion controller, RTT estimate and packet size when the peer moved to another network; a change
//# of port, or inside the same /24 or /64, keeps them.
#[test]
fn another_network_is_measured_anew() {
    for (moved, keeps) in [("192.0.2.200:1", true), ("192.0.3.2:40000", false)] {
        let mut pair = Pair::new();
        pair.connect();
        pair.stream(true, LEN, |_, _| {});
        pair.run(Duration::from_secs(1));
        let before = pair.server().stats().paths[0].clone();
        assert_eq!(before.max_payload, 1472);
        // From here on a round trip takes four times as long, and less fits into a packet.
        pair.delay = 4 * DELAY;
        pair.mtu = if keeps { 1500 } else { 1300 };
        pair.client.address = address(moved);
        let id = pair.client().open(Dir::Bi).expect("allowed");
        let took = ask(&mut pair, id);
        assert!(took <= 12 * RTT + Duration::from_secs(1), "{took:?}");
        let after = pair.server().stats().paths[0].clone();
        assert_eq!(after.max_payload == before.max_payload, keeps);
        assert_eq!(after.min_rtt < 2 * RTT, keeps, "{:?}", after.min_rtt);
        pair.stream(true, LEN, |_, _| {});
    }
}

//= spec/07-paths.md#validation
//= type=test
//# An endpoint MUST answer a PATH_CHALLENGE to the address it came from, with the same bytes.
//= spec/07-paths.md#rebinding
//= type=test
//# A server SHOULD send an ACK to the new address at once.
//= spec/07-paths.md#rebinding
//= type=test
//# An endpoint SHOULD use another of the peer's connection ids after the peer's address changed.
//= spec/07-paths.md#connection-ids
//= type=test
//# An endpoint SHOULD keep one id on offer that the peer does not use yet.
#[test]
fn move_is_complete_one_round_trip_after_the_first_packet() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(4 * RTT);
    pair.server.captured = Some(Vec::new());
    let moved = address("198.51.100.7:50123");
    pair.client.address = moved;
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, b"x").expect("there is room");
    pair.run(RTT + DELAY - MS);
    assert_ne!(pair.server().remote_address(), moved);
    let asked = pair.server.captured.take().expect("set above");
    pair.server.captured = Some(Vec::new());
    pair.run(2 * MS);
    assert_eq!(pair.server().remote_address(), moved);
    let told = pair.server.captured.take().expect("set above");
    let id = |datagram: &Vec<u8>| datagram[1..9].to_vec();
    assert!(!told.is_empty(), "an ACK at least");
    assert!(asked.iter().all(|datagram| id(datagram) == id(&asked[0])));
    assert!(told.iter().all(|datagram| id(datagram) != id(&asked[0])));
}

//= spec/07-paths.md#rebinding
//= type=test
//# A server MUST discard datagrams from any address but that of the client's first datagram until its handshake is complete.
#[test]
fn handshake_does_not_move() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.client().is_handshaking());
    let home = pair.client.address;
    pair.client.address = address("192.0.2.2:50123");
    pair.run(4 * RTT);
    assert!(
        pair.server().is_handshaking(),
        "what came was not looked at"
    );
    pair.client.address = home;
    pair.run(20 * RTT);
    assert!(!pair.server().is_handshaking());
}
