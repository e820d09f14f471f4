//! What unauthenticated senders and on-path attackers can do: nothing but cost a little time.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use pair::{AnyPeer, Pair, Setup, transfer::pattern};
use rp_protocol::{
    config::{ClientConfig, EndpointConfig},
    crypto::identity::Identity,
    engine::{Connection, Datagram, Endpoint, Event, Output, Routed},
};

/// All datagrams of a small conversation, client's and server's.
fn recorded() -> (Pair, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut pair = Pair::new();
    pair.client.captured = Some(Vec::new());
    pair.server.captured = Some(Vec::new());
    pair.connect();
    assert_eq!(pair.transfer(60_000), pattern(60_000));
    pair.run(Duration::from_millis(500));
    let mtu = pair.mtu;
    let delivered = |host: &mut pair::Host| -> Vec<Vec<u8>> {
        let captured = host.captured.take().expect("set above");
        captured
            .into_iter()
            .filter(|datagram| datagram.len() <= mtu)
            .collect()
    };
    let client = delivered(&mut pair.client);
    let server = delivered(&mut pair.server);
    (pair, client, server)
}

fn assert_unharmed(mut pair: Pair) {
    pair.run(Duration::from_millis(200));
    for host in [&pair.client, &pair.server] {
        assert!(
            !host
                .events
                .iter()
                .any(|(_, event)| matches!(event, Event::Closed(_)))
        );
    }
    assert_eq!(pair.transfer(30_000), pattern(30_000));
}

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn replayed_datagrams_are_duplicates() {
    let (mut pair, client, server) = recorded();
    let before = pair.server().stats();
    for datagram in client {
        pair.inject(true, datagram);
    }
    for datagram in server {
        pair.inject(false, datagram);
    }
    let after = pair.server().stats();
    assert!(after.dropped.duplicate > before.dropped.duplicate + 20);
    assert_eq!(
        after.paths[0].received_packets,
        before.paths[0].received_packets
    );
    assert_unharmed(pair);
}

#[test]
fn reflected_datagrams_are_not_believed() {
    let (mut pair, client, server) = recorded();
    for datagram in client {
        pair.inject(false, datagram);
    }
    for datagram in server {
        pair.inject(true, datagram);
    }
    assert_unharmed(pair);
}

#[test]
fn truncated_datagrams_are_dropped_at_every_length() {
    let (mut pair, client, server) = recorded();
    for (to_server, datagrams) in [(true, client), (false, server)] {
        for datagram in datagrams.into_iter().take(12) {
            for len in 0..datagram.len() {
                pair.inject(to_server, datagram[..len].to_vec());
            }
        }
    }
    assert_unharmed(pair);
}

#[test]
fn datagrams_with_a_flipped_bit_are_dropped() {
    let (mut pair, client, server) = recorded();
    for (to_server, datagrams) in [(true, client), (false, server)] {
        for datagram in datagrams.into_iter().take(12) {
            for bit in (0..datagram.len() * 8).step_by(7) {
                let mut forged = datagram.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                pair.inject(to_server, forged);
            }
        }
    }
    assert_unharmed(pair);
}

#[test]
fn noise_is_dropped_and_counted() {
    let (mut pair, ..) = recorded();
    let mut next = noise(7);
    let before = pair.server.endpoint.stats().dropped;
    for _ in 0..20_000 {
        let len = usize::try_from(next() % 1400).expect("small");
        let datagram: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[0]).collect();
        pair.inject(true, datagram);
    }
    assert!(pair.server.endpoint.stats().dropped > before + 10_000);
    assert_eq!(pair.server.endpoint.connection_count(), 1);
    assert_unharmed(pair);
}

#[test]
fn noise_with_the_right_connection_id_is_dropped() {
    let (mut pair, client, _) = recorded();
    let genuine = client
        .iter()
        .rfind(|datagram| datagram[0] & 0x80 == 0)
        .expect("data was sent");
    let mut next = noise(11);
    for _ in 0..20_000 {
        let len = usize::try_from(30 + next() % 1400).expect("small");
        let mut datagram: Vec<u8> = (0..len).map(|_| next().to_le_bytes()[0]).collect();
        datagram[..9].copy_from_slice(&genuine[..9]);
        pair.inject(true, datagram);
    }
    let dropped = pair.server().stats().dropped;
    assert!(
        dropped.unauthentic + dropped.duplicate >= 20_000,
        "{dropped:?}"
    );
    assert_unharmed(pair);
}

#[test]
fn shuffled_conversation_still_arrives() {
    let mut pair = Pair::new();
    let mut next = noise(3);
    pair.client.script =
        Box::new(move |_, _| pair::Fate::Delay(Duration::from_micros(next() % 40_000)));
    pair.connect();
    assert_eq!(pair.transfer(400_000), pattern(400_000));
}

