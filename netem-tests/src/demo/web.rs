//! The web download of the demo: a server of one file, and a client that goes through an HTTP proxy.
//! Just enough HTTP/1.1 for each other; real clients and servers are tested elsewhere.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Longest head of a request or response.
const MAX_HEAD: usize = 16 << 10;

/// A web server of one file, until dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(content: Bytes) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let content = content.clone();
                tokio::spawn(async move {
                    // The client notices a download that broke off.
                    let _ = serve(stream, &content).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, content: &[u8]) -> anyhow::Result<()> {
    read_head(&mut stream).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(content).await?;
    stream.shutdown().await?;
    Ok(())
}

/// What arrived.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) bytes: u64,
    pub(super) digest: blake3::Hash,
}

/// Downloads the file of the server at `target` through the HTTP proxy at `proxy`.
pub(super) async fn fetch(proxy: SocketAddr, target: SocketAddr) -> anyhow::Result<Fetched> {
    let mut stream = TcpStream::connect(proxy)
        .await
        .context("the proxy takes no connection")?;
    let request =
        format!("GET http://{target}/file HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (head, rest) = read_head(&mut stream).await?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.split(' ').nth(1) == Some("200"),
        "the answer was `{status}`"
    );
    let length = content_length(&head).context("the answer names no length")?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&rest);
    let mut bytes = rest.len() as u64;
    let mut block = vec![0; 1 << 18];
    while bytes < length {
        match stream.read(&mut block).await? {
            0 => bail!("the download broke off after {bytes} of {length} bytes"),
            len => {
                hasher.update(&block[..len]);
                bytes += len as u64;
            }
        }
    }
    Ok(Fetched {
        bytes,
        digest: hasher.finalize(),
    })
}

/// The head up to its empty line, and what came behind it.
async fn read_head(stream: &mut TcpStream) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        ensure!(bytes.len() < MAX_HEAD, "the head of a message does not end");
        ensure!(
            stream.read_buf(&mut bytes).await? > 0,
            "the connection ended within the head of a message"
        );
    }
}

fn content_length(head: &str) -> Option<u64> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
}
