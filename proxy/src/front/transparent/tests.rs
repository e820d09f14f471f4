//! Where a diverted connection may lead.

use std::sync::atomic::Ordering;

use rp_protocol::{
    Endpoint,
    config::{ClientConfig as TransportClient, EndpointConfig, ServerConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::*;
use crate::{Client, ClientConfig, Exit, ExitConfig, Link, SERVICE, TargetAccess};

#[path = "../../../tests/forbidden/spellings.rs"]
#[expect(
    dead_code,
    reason = "a diverted connection has an address, never a name"
)]
mod spellings;

#[derive(Debug)]
struct Anybody;

impl PeerVerifier for Anybody {
    fn verify(&self, _key: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

/// A client, and the exit it is joined with, whose policy has no rules.
fn world() -> (FrontEndContext, Exit, Endpoint) {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = ServerConfig::new(identity(1), Arc::new(Anybody), &[SERVICE]);
    let server = Endpoint::bind(local, EndpointConfig::default(), Some(server)).unwrap();
    let exit = Exit::new(ExitConfig::default());
    let (accepting, serving) = (server.clone(), exit.clone());
    tokio::spawn(async move {
        let connection = accepting.accept().await.unwrap().accept().await.unwrap();
        serving.serve(connection, TargetAccess::All).await;
    });
    let near = Endpoint::bind(local, EndpointConfig::default(), None).unwrap();
    let remote = server.local_addr().unwrap();
    let link = Link::connecting(move || {
        let near = near.clone();
        let config = TransportClient::new(identity(2), Arc::new(Anybody), SERVICE);
        async move { near.connect(remote, config).await }
    });
    let client = Client::new(link, ClientConfig::default());
    let context = FrontEndContext::new(client, Arc::default(), Arc::default());
    (context, exit, server)
}

#[tokio::test]
async fn a_diverted_connection_to_a_forbidden_address_is_reset_and_counted() {
    let (context, exit, _server) = world();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let places = Places::new(8);
    let expected = Expected::default();
    for text in [spellings::ADDRESSES, spellings::METADATA].concat() {
        // What is followed as FTP goes another way.
        for port in [80, 21] {
            let original = SocketAddr::new(text.parse().unwrap(), port);
            let mut client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (tcp, from) = listener.accept().await.unwrap();
            reset_on_close(&tcp);
            let guard = LoopGuard::at(listener.local_addr().ok(), Arc::default());
            let diverted = Diverted {
                tcp,
                client: from,
                original: canonical(original),
                target: guard.permit(canonical(original), None).unwrap(),
                place: places.take(places.free().await, from.ip()).unwrap(),
            };
            let before = exit.counters().denied.load(Ordering::Relaxed);
            diverted.serve(&context, &expected).await;
            let end = client.read_u8().await.unwrap_err().kind();
            assert_eq!(end, std::io::ErrorKind::ConnectionReset, "{original}");
            let denied = exit.counters().denied.load(Ordering::Relaxed);
            assert_eq!(denied, before + 1, "{original}");
        }
    }
}
