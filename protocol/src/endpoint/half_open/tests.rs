use super::*;
use crate::wire::id::ConnectionId;

fn key(remote: &str, id: u64) -> Key {
    Key {
        remote: remote.parse().unwrap(),
        id: ConnectionId::new(id.to_be_bytes()),
    }
}

fn insert(places: &mut HalfOpen, key: Key) -> Option<Key> {
    let (place, evicted) = places.insert(key);
    assert!(places.holds(&key, place) && !places.holds(&key, place + 1));
    evicted
}

//= spec/02-handshake.md#half-open-connections
//= type=test
//# When a client that has proven its address finds the share of its range or all places taken, the server MUST end
//# another handshake instead of refusing the client: in its own range if that has its share, else in the range that
//# holds the most places, of the address and port that holds the most there, the oldest.
#[test]
fn socket_that_takes_all_it_can_makes_room_for_itself_only() {
    let mut places = HalfOpen::new(160);
    let honest = key("192.0.2.7:1000", 0);
    assert_eq!(insert(&mut places, honest), None);
    for id in 0..9 {
        assert_eq!(insert(&mut places, key("192.0.2.66:9", id)), None);
    }
    for id in 9..1000 {
        assert_eq!(
            insert(&mut places, key("192.0.2.66:9", id)),
            Some(key("192.0.2.66:9", id - 9)),
            "its own oldest"
        );
    }
    assert_eq!(places.len(), 10);
    assert!(places.is_full_for("192.0.2.99:1".parse().unwrap()));
    assert!(!places.is_full_for("192.0.3.99:1".parse().unwrap()));
    assert!(places.remove(&honest) && !places.remove(&honest));
}

#[test]
fn many_ports_of_a_range_go_by_age() {
    let mut places = HalfOpen::new(48);
    for port in 1..=3 {
        assert_eq!(
            insert(&mut places, key(&format!("192.0.2.66:{port}"), 0)),
            None
        );
    }
    let newest = key("192.0.2.1:1", 0);
    assert_eq!(insert(&mut places, newest), Some(key("192.0.2.66:1", 0)));
    assert_eq!(
        insert(&mut places, key("192.0.2.2:1", 0)),
        Some(key("192.0.2.66:2", 0))
    );
}

#[test]
fn when_all_places_are_taken_the_largest_range_makes_room() {
    let mut places = HalfOpen::new(32);
    for range in 0..16 {
        for id in 0..2 {
            assert_eq!(
                insert(&mut places, key(&format!("10.0.{range}.1:1"), id)),
                None
            );
        }
    }
    let honest = |last| key(&format!("[2001:db8:{last}::1]:1"), 0);
    assert_eq!(insert(&mut places, honest(1)), Some(key("10.0.0.1:1", 0)));
    assert_eq!(insert(&mut places, honest(2)), Some(key("10.0.1.1:1", 0)));
    assert_eq!(places.len(), 32);
    let same = |a: &str, b: &str| Range::of(a.parse().unwrap()) == Range::of(b.parse().unwrap());
    assert!(same("[2001:db8:1:2::1]:1", "[2001:db8:1:ff::9]:2"));
    assert!(same("[::ffff:192.0.2.1]:1", "192.0.2.2:1"));
}

#[test]
fn everybody_leaves_nothing_behind() {
    let mut places = HalfOpen::new(64);
    let keys: Vec<_> = (0..4).map(|n| key(&format!("10.{n}.0.1:1"), n)).collect();
    for key in &keys {
        insert(&mut places, *key);
    }
    assert!(keys.iter().all(|key| places.remove(key)));
    assert_eq!(places.len(), 0);
    assert!(places.ranges.is_empty());
}
