//! Which streams there are: slots of live ones, counters of all others.
//! What a stream holds lives in `send` and `recv`.
//!
//! A stream the peer may open, or has opened by using a higher one, costs nothing until a frame
//! names it: of those only ranges of indices are kept.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::{recv::RecvHalf, send::SendHalf};
use crate::{
    error::{TransportCode, TransportError},
    units::{Dir, Side},
    wire::{RangeSet, id::StreamId},
};

/// Slots a table may keep without use; above that it shrinks when three of four are free.
const SPARE_SLOTS: usize = 64;

/// A live stream. A half that does not exist, or that is done, is `None`.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: Option<SendHalf>,
    pub(super) recv: Option<RecvHalf>,
    pub(super) priority: i32,
    pub(super) wants: Wants,
}

/// Control frames a stream has to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// RESET_STREAM.
    pub(super) reset: bool,
    /// STOP_SENDING.
    pub(super) stop: bool,
    /// MAX_STREAM_DATA.
    pub(super) credit: bool,
    /// STREAM_DATA_BLOCKED.
    pub(super) blocked: bool,
    /// An empty STREAM frame with FIN.
    pub(super) fin: bool,
}

impl Wants {
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

/// Where a frame's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In this slot; new when the frame opened it.
    Live { slot: u32, is_new: bool },
    /// Closed; what comes for it is late.
    Gone,
}

/// What a new stream starts with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InitialCredit {
    /// Given to us by the peer.
    pub(super) send: u64,
    /// Given to the peer by us.
    pub(super) recv: u64,
}

/// All streams of a connection.
#[derive(Debug)]
pub(super) struct Table {
    side: Side,
    /// Boxed, so that a slot that is free costs little.
    slots: Slab<Box<Stream>>,
    index: FxHashMap<StreamId, u32>,
    /// Streams this side opens, by direction.
    local: [LocalKind; 2],
    /// Streams the peer opens, by direction.
    remote: [RemoteKind; 2],
    /// Removals since the table last shrank.
    removals: usize,
}

/// Streams of one direction that this side opens.
#[derive(Debug, Default)]
pub(super) struct LocalKind {
    /// Index of the next.
    next: u64,
    /// First index not allowed by the peer.
    pub(super) limit: u64,
    /// Whether the application waits to open one.
    pub(super) is_waiting: bool,
    /// The limit the peer was told we are held up by.
    blocked_at: Option<u64>,
}

impl LocalKind {
    /// Notes that the limit holds the application up; whether the peer has not heard so.
    fn wait(&mut self) -> bool {
        self.is_waiting = true;
        self.blocked_at.replace(self.limit) != Some(self.limit)
    }
}

/// Streams of one direction that the peer opens.
#[derive(Debug)]
pub(super) struct RemoteKind {
    /// One past the highest index open.
    next: u64,
    /// Indices below that no frame has named.
    untouched: RangeSet,
    /// Streams closed so far.
    closed: u64,
    /// Streams allowed at once.
    concurrent: u64,
    /// First index the peer was told it may not open.
    pub(super) announced: u64,
    /// Named by a frame and not taken by the application.
    pub(super) accept: VecDeque<StreamId>,
    /// Whether the application waits for one; true before the first.
    pub(super) is_waiting: bool,
}

impl RemoteKind {
    fn new(concurrent: u64) -> Self {
        Self {
            next: 0,
            untouched: RangeSet::new(),
            closed: 0,
            concurrent,
            announced: concurrent,
            accept: VecDeque::new(),
            is_waiting: true,
        }
    }

    //= spec/05-streams.md#stream-ids
    //# A receiver MUST treat all streams of a kind as open that have a lower index than one it has seen,
    //# as packets may overtake each other; it SHOULD spend no memory on one before a frame names it.
    /// Notes that `index` is named by a frame; whether that is the first time, `None` when more are
    /// open than allowed.
    fn touch(&mut self, index: u64) -> Option<bool> {
        if index < self.next {
            return Some(self.untouched.remove(index..index + 1));
        }
        if index >= self.announced {
            return None;
        }
        self.untouched.insert(self.next..index);
        self.next = index + 1;
        Some(true)
    }

    /// Counts a stream as closed; whether the peer should hear of a new limit.
    //= spec/05-streams.md#stream-limits
    //# A receiver MUST raise the limit when an eighth of the streams it allows at once have closed
    //# since it last announced one.
    fn close(&mut self) -> bool {
        self.closed += 1;
        let limit = self.closed + self.concurrent;
        let is_due = limit - self.announced >= (self.concurrent / 8).max(1);
        if is_due {
            self.announced = limit;
        }
        is_due
    }
}

