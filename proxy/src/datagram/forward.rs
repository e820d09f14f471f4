//! A local UDP port whose datagrams go to one target: `-L PORT:HOST:PORT/udp`. Each source of datagrams has an
//! association of its own (`flows`).

use std::sync::Arc;

use tokio::net::UdpSocket;
use tracing::trace;

use super::{flows::Flows, socket};
use crate::{client::Client, target::Target};

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
