//! Credit: how far a peer may send, and how far we may. Which stream a byte belongs to, when a frame
//! goes out, and what the process can afford live elsewhere.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use super::budget::Budget;
use super::share::share;

/// A window of credit given to the peer, for a stream or for the whole connection.
///
/// The peer may send up to `announced`. The window is how far ahead of the reader that is kept; it
/// grows with what the reader takes per round trip.
#[derive(Debug)]
pub struct RecvCredit {
    /// Bytes the application has taken, or that nobody will.
    consumed: u64,
    /// What the peer was told last.
    announced: u64,
    /// What the peer was told of `consumed`.
    reported: u64,
    window: u64,
    /// When the window was last announced, or first used, and what was consumed by then; `None` before
    /// that.
    since: Option<(Instant, u64)>,
    /// When arrivals were last measured, and how much had arrived by then.
    seen: Option<(Instant, u64)>,
}

/// Round trips' arrivals a window is to hold: a start at four times the rate is under way before new
/// credit can reach the sender, and as much again waits behind holes.
const ARRIVAL_WINDOW: u64 = 8;
/// Measurements of what arrives, per round trip.
const ARRIVAL_SAMPLES: u32 = 4;
/// Largest window, in bytes the reader has taken so far.
const MAX_WINDOW_PER_READ: u64 = 16;

impl RecvCredit {
    /// A window of which the peer already knows.
    pub const fn new(window: u64) -> Self {
        Self {
            consumed: 0,
            announced: window,
            reported: 0,
            window,
            since: None,
            seen: None,
        }
    }

    /// One past the last byte the peer may send.
    pub const fn announced(&self) -> u64 {
        self.announced
    }

    /// How far ahead of the reader the peer is let.
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// Bytes consumed.
    pub const fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Notes that data flows; the first time starts the measuring.
    pub fn on_data(&mut self, now: Instant) {
        self.since.get_or_insert((now, self.consumed));
    }

    /// Bytes consumed of which the peer was not told.
    pub const fn unreported(&self) -> u64 {
        self.consumed - self.reported
    }

