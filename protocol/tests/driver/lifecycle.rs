//! Connecting, refusing, closing, vanishing, and being idle.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use rp_protocol::{
    Endpoint,
    config::{ClientConfig, EndpointConfig, TransportConfig},
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
    error::{ConnectError, ConnectionError, ReadError, WriteError},
    units::CloseCode,
};
use tokio::{io::AsyncReadExt, runtime};

use crate::{
    Anybody, Pair, SERVICE, client, client_config, identity, pattern, server, server_config, within,
};

#[derive(Debug)]
struct Nobody;

impl PeerVerifier for Nobody {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Err(PeerRejected("not on the list".to_owned()))
    }
}

#[tokio::test]
async fn closing_tells_everybody_who_waits_on_both_sides() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_bytes(Bytes::from_static(b"x")).await.unwrap();
        let mut receive = pair.far.accept_uni().await.unwrap();
        receive.read_bytes(1).await.unwrap();
        let far = pair.far.clone();
        let waiting = tokio::spawn(async move {
            let accepted = far.accept_bi().await.map(drop);
            let read = receive.read_bytes(1).await;
            (
                accepted,
                read,
                far.read_datagram().await,
                far.closed().await,
            )
        });
        pair.near.close(CloseCode::from_u32(42), b"enough");
        let cause = ConnectionError::PeerClosed {
            code: CloseCode::from_u32(42),
            reason: Bytes::from_static(b"enough"),
        };
        let (accepted, read, datagram, closed) = waiting.await.unwrap();
        assert_eq!(accepted, Err(cause.clone()));
        assert_eq!(read, Err(ReadError::ConnectionLost(cause.clone())));
        assert_eq!(datagram, Err(cause.clone()));
        assert_eq!(closed, cause);
        let local = ConnectionError::LocallyClosed;
        assert_eq!(pair.near.closed().await, local);
        let written = send.write_bytes(Bytes::from_static(b"y")).await;
        assert_eq!(written, Err(WriteError::ConnectionLost(local)));
        pair.client.wait_idle().await;
        pair.server.wait_idle().await;
        assert_eq!(pair.client.stats().connections, 0);
    })
    .await;
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    within(async {
        let pair = Pair::new().await;
        let second = pair.near.clone();
        drop(pair.near);
        let mut stream = second.open_uni().await.unwrap();
        stream.write_bytes(Bytes::from_static(b"alive")).await.unwrap();
        pair.far.accept_uni().await.unwrap();
        drop(second);
        let closed = pair.far.closed().await;
        assert!(matches!(closed, ConnectionError::PeerClosed { code, .. } if code == CloseCode::default()));
    })
    .await;
}

#[tokio::test]
async fn closing_the_endpoint_closes_its_connections_and_ends_accept() {
    within(async {
        let pair = Pair::new().await;
        let accepting = tokio::spawn({
            let server = pair.server.clone();
            async move { server.accept().await.is_none() }
        });
        pair.server.close(CloseCode::from_u32(3), b"shutdown");
        assert!(accepting.await.unwrap());
        let closed = pair.near.closed().await;
        assert!(matches!(closed, ConnectionError::PeerClosed { code, .. } if code == CloseCode::from_u32(3)));
        pair.server.wait_idle().await;
        pair.client.close(CloseCode::default(), b"");
        let refused = pair.client.connect(pair.server.local_addr().unwrap(), client_config()).await;
        assert_eq!(refused.unwrap_err(), ConnectError::EndpointClosed);
    })
    .await;
}

