//! Sends lines to `echo_server` and prints what comes back.
//!
//! `echo hello | cargo run --example echo_client -- ADDRESS KEY`, both as the server printed them.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    error::Error,
    io::{self, Read},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use rp_protocol::{
    Endpoint,
    config::{ClientConfig, EndpointConfig},
    crypto::{
        identity::{Identity, PublicKey},
        trust::PinnedKeys,
    },
    units::CloseCode,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SERVICE: &str = "echo/1";
const BLOCK_BYTES: usize = 1 << 16;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: echo_client ADDRESS KEY";
    let server: SocketAddr = args.next().ok_or(usage)?.parse()?;
    let key = PublicKey::from_bytes(unhex(&args.next().ok_or(usage)?)?);
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;

    let identity = Arc::new(Identity::generate()?);
    let config = ClientConfig::new(identity, Arc::new(PinnedKeys::one(key)), SERVICE);
    let any = match server {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let endpoint = Endpoint::bind(any.parse()?, EndpointConfig::default(), None)?;
    let connection = endpoint.connect(server, config).await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    // At once in both directions: a server that sends back what it gets stops reading when nobody takes it.
    let write = async {
        send.write_bytes(Bytes::from(text)).await?;
        send.finish()
    };
    let read = async {
        while let Some(bytes) = recv.read_bytes(BLOCK_BYTES).await? {
            print!("{}", String::from_utf8_lossy(&bytes));
        }
        Result::Ok(())
    };
    let (written, read) = tokio::join!(write, read);
    written?;
    read?;
    let rtt = connection.stats().paths[0].rtt;
    println!("round trip {:.1} ms", rtt.as_secs_f64() * 1e3);
    connection.close(CloseCode::from_u32(0), b"done");
    endpoint.wait_idle().await;
    Ok(())
}

fn unhex(text: &str) -> Result<[u8; PublicKey::LEN]> {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16));
    let bytes: Vec<u8> = bytes.collect::<std::result::Result<_, _>>()?;
    let key = bytes.try_into();
    key.map_err(|_| "a key is 64 hexadecimal digits".into())
}
