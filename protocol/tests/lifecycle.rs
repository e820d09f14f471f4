//! How connections live on and how they end.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::time::Duration;

use bytes::Bytes;
use pair::{Fate, Pair, Setup, transfer::pattern};
use rp_protocol::{
    config::{EndpointConfig, TransportConfig},
    engine::{Endpoint, Event},
    error::{ConnectionError, ReadError},
    units::{CloseCode, Dir},
};

fn closed(pair: &Pair, server: bool) -> Option<ConnectionError> {
    let host = if server { &pair.server } else { &pair.client };
    host.events.iter().find_map(|(_, event)| match event {
        Event::Closed(error) => Some(error.clone()),
        _ => None,
    })
}

fn close_client(pair: &mut Pair, reason: &'static [u8]) {
    let now = pair.now;
    pair.client()
        .close(now, CloseCode::from_u32(7), Bytes::from_static(reason));
}

#[test]
fn close_reaches_the_peer_with_code_and_reason() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(200));
    close_client(&mut pair, b"done");
    pair.run(Duration::from_secs(5));
    let expected = ConnectionError::PeerClosed {
        code: CloseCode::from_u32(7),
        reason: Bytes::from_static(b"done"),
    };
    assert_eq!(closed(&pair, true), Some(expected));
    assert!(
        pair.client.connections.is_empty() && pair.server.connections.is_empty(),
        "both forgot"
    );
}

#[test]
fn lost_close_is_repeated_when_the_peer_goes_on_talking() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.server().open(Dir::Uni).expect("allowed");
    pair.server()
        .write(id, &pattern(100_000))
        .expect("there is room");
    let sent = pair.client.sent_datagrams;
    pair.client.script = Box::new(move |count, _| {
        if count == sent {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    close_client(&mut pair, b"");
    pair.run(Duration::from_secs(2));
    assert!(matches!(
        closed(&pair, true),
        Some(ConnectionError::PeerClosed { .. })
    ));
}

//= spec/06-lifecycle.md#closing
//= type=test
//# Before the handshake is confirmed an application's close MUST be sent as a CLOSE of the transport
//# with NO_ERROR and no reason, so that nothing of the application is shown to an unauthenticated peer.
#[test]
fn close_during_the_handshake_says_nothing_of_the_application() {
    let mut pair = Pair::new();
    pair.drive_while(|pair| pair.server_handle.is_none());
    close_client(&mut pair, b"secret");
    pair.run(Duration::from_secs(1));
    match closed(&pair, true) {
        Some(ConnectionError::PeerTransport { reason, .. }) => assert!(reason.is_empty()),
        other => panic!("{other:?}"),
    }
}

//= spec/06-lifecycle.md#closing
//= type=test
//# Until the handshake is confirmed, an endpoint MUST send CLOSE in a packet of each level whose keys it has, in one datagram.
#[test]
fn close_during_the_handshake_can_be_opened_whatever_was_lost_before() {
    // All that the server has sent, or its first datagram only.
    for lost in [usize::MAX, 1] {
        let mut pair = Pair::new();
        pair.server.script = Box::new(move |count, _| match count < lost {
            true => Fate::Drop,
            false => Fate::Deliver,
        });
        pair.drive_while(|pair| pair.server.sent_datagrams == 0);
        pair.run(Duration::from_millis(1));
        pair.server.script = Box::new(|_, _| Fate::Deliver);
        let now = pair.now;
        pair.server().close(now, CloseCode::default(), Bytes::new());
        pair.run(Duration::from_millis(50));
        let closed = closed(&pair, false);
        assert!(
            matches!(closed, Some(ConnectionError::PeerTransport { .. })),
            "{closed:?}"
        );
    }
}

#[test]
fn silence_ends_the_connection_after_the_idle_timeout() {
    let config = TransportConfig::default().idle_timeout(Duration::from_secs(5));
    let mut pair = Setup {
        client: config,
        ..Setup::default()
    }
    .build();
    pair.connect();
    let connected = pair.now;
    pair.run(Duration::from_secs(20));
    assert_eq!(closed(&pair, false), Some(ConnectionError::TimedOut));
    assert_eq!(
        closed(&pair, true),
        Some(ConnectionError::TimedOut),
        "the smaller timeout counts for both"
    );
    assert!(pair.now > connected);
}

//= spec/06-lifecycle.md#keep-alive
//= type=test
//# An endpoint SHOULD send a PING when it has streams open and has sent nothing that asks for an ACK
//# for the keep-alive interval, and MUST NOT send one for this reason while no stream is open.
#[test]
fn open_stream_keeps_the_connection_alive_and_nothing_else_does() {
    let config = || TransportConfig::default().idle_timeout(Duration::from_secs(5));
    let mut pair = Setup {
        client: config(),
        server: config(),
        ..Setup::default()
    }
    .build();
    pair.connect();
    let id = pair.client().open(Dir::Bi).expect("allowed");
    pair.client().write(id, b"hello").expect("there is room");
    pair.run(Duration::from_secs(30));
    assert_eq!(closed(&pair, false), None);
    pair.client().reset(id, CloseCode::default()).expect("open");
    pair.client().stop(id, CloseCode::default()).expect("open");
    pair.run(Duration::from_millis(200));
    assert_eq!(pair.server().accept(Dir::Bi), Some(id));
    while pair.server().read(id, 100).is_ok() {}
    pair.server()
        .reset(id, CloseCode::default())
        .expect("the application ends its half too");
    pair.run(Duration::from_secs(20));
    assert_eq!(closed(&pair, false), Some(ConnectionError::TimedOut));
}

/// Lets `span` pass in which the client's host is suspended: it sees no packet and no time.
fn suspend_client(pair: &mut Pair, span: Duration) {
    let handle = pair.client_handle;
    let connection = pair.client.connections.remove(&handle).expect("it lives");
    pair.run(span);
    pair.client.connections.insert(handle, connection);
}

#[test]
fn a_client_suspended_for_long_knows_at_once_that_its_connection_is_over() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, b"before").expect("there is room");
    pair.drive();
    suspend_client(&mut pair, Duration::from_secs(3600));
    assert_eq!(closed(&pair, true), Some(ConnectionError::TimedOut));
    let woken = pair.now;
    pair.drive_while(|pair| closed(pair, false).is_none());
    assert_eq!(closed(&pair, false), Some(ConnectionError::TimedOut));
    assert!(pair.now - woken <= Duration::from_millis(100));
}

