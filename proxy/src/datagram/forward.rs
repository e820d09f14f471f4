//! A local UDP port whose datagrams go to one target: `-L PORT:HOST:PORT/udp`. Each source of datagrams has an
//! association of its own (`flows`).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{net::UdpSocket, task::JoinSet};
use tracing::trace;

use super::{flows::Flows, socket};
use crate::{client::Client, listening::is_absent, target::Target};

/// Local UDP ports that belong together, as [`Listening`](crate::listening::Listening) for TCP.
#[derive(Debug)]
pub struct DatagramPorts(Vec<UdpSocket>);

impl DatagramPorts {
    /// The first of `addrs`, and the others as far as there are such addresses here; with port 0 at the port that
    /// the first was given. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The first cannot be had, or another one is taken.
    pub fn at(addrs: &[SocketAddr]) -> io::Result<Self> {
        let mut bound: Vec<UdpSocket> = Vec::new();
        for addr in addrs {
            let mut addr = *addr;
            if let Some(first) = bound.first().filter(|_| addr.port() == 0) {
                addr.set_port(first.local_addr()?.port());
            }
            match socket::open(addr) {
                Ok(socket) => bound.push(socket),
                // A system without IPv6.
                Err(error) if !bound.is_empty() && is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if bound.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        Ok(Self(bound))
    }

    /// `port` of all addresses of this machine, IPv4 and IPv6.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn everywhere(port: u16) -> io::Result<Self> {
        Self::at(&[
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        ])
    }

    /// The first of the addresses.
    ///
    /// # Errors
    /// The system's word.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0
            .first()
            .ok_or(io::ErrorKind::AddrNotAvailable)?
            .local_addr()
    }

    /// The sockets, one for each address.
    pub(crate) fn sockets(&self) -> &[UdpSocket] {
        &self.0
    }

    /// Passes on what arrives, as [`forward`]. Ends only if dropped.
    pub async fn forward(self, client: Client, target: Target) {
        let forwards: JoinSet<()> = self
            .0
            .into_iter()
            .map(|socket| forward(client.clone(), socket, target.clone()))
            .collect();
        forwards.join_all().await;
    }
}

/// Passes on what arrives at `socket` to `target`, and answers to where it came from. Ends only if dropped.
///
/// An answer of anybody that the exit lets through comes from the port it was sent to, as from the target itself.
pub async fn forward(client: Client, socket: UdpSocket, target: Target) {
    let socket = Arc::new(socket);
    let answering = socket.clone();
    let flows = Flows::new(client, move |source, _sender, payload| {
        let socket = answering.clone();
        async move {
            // One that the source's network cannot take is lost, as any.
            let _ = socket.send_to(&payload, source).await;
        }
    });
    loop {
        match socket::receive(&socket).await {
            Ok((payload, source)) => flows.send(source, target.clone(), payload),
            // An answer by ICMP to what was sent before.
            Err(error) => trace!(%error, "datagram not received"),
        }
    }
}
