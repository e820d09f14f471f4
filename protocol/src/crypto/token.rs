//! What an endpoint can check without having kept anything: retry tokens, the Retry packet's tag,
//! stateless reset tokens; see `spec/02-handshake.md`. When to ask for them is the endpoint's.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac,
};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::id::ConnectionId;

#[cfg(test)]
mod tests;

/// How long a client may take to come back with its token.
const LIFETIME: Duration = Duration::from_secs(15);

/// The token's number, which is its nonce.
const SERIAL_LEN: usize = 8;

/// Issue time in microseconds and original connection id.
const SECRET_LEN: usize = 8 + ConnectionId::LEN;

/// Length of the tag of a token and of a Retry packet.
const TAG_LEN: usize = 16;

/// Length of a retry token.
pub(crate) const RETRY_TOKEN_LEN: usize = SERIAL_LEN + SECRET_LEN + TAG_LEN;

/// First 16 bytes of SHA-256 of "RPP/1 retry integrity key". Public: the tag shows that a Retry
/// answers a packet its sender saw, and guards against damage, not against an observer.
const RETRY_KEY: [u8; 16] = [
    0xdc, 0x83, 0x35, 0xad, 0xda, 0xba, 0x30, 0x3a, 0x1e, 0xf0, 0x9e, 0xf6, 0xfd, 0xeb, 0x35, 0xd9,
];

/// First 12 bytes of SHA-256 of "RPP/1 retry integrity nonce".
const RETRY_NONCE: [u8; NONCE_LEN] = [
    0x02, 0x2b, 0x51, 0x22, 0xac, 0x9c, 0x50, 0x06, 0xc0, 0x80, 0xfa, 0x60,
];

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// Not made by this endpoint, or for another address or connection id.
    #[error("the retry token is not ours, or not for this client")]
    Invalid,
    /// Made too long ago.
    #[error("the retry token has expired")]
    Expired,
}

/// Issues and checks retry tokens.
pub(crate) struct RetryTokens {
    key: LessSafeKey,
    /// Numbers tokens, so that no nonce is used twice under a key that dies with the process.
    serial: u64,
    /// Time zero of issue times: there is no token from before.
    epoch: Option<Instant>,
}

impl RetryTokens {
    /// Tokens under a key grown from the endpoint's seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Zeroizing::new(derive::<16>(seed, b"RPP/1 retry token"));
        Self {
            key: gcm(&key),
            serial: 0,
            epoch: None,
        }
    }

    /// A token for the client at `remote`, whose first packet was for `original`, to be returned
    /// in packets for `retry`.
    pub(crate) fn issue(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        original: &ConnectionId,
        retry: &ConnectionId,
    ) -> [u8; RETRY_TOKEN_LEN] {
        let epoch = *self.epoch.get_or_insert(now);
        let age = now.saturating_duration_since(epoch).as_micros();
        let serial = self.serial;
        self.serial += 1;

        let mut token = [0; RETRY_TOKEN_LEN];
        let (head, rest) = token.split_at_mut(SERIAL_LEN);
        let (secret, tag) = rest.split_at_mut(SECRET_LEN);
        head.copy_from_slice(&serial.to_be_bytes());
        secret[..8].copy_from_slice(&u64::try_from(age).unwrap_or(u64::MAX).to_be_bytes());
        secret[8..].copy_from_slice(original.as_bytes());
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce(serial), binding(remote, retry), secret)
            .expect("sixteen bytes are within the cipher's limit");
        tag.copy_from_slice(sealed.as_ref());
        token
    }

    /// The original connection id in `token`, which came from `remote` in a packet for `dcid`.
    ///
    /// # Errors
    /// See [`TokenError`]. The caller answers as if there were no token, or drops the packet.
    //= spec/02-handshake.md#retry
    //# A server MUST accept a token only from the address and port it was issued to, in a packet
    //# for the connection id its Retry named, and within 15 seconds.
    pub(crate) fn open(
        &self,
        now: Instant,
        remote: SocketAddr,
        dcid: &ConnectionId,
        token: &[u8],
    ) -> Result<ConnectionId, TokenError> {
        let mut token: [u8; RETRY_TOKEN_LEN] = token.try_into().map_err(|_| TokenError::Invalid)?;
        let epoch = self.epoch.ok_or(TokenError::Invalid)?;
        let (serial, sealed) = token.split_at_mut(SERIAL_LEN);
        let serial = u64::from_be_bytes(array(serial));
        let secret = self
            .key
            .open_in_place(nonce(serial), binding(remote, dcid), sealed)
            .map_err(|_| TokenError::Invalid)?;
        let issued = epoch + Duration::from_micros(u64::from_be_bytes(array(&secret[..8])));
        if now.saturating_duration_since(issued) > LIFETIME {
            return Err(TokenError::Expired);
        }
        Ok(ConnectionId::new(array(&secret[8..])))
    }
}