#[test]
fn a_client_suspended_for_less_than_the_idle_timeout_goes_on() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, b"before ").expect("there is room");
    pair.drive();
    suspend_client(&mut pair, Duration::from_secs(20));
    pair.client().write(id, b"after").expect("there is room");
    pair.drive();
    assert_eq!(pair.server().accept(Dir::Uni), Some(id));
    let mut read = Vec::new();
    while let Ok(Some(bytes)) = pair.server().read(id, 100) {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, b"before after");
}

#[test]
fn idle_connection_sends_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(2));
    let (client, server) = (pair.client.sent_datagrams, pair.server.sent_datagrams);
    pair.run(Duration::from_secs(20));
    assert_eq!(
        (pair.client.sent_datagrams, pair.server.sent_datagrams),
        (client, server)
    );
}

//= spec/02-handshake.md#stateless-reset
//= type=test
//# A server SHOULD derive the secret from its identity, so that its tokens hold across a restart.
//= spec/02-handshake.md#stateless-reset
//= type=test
//# An endpoint that receives a packet for a connection id it no longer knows MAY answer with a
//# datagram that ends with that id's reset token and is otherwise random.
#[test]
fn restarted_server_resets_the_connection_at_once() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(300));
    pair.server.connections.clear();
    pair.server.endpoint = Setup::default().build().server.endpoint;
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client()
        .write(id, &pattern(3000))
        .expect("there is room");
    let before = pair.now;
    pair.drive_while(|pair| closed(pair, false).is_none());
    assert_eq!(closed(&pair, false), Some(ConnectionError::Reset));
    assert!(pair.now - before <= Duration::from_millis(100));
}

//= spec/02-handshake.md#stateless-reset
//= type=test
//# Two endpoints that run at the same time MUST NOT have the same secret, even if they have the same identity: whoever saw a
//# connection id of one would get its token from the other.
#[test]
fn another_server_with_the_same_host_key_does_not_know_the_reset_tokens() {
    for (other, is_known) in [("first", true), ("second", false)] {
        let setup = |name: &str| Setup {
            endpoint: EndpointConfig::default().instance(name.as_bytes()),
            ..Setup::default()
        };
        let mut pair = setup("first").build();
        pair.connect();
        pair.run(Duration::from_millis(300));
        pair.server.connections.clear();
        pair.server.endpoint = setup(other).build().server.endpoint;
        let id = pair.client().open(Dir::Uni).expect("allowed");
        pair.client().write(id, &[0; 300]).expect("there is room");
        pair.run(Duration::from_millis(100));
        assert!(pair.server.endpoint.stats().resets > 0, "it answers");
        let is_reset = closed(&pair, false) == Some(ConnectionError::Reset);
        assert_eq!(is_reset, is_known);
    }
}

//= spec/02-handshake.md#stateless-reset
//= type=test
//# An endpoint MUST NOT take a datagram for a stateless reset unless it comes from the address the endpoint sends to.
#[test]
fn reset_from_another_address_resets_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(300));
    pair.server.connections.clear();
    pair.server.endpoint = Setup::default().build().server.endpoint;
    pair.server.captured = Some(Vec::new());
    pair.server.script = Box::new(|_, _| Fate::Drop);
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, &[0; 300]).expect("there is room");
    pair.run(Duration::from_millis(60));
    let reset = pair.server.captured.take().expect("set above").remove(0);
    for elsewhere in ["192.0.2.1:7378", "192.0.2.9:7377"] {
        let from = elsewhere.parse().expect("an address");
        pair.inject_from(from, false, reset.clone());
    }
    pair.run(Duration::from_millis(1));
    assert_eq!(closed(&pair, false), None);
    pair.inject(false, reset);
    pair.run(Duration::from_millis(1));
    assert_eq!(closed(&pair, false), Some(ConnectionError::Reset));
}

