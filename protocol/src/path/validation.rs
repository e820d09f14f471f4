//! Whether the peer really is at the address its packets come from, and what may be sent before
//! that is known. Which address to use is decided in `mod.rs`.

use std::time::{Duration, Instant};

/// Bytes that may be sent per byte received before an address is validated
/// (spec/02-handshake.md#amplification).
pub(crate) const AMPLIFICATION: u64 = 3;
/// Challenges sent before an address is given up.
const MAX_CHALLENGES: u8 = 4;

/// Proof that a peer owns an address.
#[derive(Debug)]
pub(crate) struct Validation {
    validated: bool,
    received_bytes: u64,
    sent_bytes: u64,
    challenge: Option<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    token: [u8; 8],
    /// Times it was to be sent; whether it could be is another matter.
    attempts: u8,
    pending: bool,
    due: Instant,
}

impl Validation {
    /// An address known to be the peer's: we chose it, or a token proves it.
    pub(crate) fn validated() -> Self {
        Self {
            validated: true,
            received_bytes: 0,
            sent_bytes: 0,
            challenge: None,
        }
    }

    /// An address that is yet to be proven.
    pub(crate) fn pending() -> Self {
        Self {
            validated: false,
            received_bytes: 0,
            sent_bytes: 0,
            challenge: None,
        }
    }

    /// Whether the address is proven.
    pub(crate) fn is_validated(&self) -> bool {
        self.validated
    }

    /// The handshake proved the address.
    pub(crate) fn set_validated(&mut self) {
        self.validated = true;
        self.challenge = None;
    }

    /// Bytes that may still be sent.
    pub(crate) fn allowance(&self) -> u64 {
        if self.validated {
            return u64::MAX;
        }
        //= spec/02-handshake.md#amplification
        //# Before the peer's address is validated, an endpoint MUST NOT send more than three times the
        //# bytes it received from that address.
        (self.received_bytes * AMPLIFICATION).saturating_sub(self.sent_bytes)
    }

    /// A datagram of `bytes` came from the address.
    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// A datagram of `bytes` went to the address.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// Ask the address to return `token`, first at `now`.
    pub(crate) fn challenge(&mut self, now: Instant, token: [u8; 8], interval: Duration) {
        self.challenge = Some(Challenge {
            token,
            attempts: 1,
            pending: true,
            due: now + interval,
        });
    }

    /// The challenge to send now.
    pub(crate) fn poll(&mut self) -> Option<[u8; 8]> {
        let challenge = self
            .challenge
            .as_mut()
            .filter(|challenge| challenge.pending)?;
        challenge.pending = false;
        Some(challenge.token)
    }

    /// Whether a challenge wants to be sent.
    pub(crate) fn interest(&self) -> bool {
        self.challenge
            .as_ref()
            .is_some_and(|challenge| challenge.pending)
    }

    /// When the challenge wants attention.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.challenge.as_ref().map(|challenge| challenge.due)
    }

    /// Time passed: the challenge is repeated each `interval`. Returns whether it was given up.
    pub(crate) fn on_timeout(&mut self, now: Instant, interval: Duration) -> bool {
        let Some(challenge) = self
            .challenge
            .as_mut()
            .filter(|challenge| challenge.due <= now)
        else {
            return false;
        };
        if challenge.attempts >= MAX_CHALLENGES {
            self.challenge = None;
            return true;
        }
        challenge.attempts += 1;
        challenge.pending = true;
        challenge.due = now + interval;
        false
    }

    /// The peer returned `token`. Returns whether it proves the address.
    pub(crate) fn on_response(&mut self, token: [u8; 8]) -> bool {
        let proven = self
            .challenge
            .as_ref()
            .is_some_and(|challenge| challenge.token == token);
        if proven {
            self.set_validated();
        }
        proven
    }
}
