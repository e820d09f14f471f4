//! Forwards in both directions, between real sockets.

mod support;

use std::{io::ErrorKind, time::Duration};

use rp_proxy::{
    ExitConfig,
    client::forward::RemoteState,
    error::{FailureKind, OpenError},
    exit::policy::Policy,
    listening::Listening,
    target::{Destination, ListenAt},
};
use support::{listening::*, *};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::mpsc::unbounded_channel,
};

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
        let world = world_under(policy, rules(&[])).await;
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

    let world = world_under(Policy::default().allow(rule()), rules(&[])).await;
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
async fn what_comes_to_a_listener_counts_as_a_target_of_its_client() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST count a connection that came to a listener as a target of the client.
    let config = ExitConfig::default().max_targets_per_key(1);
    let world = world_with_exit(config.policy(loopback_allowed()), rules(&["*"])).await;
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
