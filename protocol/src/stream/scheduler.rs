//! Which stream sends next: strict priority classes, and inside a class equal shares in bytes.
//! What the streams have to send, and whether they may, lives with them.
//!
//! Streams are named by their slot in the table. All operations are O(1) in the number of
//! streams: the queues are linked through one array, so nothing is ever searched or copied.

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

/// Bytes a stream may send before the next of its class has its turn. A few packets: small enough
/// that ten thousand busy streams all move within tens of megabytes, large enough that the bytes
/// of one packet mostly belong to one stream.
const QUANTUM_BYTES: i32 = 4096;

/// Classes kept although empty; above this, empty ones are swept out.
const SPARE_LEVELS: usize = 8;

/// No slot.
const NONE: u32 = u32::MAX;

/// A set of table slots in sending order.
#[derive(Debug, Default)]
pub struct Scheduler {
    /// Links of every slot ever queued, by slot.
    nodes: Vec<Node>,
    /// Highest priority first; may hold empty classes.
    levels: SmallVec<[Level; 1]>,
    queued: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    next: u32,
    priority: i32,
    is_queued: bool,
    /// Bytes left of the present turn; below zero when the last packet went beyond it.
    left: i32,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    priority: i32,
    head: u32,
    tail: u32,
}

const UNQUEUED: Node = Node {
    previous: NONE,
    next: NONE,
    priority: 0,
    is_queued: false,
    left: 0,
};

impl Scheduler {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no slot is queued.
    pub const fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Number of slots queued.
    pub const fn len(&self) -> usize {
        self.queued
    }

    /// Whether `slot` is queued.
    pub fn contains(&self, slot: u32) -> bool {
        self.nodes
            .get(slot as usize)
            .is_some_and(|node| node.is_queued)
    }

    /// Queues `slot` last of its class, unless it is queued already.
    pub fn insert(&mut self, slot: u32, priority: i32) {
        let index = slot as usize;
        if self.nodes.len() <= index {
            self.nodes.resize(index + 1, UNQUEUED);
        }
        if self.nodes[index].is_queued {
            return;
        }
        let node = &mut self.nodes[index];
        node.priority = priority;
        node.is_queued = true;
        // A debt from an earlier turn is kept: leaving and returning is no way to get more.
        node.left = (node.left.min(0) + QUANTUM_BYTES).max(1);
        self.queued += 1;
        self.link_last(slot);
    }

    /// Takes `slot` out, if it is queued.
    pub fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            self.unlink(slot);
            self.nodes[slot as usize].is_queued = false;
            self.queued -= 1;
        }
    }

    /// The slot whose turn it is.
    //= spec/05-streams.md#sending
    //# A sender SHOULD send bytes of the highest priority first, and share equally in bytes between
    //# streams of the same priority.
    pub fn first(&self) -> Option<u32> {
        self.levels
            .iter()
            .map(|level| level.head)
            .find(|&head| head != NONE)
    }

    /// Notes that `slot` has sent `bytes`; when its turn is used up, the next of its class follows.
    pub fn charge(&mut self, slot: u32, bytes: u64) {
        let Some(node) = self.nodes.get_mut(slot as usize) else {
            return;
        };
        node.left = node
            .left
            .saturating_sub(i32::try_from(bytes).unwrap_or(i32::MAX));
        if node.is_queued && node.left <= 0 {
            // A packet larger than the quantum is one whole turn; more is not held against it.
            node.left = (node.left + QUANTUM_BYTES).max(1);
            self.rotate(slot);
        }
    }

    /// Moves `slot`, which is queued, behind all others of its class.
    pub fn rotate(&mut self, slot: u32) {
        if self.contains(slot) && self.nodes[slot as usize].next != NONE {
            self.unlink(slot);
            self.link_last(slot);
        }
    }

    /// Forgets the links of slots from `slots` on, none of which may be queued.
    pub fn shrink_to(&mut self, slots: usize) {
        if self.nodes.len() > slots {
            self.nodes.truncate(slots);
            self.nodes.shrink_to_fit();
        }
    }

    fn link_last(&mut self, slot: u32) {
        let priority = self.nodes[slot as usize].priority;
        let level = self.level_of(priority);
        let tail = std::mem::replace(&mut level.tail, slot);
        if tail == NONE {
            level.head = slot;
        } else {
            self.nodes[tail as usize].next = slot;
        }
        let node = &mut self.nodes[slot as usize];
        node.previous = tail;
        node.next = NONE;
    }

    fn unlink(&mut self, slot: u32) {
        let Node {
            previous,
            next,
            priority,
            ..
        } = self.nodes[slot as usize];
        match self.nodes.get_mut(previous as usize) {
            Some(node) => node.next = next,
            None => self.level_of(priority).head = next,
        }
        match self.nodes.get_mut(next as usize) {
            Some(node) => node.previous = previous,
            None => self.level_of(priority).tail = previous,
        }
    }

    /// The class of `priority`, made if there is none.
    fn level_of(&mut self, priority: i32) -> &mut Level {
        let mut index = self.levels.partition_point(|l| l.priority > priority);
        if self
            .levels
            .get(index)
            .is_none_or(|l| l.priority != priority)
        {
            if self.levels.len() >= SPARE_LEVELS {
                self.levels.retain(|level| level.head != NONE);
                index = self.levels.partition_point(|l| l.priority > priority);
            }
            self.levels.insert(
                index,
                Level {
                    priority,
                    head: NONE,
                    tail: NONE,
                },
            );
        }
        &mut self.levels[index]
    }
}
