//! Who may hold how many connections.

use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 20,
    per_key: 4,
    per_network: 6,
    anonymous: 5,
    anonymous_per_network: 3,
};

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; PublicKey::LEN])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// All that `next` is granted before its first refusal, and that refusal.
fn exhaust(mut next: impl FnMut(u8) -> Result<Admitted, TooMany>) -> (Vec<Admitted>, TooMany) {
    let mut admitted = Vec::new();
    for number in 0..=u8::MAX {
        match next(number) {
            Ok(connection) => admitted.push(connection),
            Err(refusal) => return (admitted, refusal),
        }
    }
    unreachable!("never refused")
}

#[test]
fn one_key_takes_all_it_can_from_everywhere_and_another_is_admitted() {
    let clients = Clients::new(LIMITS);
    let (held, refusal) = exhaust(|n| clients.admit(key(1), ip(&format!("10.0.{n}.1"))));
    assert_eq!((held.len(), refusal), (4, TooMany::Key));
    assert!(clients.admit(key(2), ip("10.0.0.1")).is_ok());
}

#[test]
fn one_network_takes_all_it_can_with_many_keys_and_another_is_admitted() {
    for (network, other) in [
        ("192.0.2.", "192.0.3.1"),
        ("::ffff:192.0.2.", "192.0.3.1"),
        ("2001:db8::", "2001:db8:0:1::1"),
    ] {
        let clients = Clients::new(LIMITS);
        let (held, refusal) = exhaust(|n| clients.admit(key(n), ip(&format!("{network}{n}"))));
        assert_eq!((held.len(), refusal), (6, TooMany::Network), "{network}");
        assert!(clients.admit(key(99), ip(other)).is_ok());
    }
}

#[test]
fn anonymous_clients_from_everywhere_leave_the_rest_to_listed_keys() {
    let clients = Clients::new(LIMITS);
    let (near, refusal) = exhaust(|_| clients.admit_anonymous(ip("192.0.2.7")));
    assert_eq!((near.len(), refusal), (3, TooMany::Network));
    let (far, refusal) = exhaust(|n| clients.admit_anonymous(ip(&format!("10.0.{n}.1"))));
    assert_eq!((far.len(), refusal), (2, TooMany::Anonymous));
    let (listed, _) = exhaust(|n| clients.admit(key(n), ip(&format!("10.1.{n}.1"))));
    assert_eq!(listed.len(), 15);
}

#[test]
fn all_keys_together_reach_the_total_and_one_that_leaves_makes_space() {
    let clients = Clients::new(LIMITS);
    let (mut held, refusal) = exhaust(|n| clients.admit(key(n), ip(&format!("10.0.{n}.1"))));
    assert_eq!((held.len(), refusal), (20, TooMany::Total));
    held.pop();
    assert!(clients.admit(key(99), ip("10.1.0.1")).is_ok());
}
