//! The socket to which TPROXY diverts datagrams, which tells where each was to go.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use bytes::Bytes;
use nix::{
    cmsg_space, libc,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
        setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket, task::coop::consume_budget};

use crate::front::transparent::listener::make_transparent;

/// Longest datagram there is.
const MAX_BYTES: usize = 1 << 16;

/// What the kernel may hold for us: all programs' datagrams come by one socket.
const RECEIVE_BUFFER: usize = 4 << 20;

thread_local! {
    /// Where datagrams are received; those that are kept are copied out.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_BYTES].into());
}

/// A UDP socket for diverted datagrams.
#[derive(Debug)]
pub(in crate::front::transparent) struct DivertedSocket(UdpSocket);

/// A datagram, its source, and where that sent it to.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) payload: Bytes,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

impl DivertedSocket {
    pub(in crate::front::transparent) fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        let takes_both = address.ip().is_unspecified();
        if address.is_ipv6() {
            socket.set_only_v6(!takes_both)?;
            setsockopt(&socket, sockopt::Ipv6OrigDstAddr, &true)?;
        }
        if address.is_ipv4() || takes_both {
            setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true)?;
        }
        make_transparent(&socket, address)?;
        // The kernel caps it; less only loses more in a burst.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&address.into())?;
        Ok(Self(UdpSocket::from_std(socket.into())?))
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next datagram.
    pub(super) async fn receive(&self) -> io::Result<Received> {
        loop {
            let received = self
                .0
                .async_io(Interest::READABLE, || self.receive_now())
                .await?;
            consume_budget().await;
            if let Some(received) = received {
                return Ok(received);
            }
        }
    }

    /// One datagram; `None` if the kernel does not say from where or where to.
    fn receive_now(&self) -> io::Result<Option<Received>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut control = cmsg_space!(libc::sockaddr_in, libc::sockaddr_in6);
            let mut pieces = [IoSliceMut::new(scratch)];
            let message = recvmsg::<SockaddrStorage>(
                self.0.as_raw_fd(),
                &mut pieces,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            )?;
            let destination = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::Ipv4OrigDstAddr(address) => {
                    let address = SocketAddrV4::from(SockaddrIn::from(address));
                    Some(SocketAddr::V4(address))
                }
                ControlMessageOwned::Ipv6OrigDstAddr(address) => {
                    let address = SocketAddrV6::from(SockaddrIn6::from(address));
                    Some(SocketAddr::V6(address))
                }
                _ => None,
            });
            let (source, len) = (message.address.as_ref().and_then(to_std), message.bytes);
            Ok(source
                .zip(destination)
                .map(|(source, destination)| Received {
                    payload: Bytes::copy_from_slice(&scratch[..len]),
                    source,
                    destination,
                }))
        })
    }
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4));
    let v6 = address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6));
    v4.map(SocketAddr::V4).or_else(|| v6.map(SocketAddr::V6))
}
