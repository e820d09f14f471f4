//! Local UDP ports whose datagrams go to one target, and flows of many sources.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use rp_proxy::datagram::{Flows, forward};
use support::{udp::*, *};
use tokio::{net::UdpSocket, sync::mpsc};

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let len = soon(socket.recv(&mut buffer)).await.unwrap();
    buffer[..len].to_vec()
}

#[tokio::test]
async fn each_source_has_its_own_port_at_the_exit_and_gets_its_own_answers() {
    let world = world().await;
    let mirror = udp_mirror("127.0.0.1:0").await;
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(bind).await.unwrap();
        let port = socket.local_addr().unwrap();
        let forwarding = tokio::spawn(forward(world.client.clone(), socket, target(mirror)));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let client = UdpSocket::bind(bind).await.unwrap();
            client.connect(port).await.unwrap();
            client.send(b"?").await.unwrap();
            let first = receive(&client).await;
            client.send(b"?").await.unwrap();
            assert_eq!(receive(&client).await, first);
            assert!(!seen.contains(&first));
            seen.push(first);
        }
        forwarding.abort();
        // The associations end with the forward.
        for port in seen {
            freed(
                "0.0.0.0",
                std::str::from_utf8(&port).unwrap().parse().unwrap(),
            )
            .await;
        }
    }
}

fn source(ip: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, ip], port).into()
}

#[tokio::test]
async fn an_address_with_many_sources_takes_places_from_itself_only() {
    let world = world().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let (answered, mut answers) = mpsc::unbounded_channel();
    let flows = Flows::with_limits(
        world.client.clone(),
        Duration::from_secs(300),
        8,
        move |source, sender, payload| {
            let answered = answered.clone();
            async move { answered.send((source, sender, payload)).unwrap() }
        },
    );
    let honest = source(1, 7);
    flows.send(honest, target(echo), Bytes::from_static(b"first"));
    let answer = (honest, echo, Bytes::from_static(b"first"));
    assert_eq!(soon(answers.recv()).await, Some(answer));
    for port in 1000..2000 {
        flows.send(source(2, port), target(echo), Bytes::from_static(b"flood"));
        assert!(flows.len() <= 8);
    }
    let open = world
        .exit
        .datagrams()
        .associations
        .load(std::sync::atomic::Ordering::Relaxed);
    flows.send(honest, target(echo), Bytes::from_static(b"second"));
    loop {
        let (source, _, payload) = soon(answers.recv()).await.unwrap();
        if source == honest {
            assert_eq!(payload, &b"second"[..]);
            break;
        }
    }
    // It was the same association all the time: there was no second question for the first source.
    assert!(open >= 1);
    assert_eq!(flows.len(), 8);
}
