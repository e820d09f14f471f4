//! Sockets that wait for connections, at addresses or at a path, accepted from alike. Who may listen
//! where is `exit`'s business, what becomes of a connection the caller's.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use socket2::{Domain, SockAddr, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::{keep_alive::keep_alive, socket::Socket};

/// Connections that may wait to be accepted; the kernel takes the least of this and its own limit.
const BACKLOG: i32 = 1024;

/// What a connection has for an address that came over a Unix socket.
pub const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Both addresses of this machine that only it reaches, with `port`.
pub fn loopback(port: u16) -> [SocketAddr; 2] {
    [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ]
}

/// Listening sockets that belong together. Dropping them ends the listening and removes a Unix
/// socket's file.
#[derive(Debug)]
pub struct Listening {
    sockets: Sockets,
    /// Of a Unix socket.
    file: Mutex<Option<SocketFile>>,
    /// Whose turn it is to be asked first.
    turn: AtomicUsize,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Unix(UnixListener),
}

impl Listening {
    /// Listens at the first of `addrs`, and at the others as far as there are such addresses here; with
    /// port 0 at the port that the first was given. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The first cannot be listened at, or another one is taken.
    pub fn at(addrs: &[SocketAddr]) -> io::Result<Self> {
        let mut bound: Vec<TcpListener> = Vec::new();
        for addr in addrs {
            let mut addr = *addr;
            if let Some(first) = bound.first().filter(|_| addr.port() == 0) {
                addr.set_port(first.local_addr()?.port());
            }
            match listen(addr) {
                Ok(listener) => bound.push(listener),
                // A system without IPv6.
                Err(error) if !bound.is_empty() && is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if bound.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        Ok(Self::new(Sockets::Tcp(bound), None))
    }

    /// Listens at all addresses of this machine, IPv4 and IPv6.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn everywhere(port: u16) -> io::Result<Self> {
        match Self::at(&[(Ipv6Addr::UNSPECIFIED, port).into()]) {
            Err(error) if is_absent(&error) => Self::at(&[(Ipv4Addr::UNSPECIFIED, port).into()]),
            listening => listening,
        }
    }

    /// Makes a Unix socket at `path` that only its owner may use. One that was left there by a process
    /// that has ended is replaced.
    ///
    /// # Errors
    /// Something else is there, or no socket can be made.
    pub fn at_path(path: &Path) -> io::Result<Self> {
        let bound = match listen_at_path(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                std::fs::remove_file(path)?;
                listen_at_path(path)
            }
            bound => bound,
        };
        let (listener, file) = bound?;
        Ok(Self::new(Sockets::Unix(listener), Some(file)))
    }

    fn new(sockets: Sockets, file: Option<SocketFile>) -> Self {
        Self {
            sockets,
            file: Mutex::new(file),
            turn: AtomicUsize::new(0),
        }
    }

    /// Removes a Unix socket's file at once, as dropping does: for a process that ends with connections
    /// still being accepted.
    pub fn remove_file(&self) {
        drop(lock(&self.file).take());
    }

    /// The first address; [`NO_ADDRESS`] for a Unix socket.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.sockets {
            Sockets::Tcp(listeners) => match listeners.first() {
                Some(listener) => listener.local_addr(),
                None => Ok(NO_ADDRESS),
            },
            Sockets::Unix(..) => Ok(NO_ADDRESS),
        }
    }

    /// The next connection and who made it.
    ///
    /// # Errors
    /// The system's; a later call may succeed.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match &self.sockets {
            Sockets::Tcp(listeners) => {
                let (tcp, from) = poll_fn(|cx| {
                    // A flood at one address leaves the other its turn.
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    for at in 0..listeners.len() {
                        let listener = &listeners[(turn + at) % listeners.len()];
                        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                            return Poll::Ready(accepted);
                        }
                    }
                    Poll::Pending
                })
                .await?;
                // Both only help; a connection without them works.
                let _ = tcp.set_nodelay(true);
                keep_alive(&tcp);
                Ok((tcp.into(), from))
            }
            Sockets::Unix(listener) => {
                let (unix, _) = listener.accept().await?;
                Ok((unix.into(), NO_ADDRESS))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(addr) = addr {
        // All addresses are those of IPv4, too.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether this machine has no such address at all.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn listen_at_path(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    // Nobody can connect before it listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

/// Whether a socket is at `path` that nobody listens at.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    // One that has no place left in its backlog is not waited for.
    let connect = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket && connect().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket, removed when dropped, if it is still the same.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let meta = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: (meta.dev(), meta.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