    /// Notes that `bytes` left the receive buffer.
    pub fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
    }

    /// Whether half of the window has been consumed since the last announcement.
    //= spec/05-streams.md#credit
    //# A receiver MUST announce new credit when half of a window has been consumed.
    pub const fn is_due(&self) -> bool {
        let ahead = self.announced.saturating_sub(self.consumed);
        ahead <= self.window / 2
    }

    /// What to tell the peer: a higher limit if one is due, with the window grown to at most
    /// `ceiling` first; otherwise what it was told before.
    pub fn announce(&mut self, now: Instant, rtt: Duration, ceiling: u64) -> u64 {
        if self.is_due() {
            self.window = self.target(now, rtt, ceiling);
            self.advance(now);
        }
        self.reported = self.consumed;
        self.announced
    }

    /// Whether the reader has taken half of the window since the rate was last looked at.
    fn has_taken_half(&self) -> bool {
        self.since
            .is_some_and(|(_, consumed)| self.consumed - consumed >= self.window / 2)
    }

    /// The window that is right for the rate at which the reader takes data, at most `ceiling`.
    ///
    /// Half a window in less than two round trips means that the peer may be held up by us. Less than
    /// half says nothing.
    //= spec/05-streams.md#window-growth
    //# A receiver SHOULD grow a window to four times the bytes its reader takes per round trip.
    fn target(&self, now: Instant, rtt: Duration, ceiling: u64) -> u64 {
        let Some((since, _)) = self.since else {
            return self.window;
        };
        if !self.has_taken_half() {
            return self.window;
        }
        let elapsed = now.saturating_duration_since(since).as_nanos();
        let time = 2 * rtt.as_nanos();
        if elapsed >= time {
            return self.window;
        }
        // Never more than double at a time: one burst is no rate.
        let window = u128::from(self.window);
        let exact = (window * time / elapsed.max(1)).min(window * 2);
        u64::try_from(exact)
            .unwrap_or(u64::MAX)
            .min(ceiling.max(self.window))
    }

    /// Grows the window with what arrives, `highest` bytes so far, without waiting for the reader, who
    /// may stand at a hole; whether there is a new limit to tell.
    //= spec/05-streams.md#window-growth
    //# A receiver SHOULD grow a window to eight times the bytes that arrive per round trip, up to
    //# sixteen times the bytes its reader has taken.
    pub fn follow(&mut self, highest: u64, now: Instant, rtt: Duration, ceiling: u64) -> bool {
        let wanted = self.follow_target(highest, now, rtt).min(ceiling);
        // A little more is not worth a frame.
        if wanted <= self.window + self.window / 4 {
            return false;
        }
        self.window = wanted;
        self.advance(now);
        true
    }

    fn follow_target(&mut self, highest: u64, now: Instant, rtt: Duration) -> u64 {
        let Some((at, before)) = self.seen else {
            self.seen = Some((now, highest));
            return 0;
        };
        let elapsed = now.saturating_duration_since(at);
        if elapsed < rtt / ARRIVAL_SAMPLES || elapsed.is_zero() {
            return 0;
        }
        self.seen = Some((now, highest));
        let bytes = u128::from((highest - before).saturating_mul(ARRIVAL_WINDOW));
        let wanted = bytes * rtt.as_nanos() / elapsed.as_nanos();
        u64::try_from(wanted)
            .unwrap_or(u64::MAX)
            .min(self.consumed.saturating_mul(MAX_WINDOW_PER_READ))
    }

    /// Doubles the window because the peer has used it up to `highest` while the reader waits at a
    /// hole; whether there is a new limit to tell.
    //= spec/05-streams.md#window-growth
    //# A receiver SHOULD double a stream's window, at most once per round trip, when a reader that waits
    //# at a hole leaves the peer less than a quarter of it, and the reader has taken a whole window
    //# before.
    pub fn relieve(&mut self, highest: u64, now: Instant, rtt: Duration, ceiling: u64) -> bool {
        let is_nearly_full = self.announced - highest < self.window / 4;
        let is_proven = self.consumed >= self.window && self.window < ceiling;
        let is_early = self
            .since
            .is_none_or(|(since, _)| now.saturating_duration_since(since) < rtt);
        if !is_nearly_full || !is_proven || is_early {
            return false;
        }
        self.window = (self.window * 2).min(ceiling);
        self.advance(now);
        true
    }

    //= spec/05-streams.md#credit
    //# A limit once announced MUST NOT be taken back.
    fn advance(&mut self, now: Instant) {
        self.extend();
        self.since = Some((now, self.consumed));
    }

    fn extend(&mut self) {
        self.announced = self.announced.max(self.consumed + self.window);
    }
}

/// The connection's window for one stream of that window, which may have two thirds of it.
const fn for_streams(window: u64) -> u64 {
    window.saturating_mul(2)
}

/// Least window of a connection before the peer has sent much, whatever the budget has left: the first
/// round trip of a start.
pub const LEAST_WINDOW_BYTES: u64 = 64 << 10;

/// That window where the budget has plenty left: a start on a path that is known sends more.
const FIRST_WINDOW_BYTES: u64 = 512 << 10;

/// The part of what is left of the budget that such a window may be, as a divisor: four thousand idle
/// connections leave the next one all it wants.
const FIRST_WINDOW_PART: u64 = 2048;

/// Bytes that arrive within a round trip and are more than a few requests: a transfer begins. A start
/// sends five times as many in its first round trip.
const BURST_BYTES: u64 = 8 << 10;