/// A first datagram from each of many addresses.
fn flood(pair: &mut Pair, first: &[u8], clients: u16) -> (usize, usize) {
    let (mut incoming, mut answers) = (0, 0);
    for client in 0..clients {
        let [high, low] = client.to_be_bytes();
        let mut payload = BytesMut::from(first);
        // Another connection id each, as a flooder would choose.
        payload[5..7].copy_from_slice(&[high, low]);
        let datagram = Datagram {
            remote: SocketAddr::from(([198, 51, high, low], 1000)),
            local_ip: None,
            ecn: None,
            received_at: pair.now,
            payload,
        };
        let mut out = Vec::new();
        match pair
            .server
            .endpoint
            .handle_datagram(pair.now, datagram, &mut out)
        {
            Routed::Incoming(_) => incoming += 1,
            Routed::Response(transmit) => {
                assert!(transmit.len <= first.len(), "an answer never amplifies");
                answers += 1;
            }
            _ => {}
        }
    }
    (incoming, answers)
}

#[test]
fn flood_of_clients_leaves_a_bounded_number_half_open() {
    let endpoint = EndpointConfig::default().retry_above(50).max_half_open(200);
    let mut pair = Setup {
        endpoint,
        ..Setup::default()
    }
    .build();
    pair.client.captured = Some(Vec::new());
    pair.step(pair.now);
    let first = pair.client.captured.take().expect("set above").remove(0);
    let (incoming, answers) = flood(&mut pair, &first, 10_000);
    assert_eq!(incoming, 50, "beyond the threshold nothing is kept");
    assert_eq!(answers, 9950, "the rest is asked for a token");
    assert_eq!(pair.server.endpoint.stats().half_open, 50);
}

/// A client that takes a token and goes no further: the bytes of its first datagram after the Retry.
fn hold_a_place(pair: &mut Pair, from: SocketAddr, seed: u8) {
    let now = pair.now;
    let remote = pair.server.address;
    let identity = Arc::new(Identity::from_seed(&[9; 32]));
    let config = ClientConfig::new(identity, Arc::new(AnyPeer), pair::SERVICE);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, [seed; 32]);
    let (_, mut client) = endpoint.connect(now, remote, config).expect("valid");
    let sent = pair.server.sent_datagrams;
    pair.server.captured = Some(Vec::new());
    for datagram in first_flight(&mut client, now) {
        pair.inject_from(from, true, datagram);
    }
    assert!(pair.server.sent_datagrams > sent, "it asked for a token");
    let retry = pair.server.captured.take().expect("set above").remove(0);
    client.handle_datagram(
        now,
        Datagram {
            remote,
            local_ip: None,
            ecn: None,
            received_at: now,
            payload: BytesMut::from(&retry[..]),
        },
    );
    for datagram in first_flight(&mut client, now) {
        pair.inject_from(from, true, datagram);
    }
}

fn first_flight(client: &mut Connection, now: Instant) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    loop {
        let mut out = Vec::new();
        match client.poll(now, &mut out) {
            Output::Transmit(_) => datagrams.push(out),
            Output::Wait(_) => return datagrams,
            _ => {}
        }
    }
}

#[test]
fn one_socket_with_valid_tokens_leaves_places_for_others() {
    let endpoint = EndpointConfig::default().retry_above(0).max_half_open(64);
    let setup = || Setup {
        endpoint: endpoint.clone(),
        ..Setup::default()
    };
    // Next door to the client, and elsewhere.
    for socket in ["192.0.2.200:9", "203.0.113.5:9"] {
        let socket: SocketAddr = socket.parse().expect("an address");
        let mut pair = setup().build();
        for seed in 10..120 {
            hold_a_place(&mut pair, socket, seed);
        }
        assert_eq!(pair.server.endpoint.stats().half_open, 4, "its share");
        assert_eq!(pair.server.endpoint.stats().evicted, 106);
        assert_eq!(pair.server.endpoint.stats().refused, 0);
        pair.server_handle = None;
        // The attacker goes on while the client connects.
        for seed in 120..160 {
            hold_a_place(&mut pair, socket, seed);
            pair.server_handle = None;
            pair.step(pair.now + Duration::from_millis(5));
        }
        pair.drive_while(|pair| pair.client().is_handshaking());
        pair.run(Duration::from_secs(1));
        let is_done = |server: &Connection| !server.is_handshaking();
        let mut handles = pair.server.connections.iter();
        let handle = handles.find(|(_, server)| is_done(server));
        pair.server_handle = handle.map(|(&handle, _)| handle);
        assert_eq!(pair.transfer(50_000), pattern(50_000));
        // Who was evicted is gone at once; who holds a place, after the handshake's time limit.
        assert!(pair.server.connections.len() <= 5);
    }
}

//= spec/02-handshake.md#half-open-connections
//= type=test
//# A client that has not proven its address MUST NOT end another's handshake; it gets a Retry.
#[test]
fn clients_of_one_range_that_prove_nothing_end_no_handshake() {
    let endpoint = EndpointConfig::default().max_half_open(64);
    let mut pair = Setup {
        endpoint,
        ..Setup::default()
    }
    .build();
    pair.client.captured = Some(Vec::new());
    pair.step(pair.now);
    let first = pair.client.captured.take().expect("set above").remove(0);
    let (incoming, answers) = flood(&mut pair, &first, 200);
    assert_eq!((incoming, answers), (4, 196), "its share, and a Retry each");
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.evicted, stats.retries), (0, 196));
}
