//! The exit, spoken to stream by stream: clients that take all they can, and an honest one beside them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rp_protocol::{
    Connection, Endpoint, RecvStream, SendStream,
    config::{ClientConfig, EndpointConfig, ServerConfig},
    crypto::identity::Identity,
    error::ReadError,
};
use rp_proxy::{
    Exit, ExitConfig, SERVICE, TargetAccess,
    error::FailureKind,
    open::{Reply, Request, decode_reply},
    relay::code,
    target::{Host, Target},
};
use support::{Anybody, echo, local, loopback_allowed, soon};

/// The key whose connections may dial nothing.
const BARRED: u8 = 13;

/// An exit that lets every key in.
struct World {
    remote: SocketAddr,
    near: Endpoint,
    _server: Endpoint,
}

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

impl World {
    fn new(config: ExitConfig) -> Self {
        let exit = Exit::new(config.policy(loopback_allowed()));
        let config = ServerConfig::new(identity(1), Arc::new(Anybody), &[SERVICE]);
        let server = Endpoint::bind(local(), EndpointConfig::default(), Some(config)).unwrap();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let exit = exit.clone();
                tokio::spawn(async move {
                    let connection = incoming.accept().await.unwrap();
                    let access = match connection.peer() == identity(BARRED).public_key() {
                        true => TargetAccess::Nothing,
                        false => TargetAccess::All,
                    };
                    exit.serve(connection, access).await;
                });
            }
        });
        Self {
            remote: server.local_addr().unwrap(),
            near: Endpoint::bind(local(), EndpointConfig::default(), None).unwrap(),
            _server: server,
        }
    }

    async fn connect(&self, key: u8) -> Connection {
        let config = ClientConfig::new(identity(key), Arc::new(Anybody), SERVICE);
        soon(self.near.connect(self.remote, config)).await.unwrap()
    }
}

fn request(target: SocketAddr) -> Bytes {
    let target = Target::new(Host::Ip(target.ip()), target.port()).unwrap();
    let mut bytes = Vec::new();
    Request::Connect(target.into()).encode(&mut bytes);
    bytes.into()
}

/// A stream that has brought `bytes`.
async fn begin(connection: &Connection, bytes: Bytes) -> (SendStream, RecvStream) {
    let (mut send, recv) = soon(connection.open_bi()).await.unwrap();
    soon(send.write_bytes(bytes)).await.unwrap();
    (send, recv)
}

async fn reply(recv: &mut RecvStream) -> Reply {
    let mut head = Vec::new();
    loop {
        if let Some((reply, _)) = decode_reply(&head).unwrap() {
            return reply;
        }
        head.extend(soon(recv.read_bytes(64)).await.unwrap().unwrap());
    }
}

/// A stream connected to `target`, or the reason why not.
async fn open(
    connection: &Connection,
    target: SocketAddr,
) -> Result<(SendStream, RecvStream), String> {
    let (send, mut recv) = begin(connection, request(target)).await;
    match reply(&mut recv).await {
        Ok(_) => Ok((send, recv)),
        Err(failure) => {
            assert_eq!(failure.kind, FailureKind::Exhausted);
            Err(failure.reason)
        }
    }
}

/// Opens streams to `target` until one is refused: those, and the reason.
async fn exhaust(
    connection: &Connection,
    target: SocketAddr,
) -> (Vec<(SendStream, RecvStream)>, String) {
    let mut held = Vec::new();
    loop {
        match open(connection, target).await {
            Ok(stream) => held.push(stream),
            Err(reason) => return (held, reason),
        }
    }
}

#[tokio::test]
async fn incomplete_requests_take_no_places_from_others() {
    //= spec/10-proxy.md#shares
    //= type=test
    //# An exit MUST NOT count a stream as a target before its request is complete and its client may dial
    //# what it names.
    let target = echo().await;
    for greedy in [2, BARRED] {
        let world = World::new(ExitConfig::default().max_targets(8));
        let connection = world.connect(greedy).await;
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(begin(&connection, Bytes::from_static(&[1])).await);
        }
        // They are there: the exit answers what comes behind them, or will not look at any more.
        let honest = world.connect(3).await;
        for _ in 0..8 {
            held.push(open(&honest, target).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_client_that_may_dial_nothing_holds_no_place_whatever_it_asks() {
    let target = echo().await;
    let world = World::new(ExitConfig::default().max_targets(1));
    let barred = world.connect(BARRED).await;
    let honest = world.connect(3).await;
    let _held = open(&honest, target).await.unwrap();
    // No place is left, and it is told that it may not, rather than that there is none.
    for _ in 0..40 {
        let (_send, mut recv) = begin(&barred, request(target)).await;
        assert_eq!(
            reply(&mut recv).await.unwrap_err().kind,
            FailureKind::Denied
        );
    }
}

#[tokio::test]
async fn a_connection_and_a_key_take_their_shares_of_targets_and_another_key_is_served() {
    //= spec/10-proxy.md#shares
    //= type=test
    //# An exit MUST bound the targets connected at once for a connection, for a key and in all.
    let target = echo().await;
    let world = World::new(ExitConfig::default().max_targets(9).max_targets_per_key(8));
    let (first, second) = (world.connect(2).await, world.connect(2).await);
    let (mut held, reason) = exhaust(&first, target).await;
    assert_eq!((held.len(), &*reason), (7, "targets of this connection"));
    let (more, reason) = exhaust(&second, target).await;
    assert_eq!((more.len(), &*reason), (1, "targets of this key"));
    let (others, reason) = exhaust(&world.connect(3).await, target).await;
    assert_eq!((others.len(), &*reason), (1, "targets of this server"));
    // A target that ends makes space.
    let (mut send, mut recv) = held.pop().unwrap();
    send.finish().unwrap();
    assert_eq!(soon(recv.read_bytes(1)).await, Ok(None));
    // The place is given back a moment after the stream's end.
    soon(async { while open(&first, target).await.is_err() {} }).await;
}

#[tokio::test]
async fn incomplete_requests_are_bounded_and_cut_off_in_the_end() {
    //= spec/10-proxy.md#shares
    //= type=test
    //# An exit MUST bound the incomplete requests of a connection.
    //= spec/10-proxy.md#request
    //= type=test
    //# An exit MUST reset a stream that brings no complete request within 30 seconds, with code 3.
    let request_timeout = Duration::from_millis(300);
    let world = World::new(ExitConfig::default().request_timeout(request_timeout));
    let connection = world.connect(BARRED).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(begin(&connection, Bytes::from_static(&[1])).await);
    }
    let began = Instant::now();
    let (_send, mut last) = begin(&connection, request(echo().await)).await;
    // Complete as it is, it is looked at only when one before it was given up.
    assert_eq!(
        reply(&mut last).await.unwrap_err().kind,
        FailureKind::Denied
    );
    assert!(began.elapsed() >= request_timeout);
    let malformed = Err(ReadError::Reset(code::MALFORMED));
    assert_eq!(soon(held[0].1.read_bytes(1)).await, malformed);
}
