//! The user name and password a front end may ask its clients for.
//! The keys that let a client into a server live in the protocol crate and the programs.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use subtle::{Choice, ConstantTimeEq as _};

/// The users a front end lets in. Empty means everybody, which is only wise on loopback. Clones share
/// the users.
#[derive(Clone, Default)]
pub struct Credentials(Arc<RwLock<Arc<[User]>>>);

#[derive(Clone)]
struct User {
    name: Box<[u8]>,
    password: Box<[u8]>,
}

impl Credentials {
    /// Adds a user. A user name holds no `:` (RFC 7617 section 2).
    pub fn add(&mut self, user: &str, password: &str) {
        let user = User {
            name: user.as_bytes().into(),
            password: password.as_bytes().into(),
        };
        let users = self.users().iter().cloned().chain([user]).collect();
        self.set(users);
    }

    /// Lets in the users of `other` instead, from the next client on, in all clones.
    pub fn replace(&self, other: &Self) {
        self.set(other.users());
    }

    fn users(&self) -> Arc<[User]> {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&users)
    }

    fn set(&self, users: Arc<[User]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = users;
    }

    /// Whether clients must name themselves.
    pub fn is_required(&self) -> bool {
        !self.users().is_empty()
    }

    /// Whether `user` with `password` is let in. Takes the same time for every wrong pair of the
    /// same lengths.
    pub fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        self.users()
            .iter()
            .fold(Choice::from(0), |found, known| {
                found | (known.name.ct_eq(user) & known.password.ct_eq(password))
            })
            .into()
    }

    /// Whether the value of a `Proxy-Authorization` header lets its sender in (RFC 7617).
    pub fn accepts_basic(&self, header: &[u8]) -> bool {
        let Some((scheme, rest)) = header.split_first_chunk::<5>() else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"basic") || !rest.starts_with(b" ") {
            return false;
        }
        let Ok(pair) = BASE64_STANDARD.decode(rest.trim_ascii()) else {
            return false;
        };
        match pair.iter().position(|&b| b == b':') {
            Some(colon) => self.accepts(&pair[..colon], &pair[colon + 1..]),
            None => false,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} users)", self.users().len())
    }
}

#[cfg(test)]
mod tests;
