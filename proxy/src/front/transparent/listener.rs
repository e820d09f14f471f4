//! The socket to which the kernel diverts connections, and what it says of their destinations.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{loops::canonical, udp::DivertedSocket};

/// Connections that may wait to be accepted; the kernel caps it.
const BACKLOG: i32 = 4096;

/// How the kernel diverts connections to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Netfilter's REDIRECT: the destination is rewritten, and the original one is asked for
    /// (`SO_ORIGINAL_DST`). Needs no capability.
    Redirect,
    /// Netfilter's TPROXY: the destination stays, and is the accepted socket's own address
    /// (`IP_TRANSPARENT`). Needs `CAP_NET_ADMIN` or `CAP_NET_RAW`, and to answer datagrams in the name
    /// of ports below 1024 `CAP_NET_BIND_SERVICE`.
    Tproxy,
}

/// A listener for diverted connections and, by TPROXY, datagrams.
#[derive(Debug)]
pub struct TransparentListener {
    tcp: TcpListener,
    /// TPROXY takes datagrams, too.
    udp: Option<DivertedSocket>,
    capture: Capture,
}

impl TransparentListener {
    /// Listens on `address`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address is taken or not ours; for TPROXY also a missing capability
    /// ([`io::ErrorKind::PermissionDenied`]).
    pub fn bind(address: SocketAddr, capture: Capture) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // Only the unspecified address takes IPv4 as well.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        if capture == Capture::Tproxy {
            make_transparent(&socket, address)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let tcp = TcpListener::from_std(socket.into())?;
        let udp = match capture {
            Capture::Tproxy => Some(DivertedSocket::bind(tcp.local_addr()?)?),
            Capture::Redirect => None,
        };
        Ok(Self { tcp, udp, capture })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// How connections come to it.
    pub fn capture(&self) -> Capture {
        self.capture
    }

    /// The part for datagrams, once.
    pub(super) fn take_udp(&mut self) -> Option<DivertedSocket> {
        self.udp.take()
    }

    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.tcp.accept().await
    }

    /// Where the client of `tcp` wanted to go. A client that connected to us itself wanted to go
    /// here.
    pub(super) fn original_destination(&self, tcp: &TcpStream) -> io::Result<SocketAddr> {
        let here = canonical(tcp.local_addr()?);
        match self.capture {
            Capture::Tproxy => Ok(here),
            Capture::Redirect => {
                let socket = SockRef::from(tcp);
                let original = match here {
                    SocketAddr::V4(_) => socket.original_dst_v4(),
                    SocketAddr::V6(_) => socket.original_dst_v6(),
                };
                match original {
                    Ok(original) => original.as_socket().map(canonical).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, "no internet address")
                    }),
                    // Nothing was rewritten: no entry in the connection tracking table, or no table.
                    Err(error) if is_untracked(&error) => Ok(here),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// ENOENT: not tracked. ENOPROTOOPT: connection tracking is not loaded.
fn is_untracked(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::NOPROTOOPT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Lets `socket` have addresses that are not this machine's.
pub(super) fn make_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() || address.ip().is_unspecified() {
        // An IPv6 socket that takes IPv4 needs it for both.
        socket.set_ip_transparent_v4(true)?;
    }
    if address.is_ipv6() {
        socket.set_ip_transparent_v6(true)?;
    }
    Ok(())
}

/// Whether `ip` is one of this machine's addresses.
pub(super) fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
