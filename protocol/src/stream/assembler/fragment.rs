//! A slice of received bytes with what it costs to keep it. Where it belongs in order lives in
//! `assembler`.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

/// What keeping any fragment costs beside its bytes: its queue entry, its allocation, its share of
/// an island.
const OVERHEAD_BYTES: usize = 128;

/// Slices shorter than this are copied on arrival: that is cheaper than anything that follows from
/// keeping a datagram alive.
const SMALL_BYTES: usize = 256;

/// Largest buffer made when fragments are copied together.
const MERGED_BYTES: usize = 64 << 10;

/// Queue entries an empty queue may keep: idle streams must stay small.
const SPARE_ENTRIES: usize = 8;

/// Bytes at an offset.
#[derive(Debug)]
pub(super) struct Fragment {
    offset: u64,
    data: Bytes,
    /// Memory kept alive, overhead included; the 4 GiB it can say are never reached.
    pinned: u32,
}

/// What was taken off a queue.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) offset: u64,
    pub(super) data: Bytes,
    /// Memory no longer kept alive.
    pub(super) unpinned: u64,
}

impl Fragment {
    pub(super) fn new(offset: u64, data: Bytes, pinned: usize) -> Self {
        if data.len() < SMALL_BYTES && data.len() < pinned {
            return Self::owned(offset, Bytes::copy_from_slice(&data));
        }
        let pinned = data.len().max(pinned);
        Self::costing(offset, data, pinned)
    }

    /// A fragment that has its buffer for itself.
    fn owned(offset: u64, data: Bytes) -> Self {
        let pinned = data.len();
        Self::costing(offset, data, pinned)
    }

    fn costing(offset: u64, data: Bytes, pinned: usize) -> Self {
        Self {
            offset,
            data,
            pinned: u32::try_from(pinned + OVERHEAD_BYTES).unwrap_or(u32::MAX),
        }
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) const fn len(&self) -> u64 {
        self.data.len() as u64
    }

    pub(super) const fn end(&self) -> u64 {
        self.offset + self.len()
    }

    pub(super) const fn range(&self) -> Range<u64> {
        self.offset..self.end()
    }

    pub(super) const fn pinned(&self) -> u64 {
        self.pinned as u64
    }

    /// Whether it keeps much more memory than it has bytes.
    const fn is_loose(&self) -> bool {
        self.pinned() > 2 * self.len()
    }

    /// Drops what lies before `offset`, which must not be beyond the end.
    pub(super) fn skip_to(&mut self, offset: u64) {
        if offset > self.offset {
            *self = self.part(&(offset..self.end()));
        }
    }

    /// The part within `range`, which must lie inside; it pins as much as the whole.
    pub(super) fn part(&self, range: &Range<u64>) -> Self {
        let from = index_of(range.start - self.offset);
        let to = index_of(range.end - self.offset);
        Self {
            offset: range.start,
            data: self.data.slice(from..to),
            pinned: self.pinned,
        }
    }
}

/// Takes the first fragment, or its first `max` bytes.
pub(super) fn pop(queue: &mut VecDeque<Fragment>, max: usize) -> Option<Taken> {
    let first = queue.front_mut()?;
    if first.data.len() > max {
        let offset = first.offset;
        let data = first.data.split_to(max);
        first.offset += max as u64;
        return Some(Taken {
            offset,
            data,
            unpinned: 0,
        });
    }
    let fragment = queue.pop_front()?;
    Some(Taken {
        unpinned: fragment.pinned(),
        offset: fragment.offset,
        data: fragment.data,
    })
}

/// Memory all fragments of `queue` keep alive.
pub(super) fn pinned(queue: &VecDeque<Fragment>) -> u64 {
    queue.iter().map(Fragment::pinned).sum()
}

/// Gives back the memory of an empty queue that has once been long.
pub(super) fn shrink(queue: &mut VecDeque<Fragment>) {
    if queue.capacity() > SPARE_ENTRIES {
        *queue = VecDeque::new();
    }
}

/// Copies fragments that are loose together where they are contiguous; others stay as they are.
pub(super) fn compact(queue: &mut VecDeque<Fragment>) {
    if !queue.iter().any(Fragment::is_loose) {
        return;
    }
    let mut compacted = VecDeque::new();
    let mut merging = Merging::default();
    for fragment in queue.drain(..) {
        if !fragment.is_loose() {
            merging.flush(&mut compacted);
            compacted.push_back(fragment);
            continue;
        }
        if !merging.takes(&fragment) {
            merging.flush(&mut compacted);
        }
        merging.push(fragment);
    }
    merging.flush(&mut compacted);
    *queue = compacted;
}

/// Contiguous loose fragments that become one.
#[derive(Default)]
struct Merging {
    parts: Vec<Fragment>,
    bytes: usize,
}

impl Merging {
    fn takes(&self, fragment: &Fragment) -> bool {
        self.parts
            .last()
            .is_none_or(|last| last.end() == fragment.offset)
            && self.bytes + fragment.data.len() <= MERGED_BYTES
    }

    fn push(&mut self, fragment: Fragment) {
        self.bytes += fragment.data.len();
        self.parts.push(fragment);
    }

    fn flush(&mut self, out: &mut VecDeque<Fragment>) {
        if let Some(first) = self.parts.first() {
            let offset = first.offset;
            let mut merged = Vec::with_capacity(self.bytes);
            for part in self.parts.drain(..) {
                merged.extend_from_slice(&part.data);
            }
            out.push_back(Fragment::owned(offset, merged.into()));
        }
        self.bytes = 0;
    }
}

/// A distance inside one fragment: fragments are slices, so it always fits.
fn index_of(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}
