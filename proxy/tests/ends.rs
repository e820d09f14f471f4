//! How relayed connections end, seen by both applications: last words arrive, cut data never looks
//! whole.
#![expect(
    clippy::unwrap_used,
    reason = "closures in tests fail the test that runs them"
)]

mod support;

use std::{io::ErrorKind, net::SocketAddr};

use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc::unbounded_channel,
};

/// More than every buffer between client and target takes together.
const UPLOAD_BYTES: usize = 20_000_000;

/// Each repetition meets the resets in another order.
const REPETITIONS: usize = 8;

const LAST_WORDS: &[u8] = b"Too many authentication failures\r\n";

/// How a client asks for a tunnel to a target.
#[derive(Clone, Copy, Debug)]
enum FrontEnd {
    Socks4,
    Socks5,
    Connect,
}

const FRONT_ENDS: [FrontEnd; 3] = [FrontEnd::Socks4, FrontEnd::Socks5, FrontEnd::Connect];

/// A tunnel to `target`.
async fn tunnel(front_end: FrontEnd, proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    if matches!(front_end, FrontEnd::Socks5) {
        return socks5(proxy, target).await.unwrap();
    }
    let mut tcp = TcpStream::connect(proxy).await.unwrap();
    match front_end {
        FrontEnd::Connect => {
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
            tcp.write_all(request.as_bytes()).await.unwrap();
            assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
        }
        _ => {
            let port = target.port().to_be_bytes();
            let request = [4, 1, port[0], port[1], 127, 0, 0, 1, 0];
            tcp.write_all(&request).await.unwrap();
            assert_eq!(read_exactly(&mut tcp, 8).await[1], 0x5a);
        }
    }
    tcp
}

/// A target that reads a little, answers and closes: with unread bytes, which is a reset, or after it
/// has ended its direction, so that only what comes later meets one.
async fn answers_early(ends_first: bool) -> SocketAddr {
    origin(move |mut tcp| async move {
        tcp.read_exact(&mut [0; 1000]).await.unwrap();
        tcp.write_all(LAST_WORDS).await.unwrap();
        if ends_first {
            tcp.shutdown().await.unwrap();
        }
    })
    .await
}

