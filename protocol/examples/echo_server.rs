//! Sends back what it gets, stream by stream, to whoever connects.
//!
//! `cargo run --example echo_server -- [ADDRESS]`; it prints its address and its key, which `echo_client` needs.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::{error::Error, sync::Arc};

use rp_protocol::{
    Connection, Endpoint, RecvStream, SendStream,
    config::{EndpointConfig, ServerConfig},
    crypto::{identity::Identity, trust::AcceptAnyKey},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The name both sides agree on; a client that asks for another service is refused.
const SERVICE: &str = "echo/1";
/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 16;

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7400").parse()?;
    // A real server keeps its seed, so that its clients know it again.
    let identity = Arc::new(Identity::generate()?);
    let key = identity.public_key();
    let config = ServerConfig::new(identity, Arc::new(AcceptAnyKey), &[SERVICE]);
    let endpoint = Endpoint::bind(address, EndpointConfig::default(), Some(config))?;
    println!("{} {}", endpoint.local_addr()?, hex(key.as_bytes()));
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let from = incoming.remote_address();
            match incoming.accept().await {
                Ok(connection) => serve(connection).await,
                Err(error) => eprintln!("{from}: {error}"),
            }
        });
    }
    Ok(())
}

/// Each stream has a task of its own, so that one whose client does not read holds up no other.
async fn serve(connection: Connection) {
    println!("{} is {}", connection.remote_address(), connection.peer());
    loop {
        match connection.accept_bi().await {
            Ok((send, recv)) => drop(tokio::spawn(echo(send, recv))),
            Err(error) => return println!("{}: {error}", connection.remote_address()),
        }
    }
}

async fn echo(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    while let Some(bytes) = recv.read_bytes(BLOCK_BYTES).await? {
        send.write_bytes(bytes).await?;
    }
    send.finish()?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
