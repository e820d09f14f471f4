//! UDP ports of the exit whose datagrams go to a target at the client's side.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{
    Client,
    client::forward::RemoteState,
    datagram::Datagram,
    exit::policy::Policy,
    open::{Request, decode_reply},
    target::{Host, Target},
};
use support::{
    listening::{World, listening_world, listens, rules, world_under},
    udp::*,
    *,
};
use tokio::{net::UdpSocket, sync::watch, task::AbortHandle};

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// A forward from a port of the exit to `target`, and how it is.
fn start_back(
    client: &Client,
    at: &str,
    target: Target,
) -> (watch::Receiver<RemoteState>, AbortHandle) {
    let (client, at) = (client.clone(), (host(at), 0));
    let (sender, state) = watch::channel(RemoteState::Asking);
    let task = tokio::spawn(async move {
        client.forward_datagrams_back(at, &target, &sender).await;
    });
    (state, task.abort_handle())
}

async fn forward_back(world: &World, at: &str, to: SocketAddr) -> SocketAddr {
    let (mut state, _task) = start_back(&world.client, at, target(to));
    listens(&mut state).await
}

/// A socket at `ip` that talks to `to` only.
async fn client_at(ip: &str, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

/// What comes back for `payload`.
async fn ask(socket: &UdpSocket, payload: &[u8]) -> Vec<u8> {
    soon(socket.send(payload)).await.unwrap();
    let mut buffer = vec![0; 1 << 16];
    let len = soon(socket.recv(&mut buffer)).await.unwrap();
    buffer[..len].to_vec()
}

#[tokio::test]
async fn what_comes_to_the_exit_is_carried_here_and_the_answers_back() {
    let world = listening_world(&["*"]).await;
    let at = forward_back(&world, "localhost", udp_echo("127.0.0.1:0").await).await;
    for ip in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(ip.parse().unwrap(), at.port());
        let client = client_at(ip, to).await;
        // The largest goes over the stream.
        for payload in [vec![1], Vec::new(), vec![2; 1200], vec![3; 60_000]] {
            assert_eq!(ask(&client, &payload).await, payload, "{ip}");
        }
    }
}

#[tokio::test]
async fn each_sender_has_a_port_of_its_own_at_the_target() {
    let world = listening_world(&["*"]).await;
    let at = forward_back(&world, "127.0.0.1", udp_mirror("127.0.0.1:0").await).await;
    let mut ports = Vec::new();
    for _ in 0..3 {
        let client = client_at("127.0.0.1", at).await;
        let port = ask(&client, b"?").await;
        assert_eq!(ask(&client, b"?").await, port);
        assert!(!ports.contains(&port));
        ports.push(port);
    }
}

#[tokio::test]
async fn a_port_that_no_rule_permits_is_refused_and_one_that_nobody_needs_is_free_again() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST NOT listen anywhere that no rule of its owner allows to the client's key.
    let echo = udp_echo("127.0.0.1:0").await;
    let world = listening_world(&[]).await;
    let (mut state, task) = start_back(&world.client, "localhost", target(echo));
    let refused = soon(state.wait_for(|state| *state != RemoteState::Asking));
    let refused = refused.await.unwrap().to_string();
    assert!(refused.contains("permitlisten"), "{refused}");
    task.abort();
    let world = listening_world(&["*"]).await;
    // Only loopback is permitted.
    let (mut state, task) = start_back(&world.client, "0.0.0.0", target(echo));
    let refused = soon(state.wait_for(|state| *state != RemoteState::Asking));
    assert!(matches!(&*refused.await.unwrap(), RemoteState::Refused(_)));
    task.abort();
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST end a listener with the stream that asked for it.
    let (mut state, task) = start_back(&world.client, "127.0.0.1", target(echo));
    let at = listens(&mut state).await;
    assert_eq!(ask(&client_at("127.0.0.1", at).await, b"x").await, b"x");
    task.abort();
    freed("127.0.0.1", at.port()).await;
}

