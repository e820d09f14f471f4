//! The tokio driver over real loopback sockets, through its public API alone.
//! What the engine does with bad networks is tested without sockets.

#![cfg(feature = "driver")]

mod cancellation;
mod lifecycle;
mod rates;
mod streams;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rp_protocol::{
    Connection, Endpoint,
    config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};

const SERVICE: &str = "test/1";

/// Trusts every key.
#[derive(Debug)]
struct Anybody;

impl PeerVerifier for Anybody {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn server_config() -> ServerConfig {
    ServerConfig::new(identity(1), Arc::new(Anybody), &[SERVICE])
}

fn client_config() -> ClientConfig {
    ClientConfig::new(identity(2), Arc::new(Anybody), SERVICE)
}

fn server(transport: TransportConfig) -> Endpoint {
    let config = server_config().transport(transport);
    Endpoint::bind(loopback(), EndpointConfig::default(), Some(config))
        .expect("loopback has free ports")
}

fn client() -> Endpoint {
    Endpoint::bind(loopback(), EndpointConfig::default(), None).expect("loopback has free ports")
}

/// Two ends of one connection, and the endpoints under them.
struct Pair {
    near: Connection,
    far: Connection,
    client: Endpoint,
    server: Endpoint,
}

impl Pair {
    async fn new() -> Self {
        Self::with(TransportConfig::default()).await
    }

    async fn with(transport: TransportConfig) -> Self {
        let (server, client) = (server(transport.clone()), client());
        let remote = server.local_addr().expect("a bound socket has an address");
        let config = client_config().transport(transport);
        let (near, far) = tokio::join!(client.connect(remote, config), async {
            let incoming = server.accept().await.expect("the endpoint is open");
            incoming.accept().await
        });
        Self {
            near: near.expect("both ends trust anybody"),
            far: far.expect("both ends trust anybody"),
            client,
            server,
        }
    }
}

/// Fails a test that hangs long before the runner's own limit.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("done within 30 s")
}

/// Bytes that tell where in a stream they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
