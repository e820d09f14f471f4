//! Nobody has all of the budget, and it is never exceeded.

use super::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

//= spec/05-streams.md#window-growth
//= type=test
//# A connection SHOULD be given no more than an eighth of what the budget has left, nor of all of
//# it, and the connections of one network together no more than a quarter.
#[test]
fn each_request_leaves_most_of_what_is_free() {
    let budget = Budget::new(8000);
    assert_eq!(budget.take(5000, 0), 1000);
    assert_eq!(budget.take(500, 0), 500);
    assert_eq!(budget.take(5000, 0), 812);
    budget.give_back(2312);
    assert_eq!(budget.reserved(), 0);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A connection SHOULD be given no more than an eighth of what the budget has left, nor of all of
//# it, and the connections of one network together no more than a quarter.
#[test]
fn no_connection_has_more_than_an_eighth() {
    let budget = Budget::new(8000);
    assert_eq!(budget.take(5000, 900), 100);
    assert_eq!(budget.take(5000, 1000), 0);
}

//= spec/05-streams.md#window-growth
//= type=test
//# A connection SHOULD be given no more than an eighth of what the budget has left, nor of all of
//# it, and the connections of one network together no more than a quarter.
#[test]
fn a_network_with_many_connections_leaves_the_others_theirs() {
    let mut budgets = Budgets::new(8000, 8000);
    let greedy: Vec<Budget> = (0..100).map(|last| budgets.of(address(last))).collect();
    let taken: u64 = greedy.iter().map(|budget| budget.take(1000, 0)).sum();
    assert_eq!(taken, 2000);
    let honest = budgets.of(IpAddr::from([198, 51, 100, 1]));
    assert_eq!(honest.take(1000, 0), 750);
}

#[test]
fn mapped_addresses_are_of_the_network_they_stand_for() {
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0207]);
    assert_eq!(network(mapped), network(address(9)));
    assert_ne!(network(address(9)), network(IpAddr::from([192, 0, 3, 9])));
}

#[test]
fn networks_without_connections_are_forgotten() {
    let mut budgets = Budgets::new(8000, 8000);
    let kept = budgets.of(address(1));
    kept.insist(10);
    for high in 0..=255 {
        for low in 0..=255 {
            drop(budgets.of(IpAddr::from([10, high, low, 1])));
        }
    }
    assert!(budgets.networks.len() <= 2 * SPARE_NETWORKS);
    assert_eq!(budgets.of(address(2)).network.unwrap().free(), 1990);
}

#[test]
fn of_the_send_budget_as_much_is_left_for_the_next_as_each_has() {
    let budget = Budget::new(12 << 20);
    let take = |sending: &mut Sending| {
        let (held, most) = (sending.bytes(), sending.ceiling());
        sending.change(held, most);
    };
    let mut alone = Sending::new(budget.clone());
    take(&mut alone);
    assert_eq!(alone.bytes(), 6 << 20);
    assert_eq!(alone.ceiling(), 6 << 20);
    // Who has more than the threshold gets nothing, and so both come to the same.
    let mut next = Sending::new(budget.clone());
    for _ in 0..40 {
        take(&mut next);
        let (held, most) = (alone.bytes(), alone.ceiling());
        alone.change(held, most);
    }
    assert!(alone.bytes().abs_diff(next.bytes()) <= 1);
    assert!(budget.sending.free().abs_diff(4 << 20) <= 4);
    drop((alone, next));
    assert_eq!(budget.sending(), 0);
}

#[test]
fn a_full_send_budget_leaves_each_connection_what_it_needs_to_go_on() {
    let budget = Budget::new(1 << 20);
    let mut all: Vec<Sending> = (0..100).map(|_| Sending::new(budget.clone())).collect();
    for sending in &mut all {
        let most = sending.ceiling();
        sending.change(0, most);
    }
    assert_eq!(all[99].bytes(), LEAST_SEND_BYTES);
    assert!(budget.sending() <= (1 << 20) + 100 * LEAST_SEND_BYTES);
}
