//! How many round trips to the server the first byte of an answer takes, front end by front end.
//!
//! The path holds each packet for half a round trip that is long beside everything else, so that the time tells the
//! number; the least of several tries counts, for a busy machine only ever adds.
#![expect(
    clippy::unwrap_used,
    reason = "closures in tests fail the test that runs them"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{Client, ClientConfig, Link, ports::PortSet};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::sleep_until,
};

const ROUND_TRIP: Duration = Duration::from_millis(100);
const TRIES: usize = 20;

/// Sends what it is given from `socket` to `to`, half a round trip later.
fn delayed(socket: Arc<UdpSocket>, to: SocketAddr) -> UnboundedSender<Vec<u8>> {
    let (sender, mut packets) = unbounded_channel();
    let (stamped, mut due) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(packet) = packets.recv().await {
            let at = tokio::time::Instant::now() + ROUND_TRIP / 2;
            stamped.send((at, packet)).unwrap();
        }
    });
    tokio::spawn(async move {
        while let Some((at, packet)) = due.recv().await {
            sleep_until(at).await;
            let packet: Vec<u8> = packet;
            let _ = socket.send_to(&packet, to).await;
        }
    });
    sender
}

/// A path of [`ROUND_TRIP`] between one client and `server`.
async fn path_to(server: SocketAddr) -> SocketAddr {
    let near = Arc::new(UdpSocket::bind(local()).await.unwrap());
    let far = Arc::new(UdpSocket::bind(local()).await.unwrap());
    let addr = near.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = vec![0; 65536];
        let (len, client) = near.recv_from(&mut packet).await.unwrap();
        let there = delayed(far.clone(), server);
        let back = delayed(near.clone(), client);
        there.send(packet[..len].to_vec()).unwrap();
        tokio::spawn(async move {
            let mut packet = vec![0; 65536];
            while let Ok(len) = far.recv(&mut packet).await {
                back.send(packet[..len].to_vec()).unwrap();
            }
        });
        while let Ok(len) = near.recv(&mut packet).await {
            there.send(packet[..len].to_vec()).unwrap();
        }
    });
    addr
}

/// A proxy over such a path, connected.
async fn proxy(exit: &World, config: ClientConfig) -> SocketAddr {
    let remote = path_to(exit.server.local_addr().unwrap()).await;
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let link = Link::connecting(move || {
        let near = near.clone();
        async move { near.connect(remote, transport()).await }
    });
    link.connection().await.unwrap();
    let client = Client::new(link, config);
    let listener = TcpListener::bind(local()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { client.serve(listener).await });
    addr
}

/// The least time from the client's connecting to the first byte of the answer to a GET: `greeting` is answered with as
/// many bytes as stand beside it, or with a head; then `request` is sent.
async fn first_byte(proxy: SocketAddr, greetings: &[(&[u8], usize)], request: &str) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let start = Instant::now();
        let mut tcp = TcpStream::connect(proxy).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        for (greeting, answer) in greetings {
            tcp.write_all(greeting).await.unwrap();
            match answer {
                0 => assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200")),
                len => drop(read_exactly(&mut tcp, *len).await),
            }
        }
        tcp.write_all(request.as_bytes()).await.unwrap();
        soon(tcp.read_u8()).await.unwrap();
        least = least.min(start.elapsed());
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_byte_takes_the_round_trips_it_has_to() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        read_head(&mut tcp).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        tcp.write_all(answer).await.unwrap();
    })
    .await;
    let honest = proxy(&world, ClientConfig::default()).await;
    let optimistic = ClientConfig::default().optimistic(PortSet::all());
    let optimistic = proxy(&world, optimistic).await;
    let absolute = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    let plain = format!("GET / HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    let connect = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    let connect: &[(&[u8], usize)] = &[(connect.as_bytes(), 0)];
    let request = socks5_request(origin);
    let (greeting, request) = request.split_at(3);
    let socks5: &[(&[u8], usize)] = &[(greeting, 2), (request, 10)];
    for (what, proxy, greetings, request, round_trips) in [
        ("absolute form", honest, &[][..], &absolute, 1),
        ("CONNECT", honest, connect, &plain, 2),
        ("SOCKS5", honest, socks5, &plain, 2),
        ("optimistic CONNECT", optimistic, connect, &plain, 1),
        ("optimistic SOCKS5", optimistic, socks5, &plain, 1),
    ] {
        let least = first_byte(proxy, greetings, request).await;
        println!("{what}: {least:?}");
        let expected = ROUND_TRIP * round_trips;
        assert!(least >= expected, "{what}: {least:?}");
        assert!(least < expected + ROUND_TRIP / 2, "{what}: {least:?}");
    }
}
