//! Both ends of a transfer over RPP from memory to memory: `lab peer rpp-recv` and `rpp-send`. Files, and
//! what is done to them, are `rpcp`'s matter.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use rp_cli::identity::ephemeral;
use rp_protocol::{
    Endpoint,
    config::{ClientConfig, EndpointConfig, ServerConfig},
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
    units::CloseCode,
};

use super::{BLOCK, Tally};

const SERVICE: &str = "rpp-lab/1";

/// How long the receiver waits for the sender to leave.
const GOODBYE: Duration = Duration::from_secs(2);

/// Trusts everybody: both ends are the lab's, and no file passes between them.
#[derive(Debug)]
struct AnyPeer;

impl PeerVerifier for AnyPeer {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Takes one stream of a connection to `port` and tells how much has come, until it is `bytes`.
///
/// # Errors
/// The port cannot be had, or the connection breaks.
pub fn receive(port: u16, bytes: u64) -> anyhow::Result<()> {
    let tally = Tally::new(bytes);
    block_on(async {
        let config = ServerConfig::new(Arc::new(ephemeral()), Arc::new(AnyPeer), &[SERVICE]);
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let endpoint = Endpoint::bind(local, EndpointConfig::default(), Some(config))?;
        let incoming = endpoint.accept().await.context("the endpoint is closed")?;
        let connection = incoming.accept().await?;
        let mut stream = connection.accept_uni().await?;
        // In any order, as a copy of a file may.
        while let Some((_, data)) = stream.read_block().await? {
            tally.add(data.len())?;
        }
        // The sender closes when it knows that all has arrived.
        let _ = tokio::time::timeout(GOODBYE, connection.closed()).await;
        Ok(())
    })
}

/// Sends `bytes` on one stream.
///
/// # Errors
/// There is no connection, or it breaks.
pub fn send(to: SocketAddr, bytes: u64) -> anyhow::Result<()> {
    block_on(async {
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let endpoint = Endpoint::bind(local, EndpointConfig::default(), None)?;
        let config = ClientConfig::new(Arc::new(ephemeral()), Arc::new(AnyPeer), SERVICE);
        let connection = endpoint.connect(to, config).await?;
        let mut stream = connection.open_uni().await?;
        let block = Bytes::from(vec![0x5a; BLOCK]);
        let mut left = bytes;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            stream.write_bytes(block.slice(..len)).await?;
            left -= len as u64;
        }
        stream.finish()?;
        stream.finished().await?;
        connection.close(CloseCode::default(), b"done");
        let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
        Ok(())
    })
}
