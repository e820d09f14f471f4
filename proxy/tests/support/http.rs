//! Origins with canned answers, and clients that speak HTTP by hand.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{World, origin, read_head, read_to_end, soon};

/// An origin that answers each head on a connection with `answer`, and hands out the heads.
pub(crate) async fn canned(
    answer: &'static str,
) -> (SocketAddr, UnboundedReceiver<String>, Arc<AtomicUsize>) {
    let (sender, heads) = unbounded_channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let addr = origin(move |mut tcp| {
        let sender = sender.clone();
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            loop {
                let head = read_head(&mut tcp).await;
                if head.is_empty() {
                    return;
                }
                // Not every test looks at the heads.
                let _ = sender.send(head);
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (addr, heads, connections)
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Origin: 1\r\n\
                     Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\n\r\nhello";

/// What comes until reading fails, and how it fails.
pub(crate) async fn read_to_failure(tcp: &mut TcpStream) -> (Vec<u8>, ErrorKind) {
    let mut bytes = Vec::new();
    let end = soon(tcp.read_to_end(&mut bytes)).await;
    (bytes, end.expect_err("a reset").kind())
}

pub(crate) async fn ask(proxy: SocketAddr, request: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(proxy).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    tcp
}

/// The status code of the answer to `request`, and the whole answer.
pub(crate) async fn status(proxy: SocketAddr, request: &str) -> (u16, String) {
    let mut tcp = ask(proxy, request).await;
    let head = read_head(&mut tcp).await;
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase())
}

/// One request and its response, as the other side saw each.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The request's head as the origin got it.
    pub(crate) request: Vec<u8>,
    /// Everything the client got.
    pub(crate) response: Vec<u8>,
}

impl Passed {
    /// The response, with one character per byte.
    pub(crate) fn text(&self) -> String {
        self.response.iter().copied().map(char::from).collect()
    }

    /// The request's head, with one character per byte.
    pub(crate) fn asked(&self) -> String {
        self.request.iter().copied().map(char::from).collect()
    }
}

/// Sends `start`, with `ORIGIN` in it replaced by an origin's address, then `Host`, `lines` and the
/// empty line, to `world`'s proxy; the origin answers with `answer` and closes.
pub(crate) async fn pass(
    world: &World,
    start: &[u8],
    lines: &str,
    answer: &'static [u8],
) -> Passed {
    let (sender, mut heads) = unbounded_channel();
    let origin = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match tcp.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            sender.send(head).unwrap();
            tcp.write_all(answer).await.unwrap();
        }
    })
    .await;
    let at = start.windows(6).position(|window| window == b"ORIGIN");
    let start = match at {
        Some(at) => [
            &start[..at],
            origin.to_string().as_bytes(),
            &start[at + 6..],
        ]
        .concat(),
        None => start.to_vec(),
    };
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    let rest = format!("\r\nHost: x\r\n{lines}\r\n");
    tcp.write_all(&[&start, rest.as_bytes()].concat())
        .await
        .unwrap();
    tcp.shutdown().await.unwrap();
    let mut response = Vec::new();
    soon(tcp.read_to_end(&mut response)).await.unwrap();
    Passed {
        request: heads.try_recv().unwrap_or_default(),
        response,
    }
}

/// A GET whose answer is `answer`.
pub(crate) async fn get(world: &World, answer: &'static [u8]) -> Passed {
    pass(world, b"GET http://ORIGIN/ HTTP/1.1", "", answer).await
}

/// Everything a client gets that sends `request` and ends its side.
pub(crate) async fn whole(world: &World, request: &[u8]) -> String {
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    tcp.write_all(request).await.unwrap();
    tcp.shutdown().await.unwrap();
    let bytes = read_to_end(&mut tcp).await;
    bytes.into_iter().map(char::from).collect()
}

/// Checks that `text` is one answer with `status`, whose content says something and that ends the
/// connection.
pub(crate) fn is_refusal(text: &str, status: u16, request: &str) {
    assert!(
        text.starts_with(&format!("HTTP/1.1 {status} "))
            && !text.starts_with(&format!("HTTP/1.1 {status} \r")),
        "{request}: {text}"
    );
    let (head, content) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain"), "{text}");
    assert!(head.contains("\r\nDate: "), "{text}");
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())),
        "{text}"
    );
    assert!(
        content.len() > 20 && content.ends_with('\n'),
        "{request}: {text}"
    );
    assert!(!content.contains("HTTP/1.1 4"), "one answer only: {text}");
}
