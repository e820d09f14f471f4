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
    sent: u8,
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
    pub(crate) fn challenge(&mut self, now: Instant, token: [u8; 8]) {
        self.challenge = Some(Challenge {
            token,
            sent: 0,
            due: now,
        });
    }

    /// The challenge to send now; it is repeated after `interval` until answered or given up.
    pub(crate) fn poll(&mut self, now: Instant, interval: Duration) -> Option<[u8; 8]> {
        let challenge = self
            .challenge
            .as_mut()
            .filter(|challenge| challenge.due <= now)?;
        if challenge.sent >= MAX_CHALLENGES {
            return None;
        }
        challenge.sent += 1;
        challenge.due = now + interval;
        Some(challenge.token)
    }

    /// Whether a challenge wants to be sent now.
    pub(crate) fn interest(&self, now: Instant) -> bool {
        self.challenge
            .as_ref()
            .is_some_and(|c| c.due <= now && c.sent < MAX_CHALLENGES)
    }

    /// When the challenge wants attention.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.challenge.as_ref().map(|challenge| challenge.due)
    }

    /// Whether the last challenge went unanswered too.
    pub(crate) fn has_failed(&self, now: Instant) -> bool {
        self.challenge
            .as_ref()
            .is_some_and(|c| c.sent >= MAX_CHALLENGES && c.due <= now)
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
