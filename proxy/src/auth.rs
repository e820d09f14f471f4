//! The user name and password a front end may ask its clients for.
//! The keys that let a client into a server live in the protocol crate and the programs.

mod attempts;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use subtle::{Choice, ConstantTimeEq as _};
use tracing::info;

use self::attempts::Attempts;

/// Bytes of a wrong user name that are logged.
const MAX_LOGGED: usize = 64;

/// The users a front end lets in. Empty means everybody, which is only wise on loopback. Clones share the users
/// and what is known of wrong passwords.
///
/// ```
/// use rp_proxy::auth::Credentials;
///
/// let mut users = Credentials::default();
/// assert!(!users.is_required());
/// users.add("alice", "sesame");
/// assert!(users.accepts(b"alice", b"sesame"));
/// assert!(!users.accepts(b"alice", b"open"));
/// ```
#[derive(Clone, Default)]
pub struct Credentials(Arc<Shared>);

#[derive(Default)]
struct Shared {
    users: RwLock<Arc<[User]>>,
    attempts: Attempts,
}

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
        let users = self.0.users.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&users)
    }

    fn set(&self, users: Arc<[User]>) {
        *self.0.users.write().unwrap_or_else(PoisonError::into_inner) = users;
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

    /// Whether somebody at `from` who says to be `user` with `password` is let in. Whoever was wrong often waits
    /// before he is told.
    pub async fn admit(&self, from: IpAddr, user: &[u8], password: &[u8]) -> bool {
        let Some(_turn) = self.0.attempts.turn(from).await else {
            return false;
        };
        let is_right = self.accepts(user, password);
        if !is_right {
            self.0.attempts.note_wrong(from);
            let shown = &user[..user.len().min(MAX_LOGGED)];
            info!(%from, user = %shown.escape_ascii(), "wrong user or password");
        }
        is_right
    }

    /// Whether the value of a `Proxy-Authorization` header lets its sender at `from` in (RFC 7617).
    pub async fn admit_basic(&self, from: IpAddr, header: &[u8]) -> bool {
        match basic_pair(header) {
            Some((user, password)) => self.admit(from, &user, &password).await,
            None => false,
        }
    }
}

/// User and password of the value of a `Proxy-Authorization` header, if it is of the scheme Basic.
fn basic_pair(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = header.split_first_chunk::<5>()?;
    if !scheme.eq_ignore_ascii_case(b"basic") || !rest.starts_with(b" ") {
        return None;
    }
    let mut user = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = user.iter().position(|&b| b == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} users)", self.users().len())
    }
}

#[cfg(test)]
mod tests;
