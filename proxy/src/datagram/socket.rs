//! UDP sockets: opening one, and receiving without holding a buffer while nothing comes.

use std::{cell::RefCell, io, net::SocketAddr};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, task::coop::consume_budget};

/// Longest datagram there is.
const MAX_BYTES: usize = 1 << 16;

thread_local! {
    /// Where datagrams are received; those that are kept are copied out.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_BYTES].into());
}

/// A socket bound to `local`; one for IPv6 is for nothing else.
pub(crate) fn open(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}

/// The next datagram that arrives at `socket`, and its sender.
pub(crate) async fn receive(socket: &UdpSocket) -> io::Result<(Bytes, SocketAddr)> {
    loop {
        socket.readable().await?;
        match receive_now(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => {
                consume_budget().await;
                return received;
            }
        }
    }
}

fn receive_now(socket: &UdpSocket) -> io::Result<(Bytes, SocketAddr)> {
    SCRATCH.with_borrow_mut(|scratch| {
        let (len, sender) = socket.try_recv_from(scratch)?;
        Ok((Bytes::copy_from_slice(&scratch[..len]), sender))
    })
}
