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
