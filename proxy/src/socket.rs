//! What a relay has at its near end: a TCP connection or a Unix socket, used alike.

use std::{
    future::{Future, poll_fn},
    io,
    os::fd::{AsFd, BorrowedFd},
};

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket that is read when it is ready, so that waiting needs no buffer.
pub(crate) trait Readable: AsFd {
    /// Waits until there is something to read, an end, or a failure.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// One read that does not wait.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Readable for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, buffer)
    }
}

/// A connection of an application.
///
/// A Unix socket knows no reset: where one is due, its peer sees an end, or a reset if it had sent
/// bytes that nobody read.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<UnixStream> for Socket {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl Readable for Socket {
    // Polled, here and below: the sockets' own futures hold a place in a list of waiters each, and an idle
    // relay has one of them for each direction. One task at a time may wait for each readiness.
    async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        })
        .await
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read(buffer),
            Self::Unix(unix) => unix.try_read(buffer),
        }
    }
}

impl Socket {
    /// Waits until it takes more, or has failed.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Unix(unix) => unix.poll_write_ready(cx),
        })
        .await
    }

    /// One read that does not wait, behind what is in `buffer`.
    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read_buf(buffer),
            Self::Unix(unix) => unix.try_read_buf(buffer),
        }
    }

    /// One write that does not wait.
    pub(crate) fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(data),
            Self::Unix(unix) => unix.try_write(data),
        }
    }
}
