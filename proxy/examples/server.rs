//! The far side of the proxy inside another tokio program: it dials what its clients ask for.
//!
//!     cargo run -p rp-proxy --example server -- 0.0.0.0:7377 SHA256:... 10.0.0.0/8
//!
//! Whoever's fingerprint is on the command line is let in; networks may be dialled although they are not public. The server's key is new at every start here; a program keeps
//! the 32 bytes of its seed as secret as a password.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its user"
)]

use std::{collections::HashSet, error::Error, net::SocketAddr, sync::Arc};

use rp_protocol::{
    Endpoint,
    config::{EndpointConfig, ServerConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};
use rp_proxy::{Exit, ExitConfig, SERVICE, TargetAccess, exit::policy::Policy};

/// Lets in the clients with these fingerprints.
#[derive(Debug)]
struct Listed(HashSet<String>);

impl PeerVerifier for Listed {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        if self.0.contains(&key.fingerprint()) {
            Ok(())
        } else {
            Err(PeerRejected(format!("{key} is not on the list")))
        }
    }
}

/// Binds the server's port.
pub(crate) fn bind(
    listen: SocketAddr,
    identity: Identity,
    clients: HashSet<String>,
) -> Result<Endpoint, Box<dyn Error>> {
    let config = ServerConfig::new(Arc::new(identity), Arc::new(Listed(clients)), &[SERVICE]);
    Ok(Endpoint::bind(
        listen,
        EndpointConfig::default(),
        Some(config),
    )?)
}

/// Serves every client that is let in; what may be dialled is up to `policy`, which is public addresses by default.
pub(crate) async fn serve(endpoint: Endpoint, policy: Policy) {
    let exit = Exit::new(ExitConfig::default().policy(policy));
    while let Some(incoming) = endpoint.accept().await {
        let exit = exit.clone();
        tokio::spawn(async move {
            match incoming.accept().await {
                Ok(connection) => exit.serve(connection, TargetAccess::All).await,
                Err(error) => eprintln!("not let in: {error}"),
            }
        });
    }
}

#[allow(dead_code, reason = "a test has this file as a module")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: server LISTEN:PORT SHA256:... NETWORK...";
    let listen = args.next().ok_or(usage)?;
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
    let identity = Identity::from_seed(&seed);
    println!("our key, for the clients: {}", identity.public_key());
    let (clients, networks): (HashSet<_>, _) = args.partition(|arg| arg.starts_with("SHA256:"));
    let policy = networks
        .iter()
        .try_fold(Policy::default(), |policy, network| {
            network.parse().map(|rule| policy.allow(rule))
        })?;
    let endpoint = bind(listen.parse()?, identity, clients)?;
    serve(endpoint, policy).await;
    Ok(())
}
