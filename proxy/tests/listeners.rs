//! Where the exit listens for whom, and BIND of SOCKS.

mod support;

use std::io::ErrorKind;

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{
    Client, ClientConfig, Link,
    error::{FailureKind, OpenError},
    exit::policy::Policy,
    open::Request,
    relay::code,
    target::{Host, ListenAt, Target},
};
use support::{listening::*, *};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn the_exit_listens_nowhere_without_a_rule() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST NOT listen anywhere that no rule of its owner allows to the client's key.
    let refusal = |listen: &'static [&'static str], at: ListenAt| async move {
        let world = listening_world(listen).await;
        match soon(world.client.listen(&at)).await {
            Err(OpenError::Dial(failure)) => failure.kind,
            other => unreachable!("{other:?}"),
        }
    };
    let everywhere = |port| ListenAt::Tcp(Host::parse("0.0.0.0").unwrap(), port);
    let path = || ListenAt::Unix("/tmp/never".parse().unwrap());
    assert_eq!(refusal(&[], localhost(0)).await, FailureKind::Denied);
    assert_eq!(refusal(&["*"], everywhere(0)).await, FailureKind::Denied);
    assert_eq!(refusal(&["*:*"], path()).await, FailureKind::Denied);
    let named = ListenAt::Tcp(Host::parse("a.example").unwrap(), 0);
    assert_eq!(refusal(&["*:*"], named).await, FailureKind::Malformed);
    let taken = nobody().await.port();
    let world = listening_world(&["*"]).await;
    let _held = soon(world.client.listen(&localhost(taken))).await.unwrap();
    let again = soon(world.client.listen(&localhost(taken)))
        .await
        .unwrap_err();
    assert!(again.to_string().contains("address in use"), "{again}");
}

#[tokio::test]
async fn a_listener_ends_with_its_stream() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST end a listener with the stream that asked for it.
    let world = listening_world(&["*"]).await;
    let listener = soon(world.client.listen(&localhost(0))).await.unwrap();
    let at = listener.bound();
    drop(soon(TcpStream::connect(at)).await.unwrap());
    drop(listener);
    soon(async {
        // The exit learns of it a moment later.
        while TcpStream::connect(at).await.is_ok() {}
    })
    .await;
}

#[tokio::test]
async fn an_exit_that_makes_arrivals_up_is_turned_away() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# A client MUST reset a stream of the exit that brings no complete arrival within 30 seconds, or one
    //# for no listener of its own, with code 3.
    let server = server_at(local()).unwrap();
    let remote = server.local_addr().unwrap();
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let (connected, incoming) = soon(async {
        tokio::join!(near.connect(remote, transport()), async {
            server.accept().await.unwrap().accept().await.unwrap()
        })
    })
    .await;
    let link = Link::new(connected.unwrap(), || {
        std::future::pending::<Result<_, String>>()
    });
    let client = Client::new(link, ClientConfig::default());
    let asking = client.clone();
    tokio::spawn(async move { asking.listen(&localhost(0)).await.map(|_| ()) });
    let (_send, mut recv) = soon(incoming.accept_bi()).await.unwrap();
    let head = soon(recv.read_bytes(300)).await.unwrap().unwrap();
    assert_eq!(
        Request::decode(&head).unwrap().unwrap().0,
        Request::Listen(localhost(0))
    );
    for bytes in [
        // No such listener, and no such kind.
        &[1, 0, 0, 0, 0, 0, 0, 0, 99, 1, 127, 0, 0, 1, 0, 9, 0][..],
        &[9][..],
    ] {
        let (mut send, _recv) = soon(incoming.open_bi()).await.unwrap();
        soon(send.write_bytes(bytes::Bytes::from_static(bytes)))
            .await
            .unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(code::MALFORMED));
    }
}

#[tokio::test]
async fn listeners_have_shares() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST bound the listeners of a connection, of a key and in all.
    let world = listening_world(&["*"]).await;
    let mut held = Vec::new();
    let refusal = loop {
        match soon(world.client.listen(&localhost(0))).await {
            Ok(listener) => held.push(listener),
            Err(error) => break error,
        }
        assert!(held.len() <= 64);
    };
    assert_eq!(refusal.kind(), FailureKind::Exhausted);
    assert_eq!(held.len(), 64);
    // Another connection has its own, and one that is given back can be had again.
    drop(held.pop());
    soon(async { while world.client.listen(&localhost(0)).await.is_err() {} }).await;
}

#[tokio::test]
async fn one_connection_from_the_expected_host_is_waited_for() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST reset a connection from another address.
    let world = listening_world(&["*"]).await;
    let from = Target::parse("127.0.0.3:21", None).unwrap();
    let pending = soon(world.client.bind(&from)).await.unwrap();
    let at = pending.bound();
    let accepted = tokio::spawn(pending.accepted());
    let mut stranger = TcpStream::connect(at).await.unwrap();
    let end = soon(stranger.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);
    let mut expected = come("127.0.0.3", at).await;
    expected.write_all(b"data").await.unwrap();
    let (peer, stream) = soon(accepted).await.unwrap().unwrap();
    assert_eq!(peer, expected.local_addr().unwrap());
    let mut far = stream.into_far();
    let mut got = far.early.to_vec();
    while got.len() < 4 {
        got.extend(soon(far.recv.read_bytes(4)).await.unwrap().unwrap());
    }
    assert_eq!(got, b"data");
    soon(far.send.write_bytes(bytes::Bytes::from_static(b"back")))
        .await
        .unwrap();
    far.send.finish().unwrap();
    assert_eq!(read_to_end(&mut expected).await, b"back");
    // It listened for one only.
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn what_may_not_be_dialled_is_not_waited_for() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST wait only for a host that its client may dial.
    let refusal = |policy, listen| async move {
        let world = world_under(policy, rules(listen)).await;
        let from = Target::parse("127.0.0.3:21", None).unwrap();
        soon(world.client.bind(&from)).await.unwrap_err().kind()
    };
    let denied = FailureKind::Denied;
    assert_eq!(refusal(Policy::default(), &["*:*"]).await, denied);
    assert_eq!(refusal(loopback_allowed(), &[]).await, denied);
}

