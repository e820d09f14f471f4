//! Whether the peer really is where its packets come from, and what may be sent there before that
//! is known. When to begin and what a proof changes is decided in `migration.rs`.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Bytes that may be sent per byte received before an address is validated
/// (spec/02-handshake.md#amplification).
const AMPLIFICATION: u64 = 3;
/// Challenges sent to one address.
const MAX_CHALLENGES: u32 = 4;
/// Shortest wait before a challenge is repeated: the path to the new address may be longer than the one in use.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// What an address that is not proven has sent and was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    received_bytes: u64,
    sent_bytes: u64,
}

impl Account {
    //= spec/02-handshake.md#amplification
    //# Before the peer's address is validated, an endpoint MUST NOT send more than three times the
    //# bytes it received from that address.
    fn allowance(&self) -> u64 {
        (self.received_bytes * AMPLIFICATION).saturating_sub(self.sent_bytes)
    }
}

/// Whether the address in use is proven. It stays proven until another one is.
#[derive(Debug)]
pub(crate) struct Validation {
    validated: bool,
    account: Account,
}

impl Validation {
    /// Of an address we chose or a token proves (`validated`), or one that is yet to be proven.
    pub(crate) fn new(validated: bool) -> Self {
        Self {
            validated,
            account: Account::default(),
        }
    }

    /// The handshake proved the address.
    pub(crate) fn set_validated(&mut self) {
        self.validated = true;
    }

    /// Bytes that may still be sent.
    pub(crate) fn allowance(&self) -> usize {
        if self.validated {
            return usize::MAX;
        }
        usize::try_from(self.account.allowance()).unwrap_or(usize::MAX)
    }

    /// A datagram of `bytes` came from the address.
    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.account.received_bytes += bytes as u64;
    }

    /// A datagram of `bytes` went to the address.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.account.sent_bytes += bytes as u64;
    }
}

/// An address the peer may have moved to: a packet newer than all from the address in use came from there.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Where the packet came from.
    pub(crate) remote: SocketAddr,
    /// Where it came to.
    pub(crate) local_ip: Option<IpAddr>,
    account: Account,
    token: [u8; 8],
    challenges: u32,
    first_sent_at: Option<Instant>,
    /// A challenge waits to be sent.
    pending: bool,
    /// When the challenge is repeated, or the address given up.
    due: Instant,
    /// Largest packet number acknowledged to this address.
    acknowledged: Option<u64>,
}

impl Candidate {
    /// A packet in a datagram of `bytes` came from `remote`; a challenge with the unpredictable `token` is to
    /// go there at once.
    pub(crate) fn new(
        now: Instant,
        (remote, local_ip): (SocketAddr, Option<IpAddr>),
        bytes: usize,
        token: [u8; 8],
        probe_interval: Duration,
    ) -> Self {
        let account = Account {
            received_bytes: bytes as u64,
            sent_bytes: 0,
        };
        Self {
            remote,
            local_ip,
            account,
            token,
            challenges: 0,
            first_sent_at: None,
            pending: true,
            due: now + probe_interval.max(MIN_INTERVAL),
            acknowledged: None,
        }
    }

    /// Bytes that may still be sent.
    pub(crate) fn allowance(&self) -> usize {
        usize::try_from(self.account.allowance()).unwrap_or(usize::MAX)
    }

    /// A datagram of `bytes` came from the address.
    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.account.received_bytes += bytes as u64;
    }

    /// A datagram of `bytes` went to the address.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.account.sent_bytes += bytes as u64;
    }

    /// Whether it had a probe interval to answer in.
    pub(crate) fn is_repeated(&self) -> bool {
        self.challenges > 0
    }

    /// The challenge to send, if one is due.
    pub(crate) fn challenge(&self) -> Option<[u8; 8]> {
        self.pending.then_some(self.token)
    }

    /// The challenge left.
    pub(crate) fn on_challenge_sent(&mut self, now: Instant) {
        self.pending = false;
        self.first_sent_at.get_or_insert(now);
    }

    /// Whether an ACK of packets up to `largest` was not sent here yet.
    pub(crate) fn wants_ack(&self, largest: u64) -> bool {
        self.acknowledged != Some(largest)
    }

    /// An ACK of packets up to `largest` left.
    pub(crate) fn on_ack_sent(&mut self, largest: u64) {
        self.acknowledged = Some(largest);
    }

    /// When to call [`on_timeout`](Self::on_timeout).
    pub(crate) fn due_at(&self) -> Instant {
        self.due
    }

    /// Time passed. Returns whether the address is given up.
    pub(crate) fn on_timeout(&mut self, now: Instant, probe_interval: Duration) -> bool {
        if now < self.due {
            return false;
        }
        //= spec/07-paths.md#validation
        //# A challenge MUST be repeated with the same bytes when a probe interval, at least 100 ms, passes without the
        //# answer, then after two and four more, and the address MUST be forgotten after another eight.
        self.challenges += 1;
        self.pending = true;
        self.due = now + probe_interval.max(MIN_INTERVAL) * (1 << self.challenges);
        self.challenges >= MAX_CHALLENGES
    }

    /// Whether `data` is the answer.
    pub(crate) fn is_answered_by(&self, data: [u8; 8]) -> bool {
        self.token == data
    }

    /// The round trip to the address, if its answer arrives `now` and can only be to the first challenge.
    pub(crate) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.first_sent_at
            .filter(|_| self.challenges == 0)
            .map(|sent_at| now.saturating_duration_since(sent_at))
    }
}

#[cfg(test)]
mod tests;
