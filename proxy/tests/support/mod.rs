//! Both sides of the proxy in one process, joined by a real RPP connection over loopback, and small
//! origins for them to reach. What is asked of them stands in the tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test program uses its own part; helpers fail the test that calls them"
)]

pub(crate) mod http;
pub(crate) mod listening;
pub(crate) mod udp;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use rp_protocol::{
    Connection, Endpoint,
    config::{ClientConfig as TransportClient, EndpointConfig, ServerConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};
use rp_proxy::{
    AccessCheck, Client, ClientConfig, Exit, ExitConfig, Link, SERVICE, TargetAccess,
    auth::Credentials, exit::policy::Policy,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longest any step of a test may take before the test fails instead of hanging.
pub(crate) const STEP_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Anybody;

impl PeerVerifier for Anybody {
    fn verify(&self, _key: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// A client and an exit, joined.
pub(crate) struct World {
    /// Where the front ends listen.
    pub(crate) proxy: SocketAddr,
    pub(crate) client: Client,
    pub(crate) exit: Exit,
    /// The exit's endpoint: closing it cuts the link.
    pub(crate) server: Endpoint,
    /// The client's endpoint.
    pub(crate) near: Endpoint,
    pub(crate) connection: Connection,
}

/// Everything on loopback allowed, nobody asked for a password.
pub(crate) async fn world() -> World {
    world_with(
        loopback_allowed(),
        TargetAccess::All,
        ClientConfig::default(),
    )
    .await
}

pub(crate) fn loopback_allowed() -> Policy {
    Policy::default()
        .allow("127.0.0.0/8".parse().unwrap())
        .allow("::1".parse().unwrap())
}

pub(crate) fn with_password() -> ClientConfig {
    let mut credentials = Credentials::default();
    credentials.add("alice", "sesame");
    ClientConfig::default().credentials(credentials)
}

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn serve_exit<A: AccessCheck + Clone>(server: &Endpoint, exit: &Exit, access: A) {
    let (server, exit) = (server.clone(), exit.clone());
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let (exit, access) = (exit.clone(), access.clone());
            tokio::spawn(async move {
                if let Ok(connection) = incoming.accept().await {
                    exit.serve(connection, access).await;
                }
            });
        }
    });
}

pub(crate) fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

/// An endpoint that lets everybody in.
pub(crate) fn server_at(addr: SocketAddr) -> std::io::Result<Endpoint> {
    let server = ServerConfig::new(identity(1), Arc::new(Anybody), &[SERVICE]);
    Endpoint::bind(addr, EndpointConfig::default(), Some(server))
}

/// An exit that listens on `addr`, and its endpoint.
pub(crate) fn exit_at(addr: SocketAddr, policy: Policy, access: TargetAccess) -> (Endpoint, Exit) {
    exit_of(addr, ExitConfig::default().policy(policy), access)
}

fn exit_of(
    addr: SocketAddr,
    config: ExitConfig,
    access: impl AccessCheck + Clone,
) -> (Endpoint, Exit) {
    let server = server_at(addr).unwrap();
    let exit = Exit::new(config);
    serve_exit(&server, &exit, access);
    (server, exit)
}

/// What a client connects to an exit with.
pub(crate) fn transport() -> TransportClient {
    TransportClient::new(identity(2), Arc::new(Anybody), SERVICE)
}

pub(crate) async fn world_with(
    policy: Policy,
    access: TargetAccess,
    config: ClientConfig,
) -> World {
    world_of(ExitConfig::default().policy(policy), access, config).await
}

pub(crate) async fn world_of(
    exit: ExitConfig,
    access: impl AccessCheck + Clone,
    config: ClientConfig,
) -> World {
    let (server, exit) = exit_of(local(), exit, access);
    let remote = server.local_addr().unwrap();
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let connection = near.connect(remote, transport()).await.unwrap();
    let link = Link::new(connection.clone(), {
        let near = near.clone();
        move || {
            let near = near.clone();
            async move { near.connect(remote, transport()).await }
        }
    });
    let client = Client::new(link, config);
    let listener = TcpListener::bind(local()).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let serving = client.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    World {
        proxy,
        client,
        exit,
        server,
        near,
        connection,
    }
}

/// Fails the test instead of waiting for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP_TIMEOUT, work)
        .await
        .expect("the step ends in time")
}

/// A TCP server that runs `serve` for each connection.
pub(crate) async fn origin<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(local()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(tcp));
        }
    });
    addr
}

/// A TCP server that sends back what it gets, and its end after the client's.
pub(crate) async fn echo() -> SocketAddr {
    origin(|mut tcp| async move {
        let (mut read, mut write) = tcp.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(local()).await.unwrap();
    listener.local_addr().unwrap()
}

/// Reads up to and with the empty line that ends a head.
pub(crate) async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = soon(tcp.read_u8()).await;
        match byte {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) async fn read_exactly(tcp: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    soon(tcp.read_exact(&mut bytes)).await.unwrap();
    bytes
}

pub(crate) async fn read_to_end(tcp: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(tcp.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

/// The SOCKS5 request for an IPv4 target, greeting included.
pub(crate) fn socks5_request(target: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(target) = target else {
        panic!("an IPv4 target");
    };
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 1];
    bytes.extend(target.ip().octets());
    bytes.extend(target.port().to_be_bytes());
    bytes
}

/// A connection to `target` through the SOCKS5 front end, or the reply code that refused it.
pub(crate) async fn socks5(proxy: SocketAddr, target: SocketAddr) -> Result<TcpStream, u8> {
    let mut tcp = TcpStream::connect(proxy).await.unwrap();
    tcp.write_all(&socks5_request(target)).await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 2).await, [5, 0]);
    let reply = read_exactly(&mut tcp, 10).await;
    match reply[1] {
        0 => Ok(tcp),
        code => Err(code),
    }
}

/// Makes dropping `tcp` send a reset.
pub(crate) fn reset_on_drop(tcp: &TcpStream) {
    socket2::SockRef::from(tcp)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