impl Table {
    /// No streams; the peer may open so many at once.
    pub(super) fn new(side: Side, max_bi: u64, max_uni: u64) -> Self {
        Self {
            side,
            slots: Slab::new(),
            index: FxHashMap::default(),
            local: [LocalKind::default(), LocalKind::default()],
            remote: [RemoteKind::new(max_bi), RemoteKind::new(max_uni)],
            removals: 0,
        }
    }

    pub(super) const fn local(&mut self, dir: Dir) -> &mut LocalKind {
        &mut self.local[dir as usize]
    }

    pub(super) const fn remote(&mut self, dir: Dir) -> &mut RemoteKind {
        &mut self.remote[dir as usize]
    }

    /// Number of live streams.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots in use or kept.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// The slot of a live stream.
    pub(super) fn slot(&self, id: StreamId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    /// The stream in `slot`, to look at.
    pub(super) fn peek(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(slot as usize).map(Box::as_ref)
    }

    /// The stream in `slot`.
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize).map(Box::as_mut)
    }

    /// Opens the next stream of this side, if the peer allows one more; otherwise whether it should
    /// hear that it holds us up.
    //= spec/05-streams.md#stream-ids
    //# A sender MUST use the indices of a kind in order, each for one stream.
    pub(super) fn open(&mut self, dir: Dir, credit: InitialCredit) -> Result<StreamId, bool> {
        let kind = &mut self.local[dir as usize];
        //= spec/05-streams.md#stream-limits
        //# A sender MUST NOT open a stream whose index is not below the limit the peer announced.
        if kind.next >= kind.limit {
            return Err(kind.wait());
        }
        let id = StreamId::new(self.side, dir, kind.next);
        kind.next += 1;
        self.insert(id, credit);
        Ok(id)
    }

    /// Finds the stream a frame of the peer names, opening it if the frame is its first.
    pub(super) fn find(
        &mut self,
        id: StreamId,
        credit: InitialCredit,
    ) -> Result<Found, TransportError> {
        if let Some(slot) = self.slot(id) {
            return Ok(Found::Live {
                slot,
                is_new: false,
            });
        }
        if id.initiator() == self.side {
            //= spec/05-streams.md#stream-ids
            //# A receiver MUST close the connection with STREAM_STATE_ERROR when a frame names a stream
            //# that only it could have opened and has not.
            if id.index() >= self.local[id.dir() as usize].next {
                return Err(TransportError::new(
                    TransportCode::STREAM_STATE_ERROR,
                    "frame for a stream never opened",
                ));
            }
            return Ok(Found::Gone);
        }
        let kind = &mut self.remote[id.dir() as usize];
        match kind.touch(id.index()) {
            Some(true) => {
                kind.accept.push_back(id);
                let slot = self.insert(id, credit);
                Ok(Found::Live { slot, is_new: true })
            }
            //= spec/05-streams.md#stream-ids
            //# A receiver MUST ignore a frame for a stream that is closed: it is late, not wrong.
            Some(false) => Ok(Found::Gone),
            //= spec/05-streams.md#stream-limits
            //# A receiver MUST close the connection with STREAM_LIMIT_ERROR when a frame names a stream
            //# whose index is not below the limit it announced.
            None => Err(TransportError::new(
                TransportCode::STREAM_LIMIT_ERROR,
                "more streams than allowed",
            )),
        }
    }

    fn insert(&mut self, id: StreamId, credit: InitialCredit) -> u32 {
        let is_ours = id.initiator() == self.side;
        let is_bi = id.dir() == Dir::Bi;
        let slot = slot_number(self.slots.insert(Box::new(Stream {
            id,
            send: (is_ours || is_bi).then(|| SendHalf::new(credit.send)),
            recv: (!is_ours || is_bi).then(|| RecvHalf::new(credit.recv)),
            priority: 0,
            wants: Wants::default(),
        })));
        self.index.insert(id, slot);
        slot
    }

    /// Forgets a stream; whether the peer should hear of a new limit of streams.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let Some(stream) = self.slots.try_remove(slot as usize) else {
            return false;
        };
        self.index.remove(&stream.id);
        self.removals += 1;
        stream.id.initiator() != self.side && self.remote(stream.id.dir()).close()
    }

    /// Gives memory back when most of the table is free, now and then; whether it did.
    pub(super) fn shrink(&mut self) -> bool {
        let capacity = self.slots.capacity();
        let is_sparse = capacity > SPARE_SLOTS && self.slots.len() * 4 < capacity;
        // Shrinking walks the table, so it must be earned by as many removals.
        if !is_sparse || (self.removals < capacity / 2 && !self.slots.is_empty()) {
            return false;
        }
        self.removals = 0;
        self.slots.shrink_to_fit();
        self.index.shrink_to_fit();
        for kind in &mut self.remote {
            kind.accept.shrink_to_fit();
        }
        true
    }
}

/// Slots are as many as live streams, which are limited far below 2^32.
fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