#[test]
fn endpoint_that_is_no_server_answers_nobody() {
    let mut pair = Pair::new();
    pair.server.endpoint = Endpoint::new(Default::default(), None, [9; 32]);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.server.sent_datagrams, 0);
}

#[test]
fn half_close_lets_the_answer_through() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.client().open(Dir::Bi).expect("allowed");
    pair.client().write(id, b"question").expect("there is room");
    pair.client().finish(id).expect("open");
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.server().accept(Dir::Bi), Some(id));
    let question = pair
        .server()
        .read(id, 100)
        .expect("readable")
        .expect("not at its end");
    assert_eq!(&question[..], b"question");
    assert_eq!(pair.server().read(id, 100), Ok(None));
    pair.server().write(id, b"answer").expect("there is room");
    pair.server().finish(id).expect("open");
    pair.run(Duration::from_millis(100));
    let answer = pair
        .client()
        .read(id, 100)
        .expect("readable")
        .expect("not at its end");
    assert_eq!(&answer[..], b"answer");
}

#[test]
fn reset_reaches_the_reader_with_its_code() {
    let mut pair = Pair::new();
    pair.connect();
    let id = pair.client().open(Dir::Bi).expect("allowed");
    pair.client().write(id, b"some").expect("there is room");
    pair.run(Duration::from_millis(100));
    pair.client()
        .reset(id, CloseCode::from_u32(9))
        .expect("open");
    pair.run(Duration::from_millis(100));
    let error = loop {
        if let Err(error) = pair.server().read(id, 100) {
            break error;
        }
    };
    assert_eq!(error, ReadError::Reset(CloseCode::from_u32(9)));
}

#[test]
fn datagrams_cross_and_are_not_repaired() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(300));
    let next = pair.client.sent_datagrams;
    pair.client.script = Box::new(move |count, _| {
        if count == next {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    });
    pair.client()
        .send_datagram(Bytes::from_static(b"lost"))
        .expect("there is room");
    pair.run(Duration::from_millis(1));
    pair.client()
        .send_datagram(Bytes::from_static(b"found"))
        .expect("there is room");
    pair.run(Duration::from_secs(2));
    assert_eq!(
        pair.server().read_datagram().as_deref(),
        Some(&b"found"[..])
    );
    assert_eq!(pair.server().read_datagram(), None);
}

//= spec/02-handshake.md#stateless-reset
//= type=test
//# An endpoint MUST NOT send a stateless reset that is as long as the datagram it answers or longer.
#[test]
fn stateless_reset_is_shorter_than_what_it_answers() {
    let mut pair = Pair::new();
    let mut answered = 0;
    for len in 1..100 {
        let (datagrams, bytes) = (pair.server.sent_datagrams, pair.server.sent_bytes);
        // A short header with an id of nobody's.
        pair.inject(true, vec![0x40; len]);
        answered += pair.server.sent_datagrams - datagrams;
        assert!(pair.server.sent_bytes - bytes < len as u64, "{len} bytes");
    }
    assert!(answered > 50, "{answered}");
}

//= spec/06-lifecycle.md#closing
//= type=test
//# An endpoint MUST NOT send anything but CLOSE once it has closed, and MUST NOT send anything at all
//# once it has received CLOSE.
#[test]
fn data_that_waits_is_not_sent_after_a_close() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(200));
    let id = pair.client().open(Dir::Uni).expect("allowed");
    (pair.client().write(id, &pattern(100_000))).expect("there is room");
    let id = pair.server().open(Dir::Uni).expect("allowed");
    (pair.server().write(id, &pattern(100_000))).expect("there is room");
    pair.client.captured = Some(Vec::new());
    close_client(&mut pair, b"");
    pair.drive_while(|pair| closed(pair, true).is_none());
    let sent = pair.server.sent_datagrams;
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.server.sent_datagrams, sent);
    let captured = pair.client.captured.take().expect("set above");
    assert!(!captured.is_empty());
    assert!(captured.iter().all(|datagram| datagram.len() < 100));
}

//= spec/06-lifecycle.md#closing
//= type=test
//# The reason in a CLOSE frame is not trusted: it MUST NOT be shown or logged without its control
//# characters replaced.
#[test]
fn reason_of_a_close_cannot_steer_a_terminal() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_millis(200));
    close_client(&mut pair, b"\x1b[2Jgone\r\n");
    pair.run(Duration::from_secs(1));
    let shown = closed(&pair, true).expect("it was told").to_string();
    assert!(shown.contains("?[2Jgone??"), "{shown}");
}
