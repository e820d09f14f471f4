//! What the peer of a closed TCP connection gets to see, on real sockets.

use std::{io::ErrorKind, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::*;

/// A connection and its peer, whose receive buffer is small if asked for.
async fn pair(receive_bytes: Option<u32>) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let peer = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_bytes {
        peer.set_recv_buffer_size(bytes).unwrap();
    }
    let peer = peer.connect(listener.local_addr().unwrap());
    let (peer, accepted) = tokio::join!(peer, listener.accept());
    (accepted.unwrap().0, peer.unwrap())
}

#[tokio::test]
async fn a_drained_connection_loses_nothing_to_its_reset() {
    let (mut tcp, mut peer) = pair(Some(4096)).await;
    let data = vec![7; 300_000];
    let reader = tokio::spawn(async move {
        let mut read = Vec::new();
        let error = peer.read_to_end(&mut read).await.unwrap_err();
        (read.len(), error.kind())
    });
    tcp.write_all(&data).await.unwrap();
    reset_on_close(&tcp);
    drain(&tcp).await;
    drop(tcp);
    let read = reader.await.unwrap();
    assert_eq!(read, (data.len(), ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_connection_armed_for_a_reset_can_still_end_in_order() {
    let (mut tcp, mut peer) = pair(None).await;
    reset_on_close(&tcp);
    tcp.write_all(b"whole").await.unwrap();
    close_in_order(&tcp);
    drop(tcp);
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"whole");
}

#[tokio::test]
async fn lingering_takes_what_is_sent_late_and_ends_with_its_sender() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A front end SHOULD therefore read and discard such bytes for a while before it closes; RPP's
    //# own takes 64 MiB, 30 seconds, or 5 seconds of silence, whatever is over first.
    let (mut tcp, mut peer) = pair(None).await;
    tcp.write_all(b"answer").await.unwrap();
    tcp.shutdown().await.unwrap();
    let late = tokio::spawn(async move {
        peer.write_all(&vec![1; 1_000_000]).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.map(|_| read)
    });
    linger(&tcp).await;
    drop(tcp);
    assert_eq!(late.await.unwrap().unwrap(), b"answer");
}

#[tokio::test]
async fn lingering_is_bounded_in_bytes() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A front end SHOULD therefore read and discard such bytes for a while before it closes; RPP's
    //# own takes 64 MiB, 30 seconds, or 5 seconds of silence, whatever is over first.
    let (tcp, mut peer) = pair(None).await;
    let endless = tokio::spawn(async move { while peer.write_all(&[0; 65536]).await.is_ok() {} });
    linger(&tcp).await;
    drop(tcp);
    endless.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lingering_is_bounded_in_time() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A front end SHOULD therefore read and discard such bytes for a while before it closes; RPP's
    //# own takes 64 MiB, 30 seconds, or 5 seconds of silence, whatever is over first.
    let (tcp, _peer) = pair(None).await;
    let before = Instant::now();
    linger(&tcp).await;
    assert!(before.elapsed() <= LINGER_SILENCE + Duration::from_millis(10));
}
