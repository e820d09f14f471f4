//! UDP associations through both sides: what arrives, what is let through, what one may take.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use rp_protocol::{
    Connection, RecvStream, SendStream, config::TransportConfig, error::ReadError, units::Bandwidth,
};
use rp_proxy::{
    ClientConfig, ExitConfig, TargetAccess,
    datagram::{AssociationEnd, Datagram, LastingAssociation},
    error::{FailureKind, OpenError},
    exit::policy::Policy,
    open::{Request, decode_reply},
    relay::code,
    target::Target,
};
use support::{udp::*, *};
use tokio::net::UdpSocket;

#[tokio::test]
async fn one_association_reaches_targets_of_both_families_and_names_them() {
    let world = world().await;
    let association = world.client.associate().await.unwrap();
    soon(association.opened()).await.unwrap();
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let echo = udp_echo(addr).await;
        let sender = exchange(&association, &target(echo), b"hello").await;
        assert_eq!(sender, echo);
        // An empty datagram is one, too.
        assert_eq!(exchange(&association, &target(echo), b"").await, echo);
    }
    let counted = world.exit.datagrams();
    assert_eq!(counted.sent.load(Relaxed), 4);
    assert_eq!(counted.received.load(Relaxed), 4);
    assert_eq!(world.exit.traffic().sent.load(Relaxed), 10);
    assert_eq!(world.exit.traffic().received.load(Relaxed), 10);
}

#[tokio::test]
async fn what_is_sent_before_the_reply_arrives() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# A client MUST use the stream until the reply has arrived.
    let world = world().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let association = world.client.associate().await.unwrap();
    exchange(&association, &target(echo), b"at once").await;
}

#[tokio::test]
async fn datagrams_that_no_frame_carries_arrive_all_the_same() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# A sender MUST use the stream where a DATAGRAM frame cannot carry a datagram: where the peer's
    //# max_datagram is 0, or the packets of the path are too small.
    let exit = ExitConfig::default().policy(loopback_allowed());
    for buffer in [0, 1 << 20] {
        let transport = TransportConfig::default().datagram_buffer(buffer);
        let client = joined(exit.clone(), transport).await.client;
        let echo = udp_echo("127.0.0.1:0").await;
        let association = client.associate().await.unwrap();
        soon(association.opened()).await.unwrap();
        for len in [1, 1200, 1500, 9000, 65_507] {
            let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
            exchange(&association, &target(echo), &payload).await;
        }
    }
}

#[tokio::test]
async fn targets_of_a_family_see_one_port_and_nobody_else_may_send_to_it() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST send the datagrams of an association to one address family from one socket.
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST pass on only datagrams that come from an IP address the association has sent to.
    let world = world().await;
    let association = world.client.associate().await.unwrap();
    let (first, second) = (
        udp_mirror("127.0.0.1:0").await,
        udp_mirror("127.0.0.2:0").await,
    );
    let port = exit_port(&association, first).await;
    assert_eq!(exit_port(&association, second).await, port);
    // From another port of a target, as TFTP answers, and from nobody's.
    let other_port = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.3:0").await.unwrap();
    stranger
        .send_to(b"forged", ("127.0.0.1", port))
        .await
        .unwrap();
    other_port
        .send_to(b"data", ("127.0.0.1", port))
        .await
        .unwrap();
    let (sender, payload) = soon(association.recv()).await.unwrap();
    assert_eq!(sender, other_port.local_addr().unwrap());
    assert_eq!(payload, &b"data"[..]);
    assert_eq!(world.exit.datagrams().discarded.load(Relaxed), 1);
}

#[tokio::test]
async fn an_associations_sockets_are_closed_when_its_stream_ends_or_its_connection_is_lost() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST close the sockets of an association when a direction of its stream has ended or failed.
    let world = world().await;
    let mirror = udp_mirror("127.0.0.1:0").await;
    let association = world.client.associate().await.unwrap();
    let port = exit_port(&association, mirror).await;
    UdpSocket::bind(("0.0.0.0", port)).await.unwrap_err();
    drop(association);
    freed("0.0.0.0", port).await;
    let association = world.client.associate().await.unwrap();
    let port = exit_port(&association, mirror).await;
    world.connection.close(7_u32.into(), b"test");
    let end = soon(association.recv()).await.unwrap_err();
    assert!(matches!(
        end,
        AssociationEnd::Failed(OpenError::ConnectionLost(_))
    ));
    freed("0.0.0.0", port).await;
}

