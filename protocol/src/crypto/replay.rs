//! Which packet numbers of a path were received: no packet is taken twice.
//! What is acknowledged, and when, is the path's.

use crate::wire::RangeSet;

#[cfg(test)]
mod tests;

/// Ranges kept before the oldest gap is given up: 64 KiB (16 bytes each). At 10 Gbit/s and 5 % loss
/// that remembers the last 80,000 packets, 100 ms of reordering.
//= spec/02-handshake.md#replay
//# A receiver SHOULD be able to tell for at least the last 8,192 packet numbers, whatever part of
//# them was lost.
const MAX_RANGES: usize = 4096;

/// The packet numbers received on one path.
///
/// Everything below a floor counts as received. The floor rises over what is complete, and over
/// the oldest gap when there are too many: a packet that late is taken for lost by its sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    floor: u64,
    received: RangeSet,
}

impl Replay {
    /// Whether a packet with this number may be taken: it was not received, as far as we know.
    //= spec/02-handshake.md#replay
    //# A receiver MUST drop a packet whose number it has received on the same path before, or can
    //# no longer tell.
    pub(crate) fn check(&self, pn: u64) -> bool {
        pn >= self.floor && !self.received.contains(pn)
    }

    /// Notes a packet that has opened.
    //= spec/02-handshake.md#replay
    //# A receiver MUST NOT note a number before its packet has opened.
    pub(crate) fn insert(&mut self, pn: u64) {
        if pn < self.floor {
            return;
        }
        self.received.insert_one(pn);
        let is_full = self.received.len() > MAX_RANGES;
        if (is_full || self.received.min() == Some(self.floor))
            && let Some(lowest) = self.received.pop_min()
        {
            self.floor = lowest.end;
        }
    }
}
