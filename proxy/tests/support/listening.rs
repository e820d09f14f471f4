//! Clients and exits that listen for them, and forwards in both directions between real sockets.

use std::net::SocketAddr;

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{
    AccessCheck, Client, ClientConfig, Exit, ExitConfig, Link, TargetAccess,
    client::forward::RemoteState,
    exit::{ListenAccess, policy::Policy},
    listening::{Listening, loopback},
    target::{Destination, Host, ListenAt, Target},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

use super::{local, loopback_allowed, serve_exit, server_at, soon, transport};

/// A key that may dial everything policy allows, and listen where rules say.
#[derive(Clone)]
pub(crate) struct Access(ListenAccess);

impl AccessCheck for Access {
    fn target_access(&self) -> Option<TargetAccess> {
        Some(TargetAccess::All)
    }

    fn listen_access(&self) -> Option<ListenAccess> {
        Some(self.0.clone())
    }
}

pub(crate) fn rules(rules: &[&str]) -> Access {
    Access(rules.iter().map(|rule| rule.parse().unwrap()).collect())
}

/// A client and an exit, joined, and the exit's endpoint.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) server: Endpoint,
    pub(crate) exit: Exit,
}

pub(crate) fn serve(server: &Endpoint, policy: Policy, access: Access) {
    let exit = Exit::new(ExitConfig::default().policy(policy));
    serve_exit(server, &exit, access);
}

pub(crate) async fn world_under(policy: Policy, access: Access) -> World {
    world_with_exit(ExitConfig::default().policy(policy), access).await
}

pub(crate) async fn world_with_exit(config: ExitConfig, access: Access) -> World {
    let server = server_at(local()).unwrap();
    let exit = Exit::new(config);
    serve_exit(&server, &exit, access);
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
        exit,
    }
}

pub(crate) async fn listening_world(listen: &[&str]) -> World {
    world_under(loopback_allowed(), rules(listen)).await
}

pub(crate) fn localhost(port: u16) -> ListenAt {
    ListenAt::Tcp(Host::parse("localhost").unwrap(), port)
}

pub(crate) fn to(addr: SocketAddr) -> Destination {
    Target::try_from(addr).unwrap().into()
}

/// A local forward to `destination` and where it listens.
pub(crate) fn forward(client: &Client, destination: Destination) -> SocketAddr {
    let listening = Listening::at(&loopback(0)).unwrap();
    let at = listening.local_addr().unwrap();
    let client = client.clone();
    tokio::spawn(async move { client.forward(&listening, &destination).await });
    at
}

/// A remote forward to `destination`, and where the exit listens.
pub(crate) async fn forward_back(
    client: &Client,
    at: ListenAt,
    destination: Destination,
) -> SocketAddr {
    listens(&mut start_back(client, at, destination)).await
}

pub(crate) fn start_back(
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
pub(crate) async fn listens(state: &mut watch::Receiver<RemoteState>) -> SocketAddr {
    let is_up = |state: &RemoteState| matches!(state, RemoteState::Listening(_));
    match &*soon(state.wait_for(is_up)).await.unwrap() {
        RemoteState::Listening(bound) => *bound,
        other => unreachable!("{other}"),
    }
}

/// Sends `data` and its end to an echo at `at`, and reads it all back.
pub(crate) async fn echoes(at: SocketAddr, data: &[u8]) {
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

/// A proxy port of `client`.
pub(crate) async fn proxy(client: &Client) -> SocketAddr {
    let listener = TcpListener::bind(local()).await.unwrap();
    let at = listener.local_addr().unwrap();
    let client = client.clone();
    tokio::spawn(async move { client.serve(listener).await });
    at
}

/// A connection to `at` from `ip`.
pub(crate) async fn come(ip: &str, at: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    soon(socket.connect(at)).await.unwrap()
}

pub(crate) fn ipv4_addr(bytes: &[u8]) -> SocketAddr {
    let ip = [bytes[0], bytes[1], bytes[2], bytes[3]];
    (ip, u16::from_be_bytes([bytes[4], bytes[5]])).into()
}