#[tokio::test]
async fn another_association_is_opened_after_the_loss_of_the_connection() {
    let exit = ExitConfig::default().policy(loopback_allowed());
    let mut joined = joined(exit, TransportConfig::default()).await;
    let echo = target(udp_echo("127.0.0.1:0").await);
    let lasting = LastingAssociation::new(joined.client.clone());
    for _ in 0..3 {
        let payload = Bytes::from_static(b"x");
        soon(lasting.send(&echo, payload.clone())).await.unwrap();
        assert_eq!(soon(lasting.recv()).await.unwrap().1, payload);
        let connection = soon(joined.client.link().connection()).await.unwrap();
        joined.lose_connection().await;
        soon(connection.closed()).await;
    }
}

#[tokio::test]
async fn every_datagram_is_judged_as_a_dial_is() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST judge the address of every datagram from a client as it would judge that of a dial.
    let echo = udp_echo("127.0.0.1:0").await;
    let policy = Policy::default().allow(format!("127.0.0.1:{}", echo.port()).parse().unwrap());
    let world = world_with(policy, TargetAccess::All, ClientConfig::default()).await;
    let association = world.client.associate().await.unwrap();
    exchange(&association, &target(echo), b"allowed").await;
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forbidden = [
        other.local_addr().unwrap().to_string(),
        format!("127.0.0.2:{}", echo.port()),
        format!("[::1]:{}", echo.port()),
        format!("[::ffff:127.0.0.2]:{}", echo.port()),
        format!("[64:ff9b::7f00:2]:{}", echo.port()),
        format!("[2002:7f00:2::]:{}", echo.port()),
        "0.0.0.0:53".into(),
        "[::]:53".into(),
        "169.254.169.254:80".into(),
        "[fd00:ec2::254]:80".into(),
        "10.0.0.1:53".into(),
        "192.168.1.1:53".into(),
        "100.64.0.1:53".into(),
        "224.0.0.251:5353".into(),
        "255.255.255.255:67".into(),
        "[ff02::fb]:5353".into(),
        "[fe80::1]:53".into(),
        "localhost:1".into(),
    ];
    for target in &forbidden {
        let target = Target::parse(target, None).unwrap();
        let sent = association.send(&target, Bytes::from_static(b"x"));
        soon(sent).await.unwrap();
    }
    // Between them and behind them the association goes on.
    exchange(&association, &target(echo), b"still").await;
    let denied = &world.exit.datagrams().denied;
    soon(async {
        // A name takes a moment.
        while denied.load(Relaxed) < forbidden.len() as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(denied.load(Relaxed), forbidden.len() as u64);
    assert_eq!(world.exit.datagrams().sent.load(Relaxed), 2);
    assert_eq!(
        world.exit.counters().denied.load(Relaxed),
        forbidden.len() as u64
    );
    let mut buffer = [0; 16];
    other.try_recv(&mut buffer).unwrap_err();
}

#[tokio::test]
async fn names_are_resolved_at_the_exit_and_kept() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit SHOULD send to a name's first allowed address for as long as the association uses the name.
    let echo = udp_echo("127.0.0.1:0").await;
    let policy = Policy::default().allow("127.0.0.0/8".parse().unwrap());
    let v4_only = world_with(policy, TargetAccess::All, ClientConfig::default()).await;
    let name = Target::parse(&format!("localhost:{}", echo.port()), None).unwrap();
    let association = v4_only.client.associate().await.unwrap();
    for payload in [b"one", b"two"] {
        assert_eq!(exchange(&association, &name, payload).await, echo);
    }
}

#[tokio::test]
async fn a_keys_options_hold_for_datagrams() {
    let world = |access| world_with(loopback_allowed(), access, ClientConfig::default());
    let barred = world(TargetAccess::Nothing).await;
    let association = barred.client.associate().await.unwrap();
    let end = soon(association.opened()).await.unwrap_err();
    let AssociationEnd::Failed(OpenError::Dial(failure)) = end else {
        panic!("{end:?}");
    };
    assert_eq!(failure.kind, FailureKind::Denied);
    assert_eq!(barred.exit.counters().denied.load(Relaxed), 1);
    let (echo, other) = (udp_echo("127.0.0.1:0").await, udp_echo("127.0.0.1:0").await);
    let only = TargetAccess::Only(vec![("127.0.0.1".into(), Some(echo.port()))]);
    let limited = world(only).await;
    let association = limited.client.associate().await.unwrap();
    let other = target(other);
    let sent = association.send(&other, Bytes::from_static(b"no"));
    soon(sent).await.unwrap();
    assert_eq!(exchange(&association, &target(echo), b"yes").await, echo);
    assert_eq!(limited.exit.datagrams().denied.load(Relaxed), 1);
}

