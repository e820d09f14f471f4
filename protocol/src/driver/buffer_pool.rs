//! Receive buffers: 64 KB slots whose filled parts go to the engine as slices, and come back.
//! Reading the socket is `socket`'s work.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Room for the largest thing one receive can return: 64 KB of datagrams coalesced by GRO.
pub(super) const SLOT_BYTES: usize = 65536;

/// Filled buffers watched for their return. Enough for two full batches under way; what the
/// application keeps longer than that is freed by its last slice instead of coming back.
const MAX_LENT: usize = 64;

/// Receives up to this size are copied out: a lone packet held by a slow reader must not pin 64 KB, and
/// copying so little costs less than clearing a slot for its next use.
const COPY_MAX: usize = 16 << 10;

/// Makes and takes back receive buffers.
///
/// Memory: the slots in use by the socket, [`MAX_LENT`] more at most, and what slices still held keep
/// alive, which the engine's credit bounds.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    /// Our end of each buffer handed out, oldest first; usable again once all its slices are gone.
    lent: VecDeque<BytesMut>,
}

impl BufferPool {
    /// A cleared buffer of [`SLOT_BYTES`].
    pub(super) fn slot(&mut self) -> BytesMut {
        // The oldest is the likeliest to be free; a few are tried so that one slow stream does not
        // block the others' return.
        for index in 0..self.lent.len().min(4) {
            if self.lent[index].try_reclaim(SLOT_BYTES)
                && let Some(mut slot) = self.lent.remove(index)
            {
                slot.resize(SLOT_BYTES, 0);
                return slot;
            }
        }
        BytesMut::zeroed(SLOT_BYTES)
    }

    /// The first `len` bytes of `slot`, as a buffer of their own; `slot` is whole again afterwards.
    pub(super) fn take(&mut self, slot: &mut BytesMut, len: usize) -> BytesMut {
        let len = len.min(slot.len());
        if len <= COPY_MAX {
            return BytesMut::from(&slot[..len]);
        }
        let mut rest = std::mem::take(slot);
        let filled = rest.split_to(len);
        // Emptied, so that reclaiming it has nothing to move.
        rest.clear();
        *slot = self.slot();
        if self.lent.len() == MAX_LENT {
            self.lent.pop_front();
        }
        self.lent.push_back(rest);
        filled
    }
}

#[cfg(test)]
mod tests;
