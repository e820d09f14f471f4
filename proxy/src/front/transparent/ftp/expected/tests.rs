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
async fn a_client_that_takes_all_it_can_leaves_others_theirs_from_however_many_addresses() {
    let expected = Expected::default();
    let honest = addr("10.0.0.2:0").ip();
    let told = |port| SocketAddr::new(addr("203.0.113.10:0").ip(), port);
    expected.insert(honest, told(1), addr("192.168.0.5:1"));
    for number in 1..=20_000_u16 {
        // Now and then from another address of the network a host has for itself.
        let greedy = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number / 16);
        expected.insert(greedy.into(), told(number), addr("192.168.0.5:2"));
        assert!(expected.lock().len() <= MAX_EXPECTED);
    }
    let named = Some(addr("192.168.0.5:1"));
    assert_eq!(expected.take(honest, told(1)), named);
}
