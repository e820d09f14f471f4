//! Stateless resets: how an endpoint that lost its state says so, at a bounded rate.

use std::time::{Duration, Instant};

use rand::Rng;

/// Resets per second; more strays than that are an attack or a storm.
const PER_SECOND: u32 = 100;
/// Longest reset: it must look like any short packet.
const MAX_LEN: usize = 42;
/// Shortest reset (RFC 9000 section 10.3).
const MIN_LEN: usize = 21;
const TOKEN_LEN: usize = 16;

/// Writes resets, within a rate.
#[derive(Debug, Default)]
pub(super) struct ResetLimiter {
    window: Option<Instant>,
    sent: u32,
}

impl ResetLimiter {
    /// A reset in answer to a stray of `stray` bytes. Returns whether one was written.
    pub(super) fn write(
        &mut self,
        now: Instant,
        stray: usize,
        token: &[u8; TOKEN_LEN],
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> bool {
        //= spec/02-handshake.md#stateless-reset
        //# An endpoint MUST NOT send a stateless reset that is as long as the datagram it answers or longer.
        let len = MAX_LEN.min(stray.saturating_sub(1));
        if len < MIN_LEN || !self.admit(now) {
            return false;
        }
        out.resize(len, 0);
        rng.fill_bytes(&mut out[..len - TOKEN_LEN]);
        out[0] = (out[0] & 0x3f) | 0x40;
        out[len - TOKEN_LEN..].copy_from_slice(token);
        true
    }

    fn admit(&mut self, now: Instant) -> bool {
        if self
            .window
            .is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1))
        {
            self.window = Some(now);
            self.sent = 0;
        }
        self.sent += 1;
        self.sent <= PER_SECOND
    }
}
