//! Races between addresses on loopback, and the failure that is reported.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::net::TcpListener;

use super::*;

const WITHIN: Duration = Duration::from_secs(10);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address that refuses: bound a moment ago, and nobody listens any more.
async fn refusing() -> SocketAddr {
    listener().await.1
}

#[tokio::test]
async fn connects_to_the_only_address() {
    let (_listener, addr) = listener().await;
    let stream = dial(&[addr], WITHIN).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addr);
}

#[tokio::test]
async fn a_refusing_address_gives_way_to_the_next() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# The exit SHOULD try the addresses of a name as RFC 8305 describes: families alternating, 250
    //# ms apart, at most 16 of them, 10 seconds in all.
    let dead = refusing().await;
    let (_listener, addr) = listener().await;
    let stream = dial(&[dead, addr], WITHIN).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), addr);
}

#[tokio::test]
async fn all_refused_is_refused() {
    let addrs = [refusing().await, refusing().await];
    let failure = dial(&addrs, WITHIN).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<SocketAddr>> + Send>>;

/// What happened, and after how many milliseconds.
type Log = Arc<Mutex<Vec<(u128, String)>>>;

/// An attempt at virtual targets: the last group of an address is how many hundred milliseconds it takes to answer,
/// 0 being a refusal after 10 ms and 255 silence; tells when each started, and when each was given up unanswered.
fn attempts() -> (impl Fn(SocketAddr) -> Attempt, Log) {
    struct GivenUp(Log, Instant, SocketAddr);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            let line = (
                self.1.elapsed().as_millis(),
                format!("{} closed", self.2.ip()),
            );
            self.0.lock().unwrap().push(line);
        }
    }
    let log = Log::default();
    let start = Instant::now();
    let connect = {
        let log = log.clone();
        move |addr: SocketAddr| {
            let log = log.clone();
            let attempt = async move {
                let line = (start.elapsed().as_millis(), addr.ip().to_string());
                log.lock().unwrap().push(line);
                let given_up = GivenUp(log, start, addr);
                let answer = match addr.ip() {
                    IpAddr::V4(ip) => ip.octets()[3],
                    IpAddr::V6(ip) => ip.octets()[15],
                };
                // On the paused clock.
                let answered_after = match answer {
                    0 => Duration::from_millis(10),
                    255 => std::future::pending().await,
                    answer => Duration::from_millis(100) * answer.into(),
                };
                sleep_until(Instant::now() + answered_after).await;
                std::mem::forget(given_up);
                match answer {
                    0 => Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => Ok(addr),
                }
            };
            Box::pin(attempt) as Attempt
        }
    };
    (connect, log)
}

fn addrs(list: &[&str]) -> Vec<SocketAddr> {
    list.iter()
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80))
        .collect()
}

fn log(lines: &[(u128, &str)]) -> Vec<(u128, String)> {
    lines
        .iter()
        .map(|(at, line)| (*at, (*line).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn addresses_start_250_ms_apart_and_the_losers_are_closed() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# The exit SHOULD try the addresses of a name as RFC 8305 describes: families alternating, 250
    //# ms apart, at most 16 of them, 10 seconds in all.
    let (connect, seen) = attempts();
    let tried = addrs(&["2606::ff", "192.0.2.255", "2606::1", "192.0.2.2"]);
    assert_eq!(race(&tried, WITHIN, connect).await, Ok(tried[2]));
    tokio::task::yield_now().await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let expected = [
        (0, "2606::ff"),
        (250, "192.0.2.255"),
        (500, "2606::1"),
        (600, "192.0.2.255 closed"),
        (600, "2606::ff closed"),
    ];
    assert_eq!(seen, log(&expected));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_address_may_still_win_and_a_refusal_starts_the_next_at_once() {
    let (connect, seen) = attempts();
    let tried = addrs(&["192.0.2.0", "192.0.2.4", "192.0.2.9"]);
    assert_eq!(race(&tried, WITHIN, connect).await, Ok(tried[1]));
    let started = [(0, "192.0.2.0"), (10, "192.0.2.4"), (260, "192.0.2.9")];
    assert_eq!(seen.lock().unwrap()[..3], log(&started));
}

#[tokio::test(start_paused = true)]
async fn silence_of_all_addresses_ends_in_time() {
    let (connect, _) = attempts();
    let start = Instant::now();
    let silent = addrs(&["192.0.2.255"; 3]);
    let failure = race(&silent, WITHIN, connect).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert_eq!(start.elapsed(), WITHIN);
}

#[test]
fn the_most_telling_failure_is_kept() {
    let mut kept = None;
    for kind in [
        FailureKind::General,
        FailureKind::NetworkUnreachable,
        FailureKind::TimedOut,
    ] {
        note(&mut kept, kind);
        assert_eq!(kept, Some(kind));
    }
    note(&mut kept, FailureKind::Refused);
    note(&mut kept, FailureKind::TimedOut);
    assert_eq!(kept, Some(FailureKind::Refused));
}
