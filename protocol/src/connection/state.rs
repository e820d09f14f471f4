//! The life of a connection, and the clocks that end it.
//!
//! ```text
//!  Handshaking --finished--> Established
//!       |                        |
//!       +-------+----------------+---- silence, reset -----------+
//!               |                |                               |
//!          local close      peer's CLOSE                         |
//!               v                v                               v
//!            Closing ----->  Draining  ---- 3 probe intervals -> Drained
//! ```

use std::time::{Duration, Instant};

use crate::wire::frame::Close;

/// Where a connection stands (spec/06-lifecycle.md#states).
#[derive(Debug)]
pub(super) enum State {
    /// Keys are being agreed.
    Handshaking,
    /// Streams flow.
    Established,
    /// We closed: the peer is told, again if it keeps talking.
    Closing(Closing),
    /// The peer closed: nothing is sent any more.
    Draining {
        /// When the connection is forgotten.
        until: Instant,
    },
    /// Forgotten.
    Drained,
}

/// A close of ours in progress.
#[derive(Debug)]
pub(super) struct Closing {
    /// What the peer is told.
    pub(super) frame: Close,
    /// When the connection is forgotten.
    pub(super) until: Instant,
    /// The frame wants to be sent.
    pub(super) pending: bool,
    /// It wants to be sent to the address that is being asked, too.
    pub(super) pending_elsewhere: bool,
    received: u32,
    answer_at: u32,
}

impl Closing {
    /// Tell the peer `frame`, then wait until `until`.
    pub(super) fn new(frame: Close, until: Instant) -> Self {
        Self {
            frame,
            until,
            pending: true,
            pending_elsewhere: true,
            received: 0,
            answer_at: 1,
        }
    }

    /// The peer still talks: tell it again, ever less often.
    pub(super) fn on_datagram(&mut self) {
        //= spec/06-lifecycle.md#closing
        //# A closing endpoint MUST limit how often it repeats CLOSE: after one, two, four and so on packets
        //# received.
        self.received += 1;
        if self.received >= self.answer_at {
            self.received = 0;
            self.answer_at = self.answer_at.saturating_mul(2);
            self.pending = true;
            self.pending_elsewhere = true;
        }
    }
}

impl State {
    /// Whether streams and datagrams may still be used.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Handshaking | Self::Established)
    }

    /// When the state ends by itself.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self {
            Self::Closing(closing) => Some(closing.until),
            Self::Draining { until } => Some(*until),
            Self::Handshaking | Self::Established | Self::Drained => None,
        }
    }
}

/// The clocks of silence: when to give the peer up, when to show that we live.
#[derive(Debug)]
pub(super) struct Idle {
    timeout: Duration,
    keep_alive: Duration,
    /// Last sign of life, or the first packet of ours that asked for one since.
    active: Instant,
    last_eliciting: Instant,
    asked: bool,
    /// Packets that asked for an ACK since the last packet of ours that did.
    incoming: u32,
    /// When the newest of them came.
    heard_at: Instant,
}

/// Packets in one direction that make a bulk transfer, whose silence means something.
const BULK_PACKETS: u32 = 8;
/// Shortest silence in a bulk transfer that means something.
const MIN_SILENCE: Duration = Duration::from_millis(50);

impl Idle {
    /// Silence counts from `now`.
    pub(super) fn new(now: Instant, timeout: Duration, keep_alive: Duration) -> Self {
        Self {
            timeout,
            keep_alive,
            active: now,
            last_eliciting: now,
            asked: false,
            incoming: 0,
            heard_at: now,
        }
    }

    /// The peer's timeout counts too; zero means it has none.
    pub(super) fn set_peer_timeout(&mut self, timeout: Duration) {
        //= spec/06-lifecycle.md#idle-timeout
        //# The idle timeout of a connection is the smaller of the two that the endpoints announced.
        if !timeout.is_zero() {
            self.timeout = self.timeout.min(timeout);
        }
    }

    /// A packet of the peer was opened.
    pub(super) fn on_received(&mut self, now: Instant) {
        self.active = now;
        self.asked = false;
    }

    /// The packet was one that asks for an ACK.
    pub(super) fn on_eliciting_received(&mut self, now: Instant) {
        self.incoming = self.incoming.saturating_add(1);
        self.heard_at = now;
    }

    /// An ack-eliciting packet left.
    pub(super) fn on_sent(&mut self, now: Instant) {
        self.incoming = 0;
        self.last_eliciting = now;
        if !self.asked {
            self.asked = true;
            self.active = now;
        }
    }

    /// When the peer is given up, not before three probe intervals.
    pub(super) fn expires_at(&self, probe_interval: Duration) -> Instant {
        //= spec/06-lifecycle.md#idle-timeout
        //# An endpoint MUST NOT give the peer up before three probe intervals have passed.
        self.active + self.timeout.max(3 * probe_interval)
    }

    /// When to ask a peer that stopped in the middle of a bulk transfer whether it still reaches us.
    pub(super) fn silence_at(&self, smoothed_rtt: Duration) -> Option<Instant> {
        //= spec/07-paths.md#rebinding
        //# A client that received eight packets or more that ask for an ACK, sent none itself since the first of them, and hears
        //# nothing for one and a half round trips, at least 50 ms, SHOULD send a PING while it has streams open.
        let silence = (smoothed_rtt * 3 / 2).max(MIN_SILENCE);
        (self.incoming >= BULK_PACKETS).then(|| self.heard_at + silence)
    }

    /// When to send a sign of life.
    pub(super) fn keep_alive_at(&self) -> Instant {
        // Half the timeout leaves room for one lost ping.
        let interval = self
            .keep_alive
            .min(self.timeout / 2)
            .max(Duration::from_millis(1));
        self.last_eliciting + interval
    }
}

#[cfg(test)]
mod tests;