/// The connection's receive window: the sum over all streams, paid for out of the process budget.
#[derive(Debug)]
pub struct ConnectionCredit {
    credit: RecvCredit,
    /// Sum over streams of the highest offset received.
    received: u64,
    /// What the window becomes when data flows, before anything is known of the path.
    initial: u64,
    ceiling: u64,
    /// Where the bytes are counted from that make a burst, and since when.
    burst: Option<(Instant, u64)>,
    /// Whether the first limit above the least one was told twice.
    is_repeated: bool,
    /// Bytes taken from the budget.
    reserved: u64,
    budget: Budget,
}

impl ConnectionCredit {
    /// The window before the peer has sent much; `initial` if that is less.
    pub fn new(initial: u64, ceiling: u64, budget: Budget) -> Self {
        let window = (budget.free() / FIRST_WINDOW_PART)
            .clamp(LEAST_WINDOW_BYTES, FIRST_WINDOW_BYTES)
            .min(initial);
        budget.insist(window);
        Self {
            credit: RecvCredit::new(window),
            received: 0,
            initial,
            ceiling,
            burst: None,
            is_repeated: false,
            reserved: window,
            budget,
        }
    }

    /// Opens the window of a connection of which the peer knows nothing yet, as far as the budget
    /// allows.
    pub fn open(&mut self) {
        self.grow_to(self.initial);
        self.credit.extend();
    }

    /// Opens the window when a transfer begins; whether there is a new limit to tell. The peer's start
    /// waits for it, so it is told again when much of the least window has arrived.
    //= spec/05-streams.md#window-growth
    //# A receiver SHOULD announce the first window when more arrives within a round trip than a few
    //# requests.
    pub fn on_burst(&mut self, now: Instant, rtt: Duration) -> bool {
        if self.credit.window >= self.initial {
            let is_late = self.received < LEAST_WINDOW_BYTES / 2 || self.is_repeated;
            return !is_late && !std::mem::replace(&mut self.is_repeated, true);
        }
        let (since, before) = *self.burst.get_or_insert((now, self.received));
        if now.saturating_duration_since(since) > rtt {
            self.burst = Some((now, self.received));
            return false;
        }
        if self.received - before < BURST_BYTES {
            return false;
        }
        let window = self.credit.window;
        self.grow_to(self.initial);
        self.credit.window > window
    }

    /// One past the last byte the peer may send over all streams.
    pub const fn announced(&self) -> u64 {
        self.credit.announced()
    }

    /// How far ahead of the readers the peer is let.
    pub const fn window(&self) -> u64 {
        self.credit.window()
    }

    /// Bytes received and not consumed.
    pub const fn buffered(&self) -> u64 {
        self.received - self.credit.consumed()
    }

    /// Whether the peer may send `bytes` more.
    pub const fn allows(&self, bytes: u64) -> bool {
        bytes <= self.left()
    }

    /// Lets the window grow to `bytes` at most.
    pub fn limit(&mut self, bytes: u64) {
        self.ceiling = self.ceiling.min(bytes);
    }

    /// Counts `bytes` the peer used up.
    pub fn receive(&mut self, bytes: u64, now: Instant) {
        self.received += bytes;
        self.credit.on_data(now);
    }

    /// Counts `bytes` as taken.
    pub fn consume(&mut self, bytes: u64) {
        self.credit.consume(bytes);
    }

    /// Bytes consumed, over all streams, as of the limit the peer was told.
    pub const fn reported(&self) -> u64 {
        self.credit.reported
    }

    /// Bytes the peer may leave unread on one stream, as the peer counts them.
    pub(super) fn share(&self) -> u64 {
        let credit = &self.credit;
        share(self.left(), credit.announced - credit.reported)
    }

    /// Bytes the peer may still send.
    const fn left(&self) -> u64 {
        self.credit.announced - self.received
    }

    /// Whether a quarter of the window has been consumed since the last announcement. Shares are cut from
    /// what the peer knows to be left: at half of the window, one stream would wait for its share.
    pub const fn is_due(&self) -> bool {
        let ahead = self.credit.announced.saturating_sub(self.credit.consumed);
        ahead <= self.credit.window / 4 * 3
    }

