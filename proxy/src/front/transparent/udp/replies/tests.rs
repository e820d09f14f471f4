//! How many sockets are kept.

use super::*;

/// As many as `count` sockets, the first used longest ago.
async fn filled(count: usize) -> HashMap<SocketAddr, Open> {
    let mut open = HashMap::new();
    for port in 1..=count {
        let target = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let used = Instant::now();
        open.insert(target, Open { socket, used });
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    open
}

#[tokio::test(start_paused = true)]
async fn the_socket_unused_for_longest_makes_room() {
    let mut open = filled(MAX_SOCKETS).await;
    make_room(&mut open);
    assert_eq!(open.len(), MAX_SOCKETS - 1);
    assert!(!open.contains_key(&"127.0.0.1:1".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn idle_sockets_are_closed_together() {
    let mut open = filled(MAX_SOCKETS).await;
    tokio::time::advance(IDLE - Duration::from_millis(100)).await;
    make_room(&mut open);
    // The last was used a millisecond before the wait began.
    assert_eq!(open.len(), 99);
}
