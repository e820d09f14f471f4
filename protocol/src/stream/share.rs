//! Shares: how much of the connection's credit one stream may hold unread, so that streams nobody
//! reads leave the others theirs. Limits and windows live in `credit`.
//!
//! The sender decides, as it alone knows at which moment a stream would take the last bytes: it
//! takes from an application no more than the stream's share. The receiver's part is to say early
//! enough how far its readers are.

use super::{Streams, recv::RecvHalf, scheduler::Scheduler, send::SendHalf};

/// The part of the pool, as a divisor, that streams share out sparingly.
const RESERVE: u64 = 4;

/// Of what is left above the reserve, a stream may hold so many times what it leaves.
const MULTIPLE: u64 = 8;

/// The part of the reserve, as a divisor, that a stream may hold which was never read: a thousand of
/// them leave a fiftieth.
const UNPROVEN: u64 = 256;

/// The part of the reserve, as a divisor, that a stream may hold which was read that far before.
const PROVEN: u64 = 16;

/// The part of a share, as a divisor, after which a receiver says how far it has read.
const REPORTS_PER_SHARE: u64 = 4;

/// Bytes any stream may hold unread when `left` bytes of a pool of `pool` are not used.
///
/// The dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998) with two slopes: one
/// stream alone may have most of the pool, and the last of it lasts for many.
pub(super) fn share(left: u64, pool: u64) -> u64 {
    let reserve = pool / RESERVE;
    let outside = left.saturating_sub(reserve).saturating_mul(MULTIPLE);
    outside.max(left.min(reserve).div_ceil(UNPROVEN))
}

/// Bytes more that a stream may take of which the peer has read `read` and holds `held`: it is within
/// its share also when it has them.
fn room(left: u64, pool: u64, read: u64, held: u64) -> u64 {
    let reserve = pool / RESERVE;
    let outside = left.saturating_sub(reserve).saturating_mul(MULTIPLE);
    let left = left.min(reserve);
    let inside = left.div_ceil(UNPROVEN).max(read.min(left / PROVEN));
    (outside.saturating_sub(held) / (MULTIPLE + 1)).max(inside.saturating_sub(held))
}

/// The number of bits of `bytes`: streams are sorted by it, so that finding those below a bound
/// takes no search.
const fn magnitude(bytes: u64) -> i32 {
    (u64::BITS - bytes.leading_zeros()).cast_signed()
}

impl Streams {
    /// Credit of the connection that is not promised to bytes taken from the application: those can
    /// all be sent.
    fn unpromised(&self) -> u64 {
        self.send_credit.left().saturating_sub(self.unsent)
    }

    /// Bytes a stream may take from its application of which the peer has read `read` and holds
    /// `held`, as far as its share goes.
    //= spec/05-streams.md#shares
    //# A sender SHOULD NOT send new bytes of a stream while its unread bytes, those it has sent less
    //# those the peer said were read, are not below its share.
    pub(super) fn room_in_share(&self, read: u64, held: u64) -> u64 {
        room(self.unpromised(), self.send_credit.pool(), read, held)
    }

    /// Lets a writer wait for its share, which is used up, and not for the buffer.
    pub(super) fn hold(&mut self, slot: u32) {
        let untaken = self.sending_half(slot).map_or(0, SendHalf::untaken);
        self.queues.writers.remove(slot);
        self.queues.held.remove(slot);
        self.queues.held.insert(slot, -magnitude(untaken));
        self.note_data_blocked();
    }

    /// Lets streams go on whose share has grown beyond what they hold.
    ///
    /// Whatever is taken out here can write at least a byte, so a peer cannot make us go through the
    /// queue for nothing. Those left hold at least half of the share; their peer says so when it has
    /// read a quarter.
    pub(super) fn release_held(&mut self) {
        let share = share(self.unpromised(), self.send_credit.pool());
        while let Some(slot) = self.queues.held.first() {
            let untaken = self.sending_half(slot).map_or(0, SendHalf::untaken);
            if magnitude(untaken) >= magnitude(share) {
                return;
            }
            self.release(slot);
        }
    }

    /// Lets the writer of a stream go on whose share or reader has changed, if one waits.
    pub(super) fn release(&mut self, slot: u32) {
        self.queues.held.remove(slot);
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        let priority = stream.priority;
        if stream.send.as_ref().is_some_and(|send| send.is_waiting) {
            if self.is_worth_waking(slot) {
                self.wake_writer(slot);
            } else {
                self.queues.writers.insert(slot, priority);
            }
        }
    }

    fn sending_half(&mut self, slot: u32) -> Option<&SendHalf> {
        self.table.get(slot)?.send.as_ref()
    }

    /// Bytes a reader takes before the peer should hear of it.
    //= spec/05-streams.md#shares
    //# A receiver MUST send MAX_STREAM_DATA when the reader of a stream has taken a quarter of a share
    //# since it last said so.
    pub(super) fn report_threshold(&self) -> u64 {
        (self.recv_credit.share() / REPORTS_PER_SHARE).max(1)
    }

    /// Says of streams how far they are read that were too near for it when shares were larger.
    //= spec/05-streams.md#shares
    //# A receiver MUST send it as well for streams whose readers were too near for that when the share
    //# was larger.
    pub(super) fn report_reads(&mut self) {
        let threshold = self.report_threshold();
        while let Some(slot) = self.queues.unreported.first() {
            let recv = self.table.get(slot).and_then(|s| s.recv.as_ref());
            let unreported = recv.map_or(0, |recv| recv.credit.unreported());
            // Others of the same magnitude are left too: below twice the threshold is below a share.
            if unreported > 0 && unreported < threshold {
                return;
            }
            self.queues.unreported.remove(slot);
            self.want_report(slot);
        }
    }

    /// Asks for a MAX_STREAM_DATA, if it is of any use.
    pub(super) fn want_report(&mut self, slot: u32) {
        if let Some(stream) = self.table.get(slot)
            && stream.recv.as_ref().is_some_and(RecvHalf::wants_credit)
        {
            stream.wants.credit = true;
            self.queues.control.insert(slot, 0);
        }
    }
}

/// Sorts `slot` by what its reader has taken and the peer has not heard of.
pub(super) fn note_unreported(queue: &mut Scheduler, slot: u32, before: u64, bytes: u64) {
    if magnitude(before) != magnitude(bytes) || !queue.contains(slot) {
        queue.remove(slot);
        if bytes > 0 {
            queue.insert(slot, magnitude(bytes));
        }
    }
}
