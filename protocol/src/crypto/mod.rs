//! Keys and trust: the TLS 1.3 handshake, sealing and opening, tokens, replay windows.
//! Packet layout and retransmission live elsewhere.
//!
//! In the order a connection meets them:
//! 1. [`identity`]: the Ed25519 keys that name endpoints, and the question whether to trust one.
//!    [`trust`] has ready answers.
//! 2. `token`: what a server hands out before it spends memory on a client.
//! 3. `handshake`: TLS 1.3 over CRYPTO frames, which yields keys level by level.
//! 4. `keys`: sealing and opening of packets, header protection, key update.
//! 5. `replay`: which packet numbers were seen.

pub(crate) mod handshake;
pub mod identity;
pub(crate) mod keys;
mod raw_key;
pub(crate) mod replay;
pub(crate) mod token;
pub mod trust;

#[cfg(test)]
pub(crate) mod testing;
