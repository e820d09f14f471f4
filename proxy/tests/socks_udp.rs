//! SOCKS5 UDP ASSOCIATE through both sides, as a client sees it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use rp_protocol::config::TransportConfig;
use rp_proxy::{ClientConfig, ExitConfig, TargetAccess, exit::policy::Policy};
use support::{udp::*, *};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(addr) => {
            out.push(1);
            out.extend(addr.ip().octets());
        }
        SocketAddr::V6(addr) => {
            out.push(4);
            out.extend(addr.ip().octets());
        }
    }
    out.extend(address.port().to_be_bytes());
}

fn read_address(bytes: &[u8]) -> (SocketAddr, usize) {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    match bytes[0] {
        1 => {
            let ip: [u8; 4] = bytes[1..5].try_into().unwrap();
            ((ip, port(5)).into(), 7)
        }
        _ => {
            let ip: [u8; 16] = bytes[1..17].try_into().unwrap();
            ((ip, port(17)).into(), 19)
        }
    }
}

fn datagram(to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 0];
    put_address(to, &mut out);
    out.extend(payload);
    out
}

/// Asks for an association on `proxy`, `expected` being where the client says it sends from: the connection it lives
/// with, and where datagrams go to; or the code of the refusal.
async fn associate(proxy: SocketAddr, expected: SocketAddr) -> Result<(TcpStream, SocketAddr), u8> {
    let mut tcp = TcpStream::connect(proxy).await.unwrap();
    let mut request = vec![5, 1, 0, 5, 3, 0];
    put_address(expected, &mut request);
    tcp.write_all(&request).await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 2).await, [5, 0]);
    let head = read_exactly(&mut tcp, 4).await;
    let rest = if head[3] == 1 { 6 } else { 18 };
    let address = [&head[3..], &read_exactly(&mut tcp, rest).await].concat();
    match head[1] {
        0 => Ok((tcp, read_address(&address).0)),
        code => Err(code),
    }
}

const UNKNOWN: ([u8; 4], u16) = ([0; 4], 0);

/// The next datagram at `socket`: its sender as the proxy names it, and its payload.
async fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = vec![0; 1 << 16];
    let len = soon(socket.recv(&mut buffer)).await.unwrap();
    assert_eq!(buffer[..3], [0, 0, 0]);
    let (sender, head) = read_address(&buffer[3..len]);
    (sender, buffer[3 + head..len].to_vec())
}

#[tokio::test]
async fn datagrams_reach_targets_of_both_families_and_names_and_answers_come_back() {
    let world = world().await;
    let (tcp, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
    // Where the client reached us it reaches us again.
    assert_eq!(relay.ip(), world.proxy.ip());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(relay).await.unwrap();
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let echo = udp_echo(addr).await;
        for payload in [&b""[..], b"hello", &[7; 9000]] {
            client.send(&datagram(echo, payload)).await.unwrap();
            assert_eq!(receive(&client).await, (echo, payload.to_vec()));
        }
    }
    drop(tcp);
}

