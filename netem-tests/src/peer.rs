//! The lab's own programs for kernel TCP and HTTP, which run inside a namespace like any implementation's:
//! `lab peer recv`, `send` and `web`. How implementations are started and measured is in `implementation`.
//!
//! A receiver tells its tally on standard output: lines of "bytes nanoseconds", the time by the
//! machine's monotonic clock, so that whoever reads the last whole line knows what has arrived even of
//! a transfer that is cut off. The peers in `implementations/` do the same.

pub mod echo;
pub mod rpp;

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    net::sockopt::set_tcp_congestion,
    time::{ClockId, clock_gettime},
};

/// Size of one read or write.
const BLOCK: usize = 1 << 18;

/// Time between two lines of the tally.
const TALLY_INTERVAL_NS: u64 = 20_000_000;

/// Nanoseconds of the clock that all programs of a machine share.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// What has arrived so far, told as it grows.
struct Tally {
    wanted: u64,
    arrived: AtomicU64,
    told_ns: Mutex<u64>,
}

impl Tally {
    fn new(wanted: u64) -> Self {
        Self {
            wanted,
            arrived: AtomicU64::new(0),
            told_ns: Mutex::new(0),
        }
    }

    fn add(&self, len: usize) -> io::Result<()> {
        let before = self.arrived.fetch_add(len as u64, Ordering::Relaxed);
        let now = monotonic_ns();
        let mut told = self.told_ns.lock().unwrap_or_else(PoisonError::into_inner);
        // The last byte is always told of, whichever thread took it.
        let is_last = before < self.wanted && before + len as u64 >= self.wanted;
        if is_last || now >= *told + TALLY_INTERVAL_NS {
            *told = now;
            let arrived = self.arrived.load(Ordering::Relaxed);
            let mut out = io::stdout().lock();
            writeln!(out, "{arrived} {now}")?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Takes `flows` TCP connections on `port` and counts until `bytes` have come on all together.
///
/// # Errors
/// The port cannot be had, or a connection breaks.
pub fn receive(port: u16, bytes: u64, flows: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let tally = Tally::new(bytes);
    thread::scope(|scope| {
        let mut takers = Vec::new();
        for _ in 0..flows {
            let (stream, _) = listener.accept()?;
            let tally = &tally;
            takers.push(scope.spawn(move || take(stream, tally)));
        }
        takers.into_iter().try_for_each(outcome)
    })
}

fn take(mut stream: TcpStream, tally: &Tally) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            len => tally.add(len)?,
        }
    }
}

/// What is sent, and how.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The receiver.
    pub to: SocketAddr,
    /// How much, on all connections together.
    pub bytes: u64,
    /// How many connections; each takes the next block as soon as it has room, as download managers do.
    pub flows: usize,
    /// The kernel's name of the congestion control; its default if absent.
    pub congestion: Option<String>,
}

/// Sends over TCP.
///
/// # Errors
/// A connection cannot be made or breaks, or the kernel lacks the congestion control.
pub fn send(sending: &Sending) -> io::Result<()> {
    let left = AtomicU64::new(sending.bytes);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..sending.flows)
            .map(|_| scope.spawn(|| give(sending, &left)))
            .collect();
        senders.into_iter().try_for_each(outcome)
    })
}

fn give(sending: &Sending, left: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&sending.to, Duration::from_secs(30))?;
    if let Some(congestion) = &sending.congestion {
        set_tcp_congestion(&stream, congestion)?;
    }
    let block = vec![0x5a; BLOCK];
    loop {
        let mut len = 0;
        // Whoever has room takes what is next; nobody is left with a slow share.
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            len = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            (left > 0).then(|| left - len as u64)
        });
        if taken.is_err() {
            return Ok(());
        }
        stream.write_all(&block[..len])?;
    }
}

fn outcome(thread: thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .map_err(|_| io::Error::other("a thread of the peer panicked"))?
}

/// Longest head of a request taken.
const MAX_HEAD: usize = 16 << 10;

/// Serves one file at every path of an HTTP server on `port`, until killed.
///
/// # Errors
/// The port or the file cannot be had.
pub fn serve_file(port: u16, path: &std::path::Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    for stream in listener.incoming() {
        let (stream, path) = (stream?, path.to_path_buf());
        // The client notices a download that broke off.
        thread::spawn(move || answer(stream, &path));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, path: &std::path::Path) -> io::Result<()> {
    let mut head = Vec::new();
    let mut block = vec![0; BLOCK];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            _ if head.len() > MAX_HEAD => return Ok(()),
            len => head.extend_from_slice(&block[..len]),
        }
    }
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    io::copy(&mut file, &mut stream)?;
    Ok(())
}
