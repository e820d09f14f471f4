//! When attempts start, in virtual time.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::time::sleep;

use super::*;

/// Counts its calls; each takes `takes`, and the first `failures` of them fail.
#[derive(Clone, Debug)]
struct Server {
    asked: Arc<AtomicU32>,
    takes: Duration,
    failures: u32,
}

impl Server {
    fn new(takes: Duration, failures: u32) -> Self {
        Self {
            asked: Arc::default(),
            takes,
            failures,
        }
    }

    fn connect(&self) -> impl Future<Output = Result<u32, &'static str>> + Send + 'static {
        let index = self.asked.fetch_add(1, Ordering::Relaxed);
        let (takes, failures) = (self.takes, self.failures);
        async move {
            sleep(takes).await;
            match index < failures {
                true => Err("nobody there"),
                false => Ok(index),
            }
        }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// How many attempts were made within `time`, none of which succeeds.
async fn attempts_within(server: &Server, wanted: &Notify, time: Duration) -> u32 {
    let before = server.asked();
    let connect = || server.connect();
    let _ = tokio::time::timeout(time, reconnect(&connect, wanted, |_| ())).await;
    server.asked() - before
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_while_nobody_asks() {
    let server = Server::new(Duration::ZERO, u32::MAX);
    let made = attempts_within(&server, &Notify::new(), Duration::from_secs(600)).await;
    // Six while the pause doubles, then one every 15 to 30 s.
    assert!((24..=46).contains(&made), "{made}");
}

#[tokio::test(start_paused = true)]
async fn a_request_cuts_a_pause_short() {
    let server = Server::new(Duration::ZERO, 20);
    let (wanted, connect) = (Arc::new(Notify::new()), || server.connect());
    let back = reconnect(&connect, &wanted, |_| ());
    let asking = async {
        // Deep in the longest pauses.
        sleep(Duration::from_secs(120)).await;
        let before = server.asked();
        loop {
            wanted.notify_one();
            sleep(MIN_INTERVAL).await;
            if server.asked() > 20 {
                return before;
            }
        }
    };
    let asked_at = Instant::now() + Duration::from_secs(120);
    let (_, before) = tokio::join!(back, asking);
    assert!(before < 20, "{before}");
    let took = Instant::now() - asked_at;
    assert!(took <= MIN_INTERVAL * (22 - before), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn many_requests_make_one_attempt_per_interval() {
    let server = Server::new(Duration::ZERO, u32::MAX);
    let wanted = Arc::new(Notify::new());
    let crowd = wanted.clone();
    tokio::spawn(async move {
        loop {
            crowd.notify_one();
            sleep(Duration::from_millis(1)).await;
        }
    });
    let made = attempts_within(&server, &wanted, Duration::from_secs(30)).await;
    assert!(made <= 31, "{made}");
}

#[tokio::test(start_paused = true)]
async fn requests_late_in_attempts_start_fresh_ones() {
    // The first attempt met a server that was down; its next packet is far away.
    let server = Server::new(Duration::from_secs(9), 0);
    let wanted = Notify::new();
    let connect = || server.connect();
    let asking = async {
        sleep(Duration::from_secs(2)).await;
        for _ in 0..5 {
            wanted.notify_one();
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::join!(reconnect(&connect, &wanted, |_| ()), asking);
    assert_eq!(server.asked(), 3, "three attempts at once and no more");
}
