//! Handshakes between two engines: lost flights, unproven clients, load.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::{sync::Arc, time::Duration};

use pair::{Fate, Pair, Setup, transfer::pattern};
use rp_protocol::{
    config::EndpointConfig,
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
    engine::Event,
    error::ConnectionError,
    units::Dir,
};

/// Trusts nobody.
#[derive(Debug)]
struct NoPeer;

impl PeerVerifier for NoPeer {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Err(PeerRejected("not on the list".into()))
    }
}

fn closed(pair: &Pair, server: bool) -> Option<ConnectionError> {
    let host = if server { &pair.server } else { &pair.client };
    host.events.iter().find_map(|(_, event)| match event {
        Event::Closed(error) => Some(error.clone()),
        _ => None,
    })
}

#[test]
fn handshake_takes_one_round_trip_and_a_half() {
    let mut pair = Pair::new();
    pair.connect();
    assert_eq!(pair.client().service(), Some(pair::SERVICE));
    assert!(pair.client().peer().is_some());
    assert!(pair.server().peer().is_some());
    assert_eq!(pair.now - pair.start, Duration::from_millis(75));
}

#[test]
fn stream_data_rides_with_the_clients_last_flight() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.client().is_handshaking());
    assert_eq!(pair.transfer(1000), pattern(1000));
    assert_eq!(pair.now - pair.start, Duration::from_millis(75));
}

#[test]
fn any_single_lost_datagram_only_delays_the_handshake() {
    for lost in 0..6 {
        for of_server in [false, true] {
            let mut pair = Pair::new();
            let script = Box::new(move |count, _: &[u8]| {
                if count == lost {
                    Fate::Drop
                } else {
                    Fate::Deliver
                }
            });
            if of_server {
                pair.server.script = script;
            } else {
                pair.client.script = script;
            }
            pair.connect();
            assert_eq!(
                pair.transfer(5000),
                pattern(5000),
                "lost {lost}, of the server: {of_server}"
            );
        }
    }
}

#[test]
fn every_third_datagram_lost_still_connects() {
    let mut pair = Pair::new();
    let script = || -> pair::Script {
        Box::new(
            |count, _| match (count.wrapping_mul(0x9E37_79B9) >> 9) % 3 {
                0 => Fate::Drop,
                _ => Fate::Deliver,
            },
        )
    };
    pair.client.script = script();
    pair.server.script = script();
    pair.connect();
    assert_eq!(pair.transfer(20_000), pattern(20_000));
}

#[test]
fn silent_server_ends_the_attempt_within_the_handshake_timeout() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|_, _| Fate::Drop);
    pair.run(Duration::from_secs(11));
    assert_eq!(
        closed(&pair, false),
        Some(ConnectionError::HandshakeTimedOut)
    );
}

//= spec/02-handshake.md#amplification
//= type=test
//# Before the peer's address is validated, an endpoint MUST NOT send more than three times the
//# bytes it received from that address.
#[test]
fn server_sends_an_unproven_client_at_most_three_times_what_it_received() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|count, _| if count < 2 { Fate::Deliver } else { Fate::Drop });
    pair.run(Duration::from_secs(9));
    assert!(pair.server.sent_bytes > 1200, "it answered");
    assert!(
        pair.server.sent_bytes <= 3 * 2400,
        "{} bytes",
        pair.server.sent_bytes
    );
}

//= spec/02-handshake.md#amplification
//= type=test
//# A client MUST pad every datagram with an Initial packet to 1200 bytes, and a server every one
//# whose Initial packet asks for an ACK; a datagram that cannot be padded so far is not sent.
#[test]
fn first_datagrams_are_padded() {
    let mut pair = Pair::new();
    pair.client.captured = Some(Vec::new());
    pair.connect();
    let captured = pair.client.captured.take().expect("set above");
    let initials: Vec<_> = captured
        .iter()
        .filter(|datagram| datagram[0] & 0xf0 == 0xc0)
        .collect();
    assert!(
        initials.len() >= 2,
        "a hybrid key share takes two datagrams"
    );
    assert!(initials.iter().all(|datagram| datagram.len() >= 1200));
}

//= spec/02-handshake.md#retry
//= type=test
//# A server SHOULD answer with a Retry while more handshakes are in progress than its threshold, unless
//# the packet has a valid token.
//= spec/02-handshake.md#retry
//= type=test
//# A client MUST repeat the token in every Initial packet it sends after the Retry.
//= spec/02-handshake.md#retry
//= type=test
//# A server MUST be able to learn the original destination connection id from the token alone, and
//# MUST send it back in its transport parameters.
#[test]
fn loaded_server_asks_for_a_token_and_takes_it() {
    let endpoint = EndpointConfig::default().retry_above(0);
    let mut pair = Setup {
        endpoint,
        ..Setup::default()
    }
    .build();
    pair.connect();
    assert_eq!(
        pair.server.endpoint.stats().retries,
        2,
        "one for each datagram of the first flight"
    );
    pair.run(Duration::from_millis(1));
    assert_eq!(pair.server.endpoint.stats().half_open, 0);
    assert_eq!(pair.transfer(5000), pattern(5000));
}

