//! SOCKS clients through both sides: outcomes, ends, resets, pipelined data.

mod support;

use std::io::ErrorKind;

use rp_proxy::{ClientConfig, TargetAccess, exit::policy::Policy};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn both_directions_end_on_their_own() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay MUST pass the end of one direction on and keep the other direction open.
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        // Answers only when the client has ended.
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).await.unwrap();
        tcp.write_all(&all).await.unwrap();
    })
    .await;
    let mut tcp = socks5(world.proxy, origin).await.unwrap();
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let (mut read, mut write) = tcp.split();
    let sending = async {
        write.write_all(&data).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (read, ()) = soon(async { tokio::join!(read.read_to_end(&mut got), sending) }).await;
    read.unwrap();
    assert!(got == data);
}

#[tokio::test]
async fn a_reset_by_the_target_reaches_the_client_as_a_reset() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay MUST pass a reset on as a reset, in both directions.
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        tcp.read_u8().await.unwrap();
        reset_on_drop(&tcp);
    })
    .await;
    let mut tcp = socks5(world.proxy, origin).await.unwrap();
    tcp.write_all(b"x").await.unwrap();
    let error = soon(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_by_the_client_reaches_the_target_as_a_reset() {
    let world = world().await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let origin = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            tcp.write_all(b"hello").await.unwrap();
            sender
                .send(tcp.read_u8().await.unwrap_err().kind())
                .unwrap();
        }
    })
    .await;
    let mut tcp = socks5(world.proxy, origin).await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 5).await, b"hello");
    reset_on_drop(&tcp);
    drop(tcp);
    assert_eq!(soon(seen.recv()).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_lost_link_resets_its_connections() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay MUST reset the TCP connections of a connection to the peer that is lost.
    let world = world().await;
    let echo = echo().await;
    let mut tcp = socks5(world.proxy, echo).await.unwrap();
    tcp.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 1).await, b"x");
    world.connection.close(7_u32.into(), b"test");
    let error = soon(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn outcomes_have_their_reply_code() {
    //= spec/10-proxy.md#reply
    //= type=test
    //# A front end MUST NOT report success to its client before the reply with status 0 has
    //# arrived.
    let world = world().await;
    assert_eq!(socks5(world.proxy, nobody().await).await.unwrap_err(), 5);
    let strict = world_with(
        Policy::default(),
        TargetAccess::All,
        ClientConfig::default(),
    )
    .await;
    assert_eq!(socks5(strict.proxy, echo().await).await.unwrap_err(), 2);
    let barred = world_with(
        loopback_allowed(),
        TargetAccess::Nothing,
        ClientConfig::default(),
    )
    .await;
    assert_eq!(socks5(barred.proxy, echo().await).await.unwrap_err(), 2);
    let denied = &barred.exit.counters().denied;
    assert_eq!(denied.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn data_sent_before_the_reply_arrives() {
    //= spec/10-proxy.md#request
    //= type=test
    //# A client MAY send the target's first bytes directly behind the request.
    let world = world().await;
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    let mut bytes = socks5_request(echo().await);
    bytes.extend(b"first data");
    tcp.write_all(&bytes).await.unwrap();
    tcp.shutdown().await.unwrap();
    let all = read_to_end(&mut tcp).await;
    assert_eq!(&all[..4], [5, 0, 5, 0]);
    assert_eq!(&all[12..], b"first data");
}

#[tokio::test]
async fn greeting_byte_by_byte() {
    let world = world().await;
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for byte in socks5_request(echo().await) {
        tcp.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(read_exactly(&mut tcp, 2).await, [5, 0]);
    assert_eq!(read_exactly(&mut tcp, 10).await[1], 0);
}

#[tokio::test]
async fn passwords_are_asked_for_and_checked() {
    let world = world_with(loopback_allowed(), TargetAccess::All, with_password()).await;
    let echo = echo().await;
    let login = async |login: &[u8]| {
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        tcp.write_all(&[5, 2, 0, 2]).await.unwrap();
        assert_eq!(read_exactly(&mut tcp, 2).await, [5, 2]);
        tcp.write_all(login).await.unwrap();
        (read_exactly(&mut tcp, 2).await, tcp)
    };
    let (reply, mut tcp) = login(b"\x01\x05alice\x06sesame").await;
    assert_eq!(reply, [1, 0]);
    tcp.write_all(&socks5_request(echo)[3..]).await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 10).await[1], 0);

    let (reply, mut tcp) = login(b"\x01\x05alice\x05wrong").await;
    assert_eq!(reply, [1, 1]);
    assert!(read_to_end(&mut tcp).await.is_empty());

    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    tcp.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, [5, 0xff]);

    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    tcp.write_all(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut tcp).await, [0, 0x5d, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn commands_that_are_not_served_are_refused() {
    let world = world().await;
    for (command, code) in [(0, 7), (4, 7)] {
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        let request = [5, 1, 0, 5, command, 0, 1, 127, 0, 0, 1, 0, 80];
        tcp.write_all(&request).await.unwrap();
        let reply = read_to_end(&mut tcp).await;
        assert_eq!(reply[..4], [5, 0, 5, code]);
    }
}

#[tokio::test]
async fn socks4_and_4a_connect_and_refuse() {
    let world = world().await;
    let ask = async |port: u16, address: &[u8]| {
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        let request = [&[4, 1][..], &port.to_be_bytes(), address].concat();
        tcp.write_all(&request).await.unwrap();
        (read_exactly(&mut tcp, 8).await[1], tcp)
    };
    let port = echo().await.port();
    for address in [
        &b"\x7f\x00\x00\x01alice\x00"[..],
        b"\x00\x00\x00\x01\x00127.0.0.1\x00",
    ] {
        let (code, mut tcp) = ask(port, address).await;
        assert_eq!(code, 0x5a);
        tcp.write_all(b"hello").await.unwrap();
        assert_eq!(read_exactly(&mut tcp, 5).await, b"hello");
    }
    let (code, _) = ask(nobody().await.port(), b"\x7f\x00\x00\x01\x00").await;
    assert_eq!(code, 0x5b);
}

#[tokio::test]
async fn unknown_protocols_are_closed_without_an_answer() {
    let world = world().await;
    for bytes in [&b"\x16\x03\x01"[..], b"\x00\x00", b"\xff"] {
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        // Closed with our bytes unread: an end or a reset, but never an answer.
        let mut got = Vec::new();
        let _ = soon(tcp.read_to_end(&mut got)).await;
        assert!(got.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_connections_echo_at_once() {
    const CONNECTIONS: usize = 300;
    let world = world().await;
    let echo = echo().await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..CONNECTIONS {
        let proxy = world.proxy;
        tasks.spawn(async move {
            let byte = u8::try_from(index % 251).unwrap();
            let data = vec![byte; 20_000];
            let mut tcp = socks5(proxy, echo).await.unwrap();
            let (mut read, mut write) = tcp.split();
            let sending = async {
                write.write_all(&data).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let (read, ()) = tokio::join!(read.read_to_end(&mut got), sending);
            read.unwrap();
            assert!(got == data);
        });
    }
    soon(async { while tasks.join_next().await.is_some_and(|done| done.is_ok()) {} }).await;
    assert!(tasks.is_empty());
}
