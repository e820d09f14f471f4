//! Sockets that have the addresses of targets, from which answers go to those who asked: a program
//! takes an answer only from where it sent its question.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;

use crate::{eviction::greediest, front::transparent::listener::make_transparent};

/// Sockets kept at once; beyond it the client that has most answers loses some of his, which are opened again when
/// they are needed.
const MAX_SOCKETS: usize = 512;

/// Silence after which a socket is closed, when others are opened.
const IDLE: Duration = Duration::from_secs(60);

/// Nobody reads from these sockets.
const RECEIVE_BUFFER: usize = 1;

/// A socket for each target that answered lately.
#[derive(Debug, Default)]
pub(super) struct ReplySockets {
    open: Mutex<HashMap<SocketAddr, Open>>,
}

#[derive(Debug)]
struct Open {
    socket: UdpSocket,
    /// Whom it was opened for.
    client: IpAddr,
    used: Instant,
}

impl ReplySockets {
    /// Sends `payload` to `client` as `target` would. Where it cannot be sent at once, it is lost as
    /// any datagram may be.
    ///
    /// # Errors
    /// The system's: a target's port below 1024 needs `CAP_NET_BIND_SERVICE`.
    pub(super) fn send(
        &self,
        target: SocketAddr,
        client: SocketAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(&target) {
            make_room(&mut open);
            let socket = bind(target)?;
            let used = Instant::now();
            let client = client.ip();
            open.insert(
                target,
                Open {
                    socket,
                    client,
                    used,
                },
            );
        }
        let Some(known) = open.get_mut(&target) else {
            return Ok(());
        };
        known.used = Instant::now();
        match known.socket.send_to(payload, client) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// Closes what is idle, or else what the greediest client has not used for longest, if there are too many.
fn make_room(open: &mut HashMap<SocketAddr, Open>) {
    if open.len() < MAX_SOCKETS {
        return;
    }
    open.retain(|_, known| known.used.elapsed() < IDLE);
    if open.len() < MAX_SOCKETS {
        return;
    }
    let used = |(target, known): (&SocketAddr, &Open)| (*target, known.client, known.used);
    for target in greediest(open.iter().map(used)) {
        open.remove(&target);
    }
}

fn bind(target: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(target);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if target.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    make_transparent(&socket, target)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&target.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
