//! A bounded pool whose users each have a share of it: a stream, a connection, a key, an address range.
//! What is shared out (connections, targets, open files) and how much of it is the owner's choice.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts what each user holds of a pool. Clones count together.
///
/// A place in the pool is taken under several names at once, each with a limit of its own: the connection,
/// its key, everybody. It is granted when all of them have one left, so whoever takes all he can takes his
/// own share and no more.
///
/// ```
/// use rp_proxy::shares::Shares;
///
/// let pool = Shares::new();
/// let place = pool.take([("alice", 1), ("everybody", 10)]);
/// assert!(place.is_ok());
/// assert_eq!(pool.take([("alice", 1), ("everybody", 10)]).unwrap_err(), "alice");
/// drop(place);
/// assert_eq!(pool.held(&"everybody"), 0);
/// ```
pub struct Shares<U> {
    held: Arc<Mutex<HashMap<U, usize>>>,
}

impl<U> Clone for Shares<U> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
        }
    }
}

impl<U> Default for Shares<U> {
    fn default() -> Self {
        Self {
            held: Arc::default(),
        }
    }
}

impl<U> fmt::Debug for Shares<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = lock(&self.held).len();
        write!(f, "Shares({users} users)")
    }
}

impl<U: Clone + Eq + Hash> Shares<U> {
    /// A pool of which nothing is held.
    pub fn new() -> Self {
        Self::default()
    }

    /// One place for each of `users`, who may hold as many as stands beside them.
    ///
    /// # Errors
    /// The first user whose share is used up; then nothing was taken.
    pub fn take<const N: usize>(&self, users: [(U, usize); N]) -> Result<Place<U>, U> {
        let mut held = lock(&self.held);
        for (user, limit) in &users {
            if held.get(user).is_some_and(|held| held >= limit) || *limit == 0 {
                return Err(user.clone());
            }
        }
        let users = users.map(|(user, _)| user);
        for user in &users {
            *held.entry(user.clone()).or_default() += 1;
        }
        Ok(Place {
            users: users.into(),
            shares: self.clone(),
        })
    }

    /// How many places `user` holds.
    pub fn held(&self, user: &U) -> usize {
        lock(&self.held).get(user).copied().unwrap_or(0)
    }
}

/// A place in a pool, given back when dropped.
pub struct Place<U: Clone + Eq + Hash> {
    users: Box<[U]>,
    shares: Shares<U>,
}

impl<U: Clone + Eq + Hash> fmt::Debug for Place<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} users)", self.users.len())
    }
}

impl<U: Clone + Eq + Hash> Drop for Place<U> {
    fn drop(&mut self) {
        let mut held = lock(&self.shares.held);
        for user in &self.users {
            if let Some(count) = held.get_mut(user) {
                *count -= 1;
                if *count == 0 {
                    // What is remembered is bounded by what is held.
                    held.remove(user);
                }
            }
        }
    }
}

fn lock<U>(held: &Mutex<HashMap<U, usize>>) -> MutexGuard<'_, HashMap<U, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
