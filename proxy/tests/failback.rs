//! A link that moves to a better server: requests go there at once, and what runs ends where it is.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::sync::atomic::Ordering;

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{Client, ClientConfig, Exit, Link, TargetAccess};
use support::*;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Connections that an exit has served so far.
fn served(exit: &Exit) -> u64 {
    exit.counters().connected.load(Ordering::Relaxed)
}

async fn echoes(tcp: &mut TcpStream, byte: u8) {
    tcp.write_all(&[byte]).await.unwrap();
    assert_eq!(read_exactly(tcp, 1).await, [byte]);
}

#[tokio::test]
async fn requests_move_to_the_better_server_and_streams_end_where_they_are() {
    let (spare, spare_exit) = exit_at(local(), loopback_allowed(), TargetAccess::All);
    let (better, better_exit) = exit_at(local(), loopback_allowed(), TargetAccess::All);
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let to_spare = spare.local_addr().unwrap();
    let first = near.connect(to_spare, transport()).await.unwrap();
    let link = Link::new(first.clone(), {
        let near = near.clone();
        move || {
            let near = near.clone();
            async move { near.connect(to_spare, transport()).await }
        }
    });
    let client = Client::new(link, ClientConfig::default());
    let listener = TcpListener::bind(local()).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let serving = client.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    let echo = echo().await;
    let mut old = socks5(proxy, echo).await.unwrap();
    echoes(&mut old, 1).await;

    let to_better = better.local_addr().unwrap();
    let connection = near.connect(to_better, transport()).await.unwrap();
    client.link().use_instead(connection);
    soon(async {
        while client.link().server_address() != Some(to_better) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut new = socks5(proxy, echo).await.unwrap();
    echoes(&mut new, 2).await;
    assert_eq!((served(&spare_exit), served(&better_exit)), (1, 1));
    // What runs goes on, and keeps its connection.
    echoes(&mut old, 3).await;
    let (sender, mut closed) = watch::channel(false);
    tokio::spawn(async move {
        first.closed().await;
        sender.send_replace(true);
    });
    echoes(&mut old, 4).await;
    assert!(!*closed.borrow());
    old.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut old).await, b"");
    soon(closed.wait_for(|closed| *closed)).await.unwrap();
    echoes(&mut new, 5).await;
}
