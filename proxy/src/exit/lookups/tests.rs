//! Shares of the lookups: what one client may hold, and who comes next.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::*;

/// What `future` says if it is asked once.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A place that is there at once.
fn place(lookups: &Arc<Lookups>, client: &str) -> Option<Place> {
    match poll_once(pin!(lookups.acquire(client))) {
        Poll::Ready(place) => place,
        Poll::Pending => None,
    }
}

fn greedy(lookups: &Arc<Lookups>, client: &str) -> Vec<Place> {
    std::iter::from_fn(|| place(lookups, client)).collect()
}

#[test]
fn who_takes_all_he_can_leaves_half_and_then_a_third() {
    let lookups = Lookups::new(300);
    let first = greedy(&lookups, "first");
    assert_eq!(first.len(), 150);
    let second = greedy(&lookups, "second");
    assert_eq!(second.len(), 75);
    assert!(greedy(&lookups, "third").len() >= 37);
    assert!(place(&lookups, "honest").is_some());
}

#[test]
fn who_takes_all_he_can_under_many_names_meets_the_whole() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# An exit MUST bound how many names it looks up at once.
    let lookups = Lookups::new(64);
    let held: Vec<Place> = (0..100)
        .flat_map(|client| greedy(&lookups, &client.to_string()))
        .collect();
    assert_eq!(held.len(), 64);
    drop(held);
    assert_eq!(lookups.lock().used, 0);
    assert!(lookups.lock().clients.is_empty());
}

#[test]
fn places_go_to_clients_in_turn_and_not_to_the_longest_queue() {
    let lookups = Lookups::new(1);
    let held = place(&lookups, "a").expect("the only place");
    let mut a = pin!(lookups.acquire("a"));
    let mut a_again = pin!(lookups.acquire("a"));
    let mut b = pin!(lookups.acquire("b"));
    for waiting in [&mut a, &mut a_again, &mut b] {
        assert!(poll_once(waiting.as_mut()).is_pending());
    }
    drop(held);
    let Poll::Ready(first) = poll_once(a.as_mut()) else {
        panic!("it was the turn of a");
    };
    drop(first);
    assert!(poll_once(a_again.as_mut()).is_pending());
    let Poll::Ready(second) = poll_once(b.as_mut()) else {
        panic!("it was the turn of b");
    };
    drop(second);
    assert!(poll_once(a_again.as_mut()).is_ready());
}

#[test]
fn a_request_that_was_given_up_keeps_no_place() {
    let lookups = Lookups::new(1);
    let held = place(&lookups, "a");
    {
        let mut given_up = pin!(lookups.acquire("b"));
        assert!(poll_once(given_up.as_mut()).is_pending());
    }
    drop(held);
    assert!(place(&lookups, "c").is_some());
    assert_eq!(lookups.lock().waiting, 0);
}

#[test]
fn those_who_wait_are_bounded_each_and_a_full_queue_says_so() {
    let lookups = Lookups::new(1);
    let _held = place(&lookups, "a");
    let mut waiting: Vec<_> = (0..MAX_WAITING_EACH)
        .map(|_| Box::pin(lookups.acquire("a")))
        .collect();
    for turn in &mut waiting {
        assert!(poll_once(turn.as_mut()).is_pending());
    }
    let mut refused = pin!(lookups.acquire("a"));
    assert!(matches!(poll_once(refused.as_mut()), Poll::Ready(None)));
    let mut other = pin!(lookups.acquire("b"));
    assert!(poll_once(other.as_mut()).is_pending());
}
