//! Who an endpoint is and whom it trusts: Ed25519 keys and the verifier's question.
//! Key files and lists of trusted keys belong to the programs.

use std::{fmt, io, sync::Arc};

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rustls::{
    crypto::aws_lc_rs::sign::any_eddsa_type,
    pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer},
    sign::SigningKey,
};
use thiserror::Error;
use zeroize::Zeroizing;

use self::external::ExternalKey;
use super::token::ResetKey;

mod external;

#[cfg(test)]
mod tests;

/// What stands before the key in its SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What stands before the seed in its PKCS #8 form (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The name of the key type in OpenSSH's formats (RFC 8709 section 4).
const SSH_KEY_TYPE: &str = "ssh-ed25519";

/// An Ed25519 public key: the name of an endpoint.
///
/// ```
/// use rp_protocol::crypto::identity::PublicKey;
///
/// let key = PublicKey::from_bytes([7; 32]);
/// assert!(key.to_string().starts_with("SHA256:"), "as `ssh-keygen -l` prints it");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// Length of a key.
    pub const LEN: usize = 32;

    /// The key with these bytes (RFC 8032 section 5.1.5).
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// `SHA256:` and the unpadded base64 digest of the key in SSH's wire form: what
    /// `ssh-keygen -l` prints for the same key.
    pub fn fingerprint(&self) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        // Two length-prefixed strings, the type and the key (RFC 8709 section 4).
        hash.update(&[0, 0, 0, 11]);
        hash.update(SSH_KEY_TYPE.as_bytes());
        hash.update(&[0, 0, 0, 32]);
        hash.update(&self.0);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(hash.finish()))
    }

    /// The form TLS carries: a DER SubjectPublicKeyInfo (RFC 7250 section 3).
    pub(crate) fn to_spki(self) -> [u8; SPKI_PREFIX.len() + Self::LEN] {
        let mut spki = [0; SPKI_PREFIX.len() + Self::LEN];
        spki[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
        spki[SPKI_PREFIX.len()..].copy_from_slice(&self.0);
        spki
    }

    /// The key in a DER SubjectPublicKeyInfo, if it is an Ed25519 one and nothing else.
    pub(crate) fn from_spki(spki: &[u8]) -> Option<Self> {
        let key = spki.strip_prefix(&SPKI_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// An Ed25519 key pair. The private half never leaves the cryptographic library, which wipes it.
///
/// ```
/// use rp_protocol::crypto::identity::Identity;
///
/// // One that ends with the process, and one that was kept.
/// let fresh = Identity::generate()?;
/// let kept = Identity::from_seed(&[1; 32]);
/// assert_ne!(fresh.public_key(), kept.public_key());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Identity {
    public: PublicKey,
    signer: Arc<dyn SigningKey>,
    reset: ResetKey,
}

impl Identity {
    /// A key pair that nobody else has.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(&mut seed[..])
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        Ok(Self::from_seed(&seed))
    }

    /// The key pair grown from a 32-byte seed (the "private key" of RFC 8032 section 5.1.5, as
    /// OpenSSH stores it). The caller wipes its copy of `seed`.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
        pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(seed);
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..]))
            .expect("every 32-byte string is an Ed25519 seed");
        let public = signer
            .public_key()
            .and_then(|spki| PublicKey::from_spki(&spki))
            .expect("an Ed25519 signer knows its Ed25519 public key");
        Self {
            public,
            signer,
            reset: ResetKey::from_seed(seed),
        }
    }

    /// The key `public`, whose private half `signer` has. `seed` is for what else an identity keeps
    /// secret; it is as good as no identity when it is known to anybody.
    pub fn external(public: PublicKey, signer: Arc<dyn Sign>, seed: &[u8; 32]) -> Self {
        Self {
            public,
            signer: Arc::new(ExternalKey::new(public, signer)),
            reset: ResetKey::from_seed(seed),
        }
    }

    /// The public half.
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }

    /// What signs handshakes.
    pub(crate) fn signer(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.signer)
    }

    /// The key of the stateless reset tokens of the endpoint that `instance` names: it outlives the process as the
    /// identity does, so a restarted server can tell old peers that their connections are gone.
    //= spec/02-handshake.md#stateless-reset
    //# A server SHOULD derive the secret from its identity, so that its tokens hold across a restart.
    //= spec/02-handshake.md#stateless-reset
    //# Two endpoints that run at the same time MUST NOT have the same secret, even if they have the same identity: whoever saw a
    //# connection id of one would get its token from the other.
    pub(crate) fn reset_key(&self, instance: &[u8]) -> ResetKey {
        self.reset.for_instance(instance)
    }

    /// The public half as TLS carries it.
    pub(crate) fn spki(&self) -> SubjectPublicKeyInfoDer<'static> {
        SubjectPublicKeyInfoDer::from(self.public.to_spki().to_vec())
    }
}

/// Signs with a private key that is kept elsewhere, as by `ssh-agent`.
pub trait Sign: Send + Sync + fmt::Debug {
    /// The Ed25519 signature of `message` (RFC 8032). The handshake, and with it the connection, waits
    /// for the answer.
    ///
    /// # Errors
    /// [`SigningFailed`] ends the handshake.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SigningFailed>;
}

/// Why there is no signature, in words for the user.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SigningFailed(pub String);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Why a verifier refuses a key, in words for the user.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PeerRejected(pub String);

/// Decides whether a peer's key is trusted.
///
/// It is asked once in a handshake, after the peer has proven that it holds the private half. It
/// runs inside the handshake: it must answer at once and cannot ask a person.
pub trait PeerVerifier: Send + Sync + fmt::Debug {
    /// Accept `key` or say why not.
    ///
    /// # Errors
    /// [`PeerRejected`] ends the handshake; its text reaches our own user only.
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected>;
}
