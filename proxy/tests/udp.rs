//! UDP associations through both sides: what arrives, what is let through, what one may take.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::net::SocketAddr;

use bytes::Bytes;
use rp_proxy::{datagram::Association, target::Target};
use support::*;
use tokio::net::UdpSocket;

/// A UDP server on `addr` that sends back what it gets.
async fn udp_echo(addr: &str) -> SocketAddr {
    let socket = UdpSocket::bind(addr).await.unwrap();
    let local = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    local
}

fn target(addr: SocketAddr) -> Target {
    addr.try_into().unwrap()
}

/// Sends `payload` to `to` until it comes back: neither way promises to deliver.
async fn exchange(association: &Association, to: &Target, payload: &[u8]) -> SocketAddr {
    let payload = Bytes::copy_from_slice(payload);
    soon(async {
        association.send(to, payload.clone()).await.unwrap();
        loop {
            let (sender, answer) = association.recv().await.unwrap();
            if answer == payload {
                return sender;
            }
        }
    })
    .await
}

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
async fn datagrams_too_large_for_a_frame_arrive_all_the_same() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# A sender MUST use the stream where a DATAGRAM frame cannot carry a datagram: where the peer's
    //# max_datagram is 0, or the packets of the path are too small.
    let world = world().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let association = world.client.associate().await.unwrap();
    soon(association.opened()).await.unwrap();
    for len in [1200, 1500, 9000, 65_507] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        exchange(&association, &target(echo), &payload).await;
    }
}