#[tokio::test]
async fn the_port_is_asked_for_again_over_the_next_connection() {
    let world = listening_world(&["*"]).await;
    let echo = udp_echo("127.0.0.1:0").await;
    let (mut state, _task) = start_back(&world.client, "127.0.0.1", target(echo));
    let first = listens(&mut state).await;
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let remote = world.server.local_addr().unwrap();
    let next = near.connect(remote, transport()).await.unwrap();
    world.client.link().use_instead(next);
    soon(state.changed()).await.unwrap();
    let again = listens(&mut state).await;
    assert_eq!(ask(&client_at("127.0.0.1", again).await, b"x").await, b"x");
    assert_ne!(again, first);
}

#[tokio::test]
async fn an_address_that_a_rule_denies_is_not_answered() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST discard what comes to such a listener from an address that it could not dial whatever the rules say, or that a
    //# rule denies: the sender of a datagram may be anybody, and the answer would be the client's choice.
    let policy = Policy::default().deny("127.0.0.3".parse().unwrap());
    let world = world_under(policy, rules(&["*"])).await;
    let seen = udp_server("127.0.0.1:0", |payload, _| payload.to_vec()).await;
    let at = forward_back(&world, "127.0.0.1", seen).await;
    let denied = client_at("127.0.0.3", at).await;
    denied.send(b"denied").await.unwrap();
    // Loopback needs no rule that allows it: the owner has permitted to listen there.
    let client = client_at("127.0.0.1", at).await;
    assert_eq!(ask(&client, b"x").await, b"x");
    assert_eq!(
        denied.try_recv(&mut [0; 16]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn a_client_sends_from_such_a_port_only_to_those_who_have_sent_to_it() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST send from such a listener only to addresses and ports from which a datagram came to it.
    let world = listening_world(&["*"]).await;
    let connection = world.client.link().connection().await.unwrap();
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let mut request = Vec::new();
    Request::ListenDatagrams(host("127.0.0.1"), 0).encode(&mut request);
    soon(send.write_bytes(request.into())).await.unwrap();
    let head = soon(recv.read_bytes(64)).await.unwrap().unwrap();
    let (reply, _) = decode_reply(&head).unwrap().unwrap();
    let at = reply.unwrap();

    let known = client_at("127.0.0.1", at).await;
    known.send(b"hello").await.unwrap();
    let stranger = client_at("127.0.0.1", at).await;
    let mut beside = known.local_addr().unwrap();
    beside.set_ip(IpAddr::from([127, 0, 0, 2]));
    let beside = UdpSocket::bind(beside).await.unwrap();
    let frame = soon(connection.read_datagram()).await.unwrap();
    let (_, came) = Datagram::decode_frame(&frame).unwrap();
    assert_eq!(came.address, target(known.local_addr().unwrap()));
    assert_eq!(came.payload, &b"hello"[..]);
    for to in [&stranger, &beside, &known] {
        let datagram = Datagram {
            address: target(to.local_addr().unwrap()),
            payload: Bytes::from_static(b"answer"),
        };
        soon(send.write_bytes(datagram.encode_in_stream()))
            .await
            .unwrap();
    }
    let mut buffer = [0; 16];
    let len = soon(known.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..len], b"answer");
    for other in [stranger, beside] {
        assert!(other.try_recv(&mut buffer).is_err());
    }
}

#[tokio::test]
async fn listeners_for_datagrams_are_bounded_with_the_others() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# An exit MUST bound the listeners of a connection, of a key and in all.
    let world = listening_world(&["*"]).await;
    let echo = udp_echo("127.0.0.1:0").await;
    let mut held = Vec::new();
    let refused = loop {
        let (mut state, task) = start_back(&world.client, "127.0.0.1", target(echo));
        let known = soon(state.wait_for(|state| *state != RemoteState::Asking)).await;
        let known = known.unwrap().clone();
        match known {
            RemoteState::Listening(_) => held.push((state, task)),
            other => break other.to_string(),
        }
    };
    assert_eq!(held.len(), 64);
    assert!(
        refused.contains("listeners of this connection"),
        "{refused}"
    );
}
