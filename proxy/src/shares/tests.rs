//! Who gets a place, and who is refused.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum User {
    Everybody,
    Key(u8),
}

fn take(shares: &Shares<User>, key: u8) -> Result<Place<User>, User> {
    shares.take([(User::Key(key), 3), (User::Everybody, 5)])
}

#[test]
fn one_user_takes_no_more_than_a_share_and_another_is_served() {
    let shares = Shares::new();
    let taken: Vec<_> = std::iter::from_fn(|| take(&shares, 1).ok()).collect();
    assert_eq!(taken.len(), 3);
    assert_eq!(take(&shares, 1).unwrap_err(), User::Key(1));
    assert!(take(&shares, 2).is_ok());
}

#[test]
fn what_all_hold_together_is_bounded_too() {
    let shares = Shares::new();
    let places: Vec<_> = [1, 1, 2, 2, 3]
        .map(|key| take(&shares, key).unwrap())
        .into();
    assert_eq!(take(&shares, 4).unwrap_err(), User::Everybody);
    drop(places);
    assert!(take(&shares, 4).is_ok());
}

#[test]
fn a_refusal_takes_nothing_and_a_dropped_place_leaves_nothing_behind() {
    let shares = Shares::new();
    let places: Vec<_> = (0..3).map(|_| take(&shares, 1).unwrap()).collect();
    assert!(take(&shares, 1).is_err());
    assert_eq!(shares.held(&User::Everybody), 3);
    drop(places);
    assert_eq!(shares.held(&User::Key(1)), 0);
    assert!(lock(&shares.held).is_empty());
}

#[test]
fn a_share_of_nothing_is_refused() {
    let shares = Shares::new();
    assert_eq!(shares.take([(User::Key(1), 0)]).unwrap_err(), User::Key(1));
}
