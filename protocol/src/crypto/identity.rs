//! Who an endpoint is and whom it trusts: Ed25519 keys and the verifier's question.

use std::fmt;

/// An Ed25519 public key: the name of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// An Ed25519 key pair.
pub struct Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Why a verifier refuses a key, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRejected(pub String);

/// Decides whether a peer's key is trusted. Possession of the key is proven by the handshake.
pub trait PeerVerifier: Send + Sync + fmt::Debug {
    /// Accept `key` or say why not.
    ///
    /// # Errors
    /// [`PeerRejected`] ends the handshake; its text reaches our own user only.
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected>;
}
