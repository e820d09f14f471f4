//! A server that falls silent, comes late or comes back, and what its clients notice of it.
#![expect(
    clippy::unwrap_used,
    reason = "closures in tests fail the test that runs them"
)]

mod support;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rp_protocol::{Connection, Endpoint, config::EndpointConfig};
use rp_proxy::{Client, ClientConfig, Link, TargetAccess};
use support::*;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc::unbounded_channel,
};

/// A network between clients and a server that can lose whole flows.
#[derive(Clone)]
struct Network {
    addr: SocketAddr,
    /// Client addresses whose packets get lost, in both directions.
    cut: Arc<Mutex<HashSet<SocketAddr>>>,
    seen: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Network {
    async fn before(server: SocketAddr) -> Self {
        let socket = Arc::new(UdpSocket::bind(local()).await.unwrap());
        let network = Self {
            addr: socket.local_addr().unwrap(),
            cut: Arc::default(),
            seen: Arc::default(),
        };
        tokio::spawn(network.clone().forward(socket, server));
        network
    }

    async fn forward(self, socket: Arc<UdpSocket>, server: SocketAddr) {
        let mut flows = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
        let mut packet = vec![0; 65536];
        loop {
            let (len, client) = socket.recv_from(&mut packet).await.unwrap();
            self.seen.lock().unwrap().insert(client);
            if self.is_cut(client) {
                continue;
            }
            if let Entry::Vacant(vacant) = flows.entry(client) {
                let flow = Arc::new(UdpSocket::bind(local()).await.unwrap());
                flow.connect(server).await.unwrap();
                vacant.insert(flow.clone());
                let (back, network) = (socket.clone(), self.clone());
                tokio::spawn(async move {
                    let mut packet = vec![0; 65536];
                    while let Ok(len) = flow.recv(&mut packet).await {
                        if !network.is_cut(client) {
                            back.send_to(&packet[..len], client).await.unwrap();
                        }
                    }
                });
            }
            // A server that is gone refuses; its clients notice by silence.
            let _ = flows[&client].send(&packet[..len]).await;
        }
    }

    fn is_cut(&self, client: SocketAddr) -> bool {
        self.cut.lock().unwrap().contains(&client)
    }

    /// Loses everything of the flows so far.
    fn cut(&self) {
        let seen = self.seen.lock().unwrap();
        self.cut.lock().unwrap().extend(seen.iter());
    }
}

/// A client whose connections each come from an address of their own, behind a network.
struct Remote {
    network: Network,
    proxy: SocketAddr,
    _world: World,
}

impl Remote {
    async fn new() -> Self {
        let world = world().await;
        let network = Network::before(world.server.local_addr().unwrap()).await;
        let addr = network.addr;
        let link = Link::connecting(move || connect(addr));
        let client = Client::new(link, ClientConfig::default());
        let listener = TcpListener::bind(local()).await.unwrap();
        let proxy = listener.local_addr().unwrap();
        tokio::spawn(async move { client.serve(listener).await });
        Self {
            network,
            proxy,
            _world: world,
        }
    }
}

/// A connection to the exit at `addr` from a socket of its own.
async fn connect(addr: SocketAddr) -> Result<Connection, rp_protocol::error::ConnectError> {
    let endpoint = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    endpoint.connect(addr, transport()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_move_off_a_connection_that_has_fallen_silent() {
    //= spec/10-proxy.md#request
    //= type=test
    //# A client whose connection is lost or falls silent before the reply MAY send the request again
    //# over another connection.
    // The connection itself is given up after 30 s only, which `soon` does not wait for.
    let remote = Remote::new().await;
    let echo = echo().await;
    let (sender, mut heads) = unbounded_channel();
    let origin = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut tcp).await).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            tcp.write_all(answer).await.unwrap();
        }
    })
    .await;
    socks5(remote.proxy, echo).await.unwrap();
    remote.network.cut();
    // Asked over the silent connection, and again over the next.
    let mut get = TcpStream::connect(remote.proxy).await.unwrap();
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    get.write_all(request.as_bytes()).await.unwrap();
    let mut tunnel = soon(socks5(remote.proxy, echo)).await.unwrap();
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut tunnel, 1).await, b"x");
    assert!(read_head(&mut get).await.starts_with("HTTP/1.1 200"));
    assert!(soon(heads.recv()).await.unwrap().starts_with("GET / "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_of_a_server_that_vanished_are_reset_once_another_answers() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A client SHOULD end a connection that stays silent while one made after it answers.
    // The idle timeout, of 30 s at least, would be too late for `soon`.
    let remote = Remote::new().await;
    let echo = echo().await;
    let mut old = socks5(remote.proxy, echo).await.unwrap();
    remote.network.cut();
    old.write_all(b"x").await.unwrap();
    let mut new = soon(socks5(remote.proxy, echo)).await.unwrap();
    let (_, end) = http::read_to_failure(&mut old).await;
    assert_eq!(end, std::io::ErrorKind::ConnectionReset);
    new.write_all(b"x").await.unwrap();
    assert_eq!(read_exactly(&mut new, 1).await, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_must_not_happen_twice_is_not_sent_twice() {
    let remote = Remote::new().await;
    let (sender, mut heads) = unbounded_channel();
    let origin = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut tcp).await).unwrap();
            // No answer: the connection stays as it is.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut post = TcpStream::connect(remote.proxy).await.unwrap();
    let request =
        format!("POST http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nContent-Length: 0\r\n\r\n");
    post.write_all(request.as_bytes()).await.unwrap();
    assert!(soon(heads.recv()).await.unwrap().starts_with("POST / "));
    remote.network.cut();
    // Something has to be asked for the silence to be noticed.
    socks5(remote.proxy, echo().await).await.unwrap();
    drop(post);
    assert!(heads.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_sent_behind_a_request_is_not_sent_twice() {
    //= spec/10-proxy.md#request
    //= type=test
    //# A client MUST NOT send a request again behind which it has sent bytes for the target.
    let remote = Remote::new().await;
    let echo = echo().await;
    let (sender, mut connected) = unbounded_channel();
    let target = origin(move |_| {
        sender.send(()).unwrap();
        std::future::ready(())
    })
    .await;
    socks5(remote.proxy, echo).await.unwrap();
    remote.network.cut();
    let mut eager = TcpStream::connect(remote.proxy).await.unwrap();
    let request = [&socks5_request(target)[..], b"order"].concat();
    eager.write_all(&request).await.unwrap();
    assert_eq!(read_exactly(&mut eager, 2).await, [5, 0]);
    // What may be asked again is, and its answers take longer than a second request would.
    let mut tunnel = soon(socks5(remote.proxy, echo)).await.unwrap();
    for _ in 0..20 {
        tunnel.write_all(b"x").await.unwrap();
        assert_eq!(read_exactly(&mut tunnel, 1).await, b"x");
    }
    assert!(connected.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_may_start_before_its_server() {
    // Holds the port of a server that is not there yet.
    let nobody = UdpSocket::bind(local()).await.unwrap();
    let addr = nobody.local_addr().unwrap();
    let link = Link::connecting(move || connect(addr));
    let waiting = tokio::spawn({
        let link = link.clone();
        async move { link.connection().await }
    });
    soon(nobody.recv_from(&mut [0; 2000])).await.unwrap();
    drop(nobody);
    let _server = exit_at(addr, loopback_allowed(), TargetAccess::All);
    soon(waiting).await.unwrap().unwrap();
}
