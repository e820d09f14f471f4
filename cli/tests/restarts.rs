//! A server that is killed and started again, and one whose rules change, while clients are at work.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use world::{Running, World, socks5, target};

const CLIENTS: usize = 6;

/// A stream that says nothing for so long hangs.
const HUNG: Duration = Duration::from_secs(60);

/// A target that sends back what comes.
fn echo() -> SocketAddr {
    target(|mut tcp| {
        thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = tcp.read(&mut block) {
                if tcp.write_all(&block[..read]).is_err() {
                    return;
                }
            }
        });
    })
}

/// Clients that exchange without a pause and connect again when they are cut.
struct Load {
    is_over: Arc<AtomicBool>,
    /// Who had the first exchange over a new connection, and when.
    served: Receiver<(usize, Instant)>,
    clients: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(proxy: &str, target: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (tell, served) = mpsc::channel();
        let clients = (0..CLIENTS).map(|client| {
            let (proxy, is_over, tell) = (proxy.to_owned(), is_over.clone(), tell.clone());
            thread::spawn(move || {
                let mut cut = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(tcp) = connect(&proxy, target) {
                        exchange(tcp, &is_over, || {
                            let _ = tell.send((client, Instant::now()));
                        });
                    }
                    cut += u64::from(!is_over.load(Ordering::Relaxed));
                }
                cut
            })
        });
        Self {
            clients: clients.collect(),
            is_over,
            served,
        }
    }

    /// Waits until each has had the first exchange over a connection after `since`.
    fn all_served(&self, since: Instant) {
        let mut waiting = [true; CLIENTS];
        while waiting.contains(&true) {
            let (client, at) = self.served.recv_timeout(HUNG).unwrap();
            waiting[client] &= at < since;
        }
    }

    /// Ends it; how many connections were cut or not made.
    fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    }
}

/// A connection through the proxy, if it has a server.
fn connect(proxy: &str, target: SocketAddr) -> Option<TcpStream> {
    let SocketAddr::V4(target) = target else {
        panic!("an IPv4 target");
    };
    let mut tcp = TcpStream::connect(proxy).unwrap();
    tcp.set_read_timeout(Some(HUNG)).unwrap();
    let mut request = vec![5, 1, 0, 5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    tcp.write_all(&request).unwrap();
    let mut reply = [0; 12];
    not_hung(tcp.read_exact(&mut reply))?;
    (reply[3] == 0).then_some(tcp)
}

fn exchange(mut tcp: TcpStream, is_over: &AtomicBool, served: impl Fn()) {
    let block = [7; 4096];
    let mut is_first = true;
    while !is_over.load(Ordering::Relaxed) {
        let mut back = [0; 4096];
        let both = tcp
            .write_all(&block)
            .and_then(|()| tcp.read_exact(&mut back));
        if not_hung(both).is_none() {
            return;
        }
        assert_eq!(back, block);
        if std::mem::take(&mut is_first) {
            served();
        }
    }
}

/// What was done, unless the connection was cut.
fn not_hung<T>(result: std::io::Result<T>) -> Option<T> {
    if let Err(error) = &result {
        let kind = error.kind();
        assert!(
            kind != ErrorKind::WouldBlock && kind != ErrorKind::TimedOut,
            "a stream hangs"
        );
    }
    result.ok()
}

fn descriptors(program: &Running) -> usize {
    let folder = format!("/proc/{}/fd", program.child.id());
    fs::read_dir(folder).unwrap().count()
}

/// Waits until a program has no more descriptors than `limit`.
fn closes_down_to(program: &Running, limit: usize) {
    let began = Instant::now();
    while descriptors(program) > limit {
        assert!(
            began.elapsed() < HUNG,
            "{} descriptors, not {limit}",
            descriptors(program)
        );
        thread::yield_now();
    }
}

#[test]
fn a_server_killed_under_load_comes_back_to_clients_that_neither_hang_nor_leak() {
    let mut world = World::new();
    let (client, proxy) = world.proxy();
    let echo = echo();
    let mut first = socks5(&proxy, echo);
    first.write_all(b"here").unwrap();
    first.read_exact(&mut [0; 4]).unwrap();
    drop(first);
    // The listener, the connection to the server and what belongs to it; a stream may still be closing.
    let before = descriptors(&client);
    let load = Load::start(&proxy, echo);
    load.all_served(Instant::now() - HUNG);
    for _ in 0..3 {
        world.server.kill();
        // Connections over which somebody was served before are cut.
        let killed = Instant::now();
        world.start_server();
        load.all_served(killed);
    }
    assert!(load.stop() >= 3 * CLIENTS as u64, "nothing was cut");
    closes_down_to(&client, before);
}

#[test]
fn rules_that_change_under_load_cut_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("s.toml");
    fs::write(&config, "allow = ['127.0.0.0/8']\n").unwrap();
    let mut world = World::serving(&["--config", config.to_str().unwrap()]);
    let (_client, proxy) = world.proxy();
    let load = Load::start(&proxy, echo());
    load.all_served(Instant::now() - HUNG);
    for time in 0..5 {
        fs::write(
            &config,
            format!("allow = ['127.0.0.0/8', '10.{time}.0.0/16']\n"),
        )
        .unwrap();
        world.server.signal("-HUP");
        world.server.logged("settings read again");
    }
    assert_eq!(load.stop(), 0);
}
