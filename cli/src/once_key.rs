//! The key of `rpserver --once-key`: a secret that lets one `rpcp` fetch what one `rpserver` serves, and dies with it.
//! It travels as one word, which a person carries from one terminal to the other.

use std::{
    env, fmt,
    net::{IpAddr, SocketAddr, UdpSocket},
    str::FromStr,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rp_protocol::crypto::identity::{Identity, PublicKey};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

/// Where `rpcp` finds it: other users of a machine see arguments, and not what is in the environment.
pub const VARIABLE: &str = "RPCP_ONCE_KEY";

/// Bytes of the secret: nobody guesses one of 2^128 in the time that a server runs.
const SECRET: usize = 16;

/// What the secret is grown into a key for.
const CONTEXT: &str = "rapidpath 2026-11 the client's key of rpserver --once-key";

/// A secret, and the server it is for.
pub struct OnceKey {
    secret: Zeroizing<[u8; SECRET]>,
    server: PublicKey,
}

/// Text that is no such key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the key in {VARIABLE} is damaged: paste the whole line that rpserver printed")]
pub struct OnceKeyError;

impl fmt::Debug for OnceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceKey")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl OnceKey {
    /// A new one for the server with this key.
    ///
    /// # Panics
    /// The operating system has no random numbers, without which nothing is safe.
    pub fn new(server: PublicKey) -> Self {
        let mut secret = Zeroizing::new([0; SECRET]);
        rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut *secret)
            .expect("the operating system provides random numbers");
        Self { secret, server }
    }

    /// The one that the environment names.
    ///
    /// # Errors
    /// It names something else.
    pub fn from_environment() -> Result<Option<Self>, OnceKeyError> {
        let Some(text) = env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let text = text.into_string().map(Zeroizing::new);
        text.map_err(|_| OnceKeyError)?.parse().map(Some)
    }

    /// Who shows the secret.
    pub fn identity(&self) -> Identity {
        let seed = Zeroizing::new(blake3::derive_key(CONTEXT, &*self.secret));
        Identity::from_seed(&seed)
    }

    /// The one server it is good for.
    pub fn server(&self) -> PublicKey {
        self.server
    }

    /// The line for the other terminal: fetches everything from `address`.
    pub fn line(&self, address: SocketAddr) -> Zeroizing<String> {
        let word = self.word();
        Zeroizing::new(format!("{VARIABLE}={} rpcp -r rp://{address}/ .", *word))
    }

    fn word(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; SECRET + PublicKey::LEN]);
        bytes[..SECRET].copy_from_slice(&*self.secret);
        bytes[SECRET..].copy_from_slice(self.server.as_bytes());
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_slice()))
    }
}

impl FromStr for OnceKey {
    type Err = OnceKeyError;

    fn from_str(text: &str) -> Result<Self, OnceKeyError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim());
        let bytes = Zeroizing::new(bytes.map_err(|_| OnceKeyError)?);
        let (secret, server) = bytes.split_first_chunk().ok_or(OnceKeyError)?;
        let mut secret: [u8; SECRET] = *secret;
        let server = server.try_into().map_err(|_| OnceKeyError)?;
        let key = Self {
            secret: Zeroizing::new(secret),
            server: PublicKey::from_bytes(server),
        };
        secret.zeroize();
        Ok(key)
    }
}

/// Where others reach a server that listens at `local`: for one that listens everywhere, the address from which this
/// machine sends. No packet is sent to find out.
pub fn reachable(local: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let from = |any: &str, anywhere: &str| -> Option<IpAddr> {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        // Addresses of documentation (RFC 5737, RFC 3849): they are routed as any other.
        socket.connect((anywhere, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = from("0.0.0.0", "192.0.2.1").or_else(|| {
        let sees_ipv6 = local.is_ipv6();
        from("::", "2001:db8::1").filter(|_| sees_ipv6)
    });
    let loopback = IpAddr::from([127, 0, 0, 1]);
    SocketAddr::new(found.unwrap_or(loopback), local.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;

    #[test]
    fn a_key_travels_as_one_word_and_is_shown_nowhere_else() {
        let server = identity::ephemeral().public_key();
        let key = OnceKey::new(server);
        let line = key.line("192.0.2.1:7377".parse().unwrap());
        let word = line.strip_prefix("RPCP_ONCE_KEY=").unwrap();
        let (word, command) = word.split_once(' ').unwrap();
        assert_eq!(command, "rpcp -r rp://192.0.2.1:7377/ .");
        assert_eq!(word.len(), 64);
        let carried: OnceKey = word.parse().unwrap();
        assert_eq!(carried.server(), server);
        let (ours, theirs) = (key.identity(), carried.identity());
        assert_eq!(ours.public_key(), theirs.public_key());
        assert!(!format!("{key:?}").contains(&word[..20]));
        let other = OnceKey::new(server).identity();
        assert_ne!(other.public_key(), ours.public_key());
        for damaged in [&word[1..], &word[..63], "", "x y", &format!("{word}A")] {
            assert_eq!(damaged.parse::<OnceKey>().unwrap_err(), OnceKeyError);
        }
    }

    #[test]
    fn a_server_that_listens_at_one_address_is_reached_there() {
        let local = "192.0.2.7:99".parse().unwrap();
        assert_eq!(reachable(local), local);
        let any = reachable("0.0.0.0:99".parse().unwrap());
        assert!(!any.ip().is_unspecified() && any.port() == 99);
    }
}
