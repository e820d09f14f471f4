//! Forwards in both directions and listeners at the exit, between real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{
    AccessCheck, Client, ClientConfig, Exit, ExitConfig, Link, TargetAccess,
    client::forward::RemoteState,
    error::{FailureKind, OpenError},
    exit::{ListenAccess, policy::Policy},
    listening::{Listening, loopback},
    open::Request,
    relay::code,
    target::{Destination, Host, ListenAt, Target},
};
use support::{
    echo, local, loopback_allowed, nobody, origin, read_exactly, read_to_end, reset_on_drop,
    serve_exit, server_at, soon, transport,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
    sync::{mpsc::unbounded_channel, watch},
};

/// A key that may dial everything policy allows, and listen where rules say.
#[derive(Clone)]
struct Access(ListenAccess);

impl AccessCheck for Access {
    fn target_access(&self) -> Option<TargetAccess> {
        Some(TargetAccess::All)
    }

    fn listen_access(&self) -> Option<ListenAccess> {
        Some(self.0.clone())
    }
}

fn rules(rules: &[&str]) -> Access {
    Access(rules.iter().map(|rule| rule.parse().unwrap()).collect())
}

/// A client and an exit, joined, and the exit's endpoint.
struct World {
    client: Client,
    server: Endpoint,
}

fn serve(server: &Endpoint, policy: Policy, access: Access) {
    let exit = Exit::new(ExitConfig::default().policy(policy));
    serve_exit(server, &exit, access);
}

async fn world(policy: Policy, access: Access) -> World {
    world_of(ExitConfig::default().policy(policy), access).await
}

async fn world_of(config: ExitConfig, access: Access) -> World {
    let server = server_at(local()).unwrap();
    serve_exit(&server, &Exit::new(config), access);
    let remote = server.local_addr().unwrap();
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let connection = near.connect(remote, transport()).await.unwrap();
    let link = Link::new(connection, move || {
        let near = near.clone();
        async move { near.connect(remote, transport()).await }
    });
    World {
        client: Client::new(link, ClientConfig::default()),
        server,
    }
}

async fn listening_world(listen: &[&str]) -> World {
    world(loopback_allowed(), rules(listen)).await
}

fn localhost(port: u16) -> ListenAt {
    ListenAt::Tcp(Host::parse("localhost").unwrap(), port)
}

fn to(addr: SocketAddr) -> Destination {
    Target::try_from(addr).unwrap().into()
}

/// A local forward to `destination` and where it listens.
fn forward(client: &Client, destination: Destination) -> SocketAddr {
    let listening = Listening::at(&loopback(0)).unwrap();
    let at = listening.local_addr().unwrap();
    let client = client.clone();
    tokio::spawn(async move { client.forward(&listening, &destination).await });
    at
}

/// A remote forward to `destination`, and where the exit listens.
async fn forward_back(client: &Client, at: ListenAt, destination: Destination) -> SocketAddr {
    listens(&mut start_back(client, at, destination)).await
}

fn start_back(
    client: &Client,
    at: ListenAt,
    destination: Destination,
) -> watch::Receiver<RemoteState> {
    let client = client.clone();
    let (sender, state) = watch::channel(RemoteState::Asking);
    tokio::spawn(async move { client.forward_remote(&at, &destination, &sender).await });
    state
}

/// Waits until the exit listens: where.
async fn listens(state: &mut watch::Receiver<RemoteState>) -> SocketAddr {
    let is_up = |state: &RemoteState| matches!(state, RemoteState::Listening(_));
    match &*soon(state.wait_for(is_up)).await.unwrap() {
        RemoteState::Listening(bound) => *bound,
        other => unreachable!("{other}"),
    }
}

/// Sends `data` and its end to an echo at `at`, and reads it all back.
async fn echoes(at: SocketAddr, data: &[u8]) {
    let mut tcp = soon(TcpStream::connect(at)).await.unwrap();
    let (mut read, mut write) = tcp.split();
    let mut back = Vec::new();
    let writing = async {
        write.write_all(data).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, read) = soon(async { tokio::join!(writing, read.read_to_end(&mut back)) }).await;
    read.unwrap();
    assert!(back == data, "{} of {} bytes", back.len(), data.len());
}

