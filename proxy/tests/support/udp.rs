//! UDP servers and exchanges of datagrams.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use rp_protocol::{
    Connection, Endpoint,
    config::{ClientConfig as TransportClient, EndpointConfig, ServerConfig, TransportConfig},
};
use rp_proxy::{
    Client, ClientConfig, Exit, ExitConfig, Link, SERVICE, TargetAccess, datagram::Association,
    target::Target,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{Anybody, identity, local, soon};

/// A client and an exit, with settings of their own for their connections.
pub(crate) struct Joined {
    /// Where the front ends listen.
    pub(crate) proxy: SocketAddr,
    pub(crate) client: Client,
    pub(crate) exit: Exit,
    /// The exit's side of each connection.
    accepted: UnboundedReceiver<Connection>,
}

impl Joined {
    /// Ends the connection in use; the exit takes others.
    pub(crate) async fn lose_connection(&mut self) {
        let connection = soon(self.accepted.recv()).await.unwrap();
        connection.close(7_u32.into(), b"test");
    }
}

pub(crate) async fn joined(exit: ExitConfig, transport: TransportConfig) -> Joined {
    let server = ServerConfig::new(identity(1), Arc::new(Anybody), &[SERVICE]);
    let server = server.transport(transport.clone());
    let server = Endpoint::bind(local(), EndpointConfig::default(), Some(server)).unwrap();
    let remote = server.local_addr().unwrap();
    let exit = Exit::new(exit);
    let serving = exit.clone();
    let (sender, accepted) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let connection = incoming.accept().await.unwrap();
            let _ = sender.send(connection.clone());
            let exit = serving.clone();
            tokio::spawn(async move { exit.serve(connection, TargetAccess::All).await });
        }
    });
    let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
    let config = TransportClient::new(identity(2), Arc::new(Anybody), SERVICE);
    let config = config.transport(transport);
    let link = Link::connecting(move || {
        let (near, config) = (near.clone(), config.clone());
        async move { near.connect(remote, config).await }
    });
    let client = Client::new(link, ClientConfig::default());
    let listener = TcpListener::bind(local()).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let serving = client.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    Joined {
        proxy,
        client,
        exit,
        accepted,
    }
}

/// A UDP server on `addr` that sends back what `answer` makes of what it gets and whom it got it from.
pub(crate) async fn udp_server<F>(addr: &str, answer: F) -> SocketAddr
where
    F: Fn(&[u8], SocketAddr) -> Vec<u8> + Send + 'static,
{
    let socket = UdpSocket::bind(addr).await.unwrap();
    let local = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer(&buffer[..len], from), from).await;
        }
    });
    local
}

/// A UDP server that sends back what it gets.
pub(crate) async fn udp_echo(addr: &str) -> SocketAddr {
    udp_server(addr, |payload, _| payload.to_vec()).await
}

/// A UDP server that tells everybody from which port it was sent to.
pub(crate) async fn udp_mirror(addr: &str) -> SocketAddr {
    udp_server(addr, |_, from| from.port().to_string().into_bytes()).await
}

pub(crate) fn target(addr: SocketAddr) -> Target {
    addr.try_into().unwrap()
}

/// Sends `payload` to `to` and waits until it comes back.
pub(crate) async fn exchange(association: &Association, to: &Target, payload: &[u8]) -> SocketAddr {
    let payload = Bytes::copy_from_slice(payload);
    soon(async {
        association.send(to, payload.clone()).await.unwrap();
        loop {
            let (sender, answer) = association.recv().await.unwrap();
            if answer == payload {
                return sender;
            }
        }
    })
    .await
}

/// The exit's port of `association`, as a mirror says.
pub(crate) async fn exit_port(association: &Association, mirror: SocketAddr) -> u16 {
    let to = target(mirror);
    let asked = association.send(&to, Bytes::from_static(b"?"));
    soon(asked).await.unwrap();
    let (sender, answer) = soon(association.recv()).await.unwrap();
    assert_eq!(sender, mirror);
    std::str::from_utf8(&answer).unwrap().parse().unwrap()
}

/// Waits until nobody has `port` of `ip` any more.
pub(crate) async fn freed(ip: &str, port: u16) {
    let ip: IpAddr = ip.parse().unwrap();
    soon(async {
        while UdpSocket::bind((ip, port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