#[tokio::test]
async fn a_name_is_resolved_at_the_exit() {
    let v4_only = Policy::default().allow("127.0.0.0/8".parse().unwrap());
    let world = world_with(v4_only, TargetAccess::All, ClientConfig::default()).await;
    let (_tcp, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(relay).await.unwrap();
    let echo = udp_echo("127.0.0.1:0").await;
    let mut named = b"\0\0\0\x03\x09localhost".to_vec();
    named.extend(echo.port().to_be_bytes());
    named.extend(b"by name");
    client.send(&named).await.unwrap();
    assert_eq!(receive(&client).await, (echo, b"by name".to_vec()));
}

#[tokio::test]
async fn odd_datagrams_and_those_of_others_are_dropped() {
    let world = world().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let (_tcp, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
    let other_host = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    other_host
        .send_to(&datagram(echo, b"no"), relay)
        .await
        .unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(relay).await.unwrap();
    client.send(&datagram(echo, b"first")).await.unwrap();
    assert_eq!(receive(&client).await.1, b"first");
    let other_port = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    other_port
        .send_to(&datagram(echo, b"no"), relay)
        .await
        .unwrap();
    let mut fragment = datagram(echo, b"no");
    fragment[2] = 1;
    let port_0 = datagram(([127, 0, 0, 1], 0).into(), b"no");
    for odd in [
        &fragment[..],
        &port_0,
        &[],
        &[0],
        &[0, 0, 0, 9, 1, 2],
        &[0; 7],
    ] {
        client.send(odd).await.unwrap();
    }
    client.send(&datagram(echo, b"last")).await.unwrap();
    assert_eq!(receive(&client).await.1, b"last");
    assert_eq!(world.exit.datagrams().sent.load(Relaxed), 2);
}

#[tokio::test]
async fn an_association_ends_with_its_tcp_connection() {
    //= spec/10-proxy.md#socks5-udp
    //= type=test
    //# A front end MUST end an association when the TCP connection on which it was asked for ends.
    let world = world().await;
    let mirror = udp_mirror("127.0.0.1:0").await;
    for resets in [false, true] {
        let (mut tcp, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
        // Nothing should come on it, and what comes does no harm.
        tcp.write_all(b"noise").await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(relay).await.unwrap();
        client.send(&datagram(mirror, b"?")).await.unwrap();
        let port = receive(&client).await.1;
        let port = std::str::from_utf8(&port).unwrap().parse().unwrap();
        if resets {
            reset_on_drop(&tcp);
        }
        drop(tcp);
        freed("127.0.0.1", relay.port()).await;
        freed("0.0.0.0", port).await;
    }
}

#[tokio::test]
async fn a_refused_association_has_its_reply_code_and_ends_the_tcp_connection() {
    //= spec/10-proxy.md#socks5-udp
    //= type=test
    //# A front end MUST end that TCP connection when it can carry no more datagrams of the association.
    let access = TargetAccess::Nothing;
    let barred = world_with(loopback_allowed(), access, ClientConfig::default()).await;
    assert_eq!(
        associate(barred.proxy, UNKNOWN.into()).await.unwrap_err(),
        2
    );
    // One that was let in, and is not let in again when its link was lost.
    let limits = ExitConfig::default()
        .policy(loopback_allowed())
        .max_targets_per_key(5);
    let mut world = joined(limits, TransportConfig::default()).await;
    let (mut first, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
    assert_eq!(associate(world.proxy, UNKNOWN.into()).await.unwrap_err(), 1);
    let connection = soon(world.client.link().connection()).await.unwrap();
    world.lose_connection().await;
    soon(connection.closed()).await;
    let (_second, _) = soon(async {
        loop {
            if let Ok(second) = associate(world.proxy, UNKNOWN.into()).await {
                return second;
            }
        }
    })
    .await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(relay).await.unwrap();
    let nobody = ([127, 0, 0, 1], 9).into();
    client
        .send(&datagram(nobody, b"one too many"))
        .await
        .unwrap();
    assert_eq!(soon(first.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_association_goes_on_over_another_connection() {
    let exit = ExitConfig::default().policy(loopback_allowed());
    let mut world = joined(exit, TransportConfig::default()).await;
    let echo = udp_echo("127.0.0.1:0").await;
    let (_tcp, relay) = associate(world.proxy, UNKNOWN.into()).await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(relay).await.unwrap();
    for payload in [&b"before"[..], b"after", b"once more"] {
        client.send(&datagram(echo, payload)).await.unwrap();
        assert_eq!(receive(&client).await, (echo, payload.to_vec()));
        let connection = soon(world.client.link().connection()).await.unwrap();
        world.lose_connection().await;
        soon(connection.closed()).await;
    }
}

#[tokio::test]
async fn the_reply_names_another_address_where_the_user_says_so_and_a_named_port_counts() {
    let told = "192.0.2.7".parse().unwrap();
    let config = ClientConfig::default().udp_reply_address(Some(told));
    let world = world_with(loopback_allowed(), TargetAccess::All, config).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let expected = client.local_addr().unwrap();
    let (_tcp, relay) = associate(world.proxy, expected).await.unwrap();
    assert_eq!(relay.ip(), told);
    let relay = SocketAddr::new(world.proxy.ip(), relay.port());
    let echo = udp_echo("127.0.0.1:0").await;
    let earlier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    earlier
        .send_to(&datagram(echo, b"no"), relay)
        .await
        .unwrap();
    client.connect(relay).await.unwrap();
    client.send(&datagram(echo, b"mine")).await.unwrap();
    assert_eq!(receive(&client).await.1, b"mine");
    assert_eq!(world.exit.datagrams().sent.load(Relaxed), 1);
}

#[tokio::test]
async fn a_client_over_ipv6_is_told_an_ipv6_address_and_a_mapped_one_its_ipv4_address() {
    let world = world().await;
    for (listen, reach, expected) in [
        ("[::1]:0", "::1", "::1"),
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
    ] {
        let listener = TcpListener::bind(listen).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = world.client.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        let proxy = SocketAddr::new(reach.parse().unwrap(), port);
        let (_tcp, relay) = associate(proxy, UNKNOWN.into()).await.unwrap();
        assert_eq!(relay.ip().to_string(), expected);
        let echo = udp_echo("127.0.0.1:0").await;
        let client = UdpSocket::bind((relay.ip(), 0)).await.unwrap();
        client.connect(relay).await.unwrap();
        client.send(&datagram(echo, b"x")).await.unwrap();
        assert_eq!(receive(&client).await, (echo, b"x".to_vec()));
    }
}
