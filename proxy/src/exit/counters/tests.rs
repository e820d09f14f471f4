//! Who is counted, what is remembered, and that neither grows without bound.

use super::*;
use crate::target::Target;

fn key(seed: u8) -> PublicKey {
    rp_protocol::crypto::identity::Identity::from_seed(&[seed; 32]).public_key()
}

fn target(port: usize) -> Subject {
    let target = Target::parse(&format!("host.example:{port}"), None).unwrap();
    Subject::Target(target.into())
}

/// A connection to `target` that carried `bytes` to it, and is over.
fn used(account: &KeyAccount, target: &Subject, bytes: u64) {
    let mut request = account.request(target);
    request.connected();
    request.traffic().count_received(bytes);
}

#[test]
fn what_a_connection_carries_counts_for_its_target_its_key_and_in_all() {
    let accounts = Accounts::default();
    let account = accounts.open(key(1));
    let mut request = account.request(&target(1));
    request.connected();
    request.traffic().count_sent(10);
    request.traffic().count_received(3);
    account.request(&target(2)).failed(FailureKind::Denied);
    account.request(&target(2)).failed(FailureKind::Refused);
    let carried = Usage {
        connected: 1,
        active: 1,
        sent: 10,
        received: 3,
        ..Usage::default()
    };
    let refused = Usage {
        denied: 1,
        failed: 1,
        ..Usage::default()
    };
    let mut both = carried;
    both.add(refused);
    let targets = [(target(1), carried), (target(2), refused)];
    assert_eq!(accounts.total().usage(), both);
    assert_eq!(accounts.keys(), [(key(1), both)]);
    assert_eq!(accounts.targets(), targets);
    assert_eq!(accounts.targets_of(&key(1)), targets);
    assert_eq!(accounts.targets_of(&key(2)), []);
    drop(request);
    assert_eq!(accounts.total().usage(), Usage { active: 0, ..both });
}

#[test]
fn a_target_is_one_whoever_asks_for_it() {
    let accounts = Accounts::default();
    for seed in [1, 2] {
        used(&accounts.open(key(seed)), &target(1), 5);
    }
    let usage = Usage {
        connected: 2,
        received: 10,
        ..Usage::default()
    };
    assert_eq!(accounts.targets(), [(target(1), usage)]);
    assert_eq!(accounts.keys().len(), 2);
}

#[test]
fn the_busiest_targets_are_remembered() {
    let accounts = Accounts::default();
    let account = accounts.open(key(1));
    for port in 1..=1000 {
        used(&account, &target(port), if port == 7 { 1000 } else { 1 });
    }
    let targets = accounts.targets();
    assert_eq!(targets.len(), ENDED_TARGETS);
    assert_eq!(targets[0].0, target(7));
    // Nothing is lost of the whole.
    assert_eq!(accounts.total().usage().connected, 1000);
    assert_eq!(accounts.total().usage().received, 1999);
}

#[test]
fn a_key_with_many_targets_pushes_out_those_of_no_other() {
    let accounts = Accounts::default();
    used(&accounts.open(key(1)), &target(1), 1);
    let greedy = accounts.open(key(2));
    for port in 2..=1000 {
        used(&greedy, &target(port), 1_000_000);
    }
    assert_eq!(accounts.targets_of(&key(1)).len(), 1);
}

#[test]
fn what_is_connected_is_always_named() {
    let accounts = Accounts::default();
    let account = accounts.open(key(1));
    let requests: Vec<_> = (1..=2 * ENDED_TARGETS)
        .map(|port| {
            let mut request = account.request(&target(port));
            request.connected();
            request
        })
        .collect();
    for port in 1001..=2000 {
        used(&account, &target(port), 1);
    }
    assert_eq!(accounts.targets().len(), 3 * ENDED_TARGETS);
    requests[0].traffic().count_sent(9);
    assert_eq!(accounts.targets()[0].0, target(1));
    drop(requests);
    assert_eq!(accounts.targets().len(), ENDED_TARGETS);
    assert_eq!(accounts.targets()[0].0, target(1));
}

#[test]
fn keys_that_left_are_remembered_up_to_a_bound() {
    let accounts = Accounts::default();
    let mut seed = [0; 32];
    for at in 0..ENDED_KEYS + 100 {
        seed[..8].copy_from_slice(&at.to_le_bytes());
        let key = rp_protocol::crypto::identity::Identity::from_seed(&seed).public_key();
        used(&accounts.open(key), &target(1), 1);
    }
    assert_eq!(accounts.keys().len(), ENDED_KEYS);
}
