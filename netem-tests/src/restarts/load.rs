//! Clients that never rest: half of them keep their connections as long as they can, the others make a new one
//! for every few exchanges.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::connections::crowd::dial;

/// An exchange without an end within this time hangs. The front ends answer within ten seconds that there is
/// no server.
const HUNG: Duration = Duration::from_secs(30);

/// Bytes of an exchange, each way.
const BLOCK: usize = 16 << 10;

/// Exchanges of a connection that does not stay.
const FEW: usize = 5;

/// Pause after a failure, so that a proxy that is refused does not fill the machine.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients at work.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    is_over: AtomicBool,
    /// When each client's last connection was made, in microseconds from the beginning.
    connected_us: Vec<AtomicU64>,
    done: AtomicU64,
    cut: AtomicU64,
    hung: AtomicU64,
}

/// What became of the exchanges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) done: u64,
    pub(super) cut: u64,
    pub(super) hung: u64,
}

impl Load {
    /// Starts `count` clients that go through `proxy` to a server that echoes.
    pub(super) fn start(proxy: SocketAddr, target: SocketAddr, count: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            connected_us: (0..count).map(|_| AtomicU64::new(0)).collect(),
            done: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            hung: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for index in 0..count {
                    let shared = Arc::clone(&inside);
                    clients.spawn(async move { shared.work(index, proxy, target).await });
                }
                clients.join_all().await;
            });
            Ok(())
        });
        Ok(Self { shared, thread })
    }

    /// Waits until every client has had an exchange over a connection made after `since`; how long after
    /// it that was, or `limit`.
    pub(super) fn served_again(&self, since: Instant, limit: Duration) -> Duration {
        let shared = &self.shared;
        let since_us = micros(since.saturating_duration_since(shared.began));
        loop {
            let is_served = |client: &AtomicU64| client.load(Relaxed) > since_us;
            let took = since.elapsed();
            if shared.connected_us.iter().all(is_served) || took >= limit {
                return took;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets every client end its exchange.
    pub(super) fn stop(self) -> Report {
        self.shared.is_over.store(true, Relaxed);
        // A panic of its own has been reported there.
        let _ = self.thread.join();
        let shared = &self.shared;
        Report {
            done: shared.done.load(Relaxed),
            cut: shared.cut.load(Relaxed),
            hung: shared.hung.load(Relaxed),
        }
    }
}

impl Shared {
    async fn work(&self, index: usize, proxy: SocketAddr, target: SocketAddr) {
        let exchanges = if index.is_multiple_of(2) {
            usize::MAX
        } else {
            FEW
        };
        while !self.is_over.load(Relaxed) {
            let counter = match timeout(HUNG, dial(proxy, target)).await {
                Ok(Ok(stream)) => match self.exchange(index, stream, exchanges).await {
                    Ok(()) => continue,
                    Err(Failed::Cut) => &self.cut,
                    Err(Failed::Hung) => &self.hung,
                },
                Ok(Err(_)) => &self.cut,
                Err(_) => &self.hung,
            };
            counter.fetch_add(1, Relaxed);
            sleep(PAUSE).await;
        }
    }

    async fn exchange(
        &self,
        index: usize,
        mut stream: TcpStream,
        count: usize,
    ) -> Result<(), Failed> {
        let block = vec![0x5a; BLOCK];
        let made = micros(self.began.elapsed());
        for _ in 0..count {
            if self.is_over.load(Relaxed) {
                break;
            }
            let mut back = vec![0; BLOCK];
            let both = async {
                let (mut read, mut write) = stream.split();
                tokio::try_join!(write.write_all(&block), read.read_exact(&mut back))
            };
            let outcome = timeout(HUNG, both).await;
            match outcome {
                Ok(Ok(_)) if back == block => {}
                Ok(_) => return Err(Failed::Cut),
                Err(_) => return Err(Failed::Hung),
            }
            self.done.fetch_add(1, Relaxed);
            self.connected_us[index].store(made, Relaxed);
        }
        Ok(())
    }
}

enum Failed {
    Cut,
    Hung,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
