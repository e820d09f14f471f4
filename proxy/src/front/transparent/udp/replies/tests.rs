//! How many sockets are kept.

use super::*;

const GREEDY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn socket(client: IpAddr) -> Open {
    Open {
        socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
        client,
        used: Instant::now(),
    }
}

/// As many as `count` sockets, the first used longest ago.
async fn filled(count: usize) -> HashMap<SocketAddr, Open> {
    let mut open = HashMap::new();
    for port in 1..=count {
        let target = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        open.insert(target, socket(GREEDY));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    open
}

#[tokio::test(start_paused = true)]
async fn a_client_whom_many_targets_answer_loses_his_own_sockets() {
    let mut open = filled(MAX_SOCKETS).await;
    // The oldest of all is another client's.
    let honest: SocketAddr = "127.0.0.1:1".parse().unwrap();
    open.get_mut(&honest).unwrap().client = "10.0.0.2".parse().unwrap();
    let mut targets = (1..).map(|port| SocketAddr::from(([127, 0, 0, 2], port)));
    for _ in 0..20 {
        make_room(&mut open);
        assert!(open.len() < MAX_SOCKETS);
        assert!(open.contains_key(&honest));
        // The greedy one takes all that was made free.
        while open.len() < MAX_SOCKETS {
            open.insert(targets.next().unwrap(), socket(GREEDY));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idle_sockets_are_closed_together() {
    let mut open = filled(MAX_SOCKETS).await;
    tokio::time::advance(IDLE - Duration::from_millis(100)).await;
    make_room(&mut open);
    // The last was used a millisecond before the wait began.
    assert_eq!(open.len(), 99);
}
