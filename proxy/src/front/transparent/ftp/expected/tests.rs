//! What is remembered, for whom and how long.

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_expected_of_its_client_once_and_not_for_long() {
    let expected = Expected::default();
    let (one, other) = (addr("10.0.0.1:0").ip(), addr("10.0.0.2:0").ip());
    let (told, named) = (addr("203.0.113.10:1025"), addr("192.168.0.5:1025"));
    expected.insert(one, told, named);
    assert_eq!(expected.take(other, told), None);
    assert_eq!(expected.take(one, addr("203.0.113.10:1026")), None);
    assert_eq!(expected.take(one, told), Some(named));
    assert_eq!(expected.take(one, told), None);
    expected.insert(one, told, named);
    tokio::time::advance(LIFETIME).await;
    assert_eq!(expected.take(one, told), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_all_it_can_leaves_others_theirs() {
    let expected = Expected::default();
    let (one, other) = (addr("10.0.0.1:0").ip(), addr("10.0.0.2:0").ip());
    let told = |port| SocketAddr::new(addr("203.0.113.10:0").ip(), port);
    expected.insert(other, told(1), addr("192.168.0.5:1"));
    for port in 1..2000 {
        expected.insert(one, told(port), addr("192.168.0.5:2"));
    }
    assert_eq!(expected.take(other, told(1)), Some(addr("192.168.0.5:1")));
    let left = (1..2000).filter(|port| expected.take(one, told(*port)).is_some());
    assert_eq!(left.count(), MAX_OF_CLIENT);
}
