//! A proxy port inside another tokio program: HTTP and SOCKS clients connect to it, and their connections leave from
//! the server.
//!
//!     cargo run -p rp-proxy --example client -- 192.0.2.1:7377 SHA256:... 127.0.0.1:1080
//!
//! The client's key is new at every start here; a program keeps the 32 bytes of its seed as secret as a password.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::{error::Error, net::SocketAddr, sync::Arc};

use rp_protocol::{
    Endpoint,
    config::{ClientConfig as TransportConfig, EndpointConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};
use rp_proxy::{Client, ClientConfig, Link, SERVICE};
use tokio::net::TcpListener;

/// Trusts the server with one fingerprint, as `ssh-keygen -l` and `rpserver` print it.
#[derive(Debug)]
struct Pinned(String);

impl PeerVerifier for Pinned {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        if key.fingerprint() == self.0 {
            Ok(())
        } else {
            Err(PeerRejected(format!("{key} is not the server's key")))
        }
    }
}

/// A client of the server at `remote`. It connects by itself, and again when the connection is lost.
pub(crate) fn client(
    remote: SocketAddr,
    fingerprint: String,
    identity: Identity,
) -> Result<Client, Box<dyn Error>> {
    let endpoint = Endpoint::bind(([0, 0, 0, 0], 0).into(), EndpointConfig::default(), None)?;
    let transport =
        TransportConfig::new(Arc::new(identity), Arc::new(Pinned(fingerprint)), SERVICE);
    let link = Link::connecting(move || {
        let (endpoint, transport) = (endpoint.clone(), transport.clone());
        async move { endpoint.connect(remote, transport).await }
    });
    Ok(Client::new(link, ClientConfig::default()))
}

#[allow(dead_code, reason = "a test has this file as a module")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(remote), Some(fingerprint), Some(listen)) = (args.next(), args.next(), args.next())
    else {
        return Err("usage: client SERVER:PORT SHA256:... LISTEN:PORT".into());
    };
    let identity = Identity::from_seed(&rand_seed()?);
    println!("our key, for the server: {}", identity.public_key());
    let client = client(remote.parse()?, fingerprint, identity)?;
    client.serve(TcpListener::bind(listen).await?).await;
    Ok(())
}

#[allow(dead_code, reason = "a test has this file as a module")]
fn rand_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
    Ok(seed)
}
