//! Tests of the relay on loopback: payloads pass, delays are kept, clients stay apart, chances repeat.

use std::net::UdpSocket;

use rp_protocol::units::Bandwidth;

use super::*;
use crate::loss::Loss;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn start(link: &LinkConfig) -> (UdpRelay, UdpSocket) {
    let server = UdpSocket::bind(loopback()).unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let relay = UdpRelay::start(RelayConfig {
        listen: loopback(),
        server: server.local_addr().unwrap(),
        to_server: link.clone(),
        to_client: link.clone(),
        seed: 1,
    })
    .unwrap();
    (relay, server)
}

fn client(relay: &UdpRelay) -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.connect(relay.local_addr()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

#[test]
fn two_clients_get_their_own_answers_after_one_round_trip() {
    let (relay, server) = start(&LinkConfig::unlimited(Duration::from_millis(30)));
    let clients = [client(&relay), client(&relay)];
    let began = Instant::now();
    for (name, socket) in [b"one", b"two"].iter().zip(&clients) {
        socket.send(*name).unwrap();
    }
    let mut buffer = [0; 100];
    for _ in 0..2 {
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..len], from).unwrap();
    }
    for (name, socket) in [b"one", b"two"].iter().zip(&clients) {
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], *name);
    }
    assert!(began.elapsed() >= Duration::from_millis(60));
    let report = relay.stop().unwrap();
    assert_eq!(report.clients, 2);
    assert_eq!(report.to_server.delivered, 2);
    assert_eq!(report.to_client.delivered, 2);
    assert_eq!(report.unsendable, 0);
}

#[test]
fn the_links_own_seed_decides_what_is_lost() {
    let link = LinkConfig::unlimited(Duration::from_millis(1)).loss(Loss::bernoulli(0.3));
    let survivors = || {
        let (relay, server) = start(&link);
        let client = client(&relay);
        for i in 0..50u8 {
            client.send(&[i]).unwrap();
        }
        let mut buffer = [0; 10];
        let mut arrived = Vec::new();
        // The relay says how many will come, so that no test waits for one that will not.
        while relay.report().to_server.offered < 50 {
            std::thread::yield_now();
        }
        let expected = 50 - relay.report().to_server.lost;
        while (arrived.len() as u64) < expected {
            server.recv_from(&mut buffer).unwrap();
            arrived.push(buffer[0]);
        }
        arrived
    };
    let first = survivors();
    assert!(first.len() < 50);
    assert_eq!(first, survivors());
}

#[test]
fn headers_count_against_rate_and_mtu() {
    let link = LinkConfig::new(
        Bandwidth::from_bits_per_second(100_000_000),
        Duration::from_millis(1),
    )
    .mtu(1500);
    let (relay, server) = start(&link);
    let client = client(&relay);
    client.send(&[1; 1473]).unwrap();
    client.send(&[2; 1472]).unwrap();
    let mut buffer = [0; 2000];
    let len = server.recv(&mut buffer).unwrap();
    assert_eq!((len, buffer[0]), (1472, 2));
    let report = relay.stop().unwrap();
    assert_eq!(report.to_server.too_big, 1);
    assert_eq!(report.to_server.delivered_bytes, 1500);
}