#[tokio::test]
async fn associations_are_bounded_and_those_there_are_go_on() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST bound the associations of a connection, of a key and in all.
    let exit = ExitConfig::default()
        .policy(loopback_allowed())
        .max_targets_per_key(64);
    let client = joined(exit, TransportConfig::default()).await.client;
    let echo = udp_echo("127.0.0.1:0").await;
    let mut open = Vec::new();
    let failure = loop {
        let association = client.associate().await.unwrap();
        match soon(association.opened()).await {
            Ok(()) => open.push(association),
            Err(AssociationEnd::Failed(OpenError::Dial(failure))) => break failure,
            Err(end) => panic!("{end:?}"),
        }
    };
    assert_eq!(failure.kind, FailureKind::Exhausted);
    assert_eq!(failure.reason, "UDP associations of this connection");
    assert_eq!(open.len(), 14, "a quarter of seven eighths of 64");
    for association in &open {
        exchange(association, &target(echo), b"x").await;
    }
    open.pop();
    soon(async {
        loop {
            let association = client.associate().await.unwrap();
            if association.opened().await.is_ok() {
                break;
            }
        }
    })
    .await;
}

/// A stream that asked for an association and has the reply.
async fn asked(connection: &Connection) -> (SendStream, RecvStream) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let mut request = Vec::new();
    Request::Associate.encode(&mut request);
    send.write_bytes(request.into()).await.unwrap();
    let mut head = Vec::new();
    loop {
        if let Some((reply, len)) = decode_reply(&head).unwrap() {
            assert_eq!(reply, Ok("0.0.0.0:0".parse().unwrap()));
            assert_eq!(len, head.len());
            return (send, recv);
        }
        head.extend(soon(recv.read_bytes(1)).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_malformed_datagram_resets_a_stream_and_is_discarded_in_a_frame() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# A receiver MUST reset a stream that brings a malformed datagram, with code 3.
    //= spec/10-proxy.md#udp
    //= type=test
    //# A receiver MUST discard a DATAGRAM frame that names no association of its connection, or is
    //# malformed.
    let world = world().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let (mut send, mut recv) = soon(asked(&world.connection)).await;
    let index = send.id().index();
    let frame = |association| {
        Datagram {
            address: target(echo),
            payload: Bytes::from_static(b"x"),
        }
        .encode_frame(association)
    };
    let cut = frame(index).slice(..4);
    for data in [
        Bytes::new(),
        cut,
        frame(index + 1),
        frame(1 << 40),
        frame(index),
    ] {
        soon(world.connection.send_datagram(data)).await.unwrap();
    }
    let answer = soon(world.connection.read_datagram()).await.unwrap();
    let (association, datagram) = Datagram::decode_frame(&answer).unwrap();
    assert_eq!((association, datagram.address), (index, target(echo)));
    assert_eq!(world.exit.datagrams().discarded.load(Relaxed), 4);
    send.write_bytes(Bytes::from_static(&[0, 1, 9, 9]))
        .await
        .unwrap();
    let end = soon(recv.read_bytes(1)).await.unwrap_err();
    assert_eq!(end, ReadError::Reset(code::MALFORMED));
}

#[tokio::test]
async fn an_association_that_floods_leaves_others_their_turns() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# The associations of a connection MUST take turns in sending.
    let exit = ExitConfig::default().policy(loopback_allowed());
    let transport =
        TransportConfig::default().max_rate(Some(Bandwidth::from_bits_per_second(20_000_000)));
    let Joined { client, exit, .. } = joined(exit, transport).await;
    let (sink, echo) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        udp_echo("127.0.0.1:0").await,
    );
    let flooding = client.associate().await.unwrap();
    soon(flooding.opened()).await.unwrap();
    let to = target(sink.local_addr().unwrap());
    let flood = tokio::spawn(async move {
        let payload = Bytes::from(vec![0; 1200]);
        while flooding.send(&to, payload.clone()).await.is_ok() {}
    });
    let sent = &exit.datagrams().sent;
    // A queue's worth, so that the link is what is short.
    soon(async {
        while sent.load(Relaxed) < 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let interactive = client.associate().await.unwrap();
    for number in 0..20_u32 {
        exchange(&interactive, &target(echo), &number.to_le_bytes()).await;
    }
    assert!(!flood.is_finished());
    flood.abort();
}
