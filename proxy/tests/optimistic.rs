//! Success that is said before the dial, and what becomes of it when the dial fails.

mod support;

use std::io::ErrorKind;

use rp_protocol::{
    Endpoint,
    config::{EndpointConfig, ServerConfig},
};
use rp_proxy::{Client, ClientConfig, Link, SERVICE, TargetAccess, ports::PortSet};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

async fn optimistic(ports: PortSet) -> World {
    let config = ClientConfig::default().optimistic(ports);
    world_with(loopback_allowed(), TargetAccess::All, config).await
}

/// What each front end asks for `target` with, and how many bytes of its answer say success.
fn requests(target: std::net::SocketAddr) -> [(&'static str, Vec<u8>, usize); 4] {
    let port = target.port().to_be_bytes();
    let socks4 = [&[4, 1][..], &port, &[127, 0, 0, 1, 0]].concat();
    let socks4a = [&[4, 1][..], &port, b"\0\0\0\x01\x00localhost\0"].concat();
    let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    [
        ("socks4", socks4, 8),
        ("socks4a", socks4a, 8),
        ("socks5", socks5_request(target), 12),
        ("connect", connect.into_bytes(), 0),
    ]
}

/// Takes the answer of `len` bytes, or of a head, off the front: it says success.
async fn assert_success(tcp: &mut TcpStream, front_end: &str, len: usize) {
    let said = match front_end {
        "connect" => read_head(tcp).await.starts_with("HTTP/1.1 200 "),
        "socks5" => read_exactly(tcp, len).await[..4] == [5, 0, 5, 0],
        _ => read_exactly(tcp, len).await[..2] == [0, 0x5a],
    };
    assert!(said, "{front_end}");
}

#[tokio::test]
async fn a_dial_that_fails_behind_an_early_success_is_a_reset() {
    //= spec/10-proxy.md#reply
    //= type=test
    //# As the one exception, a front end MAY report success as soon as it has sent the request, where its
    //# user has asked for that for the target's port.
    //= spec/10-proxy.md#reply
    //= type=test
    //# A front end that has reported success early MUST reset its client's connection when the dial fails or
    //# no reply comes.
    let world = optimistic(PortSet::all()).await;
    for (front_end, request, len) in requests(nobody().await) {
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        tcp.write_all(&request).await.unwrap();
        assert_success(&mut tcp, front_end, len).await;
        let error = soon(tcp.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{front_end}");
    }
}

#[tokio::test]
async fn bytes_behind_an_early_success_reach_the_target() {
    let world = optimistic(PortSet::all()).await;
    for (front_end, request, len) in requests(echo().await) {
        for is_pipelined in [true, false] {
            let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
            if is_pipelined {
                tcp.write_all(&[&request[..], b"hello"].concat())
                    .await
                    .unwrap();
                assert_success(&mut tcp, front_end, len).await;
            } else {
                tcp.write_all(&request).await.unwrap();
                assert_success(&mut tcp, front_end, len).await;
                tcp.write_all(b"hello").await.unwrap();
            }
            tcp.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut tcp).await, b"hello", "{front_end}");
        }
    }
}

#[tokio::test]
async fn other_ports_keep_the_outcome_of_the_dial() {
    let world = optimistic("1".parse().unwrap()).await;
    assert_eq!(socks5(world.proxy, nobody().await).await.unwrap_err(), 5);
    // Nobody listens on port 1 of this machine, and success is said all the same.
    let mut tcp = socks5(world.proxy, ([127, 0, 0, 1], 1).into())
        .await
        .unwrap();
    let error = soon(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stream_that_ends_without_a_reply_is_a_reset() {
    let config = ServerConfig::new(identity(1), std::sync::Arc::new(Anybody), &[SERVICE]);
    let server = Endpoint::bind(local(), EndpointConfig::default(), Some(config)).unwrap();
    let remote = server.local_addr().unwrap();
    tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        let (mut send, _recv) = connection.accept_bi().await.unwrap();
        send.finish().unwrap();
        connection.closed().await
    });
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let connection = near.connect(remote, transport()).await.unwrap();
    let link = Link::new(connection, move || {
        let near = near.clone();
        async move { near.connect(remote, transport()).await }
    });
    let config = ClientConfig::default().optimistic(PortSet::all());
    let listener = TcpListener::bind(local()).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move { Client::new(link, config).serve(listener).await });
    let mut tcp = socks5(proxy, ([192, 0, 2, 1], 80).into()).await.unwrap();
    let error = soon(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