impl fmt::Debug for RetryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryTokens")
            .field("issued", &self.serial)
            .finish_non_exhaustive()
    }
}

fn nonce(serial: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - SERIAL_LEN..].copy_from_slice(&serial.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// What a token is good for: one address, one port, one connection id.
fn binding(remote: SocketAddr, cid: &ConnectionId) -> Aad<[u8; 26]> {
    // A dual-stack socket may name the same client in either form.
    let address = match remote.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = [0; 26];
    bytes[..16].copy_from_slice(&address.octets());
    bytes[16..18].copy_from_slice(&remote.port().to_be_bytes());
    bytes[18..].copy_from_slice(cid.as_bytes());
    Aad::from(bytes)
}

/// `bytes` as an array whose length the callers have fixed.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice was cut to this length")
}

/// The last 16 bytes of a Retry packet: `retry` is everything before them, `original` the
/// destination connection id of the packet it answers.
//= spec/02-handshake.md#retry-integrity
//# The integrity tag MUST be computed over the original destination connection id followed by the
//# Retry packet without its tag.
pub(crate) fn retry_tag(original: &ConnectionId, retry: &[u8]) -> [u8; TAG_LEN] {
    let mut covered = Vec::with_capacity(ConnectionId::LEN + retry.len());
    covered.extend_from_slice(original.as_bytes());
    covered.extend_from_slice(retry);
    let tag = gcm(&RETRY_KEY)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(RETRY_NONCE),
            Aad::from(covered),
            &mut [],
        )
        .expect("an empty plaintext is within the cipher's limit");
    array(tag.as_ref())
}

/// Whether `packet`, a whole Retry packet, answers our packet for `original`.
//= spec/02-handshake.md#retry-integrity
//# A client MUST drop a Retry whose integrity tag is wrong.
pub(crate) fn is_retry_for(original: &ConnectionId, packet: &[u8]) -> bool {
    packet
        .split_last_chunk::<TAG_LEN>()
        .is_some_and(|(retry, tag)| retry_tag(original, retry).ct_eq(tag).into())
}

/// Sixteen bytes that end a connection without its keys. Compared in constant time.
#[derive(Clone, Copy)]
pub(crate) struct ResetToken([u8; Self::LEN]);

impl ResetToken {
    /// Length on the wire.
    pub(crate) const LEN: usize = 16;

    /// The token with these bytes.
    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether `datagram` ends with this token.
    //= spec/02-handshake.md#stateless-reset
    //# An endpoint MUST compare reset tokens in time that does not depend on their bytes.
    pub(crate) fn ends(&self, datagram: &[u8]) -> bool {
        datagram
            .last_chunk::<{ Self::LEN }>()
            .is_some_and(|tail| self.0.ct_eq(tail).into())
    }
}

impl PartialEq for ResetToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ResetToken {}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken")
    }
}

/// Makes the reset token of a connection id.
#[derive(Clone)]
pub(crate) struct ResetKey(hmac::Key);

impl ResetKey {
    /// A key grown from `seed`. A server takes it from its identity, so that it knows its tokens
    /// again after a restart; an endpoint without an identity takes it from its own seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Zeroizing::new(derive::<32>(seed, b"RPP/1 stateless reset"));
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*key))
    }

    /// The key of one of several endpoints that share this one.
    pub(crate) fn for_instance(&self, instance: &[u8]) -> Self {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"RPP/1 stateless reset instance");
        context.update(instance);
        Self(hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref()))
    }

    /// The token of `cid`.
    //= spec/02-handshake.md#stateless-reset
    //# A reset token MUST NOT be computable from its connection id without the endpoint's secret.
    pub(crate) fn token(&self, cid: &ConnectionId) -> ResetToken {
        let tag = hmac::sign(&self.0, cid.as_bytes());
        ResetToken(array(&tag.as_ref()[..ResetToken::LEN]))
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey")
    }
}

fn gcm(key: &[u8; 16]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("the key has sixteen bytes"))
}

/// `N` bytes from `seed`, different for each `label`.
fn derive<const N: usize>(seed: &[u8; 32], label: &[u8]) -> [u8; N] {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = [0; N];
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(seed)
        .expand(&[label], Length(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("at most 32 bytes are asked for");
    out
}
