//! Ready answers to the question whom to trust, for programs that have no policy of their own.

use std::collections::HashSet;

use super::identity::{PeerRejected, PeerVerifier, PublicKey};

/// Trusts the keys it was given and nobody else.
///
/// ```
/// use rp_protocol::crypto::{
///     identity::{Identity, PeerVerifier},
///     trust::PinnedKeys,
/// };
///
/// let (friend, stranger) = (Identity::generate()?, Identity::generate()?);
/// let trusted: PinnedKeys = [friend.public_key()].into_iter().collect();
/// assert!(trusted.verify(&friend.public_key()).is_ok());
/// assert!(trusted.verify(&stranger.public_key()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys(HashSet<PublicKey>);

impl PinnedKeys {
    /// Trusts `key` alone: what a client knows of its server.
    pub fn one(key: PublicKey) -> Self {
        Self::from_iter([key])
    }
}

impl FromIterator<PublicKey> for PinnedKeys {
    fn from_iter<T: IntoIterator<Item = PublicKey>>(keys: T) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl PeerVerifier for PinnedKeys {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        if self.0.contains(key) {
            return Ok(());
        }
        Err(PeerRejected(format!(
            "{key} is not one of the trusted keys"
        )))
    }
}

/// Trusts everybody, and so says nothing of who the peer is: whoever is on the way can be it.
///
/// For tests, measurements, and servers that let everybody in and tell their users apart afterwards, by
/// [`Connection::peer`](crate::Connection::peer). A client with it is open to anybody on the way.
#[derive(Clone, Copy, Debug)]
pub struct AcceptAnyKey;

impl PeerVerifier for AcceptAnyKey {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}
