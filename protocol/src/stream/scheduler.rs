//! Which stream sends next: strict priority classes, and inside a class equal shares in bytes.
//! What the streams have to send, and whether they may, lives with them.
//!
//! Where sparse streams are favoured, one that was idle goes before the busy ones of its class, as the new flows of
//! FQ-CoDel do (RFC 8290, section 4.2). There a flow has one such turn and then waits for a whole round; here it may
//! come back for what is left of that turn, so that one message after the other is served at once as long as all of
//! them are less than a busy stream gets.
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

/// Bytes that the sparse streams of a class may send in a row while busy ones wait: whoever opens one short
/// stream after the other does not stop them.
const SPARSE_RUN_BYTES: i32 = 16 * QUANTUM_BYTES;

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
    favours_sparse: bool,
    /// Turns that busy streams have had, modulo 2^32.
    turns: u32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    next: u32,
    priority: i32,
    is_queued: bool,
    /// Whether it is among the sparse ones of its class, or was when it left.
    is_sparse: bool,
    /// Bytes left of the present turn; below zero when the last packet went beyond it.
    left: i32,
    /// The number of turns at which it has a new one among the sparse: by then all that were queued have had
    /// theirs. When it is off by half of the numbers there are, the stream goes among the busy ones once.
    sparse_from: u32,
}

/// Slots of one class, in the order in which they have their turns.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// The queued slots of one priority.
#[derive(Clone, Copy, Debug)]
struct Level {
    priority: i32,
    sparse: List,
    busy: List,
    /// Bytes that sparse streams have sent since the last turn of a busy one.
    sparse_run: i32,
}

const EMPTY: List = List {
    head: NONE,
    tail: NONE,
};

const UNQUEUED: Node = Node {
    previous: NONE,
    next: NONE,
    priority: 0,
    is_queued: false,
    is_sparse: false,
    left: 0,
    sparse_from: 0,
};

impl Level {
    const fn is_empty(&self) -> bool {
        self.sparse.head == NONE && self.busy.head == NONE
    }

    const fn list(&mut self, is_sparse: bool) -> &mut List {
        match is_sparse {
            true => &mut self.sparse,
            false => &mut self.busy,
        }
    }

    /// The slot whose turn it is, or none.
    const fn first(&self) -> u32 {
        let has_run = self.sparse_run >= SPARSE_RUN_BYTES && self.busy.head != NONE;
        match self.sparse.head {
            NONE => self.busy.head,
            _ if has_run => self.busy.head,
            head => head,
        }
    }
}

