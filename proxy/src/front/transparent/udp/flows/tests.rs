//! Who gets how many places.

use super::*;

fn places() -> Shares<Holder> {
    Shares::new()
}

#[test]
fn an_address_that_takes_all_it_can_leaves_others_theirs() {
    let places = places();
    let take = |ip: &str| {
        let address = Holder::Address(network(ip.parse().unwrap()));
        let users = [(Holder::All, MAX_FLOWS), (address, MAX_FLOWS_OF_ADDRESS)];
        places.take(users).ok()
    };
    let greedy: Vec<_> = std::iter::from_fn(|| take("10.0.0.1")).collect();
    assert_eq!(greedy.len(), MAX_FLOWS_OF_ADDRESS);
    assert!(take("10.0.0.2").is_some());
    // All addresses of a /64 are one host's.
    let greedy: Vec<_> = (0..)
        .map_while(|host| take(&format!("fd00::{host:x}")))
        .collect();
    assert_eq!(greedy.len(), MAX_FLOWS_OF_ADDRESS);
    assert!(take("fd00:0:0:1::1").is_some());
}