#[tokio::test]
async fn a_local_forward_carries_both_directions_and_their_ends() {
    let world = listening_world(&[]).await;
    let at = forward(&world.client, to(echo().await));
    echoes(at, b"").await;
    echoes(at, &vec![7; 3_000_000]).await;
}

#[tokio::test]
async fn a_target_that_does_not_answer_resets_a_forwarded_client() {
    let world = listening_world(&[]).await;
    let at = forward(&world.client, to(nobody().await));
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let end = soon(tcp.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_unix_socket_at_the_exit_is_reached_if_a_rule_names_it() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# A Unix socket MUST be refused unless a rule allows its very path.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo").display().to_string();
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut unix, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = unix.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    let refused = |policy| async {
        let world = world(policy, rules(&[])).await;
        let destination = Destination::Unix(path.parse().unwrap());
        match world.client.connect(destination, bytes::Bytes::new()).await {
            Err(OpenError::Dial(failure)) => failure.kind,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(refused(Policy::default()).await, FailureKind::Denied);
    let rule = || format!("unix:{path}").parse().unwrap();
    let denied = Policy::default().allow(rule()).deny(rule());
    assert_eq!(refused(denied).await, FailureKind::Denied);
    let beside = format!("unix:{path}2").parse().unwrap();
    assert_eq!(
        refused(Policy::default().allow(beside)).await,
        FailureKind::Denied
    );

    let world = world(Policy::default().allow(rule()), rules(&[])).await;
    let at = forward(&world.client, Destination::Unix(path.parse().unwrap()));
    echoes(at, &vec![3; 1_000_000]).await;
}

#[tokio::test]
async fn a_local_forward_listens_at_a_unix_socket() {
    let world = listening_world(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("near");
    let listening = Listening::at_path(&path).unwrap();
    let (client, destination) = (world.client.clone(), to(echo().await));
    tokio::spawn(async move { client.forward(&listening, &destination).await });
    let mut unix = UnixStream::connect(&path).await.unwrap();
    unix.write_all(b"over a path").await.unwrap();
    unix.shutdown().await.unwrap();
    let mut back = Vec::new();
    soon(unix.read_to_end(&mut back)).await.unwrap();
    assert_eq!(back, b"over a path");
}

#[tokio::test]
async fn what_comes_to_the_exit_is_carried_back() {
    let world = listening_world(&["*"]).await;
    let at = forward_back(&world.client, localhost(0), to(echo().await)).await;
    assert!(at.ip().is_loopback() && at.port() != 0);
    echoes(at, b"").await;
    echoes(at, &vec![9; 3_000_000]).await;
}

#[tokio::test]
async fn a_remote_forward_goes_between_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let far = folder.path().join("far").display().to_string();
    let near = folder.path().join("near").display().to_string();
    let world = listening_world(&[&format!("unix:{far}")]).await;
    let listener = UnixListener::bind(&near).unwrap();
    let at = ListenAt::Unix(far.parse().unwrap());
    forward_back(&world.client, at, Destination::Unix(near.parse().unwrap())).await;
    let mut came = UnixStream::connect(&far).await.unwrap();
    came.write_all(b"ping").await.unwrap();
    let (mut unix, _) = soon(listener.accept()).await.unwrap();
    let mut ping = [0; 4];
    soon(unix.read_exact(&mut ping)).await.unwrap();
    assert_eq!(&ping, b"ping");
}

#[tokio::test]
async fn a_reset_crosses_a_remote_forward_either_way() {
    let world = listening_world(&["*"]).await;
    let (sender, mut seen) = unbounded_channel();
    let service = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            let mut first = [0; 1];
            tcp.read_exact(&mut first).await.unwrap();
            if first == *b"r" {
                reset_on_drop(&tcp);
            } else {
                let end = tcp.read_to_end(&mut Vec::new()).await;
                sender.send(end.map_err(|error| error.kind())).unwrap();
            }
        }
    })
    .await;
    let at = forward_back(&world.client, localhost(0), to(service)).await;
    let mut tcp = TcpStream::connect(at).await.unwrap();
    tcp.write_all(b"r").await.unwrap();
    let end = soon(tcp.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);

    let mut tcp = TcpStream::connect(at).await.unwrap();
    tcp.write_all(b"x").await.unwrap();
    reset_on_drop(&tcp);
    drop(tcp);
    assert_eq!(
        soon(seen.recv()).await.unwrap(),
        Err(ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn nobody_behind_a_remote_forward_is_a_reset() {
    let world = listening_world(&["*"]).await;
    let at = forward_back(&world.client, localhost(0), to(nobody().await)).await;
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let end = soon(tcp.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);
}

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
async fn a_remote_forward_is_there_again_after_the_connection_is_lost() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# A client whose connection is lost SHOULD ask for its listeners again over the next one.
    let world = listening_world(&["*"]).await;
    let port = nobody().await.port();
    let mut state = start_back(&world.client, localhost(port), to(echo().await));
    let at = listens(&mut state).await;
    echoes(at, b"before").await;
    let addr = world.server.local_addr().unwrap();
    world.server.close(7_u32.into(), b"test");
    drop(world.server);
    soon(state.wait_for(|state| !matches!(state, RemoteState::Listening(_))))
        .await
        .unwrap();
    let _again = soon(async {
        loop {
            if let Ok(server) = server_at(addr) {
                serve(&server, loopback_allowed(), rules(&["*"]));
                break server;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let at = listens(&mut state).await;
    echoes(at, b"after").await;
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
async fn what_comes_to_a_listener_counts_as_a_target_of_its_client() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST count a connection that came to a listener as a target of the client.
    let config = ExitConfig::default().max_targets_per_key(1);
    let world = world_of(config.policy(loopback_allowed()), rules(&["*"])).await;
    let at = forward_back(&world.client, localhost(0), to(echo().await)).await;
    let mut first = TcpStream::connect(at).await.unwrap();
    first.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut first, 1).await, b"x");
    let mut second = TcpStream::connect(at).await.unwrap();
    let end = soon(second.read_u8()).await.unwrap_err().kind();
    assert_eq!(end, ErrorKind::ConnectionReset);
    first.write_all(b"y").await.unwrap();
    assert_eq!(read_exactly(&mut first, 1).await, b"y");
}

#[tokio::test]
async fn a_slow_service_behind_one_listener_does_not_hold_up_another() {
    let world = listening_world(&["*"]).await;
    // Never accepts: its backlog takes connections, whose bytes stay where they are.
    let deaf = TcpListener::bind(local()).await.unwrap();
    let slow = forward_back(&world.client, localhost(0), to(deaf.local_addr().unwrap())).await;
    let fast = forward_back(&world.client, localhost(0), to(echo().await)).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let tcp = TcpStream::connect(slow).await.unwrap();
        let data = vec![0; 1 << 20];
        // As much as every buffer on the way takes.
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(200), tcp.writable()).await
        {
            if tcp.try_write(&data).is_err() {
                tokio::task::yield_now().await;
            }
        }
        stuck.push(tcp);
    }
    echoes(fast, &vec![1; 1_000_000]).await;
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
        let world = world(policy, rules(listen)).await;
        let from = Target::parse("127.0.0.3:21", None).unwrap();
        soon(world.client.bind(&from)).await.unwrap_err().kind()
    };
    let denied = FailureKind::Denied;
    assert_eq!(refusal(Policy::default(), &["*:*"]).await, denied);
    assert_eq!(refusal(loopback_allowed(), &[]).await, denied);
}

/// A proxy port of `client`.
async fn proxy(client: &Client) -> SocketAddr {
    let listener = TcpListener::bind(local()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let client = client.clone();
    tokio::spawn(async move { client.serve(listener).await });
    at
}

/// A connection to `at` from `ip`.
async fn come(ip: &str, at: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    soon(socket.connect(at)).await.unwrap()
}

fn ipv4_addr(bytes: &[u8]) -> SocketAddr {
    let ip = [bytes[0], bytes[1], bytes[2], bytes[3]];
    (ip, u16::from_be_bytes([bytes[4], bytes[5]])).into()
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