#[tokio::test]
async fn an_address_of_no_use_is_refused_at_once() {
    within(async {
        let client = client();
        for address in ["127.0.0.1:0", "[::1]:7377"] {
            let address = address.parse().unwrap();
            let error = client.connect(address, client_config()).await.unwrap_err();
            assert_eq!(error, ConnectError::InvalidAddress(address));
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_attempt_fails_at_the_client() {
    within(async {
        let (server, client) = (server(TransportConfig::default()), client());
        let remote = server.local_addr().unwrap();
        let (connected, ()) = tokio::join!(client.connect(remote, client_config()), async {
            server.accept().await.unwrap().refuse();
        });
        let error = connected.unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Connection(ConnectionError::PeerTransport { .. })
            ),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_untrusted_server_fails_the_attempt_with_the_verifiers_words() {
    within(async {
        let (server, client) = (server(TransportConfig::default()), client());
        let remote = server.local_addr().unwrap();
        let config = ClientConfig::new(identity(2), Arc::new(Nobody), SERVICE);
        let (connected, accepted) = tokio::join!(client.connect(remote, config), async {
            server.accept().await.unwrap().accept().await
        });
        let expected = ConnectionError::PeerRejected("not on the list".to_owned());
        assert_eq!(connected.unwrap_err(), ConnectError::Connection(expected));
        accepted.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn an_unknown_service_fails_the_attempt() {
    within(async {
        let (server, client) = (server(TransportConfig::default()), client());
        let remote = server.local_addr().unwrap();
        let config = ClientConfig::new(identity(2), Arc::new(Anybody), "other/1");
        let accepting = tokio::spawn(async move { server.accept().await.unwrap().accept().await });
        let error = client.connect(remote, config).await.unwrap_err();
        assert!(matches!(error, ConnectError::Connection(_)), "{error}");
        accepting.await.unwrap().unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn nobody_at_the_other_end_is_an_error_within_the_handshake_timeout() {
    within(async {
        // Bound, so that nobody else answers, and silent.
        let silent = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let transport = TransportConfig::default().handshake_timeout(Duration::from_millis(300));
        let config = client_config().transport(transport);
        let error = client()
            .connect(silent.local_addr().unwrap(), config)
            .await
            .unwrap_err();
        assert_eq!(
            error,
            ConnectError::Connection(ConnectionError::HandshakeTimedOut)
        );
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_is_noticed_and_can_be_connected_to_again() {
    within(async {
        let transport = TransportConfig::default().idle_timeout(Duration::from_millis(500));
        // Its own runtime, so that it can die without a word.
        let doomed = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (first, accepted) = {
            let _runtime = doomed.enter();
            let first = server(transport.clone());
            let accepting = first.clone();
            let accepted = doomed.spawn(async move {
                let connection = accepting.accept().await.unwrap().accept().await.unwrap();
                let mut stream = connection.accept_uni().await.unwrap();
                stream.read_to_end(&mut Vec::new()).await
            });
            (first, accepted)
        };
        let address = first.local_addr().unwrap();
        let client = client();
        let config = client_config().transport(transport.clone());
        let connection = client.connect(address, config.clone()).await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream
            .write_bytes(Bytes::from_static(b"hello"))
            .await
            .unwrap();
        doomed.shutdown_background();
        drop(accepted.await);
        drop(first);

        let second = rebind(address, &transport).await;
        let error = connection.closed().await;
        assert!(
            matches!(error, ConnectionError::TimedOut | ConnectionError::Reset),
            "{error}"
        );
        let (again, accepted) = tokio::join!(client.connect(address, config), async {
            second.accept().await.unwrap().accept().await
        });
        again.unwrap();
        accepted.unwrap();
    })
    .await;
}

/// The address is free as soon as the dead runtime has dropped its tasks.
async fn rebind(address: std::net::SocketAddr, transport: &TransportConfig) -> Endpoint {
    loop {
        let config = server_config().transport(transport.clone());
        match Endpoint::bind(address, EndpointConfig::default(), Some(config)) {
            Ok(endpoint) => return endpoint,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
        }
        tokio::task::yield_now().await;
    }
}

/// A runtime of one thread, as a program's end leaves it: nothing of it runs once it is dropped.
fn program() -> runtime::Runtime {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives threads and timers")
}

#[test]
fn a_program_may_end_once_its_last_words_and_its_close_are_flushed() {
    let (serving, program) = (program(), program());
    let server = serving.block_on(async { server(TransportConfig::default()) });
    let address = server.local_addr().unwrap();
    let accepting = thread::spawn(move || {
        serving.block_on(within(async {
            let connection = server.accept().await.unwrap().accept().await.unwrap();
            let (mut answer, mut stream) = connection.accept_bi().await.unwrap();
            answer.write_bytes(Bytes::from_static(b"?")).await.unwrap();
            let mut said = Vec::new();
            while let Some(bytes) = stream.read_bytes(1 << 16).await.unwrap() {
                said.extend_from_slice(&bytes);
            }
            (said, connection.closed().await)
        }))
    });
    let words = pattern(5000);
    program.block_on(within(async {
        let client = client();
        let connection = client.connect(address, client_config()).await.unwrap();
        let (mut stream, mut answer) = connection.open_bi().await.unwrap();
        stream.write_bytes(Bytes::from_static(b"!")).await.unwrap();
        answer.read_bytes(1).await.unwrap();
        stream.write_bytes(words.clone().into()).await.unwrap();
        stream.finish().unwrap();
        connection.flushed().await;
        connection.close(CloseCode::from_u32(7), b"bye");
        client.flushed().await;
        // Neither waits for an answer, nor for the end of the closing period.
        assert_eq!(client.stats().connections, 1);
    }));
    drop(program);
    let (said, closed) = accepting.join().unwrap();
    assert_eq!(said, [b"!", &words[..]].concat());
    let code = CloseCode::from_u32(7);
    let reason = Bytes::from_static(b"bye");
    assert_eq!(closed, ConnectionError::PeerClosed { code, reason });
}

#[tokio::test]
async fn flushing_waits_while_the_peer_takes_nothing_and_ends_with_the_connection() {
    within(async {
        let pair = Pair::new().await;
        let mut stream = pair.near.open_uni().await.unwrap();
        let more_than_credit = Bytes::from(vec![0; 1 << 16]);
        while tokio::time::timeout(
            Duration::from_millis(50),
            stream.write_bytes(more_than_credit.clone()),
        )
        .await
        .is_ok()
        {}
        let flushing = tokio::spawn({
            let near = pair.near.clone();
            async move { near.flushed().await }
        });
        pair.far.close(CloseCode::default(), b"");
        flushing.await.unwrap();
        pair.near.flushed().await;
        pair.client.wait_idle().await;
        pair.near.flushed().await;
    })
    .await;
}

#[test]
fn an_idle_connection_costs_no_wake_ups() {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let metrics = runtime.metrics();
    runtime.block_on(within(async {
        let pair = Pair::new().await;
        let mut stream = pair.near.open_uni().await.unwrap();
        stream.write_bytes(Bytes::from_static(b"x")).await.unwrap();
        let mut receive = pair.far.accept_uni().await.unwrap();
        receive.read_bytes(1).await.unwrap();
        // Handshake, acknowledgements and the search for the MTU come to rest within a few windows.
        let window = Duration::from_millis(500);
        for _ in 0..20 {
            let before = metrics.worker_park_count(0);
            let closed = tokio::time::timeout(window, pair.near.closed()).await;
            assert!(closed.is_err());
            // One for the window's own timer, which may tick early once.
            if metrics.worker_park_count(0) - before <= 3 {
                return;
            }
        }
        panic!("woken more than three times in every half second");
    }));
}