#[tokio::test]
async fn bind_of_socks5_replies_twice_and_relays() {
    let world = listening_world(&["*"]).await;
    let mut tcp = TcpStream::connect(proxy(&world.client).await)
        .await
        .unwrap();
    tcp.write_all(&[5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 3, 0, 21])
        .await
        .unwrap();
    assert_eq!(read_exactly(&mut tcp, 2).await, [5, 0]);
    let first = read_exactly(&mut tcp, 10).await;
    assert_eq!(first[..4], [5, 0, 0, 1]);
    let at = ipv4_addr(&first[4..]);
    let mut stranger = come("127.0.0.9", at).await;
    let end = soon(stranger.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);
    let mut came = come("127.0.0.3", at).await;
    let second = read_exactly(&mut tcp, 10).await;
    assert_eq!(second[..4], [5, 0, 0, 1]);
    assert_eq!(ipv4_addr(&second[4..]), came.local_addr().unwrap());
    came.write_all(b"file").await.unwrap();
    came.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"file");
}

#[tokio::test]
async fn bind_of_one_who_does_not_know_who_comes_takes_whom_he_may_dial() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# Where any host is expected, an exit MUST judge the address of each connection that comes as it would judge that of a dial.
    let policy = Policy::default().allow("127.0.0.3".parse().unwrap());
    let world = world_under(policy, rules(&["*"])).await;
    let proxy = proxy(&world.client).await;
    let socks5 = [&[5, 1, 0, 5, 2, 0, 1][..], &[0; 6]].concat();
    let socks4 = [&[4, 2][..], &[0; 7]].concat();
    for (request, head) in [(socks5, 6), (socks4, 2)] {
        let mut tcp = TcpStream::connect(proxy).await.unwrap();
        tcp.write_all(&request).await.unwrap();
        let first = read_exactly(&mut tcp, head + 6).await;
        let at = match head {
            6 => ipv4_addr(&first[6..]),
            _ => ipv4_addr(&[&first[4..], &first[2..4]].concat()),
        };
        let mut stranger = come("127.0.0.9", at).await;
        let end = soon(stranger.read_u8()).await.unwrap_err().kind();
        assert_eq!(end, ErrorKind::ConnectionReset);
        let mut came = come("127.0.0.3", at).await;
        let second = if head == 6 { 10 } else { 8 };
        read_exactly(&mut tcp, second).await;
        came.write_all(b"file").await.unwrap();
        came.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut tcp).await, b"file");
    }
}

#[tokio::test]
async fn bind_of_socks4_replies_twice_and_relays() {
    let world = listening_world(&["*"]).await;
    let mut tcp = TcpStream::connect(proxy(&world.client).await)
        .await
        .unwrap();
    tcp.write_all(&[4, 2, 0, 21, 127, 0, 0, 3, 0])
        .await
        .unwrap();
    let first = read_exactly(&mut tcp, 8).await;
    assert_eq!(first[..2], [0, 0x5a]);
    let at = ipv4_addr(&[&first[4..], &first[2..4]].concat());
    let mut came = come("127.0.0.3", at).await;
    let second = read_exactly(&mut tcp, 8).await;
    assert_eq!(second[..2], [0, 0x5a]);
    came.write_all(b"file").await.unwrap();
    came.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"file");
}

#[tokio::test]
async fn bind_that_is_not_permitted_has_its_code_and_one_that_is_left_ends() {
    let barred = listening_world(&[]).await;
    let request = [5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 3, 0, 21];
    let mut tcp = TcpStream::connect(proxy(&barred.client).await)
        .await
        .unwrap();
    tcp.write_all(&request).await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 12).await[..4], [5, 0, 5, 2]);

    let world = listening_world(&["*"]).await;
    let mut tcp = TcpStream::connect(proxy(&world.client).await)
        .await
        .unwrap();
    tcp.write_all(&request).await.unwrap();
    let at = ipv4_addr(&read_exactly(&mut tcp, 12).await[6..]);
    drop(tcp);
    // The exit learns of it a moment later.
    soon(async { while TcpStream::connect(at).await.is_ok() {} }).await;
}

#[tokio::test]
async fn an_exit_that_drains_listens_no_more_and_keeps_what_came() {
    let world = listening_world(&["*"]).await;
    let mut listener = soon(world.client.listen(&localhost(0))).await.unwrap();
    let at = listener.bound();
    let mut came = soon(TcpStream::connect(at)).await.unwrap();
    let mut arrived = soon(listener.accept()).await.unwrap();
    world.exit.drain();
    assert!(soon(listener.accept()).await.is_none());
    soon(async { while TcpStream::connect(at).await.is_ok() {} }).await;
    let refused = soon(world.client.listen(&localhost(0))).await.unwrap_err();
    assert!(refused.to_string().contains("about to end"), "{refused}");
    came.write_all(b"all along").await.unwrap();
    let word = soon(arrived.far.recv.read_bytes(100)).await.unwrap();
    assert_eq!(word.as_deref(), Some(&b"all along"[..]));
}
