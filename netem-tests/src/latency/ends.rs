//! The two ends of the latency lab, over plain TCP sockets: `lab peer respond` and `lab peer ask`. What is
//! between them is somebody else's matter.
//!
//! A request is eight bytes, the number of bytes wanted, most significant first; the answer is so
//! many bytes. Connections are kept; every kind of object has its own.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::net::sockopt::set_tcp_congestion;
use serde::{Deserialize, Serialize};

/// Size of one read or write.
const BLOCK: usize = 1 << 16;

/// Asks for bytes without end.
const ENDLESS: u64 = u64::MAX;

/// Connections of each kind of object: at the latencies of a bad link several requests are under way.
const CONNECTIONS: usize = 16;

/// How long connections may take to be made: a lost packet of a handshake costs a second, or three.
pub const CONNECTING: Duration = Duration::from_secs(30);

/// Longest answer of a proxy to CONNECT.
const MAX_HEAD: usize = 8 << 10;

/// Quantiles that are kept for tables and plots.
pub const QUANTILES: [f64; 16] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1.0,
];

/// Answers requests on `port` until killed, by a congestion control of the kernel's if one is named.
///
/// # Errors
/// The port cannot be had, or the kernel lacks the congestion control.
pub fn respond(port: u16, congestion: Option<&str>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    if let Some(congestion) = congestion {
        // Connections inherit it.
        set_tcp_congestion(&listener, congestion)?;
    }
    for stream in listener.incoming() {
        let stream = stream?;
        // The client notices an answer that broke off.
        thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let block = vec![0x5a; BLOCK];
    let mut request = [0; 8];
    loop {
        stream.read_exact(&mut request)?;
        let mut left = u64::from_be_bytes(request);
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            stream.write_all(&block[..len])?;
            if left != ENDLESS {
                left -= len as u64;
            }
        }
    }
}

/// What to ask, whom, and how often.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The server.
    pub to: SocketAddr,
    /// An HTTP proxy on the way, which is asked to CONNECT.
    pub proxy: Option<SocketAddr>,
    /// Bytes of an answer, and answers a second.
    pub objects: Vec<(u64, f64)>,
    /// One more connection takes as much as it gets, all the time.
    pub has_bulk: bool,
    /// How long to wait before the first request that counts.
    pub head_start: Duration,
    /// How long to ask.
    pub span: Duration,
    /// How long to wait for answers afterwards.
    pub after: Duration,
    /// Of the times between requests.
    pub seed: u64,
}

/// What came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// By kind of object, as asked.
    pub objects: Vec<ObjectAnswers>,
    /// Of the bulk transfer, while requests were made.
    pub bulk_bytes_per_second: Option<f64>,
}

/// The answers of one size.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ObjectAnswers {
    /// Of one answer.
    pub bytes: u64,
    /// Asked for.
    pub requests: u64,
    /// Of them, not answered in time; they count with the time waited.
    pub unanswered: u64,
    /// At [`QUANTILES`], microseconds from when the request was due to the last byte.
    pub quantiles_us: Vec<u64>,
}

/// Asks as told and measures.
///
/// # Errors
/// A connection cannot be made.
pub fn ask(asking: &Asking) -> io::Result<Answers> {
    let bulk = asking.has_bulk.then(|| Bulk::start(asking)).transpose()?;
    let (ready, made) = mpsc::channel();
    let kinds: Vec<Kind> = asking
        .objects
        .iter()
        .map(|&(bytes, _)| Kind::start(asking, bytes, &ready))
        .collect::<io::Result<_>>()?;
    let deadline = Instant::now() + CONNECTING;
    for _ in 0..kinds.len() * CONNECTIONS {
        let left = deadline.saturating_duration_since(Instant::now());
        made.recv_timeout(left)
            .map_err(|_| io::Error::other("connections are not there in time"))??;
    }
    let begin = Instant::now() + asking.head_start;
    thread::sleep(asking.head_start);
    let bulk_before = bulk.as_ref().map(Bulk::bytes);
    thread::scope(|scope| {
        for (index, (kind, &(_, rate))) in kinds.iter().zip(&asking.objects).enumerate() {
            let seed = asking.seed ^ (index as u64 + 1);
            scope.spawn(move || kind.schedule(begin, rate, asking.span, seed));
        }
    });
    let bulk_bytes_per_second = bulk
        .as_ref()
        .zip(bulk_before)
        .map(|(bulk, before)| (bulk.bytes() - before) as f64 / asking.span.as_secs_f64());
    let end = Instant::now() + asking.after;
    Ok(Answers {
        objects: kinds.iter().map(|kind| kind.finish(end)).collect(),
        bulk_bytes_per_second,
    })
}

