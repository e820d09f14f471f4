//! Binding a UDP socket and asking for buffers that hold a burst; sending and receiving is `socket`'s.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Asked for in each direction: 8 MB is 64 ms at 1 Gbit/s, longer than a busy machine keeps a task
/// waiting (architecture: buffers ten times too small are the commonest cause of slow UDP).
const BUFFER_BYTES: usize = 8 << 20;

/// Below this the user hears about it. Distributions grant 208 KB unasked; at 1 Gbit/s that is 1.7 ms.
const WARN_BELOW_BYTES: usize = 2 << 20;

/// A bound socket and the buffers it was granted.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) io: UdpSocket,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
}

pub(super) fn bind(local: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        // One socket for both families; where the system insists on IPv6 only, that is what is bound.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "socket stays IPv6 only");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    enlarge(&socket);
    // Linux reports twice what was asked for, its own bookkeeping included.
    let overhead = if cfg!(target_os = "linux") { 2 } else { 1 };
    let receive_buffer = socket.recv_buffer_size()? / overhead;
    let send_buffer = socket.send_buffer_size()? / overhead;
    if receive_buffer < WARN_BELOW_BYTES || send_buffer < WARN_BELOW_BYTES {
        tracing::warn!(
            receive_buffer,
            send_buffer,
            "the kernel grants small UDP buffers, fast transfers will lose packets here; \
             as root: sysctl -w net.core.rmem_max={BUFFER_BYTES} net.core.wmem_max={BUFFER_BYTES}",
        );
    }
    Ok(Bound {
        io: socket.into(),
        receive_buffer,
        send_buffer,
    })
}

fn enlarge(socket: &Socket) {
    let socket = SockRef::from(socket);
    // Root may pass the system's limit; anybody else is cut down to it silently.
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        let receive = sockopt::set_socket_recv_buffer_size_force(&*socket, BUFFER_BYTES);
        let send = sockopt::set_socket_send_buffer_size_force(&*socket, BUFFER_BYTES);
        if receive.is_ok() && send.is_ok() {
            return;
        }
    }
    // Elsewhere a request above the limit fails whole, so it is halved until it is granted.
    let mut bytes = BUFFER_BYTES;
    while bytes >= WARN_BELOW_BYTES / 8 && socket.set_recv_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
    bytes = BUFFER_BYTES;
    while bytes >= WARN_BELOW_BYTES / 8 && socket.set_send_buffer_size(bytes).is_err() {
        bytes /= 2;
    }
}
