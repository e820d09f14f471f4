//! The rates of keys, which all connections of one key keep together.
//! Which rate a key has stands in `authorized_keys`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rp_protocol::{RateLimit, RateLimits, crypto::identity::PublicKey, units::Bandwidth};

#[cfg(test)]
mod tests;

/// What one key's connections share; as long as one of them has it, the others find it.
#[derive(Debug)]
pub struct KeyRate(RateLimits);

impl KeyRate {
    /// The limits of each of the connections.
    pub const fn limits(&self) -> &RateLimits {
        &self.0
    }
}

/// The most that any connection may send; clones share it, and it may change.
#[derive(Clone, Debug, Default)]
pub struct MaxRate(Arc<Mutex<Option<Bandwidth>>>);

impl MaxRate {
    /// This rate, or none.
    pub fn new(rate: Option<Bandwidth>) -> Self {
        Self(Arc::new(Mutex::new(rate)))
    }

    /// The rate at present.
    pub fn get(&self) -> Option<Bandwidth> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has connections that ask from here on send at most `rate`.
    pub fn set(&self, rate: Option<Bandwidth>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rate;
    }
}

/// The rates in use. Of two lines with the same key each counts by itself.
#[derive(Debug, Default)]
pub struct KeyRates {
    rates: Mutex<HashMap<(PublicKey, Bandwidth), Weak<KeyRate>>>,
}

impl KeyRates {
    /// What the connections of `key` share at `rate`, in each direction.
    pub fn get(&self, key: PublicKey, rate: Bandwidth) -> Arc<KeyRate> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rates.get(&(key, rate)).and_then(Weak::upgrade) {
            return known;
        }
        rates.retain(|_, rate| rate.strong_count() > 0);
        let shared = Arc::new(KeyRate(RateLimits {
            send: Some(RateLimit::new(rate)),
            receive: Some(RateLimit::new(rate)),
        }));
        rates.insert((key, rate), Arc::downgrade(&shared));
        shared
    }
}