fn connect(asking: &Asking) -> io::Result<TcpStream> {
    let Some(proxy) = asking.proxy else {
        let stream = TcpStream::connect(asking.to)?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    };
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    let to = asking.to;
    write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > MAX_HEAD {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
    }
    let text = String::from_utf8_lossy(&head);
    match text.split_whitespace().nth(1) {
        Some("200") => Ok(stream),
        _ => Err(io::Error::other(format!("the proxy says: {}", text.trim()))),
    }
}

/// One request and its whole answer.
fn fetch(stream: &mut TcpStream, bytes: u64, block: &mut [u8]) -> io::Result<()> {
    stream.write_all(&bytes.to_be_bytes())?;
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let len = left.min(block.len());
        match stream.read(&mut block[..len])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

/// A transfer that never ends.
struct Bulk(Arc<AtomicU64>);

impl Bulk {
    fn start(asking: &Asking) -> io::Result<Self> {
        let mut stream = connect(asking)?;
        stream.write_all(&ENDLESS.to_be_bytes())?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut block = vec![0; BLOCK * 4];
            // Its end shows as a rate of nothing.
            while let Ok(read @ 1..) = stream.read(&mut block) {
                counted.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Ok(Self(bytes))
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Latencies, and which requests are still open.
struct Tally {
    histogram: Histogram<u64>,
    open: Vec<Instant>,
    requests: u64,
}

/// All connections and requests of one size.
struct Kind {
    bytes: u64,
    queue: mpsc::Sender<Instant>,
    tally: Arc<Mutex<Tally>>,
    is_over: Arc<AtomicBool>,
}

impl Kind {
    /// Lets the connections be made, with one small request on each, so that none is made on somebody's
    /// time; `ready` hears of each.
    fn start(
        asking: &Asking,
        bytes: u64,
        ready: &mpsc::Sender<io::Result<()>>,
    ) -> io::Result<Self> {
        let (queue, due) = mpsc::channel();
        let due = Arc::new(Mutex::new(due));
        let bounds = Histogram::new_with_bounds(1, 3_600_000_000, 3);
        let tally = Arc::new(Mutex::new(Tally {
            histogram: bounds.map_err(io::Error::other)?,
            open: Vec::new(),
            requests: 0,
        }));
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..CONNECTIONS {
            let (asking, ready) = (asking.clone(), ready.clone());
            let (due, tally) = (Arc::clone(&due), Arc::clone(&tally));
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let mut block = vec![0; BLOCK];
                let made = connect(&asking).and_then(|mut stream| {
                    fetch(&mut stream, 1, &mut block)?;
                    Ok(stream)
                });
                let (told, stream) = match made {
                    Ok(stream) => (Ok(()), Some(stream)),
                    Err(error) => (Err(error), None),
                };
                // Nobody listens once another connection has failed.
                let _ = ready.send(told);
                if let Some(stream) = stream {
                    work(stream, bytes, &due, &tally, &is_over);
                }
            });
        }
        Ok(Self {
            bytes,
            queue,
            tally,
            is_over,
        })
    }

    /// Hands out requests when they are due, whatever became of the ones before.
    fn schedule(&self, begin: Instant, rate: f64, span: Duration, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut at = begin;
        loop {
            // Not in step with anything that repeats.
            at += Duration::from_secs_f64(rng.random_range(0.5..1.5) / rate);
            if at > begin + span {
                return;
            }
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let mut tally = lock(&self.tally);
            tally.requests += 1;
            tally.open.push(at);
            drop(tally);
            // The workers live as long as the program, unless their connections broke.
            let _ = self.queue.send(at);
        }
    }

    /// Waits for what is still open, until `end`.
    fn finish(&self, end: Instant) -> ObjectAnswers {
        while Instant::now() < end && !lock(&self.tally).open.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        self.is_over.store(true, Ordering::Relaxed);
        let mut tally = lock(&self.tally);
        let open = std::mem::take(&mut tally.open);
        for due in &open {
            tally.record(*due);
        }
        ObjectAnswers {
            bytes: self.bytes,
            requests: tally.requests,
            unanswered: open.len() as u64,
            quantiles_us: QUANTILES
                .iter()
                .map(|&quantile| tally.histogram.value_at_quantile(quantile))
                .collect(),
        }
    }
}

impl Tally {
    fn record(&mut self, due: Instant) {
        let micros = due.elapsed().as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros.max(1));
    }
}

fn work(
    mut stream: TcpStream,
    bytes: u64,
    due: &Mutex<mpsc::Receiver<Instant>>,
    tally: &Mutex<Tally>,
    is_over: &AtomicBool,
) {
    let mut block = vec![0; BLOCK];
    loop {
        let next = due.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(at) = next else { return };
        // A connection that broke leaves its request open: it shows as unanswered.
        if fetch(&mut stream, bytes, &mut block).is_err() || is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut tally = lock(tally);
        tally.open.retain(|open| *open != at);
        tally.record(at);
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
