//! The examples, run against each other.

#[path = "../examples/client.rs"]
mod client;
#[path = "../examples/server.rs"]
mod server;
mod support;

use rp_protocol::crypto::identity::Identity;
use support::{echo, local, loopback_allowed, read_to_end, socks5};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

#[tokio::test]
async fn the_examples_move_data_between_them() {
    let (near, far) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let fingerprint = far.public_key().fingerprint();
    let listed = [near.public_key().fingerprint()].into();
    let endpoint = server::bind(local(), far, listed).unwrap();
    let remote = endpoint.local_addr().unwrap();
    tokio::spawn(server::serve(endpoint, loopback_allowed()));
    let client = client::client(remote, fingerprint, near).unwrap();
    let listener = TcpListener::bind(local()).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move { client.serve(listener).await });
    let mut tcp = socks5(proxy, echo().await).await.unwrap();
    tcp.write_all(b"hello").await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"hello");
}