#[test]
fn full_server_refuses_and_says_so() {
    let endpoint = EndpointConfig::default().max_half_open(0);
    let mut pair = Setup {
        endpoint,
        ..Setup::default()
    }
    .build();
    pair.run(Duration::from_secs(1));
    let error = closed(&pair, false).expect("the client was told");
    assert!(error.to_string().contains("connection refused"), "{error}");
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# An endpoint that refuses a key MUST close with the alert access_denied and MUST NOT tell the
//# peer more than that.
#[test]
fn unknown_client_key_is_refused_with_an_alert_and_no_words() {
    let mut pair = Setup {
        server_verifier: Arc::new(NoPeer),
        ..Setup::default()
    }
    .build();
    pair.run(Duration::from_secs(1));
    assert_eq!(
        closed(&pair, true),
        Some(ConnectionError::PeerRejected("not on the list".into()))
    );
    match closed(&pair, false) {
        Some(ConnectionError::PeerTransport { code, reason }) => {
            assert_eq!(code.alert(), Some(49));
            assert!(reason.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_host_key_is_refused_before_anything_is_sent() {
    let mut pair = Setup {
        client_verifier: Arc::new(NoPeer),
        ..Setup::default()
    }
    .build();
    pair.run(Duration::from_secs(1));
    assert_eq!(
        closed(&pair, false),
        Some(ConnectionError::PeerRejected("not on the list".into()))
    );
    assert!(matches!(
        closed(&pair, true),
        Some(ConnectionError::PeerTransport { .. })
    ));
}

#[test]
fn service_that_is_not_offered_ends_the_handshake() {
    let mut pair = Setup {
        service: "rpp-other/1",
        ..Setup::default()
    }
    .build();
    pair.run(Duration::from_secs(1));
    match closed(&pair, false) {
        Some(ConnectionError::PeerTransport { code, .. }) => assert_eq!(code.alert(), Some(120)),
        other => panic!("{other:?}"),
    }
}

//= spec/02-handshake.md#version-negotiation
//= type=test
//# A client MUST ignore a Version Negotiation packet that lists the version it used, that arrives after
//# any other packet of the server, or whose ids are not those of its first packet.
#[test]
fn damaged_version_field_does_not_end_the_attempt() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|count, payload| match count {
        // A bit of the version, counted from the datagram's end.
        0 | 1 => Fate::Flip((payload.len() - 5) * 8),
        _ => Fate::Deliver,
    });
    pair.connect();
    assert_eq!(pair.transfer(5000), pattern(5000));
}

#[test]
fn damaged_datagrams_are_dropped_and_repaired() {
    let mut pair = Pair::new();
    pair.client.script = Box::new(|count, _| {
        if count % 7 == 3 {
            Fate::Flip(count * 31)
        } else {
            Fate::Deliver
        }
    });
    pair.server.script = Box::new(|count, _| {
        if count % 5 == 2 {
            Fate::Cut(count * 13 % 1200)
        } else {
            Fate::Deliver
        }
    });
    pair.connect();
    assert_eq!(pair.transfer(500_000), pattern(500_000));
}

/// How many datagrams a server under load sends for the client's first one, which `change` has changed.
fn answers_to(change: impl FnOnce(&mut Vec<u8>)) -> usize {
    let endpoint = EndpointConfig::default().retry_above(0);
    let mut pair = Setup {
        endpoint,
        ..Setup::default()
    }
    .build();
    pair.client.captured = Some(Vec::new());
    pair.client.script = Box::new(|_, _| Fate::Drop);
    pair.run(Duration::from_millis(1));
    let mut first = pair.client.captured.take().expect("set above").remove(0);
    change(&mut first);
    pair.inject(true, first);
    pair.server.sent_datagrams
}

//= spec/02-handshake.md#version-negotiation
//= type=test
//# A server MUST NOT send a Version Negotiation packet in answer to a datagram shorter than 1200 bytes.
#[test]
fn short_datagram_of_another_version_is_not_answered() {
    for (len, answers) in [(1200, 1), (1199, 0), (100, 0)] {
        let sent = answers_to(|datagram| {
            datagram[4] ^= 0x10;
            datagram.truncate(len);
        });
        assert_eq!(sent, answers, "{len} bytes");
    }
}

//= spec/02-handshake.md#amplification
//= type=test
//# A server MUST drop a client's first datagram that is shorter than 1200 bytes.
#[test]
fn short_first_datagram_is_dropped() {
    for (len, answers) in [(1200, 1), (1199, 0), (100, 0)] {
        let sent = answers_to(|datagram| {
            datagram.truncate(len);
            // Without a token the Length field stands behind 22 bytes, in two bytes.
            let rest = u16::try_from(len - 24).expect("small");
            datagram[22..24].copy_from_slice(&(0x4000 | rest).to_be_bytes());
        });
        assert_eq!(sent, answers, "{len} bytes");
    }
}

//= spec/02-handshake.md#retry
//= type=test
//# A server MUST treat a packet whose token is not valid as if it carried none.
#[test]
fn token_of_another_address_is_as_good_as_none() {
    let loaded = |retry_above| {
        let endpoint = EndpointConfig::default().retry_above(retry_above);
        Setup {
            endpoint,
            ..Setup::default()
        }
        .build()
    };
    let mut pair = loaded(0);
    pair.client.captured = Some(Vec::new());
    pair.connect();
    let captured = pair.client.captured.take().expect("set above");
    let with_token = captured
        .into_iter()
        .find(|datagram| datagram[0] & 0xf0 == 0xc0 && datagram[21] != 0)
        .expect("the client was asked for a token");
    let elsewhere = "192.0.2.3:40000".parse().expect("an address");
    for (retry_above, retries, half_open) in [(0, 1, 0), (1, 0, 1)] {
        let mut pair = loaded(retry_above);
        pair.inject_from(elsewhere, true, with_token.clone());
        let stats = pair.server.endpoint.stats();
        assert_eq!((stats.retries, stats.half_open), (retries, half_open));
    }
}

//= spec/02-handshake.md#parameters
//= type=test
//# An endpoint MUST NOT act on the peer's parameters before the handshake is complete.
#[test]
fn parameters_of_an_unproven_client_allow_nothing() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.server_handle.is_none());
    pair.run(Duration::from_millis(1));
    assert!(pair.server.sent_bytes > 0, "it has read the ClientHello");
    assert!(pair.server().is_handshaking());
    assert_eq!(pair.server().open(Dir::Uni), None);
    pair.connect();
    assert!(pair.server().open(Dir::Uni).is_some());
}

//= spec/02-handshake.md#levels
//= type=test
//# An endpoint MUST NOT process a data packet before its own handshake is complete.
#[test]
fn data_that_overtakes_the_end_of_the_handshake_waits_for_it() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.client().is_handshaking());
    pair.client.script = Box::new(|_, payload| match payload[0] & 0x80 {
        0 => Fate::Deliver,
        _ => Fate::Drop,
    });
    pair.run(Duration::from_millis(1));
    let sent = pair.client.sent_datagrams;
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, b"early").expect("there is room");
    pair.run(Duration::from_millis(30));
    assert!(pair.client.sent_datagrams > sent);
    assert!(pair.server().is_handshaking());
    assert_eq!(pair.server().accept(Dir::Uni), None);
    pair.client.script = Box::new(|_, _| Fate::Deliver);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.server().accept(Dir::Uni), Some(id));
}