impl Scheduler {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set in which sparse streams go first.
    pub fn favouring_sparse() -> Self {
        Self {
            favours_sparse: true,
            ..Self::default()
        }
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

    /// Queues `slot` last of its class, or last of the sparse ones in it, unless it is queued already.
    pub fn insert(&mut self, slot: u32, priority: i32) {
        let index = slot as usize;
        if self.nodes.len() <= index {
            let unqueued = Node {
                sparse_from: self.turns,
                ..UNQUEUED
            };
            self.nodes.resize(index + 1, unqueued);
        }
        if self.nodes[index].is_queued {
            return;
        }
        let after_round = self.after_round(1);
        let is_idle = self.is_over(self.nodes[index].sparse_from);
        let node = &mut self.nodes[index];
        node.priority = priority;
        node.is_queued = true;
        //= spec/05-streams.md#sending
        //# A sender SHOULD serve a stream before the others of its priority as long as it sends less than
        //# one turn in the time in which each of them has one.
        let has_left = node.is_sparse && node.left > 0;
        if is_idle || !has_left {
            // A debt from an earlier turn is kept: leaving and returning is no way to get more.
            node.left = (node.left.min(0) + QUANTUM_BYTES).max(1);
        }
        node.is_sparse = self.favours_sparse && (is_idle || has_left);
        if node.is_sparse && is_idle {
            node.sparse_from = after_round;
        }
        self.queued += 1;
        self.link_last(slot);
    }

    /// Takes `slot` out, if it is queued.
    pub fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            let node = &self.nodes[slot as usize];
            if node.previous == NONE && !node.is_sparse {
                // Its turn ends with what it had to send.
                self.end_turn(node.priority);
            }
            self.unlink(slot);
            self.nodes[slot as usize].is_queued = false;
            self.queued -= 1;
        }
    }

    /// Takes `slot` out and forgets what it has sent: it will be another stream's.
    pub fn forget(&mut self, slot: u32) {
        self.remove(slot);
        let turns = self.turns;
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            *node = Node {
                sparse_from: turns,
                ..UNQUEUED
            };
        }
    }

    /// The slot whose turn it is.
    //= spec/05-streams.md#sending
    //# A sender SHOULD send bytes of the highest priority first, and share equally in bytes between
    //# streams of the same priority.
    pub fn first(&self) -> Option<u32> {
        self.levels
            .iter()
            .map(Level::first)
            .find(|&head| head != NONE)
    }

    /// Notes that `slot` has sent `bytes`; when its turn is used up, the next of its class follows.
    pub fn charge(&mut self, slot: u32, bytes: u64) {
        let after_round = self.after_round(0);
        let Some(node) = self.nodes.get_mut(slot as usize) else {
            return;
        };
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        node.left = node.left.saturating_sub(bytes);
        let (priority, is_sparse) = (node.priority, node.is_sparse);
        if !is_sparse {
            node.sparse_from = after_round;
        }
        if !node.is_queued {
            return;
        }
        let is_over = node.left <= 0;
        if is_over {
            // A packet larger than the quantum is one whole turn; more is not held against it.
            node.left = (node.left + QUANTUM_BYTES).max(1);
        }
        match (is_sparse, is_over) {
            (true, false) => {
                let level = self.level_of(priority);
                level.sparse_run = level.sparse_run.saturating_add(bytes);
            }
            (true, true) => {
                node.sparse_from = after_round;
                let level = self.level_of(priority);
                level.sparse_run = level.sparse_run.saturating_add(bytes);
                self.unlink(slot);
                self.nodes[slot as usize].is_sparse = false;
                self.link_last(slot);
            }
            (false, true) => {
                self.end_turn(priority);
                self.rotate(slot);
            }
            (false, false) => {}
        }
    }

    /// Notes that a busy stream has had its turn.
    fn end_turn(&mut self, priority: i32) {
        self.turns = self.turns.wrapping_add(1);
        self.level_of(priority).sparse_run = 0;
    }

    /// The number of turns at which all that are queued, and so many `more`, have had one.
    fn after_round(&self, more: usize) -> u32 {
        let round = u32::try_from(self.queued + more).unwrap_or(u32::MAX);
        self.turns.wrapping_add(round)
    }

    /// Whether there have been so many `turns`.
    const fn is_over(&self, turns: u32) -> bool {
        self.turns.wrapping_sub(turns).cast_signed() >= 0
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
        let Node {
            priority,
            is_sparse,
            ..
        } = self.nodes[slot as usize];
        let list = self.level_of(priority).list(is_sparse);
        let tail = std::mem::replace(&mut list.tail, slot);
        if tail == NONE {
            list.head = slot;
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
            is_sparse,
            ..
        } = self.nodes[slot as usize];
        match self.nodes.get_mut(previous as usize) {
            Some(node) => node.next = next,
            None => self.level_of(priority).list(is_sparse).head = next,
        }
        match self.nodes.get_mut(next as usize) {
            Some(node) => node.previous = previous,
            None => self.level_of(priority).list(is_sparse).tail = previous,
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
                self.levels.retain(|level| !level.is_empty());
                index = self.levels.partition_point(|l| l.priority > priority);
            }
            self.levels.insert(
                index,
                Level {
                    priority,
                    sparse: EMPTY,
                    busy: EMPTY,
                    sparse_run: 0,
                },
            );
        }
        &mut self.levels[index]
    }
}