    /// Whether an announcement would double what the peer has left, or more: what nobody reads may
    /// hold more than half of the window, so that the other half is never consumed.
    //= spec/05-streams.md#credit
    //# A receiver MUST also announce new credit of the connection when a reader has taken all that
    //# came for it, and as much has been consumed as the peer has left.
    pub const fn is_scarce(&self) -> bool {
        let gain =
            (self.credit.consumed + self.credit.window).saturating_sub(self.credit.announced);
        gain > 0 && gain >= self.left()
    }

    /// What to tell the peer: a limit one window ahead of what is consumed, with the window grown
    /// first where half of it is consumed and the budget allows it.
    pub fn announce(&mut self, now: Instant, rtt: Duration) -> u64 {
        if self.credit.has_taken_half() {
            let target = self.credit.target(now, rtt, self.ceiling);
            if target > self.window() {
                self.grow_to(for_streams(target).min(self.ceiling));
            }
            self.credit.since = Some((now, self.credit.consumed));
        }
        let before = self.announced();
        self.credit.extend();
        if self.announced() > before {
            self.credit.reported = self.credit.consumed;
        }
        self.announced()
    }

    /// Grows the window with what arrives on all streams, where the budget allows it; whether there is
    /// a new limit to tell.
    pub fn follow(&mut self, now: Instant, rtt: Duration) -> bool {
        let window = self.credit.window;
        let wanted = for_streams(self.credit.follow_target(self.received, now, rtt));
        if wanted <= window + window / 4 {
            return false;
        }
        self.grow_to(wanted.min(self.ceiling));
        let has_grown = self.credit.window > window;
        if has_grown {
            self.credit.advance(now);
        }
        has_grown
    }

    /// Grows the window when readers leave so much lying that other streams would starve; whether
    /// there is a new limit to tell.
    //= spec/05-streams.md#window-growth
    //# A receiver SHOULD grow the connection's window when streams that are not read hold half of it.
    pub fn relieve(&mut self, now: Instant) -> bool {
        let window = self.credit.window;
        if self.buffered() < window / 2 || self.is_due() || window >= self.ceiling {
            return false;
        }
        self.grow_to(window.saturating_mul(2).min(self.ceiling));
        let has_grown = self.credit.window > window;
        if has_grown {
            self.credit.advance(now);
        }
        has_grown
    }

    /// Grows the window towards `window`, as far as the budget allows.
    fn grow_to(&mut self, window: u64) {
        let growth = window.saturating_sub(self.credit.window);
        if growth > 0 {
            let taken = self.budget.take(growth, self.reserved);
            self.reserved += taken;
            self.credit.window += taken;
        }
    }
}

impl Drop for ConnectionCredit {
    fn drop(&mut self) {
        self.budget.give_back(self.reserved);
    }
}

/// Credit the peer gave us for the whole connection.
#[derive(Debug, Default)]
pub struct SendCredit {
    limit: u64,
    used: u64,
    /// How far the peer lets us run ahead of its readers.
    pool: u64,
}

impl SendCredit {
    /// Bytes that may be sent for the first time.
    pub const fn left(&self) -> u64 {
        self.limit - self.used
    }

    /// The limit as the peer gave it.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The peer's window: what may be unread over all streams.
    pub const fn pool(&self) -> u64 {
        self.pool
    }

    /// Takes over a limit if it is higher, with the bytes `read` by then; whether it was.
    //= spec/05-streams.md#credit
    //# A sender MUST ignore a limit that is not above the one it has.
    pub const fn raise(&mut self, limit: u64, read: u64) -> bool {
        let higher = limit > self.limit;
        if higher {
            self.limit = limit;
            self.pool = limit.saturating_sub(read);
        }
        higher
    }

    /// Counts `bytes`, at most [`left`](Self::left), as sent.
    pub const fn spend(&mut self, bytes: u64) {
        self.used += bytes;
    }
}
