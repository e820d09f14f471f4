//! How much the streams of a connection take from their applications, and when they ask for more.
//! What is sent of it, and when, is decided in `outgoing`.

use std::time::{Duration, Instant};

use super::{StreamEvent, Streams};

/// Send buffer before anything is known of the path: enough for the first round trips of a start
/// at 32 packets per round trip that doubles.
pub(super) const MIN_SEND_BUFFER_BYTES: u64 = 256 << 10;

/// What any one stream may have buffered when others fill the send buffer, so that a small answer
/// does not wait for a large transfer.
const STREAM_RESERVE_BYTES: u64 = 16 << 10;

impl Streams {
    /// Adapts buffers to the path: `send_window` is how much the controller lets be in flight.
    /// To be called about once per round trip.
    pub fn tune(&mut self, now: Instant, smoothed_rtt: Duration, send_window: u64) {
        self.now = Some(now);
        self.rtt = smoothed_rtt;
        // Twice the window: one in flight, one that is written meanwhile or waits for a repair.
        self.send_limit = send_window
            .saturating_mul(2)
            .max(MIN_SEND_BUFFER_BYTES)
            .min(self.config.send_buffer);
        self.wake_writers();
    }

    /// Memory pressure of the send side. Chunks whose bytes are partly acknowledged hold more than
    /// is counted as unacknowledged; a peer that acknowledges every other byte must not double that
    /// for ever, hence the second term.
    fn used(&self) -> u64 {
        self.unacked.max(self.held.bytes() / 4)
    }

    /// What [`used`](Self::used) may come to: as much as the path needs, and as the endpoint has.
    fn send_limit(&self) -> u64 {
        self.send_limit.min(self.held.ceiling())
    }

    /// Bytes the stream may take from its application. Bytes are taken only within the stream's
    /// credit and its share: what is buffered can be sent, so one stream that is held up never fills
    /// the buffer the others need.
    pub(super) fn room(&mut self, slot: u32) -> u64 {
        let used = self.used();
        let limit = self.send_limit();
        let hard_limit = self.config.send_buffer.min(self.held.ceiling());
        let Some(send) = self.table.get(slot).and_then(|s| s.send.as_ref()) else {
            return 0;
        };
        let shared = limit.saturating_sub(used);
        let reserve = STREAM_RESERVE_BYTES
            .saturating_sub(send.buffer.unacked())
            .min(hard_limit.saturating_sub(used));
        let (credit, read, untaken) = (send.credit(), send.read(), send.untaken());
        credit
            .min(self.room_in_share(read, untaken))
            .min(shared.max(reserve))
    }

    /// Whether it is worth to wake a writer: there should be room for more than one packet.
    pub(super) fn is_worth_waking(&mut self, slot: u32) -> bool {
        let has_shared_room = self.used() <= self.send_limit() / 4 * 3;
        let Some(send) = self.table.get(slot).and_then(|s| s.send.as_ref()) else {
            return false;
        };
        let has_own_room = send.buffer.unacked() <= STREAM_RESERVE_BYTES / 2;
        (has_shared_room || has_own_room) && self.room(slot) > 0
    }

    /// Tells writers that there is room: as many as it is likely enough for, and all when half of
    /// the buffer is free. Those left have acknowledgements to come that wake them.
    pub(super) fn wake_writers(&mut self) {
        let limit = self.send_limit();
        if self.queues.writers.is_empty() || self.used() > limit / 4 * 3 {
            return;
        }
        let mut waking = match limit - self.used() {
            room if room >= limit / 2 => usize::MAX,
            room => usize::try_from(room / STREAM_RESERVE_BYTES).map_or(1, |n| n.max(1)),
        };
        while waking > 0
            && let Some(slot) = self.queues.writers.first()
        {
            if self.room(slot) == 0 {
                self.hold(slot);
                continue;
            }
            self.wake_writer(slot);
            waking -= 1;
        }
    }

    /// Tells one writer, if it waits.
    pub(super) fn wake_writer(&mut self, slot: u32) {
        self.queues.writers.remove(slot);
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        if let Some(send) = &mut stream.send
            && std::mem::take(&mut send.is_waiting)
        {
            self.events.push_back(StreamEvent::Writable(stream.id));
        }
    }

    /// Tells a writer whose bytes were acknowledged, and others if there is room for them.
    pub(super) fn wake_after_ack(&mut self, slot: u32) {
        if self.queues.writers.contains(slot) && self.is_worth_waking(slot) {
            self.wake_writer(slot);
        }
        self.wake_writers();
    }
}
