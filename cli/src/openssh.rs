//! OpenSSH's text forms of Ed25519 public keys and fingerprints.
//! Files made of them are read elsewhere.

use std::{fmt, str::FromStr};

use rp_protocol::crypto::identity::PublicKey;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// The one type of key RPP knows.
pub(crate) const KEY_TYPE: &str = "ssh-ed25519";

/// Why a text is no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyTextError {
    /// A key RPP cannot use.
    #[error("a key of type {} cannot be used; make one with: ssh-keygen -t ed25519", .0.escape_debug())]
    OtherType(String),
    /// Not base64, or not a key of the type it claims.
    #[error("the key is damaged")]
    Damaged,
    /// Not a fingerprint.
    #[error(
        "a host key is named as SHA256: and 43 letters, as rpserver and ssh-keygen -l print it"
    )]
    Fingerprint,
}

/// The key of type `kind` whose wire form is `base64`, as in `authorized_keys`.
pub(crate) fn parse_key(kind: &str, base64: &str) -> Result<PublicKey, KeyTextError> {
    if kind != KEY_TYPE {
        return Err(KeyTextError::OtherType(kind.chars().take(64).collect()));
    }
    let key = ssh_key::PublicKey::from_openssh(&format!("{kind} {base64}"))
        .map_err(|_| KeyTextError::Damaged)?;
    match key.key_data() {
        KeyData::Ed25519(key) => Ok(PublicKey::from_bytes(key.0)),
        _ => Err(KeyTextError::Damaged),
    }
}

/// `ssh-ed25519 AAAA...`, without a comment.
pub fn format_key(key: &PublicKey) -> String {
    let data = KeyData::Ed25519(Ed25519PublicKey(*key.as_bytes()));
    ssh_key::PublicKey::new(data, "")
        .to_openssh()
        .expect("an Ed25519 key always has a text form")
}

/// Names one key without showing it: `SHA256:` and 43 letters of base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Whether `key` is the key named.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.0 == key.fingerprint()
    }
}

impl FromStr for Fingerprint {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        text.parse::<ssh_key::Fingerprint>()
            .ok()
            .filter(|print| print.is_sha256())
            .map(|print| Self(print.to_string()))
            .ok_or(KeyTextError::Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