/// Reads until the end or the failure; what was read, and whether it ended in order.
async fn read_out(tcp: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut read = Vec::new();
    let end = soon(tcp.read_to_end(&mut read)).await;
    (read, end.map(|_| ()).map_err(|error| error.kind()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_arrives_although_the_target_takes_no_more() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay that can write no more to its TCP connection MUST stop the receiving part of the stream
    //# and pass on what that connection has sent, to its end.
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay whose sending part was stopped MUST pass on what the stream still brings, to its end.
    let world = world().await;
    for ends_first in [false, true] {
        let target = answers_early(ends_first).await;
        for front_end in FRONT_ENDS {
            for repetition in 0..REPETITIONS {
                let mut tcp = tunnel(front_end, world.proxy, target).await;
                let (mut read, mut write) = tcp.split();
                let uploading = async {
                    let data = vec![0; 1 << 20];
                    for _ in 0..UPLOAD_BYTES >> 20 {
                        if write.write_all(&data).await.is_err() {
                            break;
                        }
                    }
                };
                let mut answer = Vec::new();
                // The answer may be followed by a reset, as it would be without a proxy.
                let reading = async { drop(read.read_to_end(&mut answer).await) };
                soon(async { tokio::join!(reading, uploading) }).await;
                let case = format!("{front_end:?}, ends first: {ends_first}, {repetition}");
                assert_eq!(answer, LAST_WORDS, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_writes_everything_first_still_reads_an_answer_that_ended_in_order() {
    let world = world().await;
    let target = answers_early(true).await;
    let mut tcp = tunnel(FrontEnd::Socks5, world.proxy, target).await;
    soon(tcp.write_all(&vec![0; UPLOAD_BYTES])).await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(read_out(&mut tcp).await, (LAST_WORDS.to_vec(), Ok(())));
}

#[tokio::test]
async fn everything_before_a_targets_reset_arrives_and_does_not_look_whole() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# What was read from a TCP connection before it failed MUST be passed on before the reset.
    const LENGTH: usize = 2_000_000;
    let world = world().await;
    let target = origin(|mut tcp| async move {
        tcp.write_all(&vec![1; LENGTH]).await.unwrap();
        // The client says when all has left this socket.
        tcp.read_u8().await.unwrap();
        reset_on_drop(&tcp);
    })
    .await;
    for front_end in FRONT_ENDS {
        let mut tcp = tunnel(front_end, world.proxy, target).await;
        read_exactly(&mut tcp, LENGTH / 2).await;
        tcp.write_all(b"x").await.unwrap();
        let (read, end) = read_out(&mut tcp).await;
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{front_end:?}");
        assert_eq!(read.len(), LENGTH / 2, "{front_end:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_looks_cut_to_the_target() {
    let world = world().await;
    let (sender, mut seen) = unbounded_channel();
    let target = origin(move |mut tcp| {
        let sender = sender.clone();
        async move { sender.send(read_out(&mut tcp).await).unwrap() }
    })
    .await;
    for front_end in FRONT_ENDS {
        let mut tcp = tunnel(front_end, world.proxy, target).await;
        tcp.write_all(b"half of it").await.unwrap();
        reset_on_drop(&tcp);
        drop(tcp);
        let (read, end) = soon(seen.recv()).await.unwrap();
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{front_end:?}");
        assert!(b"half of it".starts_with(&read), "{front_end:?}");
    }
}

#[tokio::test]
async fn a_lost_link_cuts_both_directions() {
    for front_end in FRONT_ENDS {
        let world = world().await;
        let (sender, mut seen) = unbounded_channel();
        let target = origin(move |mut tcp| {
            let sender = sender.clone();
            async move {
                tcp.write_all(b"part").await.unwrap();
                sender.send(read_out(&mut tcp).await).unwrap();
            }
        })
        .await;
        let mut tcp = tunnel(front_end, world.proxy, target).await;
        assert_eq!(read_exactly(&mut tcp, 4).await, b"part");
        world.server.close(7_u32.into(), b"test");
        let reset = Err(ErrorKind::ConnectionReset);
        assert_eq!(read_out(&mut tcp).await, (vec![], reset), "{front_end:?}");
        assert_eq!(soon(seen.recv()).await.unwrap().1, reset, "{front_end:?}");
    }
}

#[tokio::test]
async fn a_client_that_left_ends_its_download_at_once() {
    let world = world().await;
    let (sender, mut seen) = unbounded_channel();
    let target = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            while tcp.write_all(&[0; 4096]).await.is_ok() {}
            sender.send(()).unwrap();
        }
    })
    .await;
    let mut tcp = tunnel(FrontEnd::Socks5, world.proxy, target).await;
    read_exactly(&mut tcp, 100_000).await;
    drop(tcp);
    soon(seen.recv()).await.unwrap();
}

#[tokio::test]
async fn a_direction_goes_on_after_the_other_has_ended() {
    let world = world().await;
    let (sender, mut seen) = unbounded_channel();
    let target = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            tcp.write_all(b"early end").await.unwrap();
            tcp.shutdown().await.unwrap();
            sender.send(read_out(&mut tcp).await).unwrap();
        }
    })
    .await;
    let mut tcp = tunnel(FrontEnd::Socks5, world.proxy, target).await;
    assert_eq!(read_out(&mut tcp).await, (b"early end".to_vec(), Ok(())));
    tcp.write_all(&vec![2; 1_000_000]).await.unwrap();
    tcp.shutdown().await.unwrap();
    let (read, end) = soon(seen.recv()).await.unwrap();
    assert_eq!((read.len(), end), (1_000_000, Ok(())));
}
