//! Races between addresses on loopback, and the failure that is reported.

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
