use tokio::sync::TryAcquireError;

use super::*;

/// Takes places for `host` until it gets none.
async fn take_all(places: &Places, host: &str) -> Vec<ClientPlace> {
    let host = host.parse().unwrap();
    let mut taken = Vec::new();
    while places.all.available_permits() > 0 {
        match places.take(places.free().await, host) {
            Some(place) => taken.push(place),
            None => break,
        }
    }
    taken
}

#[tokio::test]
async fn a_host_that_takes_all_it_can_leaves_places_for_others() {
    let places = Places::new(80);
    let greedy = take_all(&places, "192.0.2.1").await;
    assert_eq!(greedy.len(), 20);
    let other = "192.0.2.2".parse().unwrap();
    assert!(places.take(places.free().await, other).is_some());
    drop(greedy);
    assert_eq!(take_all(&places, "192.0.2.1").await.len(), 20);
}

#[tokio::test]
async fn programs_of_this_machine_share_most_places_whichever_loopback_address_they_have() {
    let places = Places::new(80);
    let mut local = take_all(&places, "127.0.0.1").await;
    local.extend(take_all(&places, "127.8.8.8").await);
    local.extend(take_all(&places, "::1").await);
    local.extend(take_all(&places, "::ffff:127.0.0.1").await);
    assert_eq!(local.len(), 70);
    assert_eq!(take_all(&places, "192.0.2.1").await.len(), 10);
}

#[tokio::test]
async fn addresses_of_one_network_are_one_host_in_ipv6() {
    let places = Places::new(80);
    let mut greedy = Vec::new();
    for host in 1..=80 {
        let host = Ipv6Addr::from(0x2001_0db8_u128 << 96 | host).into();
        greedy.extend(places.take(places.free().await, host));
    }
    assert_eq!(greedy.len(), 20);
}

#[tokio::test]
async fn a_single_place_is_anybodys() {
    let places = Places::new(1);
    let place = places.take(places.free().await, "127.0.0.1".parse().unwrap());
    assert!(place.is_some());
    let none = places.all.clone().try_acquire_owned();
    assert_eq!(none.unwrap_err(), TryAcquireError::NoPermits);
}
