//! Plain kernel TCP over the emulated link: the yardstick beside every other row.
//! The link and its namespaces are made in `tun`.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_tcp_congestion;

use crate::{
    netns::{Namespace, join},
    tun::{FAR, TunLab},
};

/// What a transfer achieved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    /// Payload bytes that arrived.
    pub bytes: u64,
    /// From before the connection was opened to the last byte, or to the time limit.
    pub elapsed: Duration,
    /// Everything arrived within the limit.
    pub is_complete: bool,
}

impl Transfer {
    /// Payload bits per second.
    pub fn goodput_bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The congestion controls this kernel offers to the lab.
pub fn available() -> Vec<String> {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .map(|names| names.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Lets TCP's windows grow to what the link needs, as a well-kept bulk server would.
pub fn enlarge_windows(lab: &TunLab) -> io::Result<()> {
    enlarge_windows_of(lab.near())?;
    enlarge_windows_of(lab.far())
}

/// The same on one side, whatever link it is on.
pub fn enlarge_windows_of(side: &Namespace) -> io::Result<()> {
    for variable in ["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"] {
        side.set(variable, "4096 1048576 268435456")?;
    }
    side.set("net/ipv4/tcp_no_metrics_save", "1")
}

/// Sends `bytes` from near to far under the congestion control of that name, for at most `limit`.
pub fn transfer(
    lab: &TunLab,
    congestion: &str,
    bytes: u64,
    limit: Duration,
) -> io::Result<Transfer> {
    transfer_between(lab.near(), lab.far(), congestion, bytes, limit)
}

/// The same from one side to another, whose address is [`FAR`], whatever link joins them.
pub fn transfer_between(
    near: &Namespace,
    far: &Namespace,
    congestion: &str,
    bytes: u64,
    limit: Duration,
) -> io::Result<Transfer> {
    let (listener, port) = far.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    })?;
    let began = Instant::now();
    let ends = began + limit;
    let congestion = congestion.to_owned();
    let to = SocketAddr::from((FAR, port));
    let sender = near.spawn(move || {
        let stream = TcpStream::connect_timeout(&to, limit)?;
        set_tcp_congestion(&stream, &congestion)?;
        send(stream, bytes, ends)
    })?;
    let receiver = far.spawn(move || receive(&listener, bytes, began, ends))?;
    let received = join(receiver);
    let sent = join(sender);
    match (received, sent) {
        (Ok(transfer), _) if transfer.bytes > 0 => Ok(transfer),
        // Nothing arrived: the sender knows why.
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(transfer), Ok(())) => Ok(transfer),
    }
}

/// Size of one write or read.
const BLOCK: usize = 1 << 18;

fn send(mut stream: TcpStream, bytes: u64, ends: Instant) -> io::Result<()> {
    let block = vec![0x5a; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let Some(patience) = time_left(ends) else {
            return Ok(());
        };
        stream.set_write_timeout(Some(patience))?;
        let len = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        match stream.write(&block[..len]) {
            Ok(written) => left -= written as u64,
            Err(error) if is_cut(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn receive(
    listener: &TcpListener,
    bytes: u64,
    began: Instant,
    ends: Instant,
) -> io::Result<Transfer> {
    // The sender gives up within the limit, and its connection was made by then or never: a
    // listener that still waits is woken by polling.
    listener.set_nonblocking(true)?;
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if time_left(ends).is_none() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    };
    stream.set_nonblocking(false)?;
    let mut block = vec![0; BLOCK];
    let mut arrived = 0;
    let mut last = Instant::now();
    while arrived < bytes {
        let Some(patience) = time_left(ends) else {
            break;
        };
        stream.set_read_timeout(Some(patience))?;
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(len) => {
                arrived += len as u64;
                last = Instant::now();
            }
            Err(error) if is_cut(&error) => break,
            Err(error) => return Err(error),
        }
    }
    let is_complete = arrived == bytes;
    let end = if is_complete { last } else { Instant::now() };
    Ok(Transfer {
        bytes: arrived,
        elapsed: end - began,
        is_complete,
    })
}

fn time_left(ends: Instant) -> Option<Duration> {
    let left = ends.saturating_duration_since(Instant::now());
    // A timeout of zero means none to the socket.
    (left > Duration::ZERO).then_some(left)
}

/// The time limit struck, or the other side left because of it.
fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
