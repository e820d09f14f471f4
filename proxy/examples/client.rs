//! A proxy port inside another tokio program: HTTP and SOCKS clients connect to it, and their connections leave from
//! the server.
//!
//!     cargo run -p rp-proxy --example client -- client.key 192.0.2.1:7377 SHA256:... 127.0.0.1:1080
//!
//! The file `client.key` holds the seed of the client's key, 32 bytes that are as secret as a password. It is made if it
//! is not there; with nothing behind it, the program says its key, for the server's list, and ends.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::{
    error::Error, fs, io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt as _, sync::Arc,
};

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
    let usage = "usage: client KEY_FILE [SERVER:PORT SHA256:... LISTEN:PORT]";
    let identity = Identity::from_seed(&seed(&args.next().ok_or(usage)?)?);
    println!("our key, for the server: {}", identity.public_key());
    let Some(remote) = args.next() else {
        return Ok(());
    };
    let (Some(fingerprint), Some(listen)) = (args.next(), args.next()) else {
        return Err(usage.into());
    };
    let client = client(remote.parse()?, fingerprint, identity)?;
    client.serve(TcpListener::bind(listen).await?).await;
    Ok(())
}

/// The seed in a file, which is made if it is not there.
#[allow(dead_code, reason = "a test has this file as a module")]
fn seed(path: &str) -> Result<[u8; 32], Box<dyn Error>> {
    if let Ok(bytes) = fs::read(path) {
        return Ok(bytes.try_into().map_err(|_| "the key file has 32 bytes")?);
    }
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(&seed)?;
    Ok(seed)
}