/// The packets with a long header among `captured` whose first byte begins with these bits, each by itself.
fn of_kind(captured: Option<&Vec<Vec<u8>>>, first_bits: u8) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for datagram in captured.expect("it is captured") {
        let mut rest = &datagram[..];
        while let Some(&first) = rest.first()
            && first & 0x80 != 0
        {
            // An Initial without a token has one byte more, its token's length.
            let at = if first & 0x30 == 0 { 22 } else { 21 };
            let len = u16::from_be_bytes([rest[at] & 0x3f, rest[at + 1]]);
            let (packet, next) = rest.split_at(at + 2 + usize::from(len));
            if first & 0xf0 == first_bits {
                found.push(packet.to_vec());
            }
            rest = next;
        }
    }
    found
}

//= spec/02-handshake.md#levels
//= type=test
//# A client MUST discard its Initial keys when it first sends a Handshake packet, a server when it
//# first opens one.
//= spec/02-handshake.md#levels
//= type=test
//# An endpoint MUST discard its Handshake keys when the handshake is confirmed: for a server when it
//# is complete, for a client when HANDSHAKE_DONE arrives.
#[test]
fn keys_of_the_handshake_go_when_they_have_served() {
    let mut pair = Pair::new();
    pair.client.captured = Some(Vec::new());
    pair.server.captured = Some(Vec::new());
    pair.drive_while(|pair| pair.client().is_handshaking());
    pair.run(Duration::from_millis(1));
    let initial = of_kind(pair.server.captured.as_ref(), 0xc0).remove(0);
    let handshake = of_kind(pair.server.captured.as_ref(), 0xe0).remove(0);
    let without_keys = |pair: &mut Pair| pair.client().stats().dropped.no_keys;
    assert_eq!(without_keys(&mut pair), 0);
    pair.inject(false, initial);
    assert_eq!(without_keys(&mut pair), 1);
    pair.inject(false, handshake.clone());
    assert_eq!(without_keys(&mut pair), 1, "HANDSHAKE_DONE may not come");
    pair.run(Duration::from_millis(100));
    pair.inject(false, handshake);
    assert_eq!(without_keys(&mut pair), 2);
    let handshake = of_kind(pair.client.captured.as_ref(), 0xe0).remove(0);
    let before = pair.server().stats().dropped.no_keys;
    pair.inject(true, handshake);
    assert_eq!(pair.server().stats().dropped.no_keys, before + 1);
}
