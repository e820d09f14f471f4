//! BLAKE3 over a whole file whose blocks come in any order, equal to hashing it from front to
//! back. Where the blocks are kept lies with the caller.
//!
//! BLAKE3 is a binary tree over 1 KiB chunks. The file is cut into groups of 1 MiB, each a
//! complete subtree, so a group can be hashed alone:
//! 1. A block that continues what its group has hashed is hashed from memory.
//! 2. A block after a hole is only noted. When the hole is filled, the rest of its group is read
//!    back from where the caller wrote it (the page cache, as a rule) and hashed.
//! 3. Neighbouring whole subtrees are merged at once, so what stays is a few values per gap, not
//!    one per group.
//!
//! Where each group has to be proven ([`BlockDigest::proven`]), it is merged when its value was announced by
//! who has the file; one that differs is forgotten, so that it can come again.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

/// Bytes of one group: a power of two of 1 KiB chunks. Small enough that reading one back costs
/// a fraction of a millisecond, large enough that a hasher per open group is nothing.
pub const GROUP: u64 = 1 << 20;

/// Bytes read back at a time.
const READ_BACK: usize = 256 << 10;

/// Reads back bytes that were noted before: fills the buffer from this offset, or fails.
pub type ReadBack<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>;

/// The digest of a file under way, and which of its bytes have been seen.
#[derive(Default)]
pub struct BlockDigest {
    /// Groups begun and not whole.
    open: BTreeMap<u64, Group>,
    /// Whole subtrees by level (0 is a group) and index in that level. The left edge of the tree
    /// (index 0) is never merged upwards, because the last such merge is the root's and is
    /// computed differently; only the end of the file tells which one that is.
    whole: BTreeMap<(u32, u64), ChainingValue>,
    /// The first group's hasher, kept because a file of one group has it as root.
    first: Option<Hasher>,
    has_first: bool,
    covered: u64,
    /// Length of the file, where it is known and each group is told of when it is whole.
    size: Option<u64>,
    /// Whether a group counts only when its value was announced.
    is_proven: bool,
    /// Groups that are whole and were not taken note of.
    told: Vec<(u64, ChainingValue)>,
    /// Groups that are whole and not proven.
    awaited: BTreeSet<u64>,
}

/// Whether a group is what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is.
    Good,
    /// It is not, and counts as not seen.
    Bad,
}

/// Bytes of one group.
enum Piece<'a> {
    /// These.
    Bytes(&'a [u8]),
    /// So many, to be read back.
    Length(u64),
}

/// What is known of one group.
struct Group {
    hasher: Hasher,
    /// Bytes hashed from the start of the group.
    hashed: u64,
    /// Bytes noted beyond, sorted, apart from each other, relative to the group.
    noted: Vec<(u64, u64)>,
}

impl BlockDigest {
    /// A digest that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of a file of `size` bytes, each whole group of which is told of.
    pub fn telling(size: u64) -> Self {
        Self {
            size: Some(size),
            ..Self::default()
        }
    }

    /// The digest of a file of `size` bytes, each group of which counts when [`BlockDigest::prove`] says so.
    pub fn proven(size: u64) -> Self {
        Self {
            size: Some(size),
            is_proven: true,
            ..Self::default()
        }
    }

    /// Groups that have become whole, with their values, since this was last asked.
    pub fn take_told(&mut self) -> Vec<(u64, ChainingValue)> {
        std::mem::take(&mut self.told)
    }

    /// Compares a group that was told of with the value it has to have.
    pub fn prove(&mut self, index: u64, found: &ChainingValue, announced: &ChainingValue) -> Proof {
        if found == announced {
            self.settle(index, *found);
            return Proof::Good;
        }
        self.covered -= self.length(index);
        self.awaited.remove(&index);
        if index == 0 {
            (self.has_first, self.first) = (false, None);
        }
        Proof::Bad
    }

    /// Counts a group as whole that was proven before.
    pub fn restore(&mut self, index: u64, value: ChainingValue) {
        if !self.is_whole(index) {
            self.covered += self.length(index);
            self.settle(index, value);
        }
    }

    /// Whether a group counts, and nothing is awaited of it.
    pub fn is_settled(&self, index: u64) -> bool {
        self.is_whole(index) && !self.awaited.contains(&index)
    }

    /// Bytes of a group: all but the last are full.
    fn length(&self, index: u64) -> u64 {
        rest_of(self.size, index)
    }

    /// How many different bytes have been seen.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// Takes `block`, which stands at `offset` of the file and can already be read back.
    ///
    /// Bytes seen before are ignored; offsets beyond 2^63 are an error of kind `InvalidInput`.
    pub fn insert(
        &mut self,
        offset: u64,
        mut block: &[u8],
        read_back: ReadBack<'_>,
    ) -> io::Result<()> {
        let end = offset.checked_add(block.len() as u64);
        if end.is_none_or(|end| end > 1 << 63) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut offset = offset;
        while !block.is_empty() {
            let start = offset % GROUP;
            let space = usize::try_from(GROUP - start).unwrap_or(usize::MAX);
            let (piece, rest) = block.split_at(space.min(block.len()));
            self.insert_in_group(offset / GROUP, start, Piece::Bytes(piece), read_back)?;
            offset += piece.len() as u64;
            block = rest;
        }
        Ok(())
    }

    /// Takes `length` bytes that stand at `offset` of the file and are only to be read back.
    pub fn note(&mut self, offset: u64, length: u64, read_back: ReadBack<'_>) -> io::Result<()> {
        for (index, start, length) in by_group(offset, length) {
            self.insert_in_group(index, start, Piece::Length(length), read_back)?;
        }
        Ok(())
    }

    /// What has not been seen of `length` bytes at `offset`: offset and length of each piece.
    pub fn unseen(&self, offset: u64, length: u64) -> Vec<(u64, u64)> {
        let mut unseen: Vec<(u64, u64)> = Vec::new();
        for (index, start, length) in by_group(offset, length) {
            let mut add = |start: u64, end: u64| match unseen.last_mut() {
                Some(last) if last.0 + last.1 == start => last.1 += end - start,
                _ => unseen.push((start, end - start)),
            };
            let base = index * GROUP;
            match self.open.get(&index) {
                _ if self.is_whole(index) => {}
                Some(group) => group
                    .unseen(start, start + length)
                    .for_each(|(start, end)| add(base + start, base + end)),
                None => add(base + start, base + start + length),
            }
        }
        unseen
    }

    fn insert_in_group(
        &mut self,
        index: u64,
        start: u64,
        piece: Piece<'_>,
        read_back: ReadBack<'_>,
    ) -> io::Result<()> {
        if self.is_whole(index) {
            return Ok(());
        }
        let group = self.open.entry(index).or_insert_with(|| Group::new(index));
        self.covered += match piece {
            Piece::Bytes(bytes) => group.insert(start, bytes),
            Piece::Length(length) => group.note(start.max(group.hashed), start + length),
        };
        let length = rest_of(self.size, index);
        if group.covers(length)
            && let Some(mut group) = self.open.remove(&index)
        {
            group.catch_up(index, length, read_back)?;
            self.close(index, group.hasher);
        }
        Ok(())
    }

    /// Whether the group at `index` is part of a whole subtree.
    fn is_whole(&self, index: u64) -> bool {
        if index == 0 {
            return self.has_first;
        }
        if self.awaited.contains(&index) {
            return true;
        }
        let (mut level, mut index) = (0, index);
        while index > 0 {
            if self.whole.contains_key(&(level, index)) {
                return true;
            }
            (level, index) = (level + 1, index / 2);
        }
        false
    }

    /// Takes note of a whole group.
    fn close(&mut self, index: u64, hasher: Hasher) {
        let value = hasher.finalize_non_root();
        if index == 0 {
            self.first = Some(hasher);
        }
        if self.size.is_some() {
            self.told.push((index, value));
        }
        match self.is_proven {
            true => {
                self.has_first |= index == 0;
                self.awaited.insert(index);
            }
            false => self.settle(index, value),
        }
    }

    /// Keeps the value of a whole group and merges what has become whole with it.
    fn settle(&mut self, index: u64, value: ChainingValue) {
        self.awaited.remove(&index);
        self.has_first |= index == 0;
        if self.length(index) < GROUP {
            self.whole.insert((0, index), value);
            return;
        }
        let (mut level, mut index, mut value) = (0, index, value);
        while index > 1
            && let Some(sibling) = self.whole.remove(&(level, index ^ 1))
        {
            value = if index.is_multiple_of(2) {
                merge_subtrees_non_root(&value, &sibling, Mode::Hash)
            } else {
                merge_subtrees_non_root(&sibling, &value, Mode::Hash)
            };
            (level, index) = (level + 1, index / 2);
        }
        self.whole.insert((level, index), value);
    }

    /// The digest of the file, which is `size` bytes long; `None` while bytes are missing or
    /// when some lie beyond `size`.
    pub fn finish(mut self, size: u64, read_back: ReadBack<'_>) -> io::Result<Option<[u8; 32]>> {
        if self.covered != size || !self.awaited.is_empty() {
            return Ok(None);
        }
        // All bytes seen, none beyond the end: the only open group can be the last.
        let tail = size % GROUP;
        if let Some((index, mut group)) = self.open.pop_first() {
            if index != size / GROUP || !group.covers(tail) || !self.open.is_empty() {
                return Ok(None);
            }
            group.catch_up(index, tail, read_back)?;
            self.close_last(index, group.hasher);
        }
        let groups = size.div_ceil(GROUP);
        if groups <= 1 {
            let root = self.first.unwrap_or_default();
            return Ok(Some(*root.finalize().as_bytes()));
        }
        let split = left_groups(groups);
        let left = self.subtree(0, split);
        let right = self.subtree(split, groups - split);
        Ok(left
            .zip(right)
            .map(|(left, right)| *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
    }

    /// Keeps the value of the last group, which need not be full and so is not merged.
    fn close_last(&mut self, index: u64, hasher: Hasher) {
        self.whole.insert((0, index), hasher.finalize_non_root());
        if index == 0 {
            self.first = Some(hasher);
        }
    }

    /// The value of the subtree of `groups` groups from `start` on; `None` when bytes are missing.
    fn subtree(&self, start: u64, groups: u64) -> Option<ChainingValue> {
        if groups.is_power_of_two() {
            let key = (groups.trailing_zeros(), start / groups);
            if let Some(value) = self.whole.get(&key) {
                return Some(*value);
            }
        }
        if groups <= 1 {
            return None;
        }
        let split = left_groups(groups);
        let left = self.subtree(start, split)?;
        let right = self.subtree(start + split, groups - split)?;
        Some(merge_subtrees_non_root(&left, &right, Mode::Hash))
    }
}

impl fmt::Debug for BlockDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDigest")
            .field("covered", &self.covered)
            .field("open", &self.open.len())
            .field("whole", &self.whole.len())
            .finish()
    }
}

/// The value of the whole group at `index`, whose bytes these are.
pub(crate) fn group_value(index: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index * GROUP);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// `length` bytes at `offset` cut where groups end: index of the group, offset in it, length.
fn by_group(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    let (mut next, end) = (offset, offset.saturating_add(length));
    std::iter::from_fn(move || {
        let (index, start) = (next / GROUP, next % GROUP);
        let piece = (GROUP - start).min(end - next);
        next += piece;
        (piece > 0).then_some((index, start, piece))
    })
}

/// Bytes of the group at `index` of a file of `size` bytes, where that is known.
fn rest_of(size: Option<u64>, index: u64) -> u64 {
    let rest = size.map(|size| size.saturating_sub(index * GROUP));
    rest.map_or(GROUP, |rest| rest.min(GROUP))
}

/// How many of `groups` (at least 2) lie in the left half: the largest power of two below it.
fn left_groups(groups: u64) -> u64 {
    1 << (groups - 1).ilog2()
}

impl Group {
    fn new(index: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(index * GROUP);
        Self {
            hasher,
            hashed: 0,
            noted: Vec::new(),
        }
    }

    /// Whether the first `size` bytes, and no others, have been seen.
    fn covers(&self, size: u64) -> bool {
        match self.noted.as_slice() {
            [] => self.hashed == size,
            [(start, end)] => *start <= self.hashed && *end == size,
            _ => false,
        }
    }

    /// Hashes or notes a piece; returns how many of its bytes are new.
    fn insert(&mut self, start: u64, piece: &[u8]) -> u64 {
        let end = start + piece.len() as u64;
        if start > self.hashed || !self.noted.is_empty() {
            return self.note(start.max(self.hashed), end);
        }
        let new = end.saturating_sub(self.hashed);
        let skip = piece.len() - usize::try_from(new).unwrap_or(0);
        self.hasher.update(&piece[skip..]);
        self.hashed += new;
        new
    }

    /// Notes a range to be hashed later; returns how many of its bytes are new.
    fn note(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let first = self.noted.partition_point(|range| range.1 < start);
        let last = self.noted.partition_point(|range| range.0 <= end);
        let touched = &self.noted[first..last];
        let known: u64 = touched
            .iter()
            .map(|range| range.1.min(end).saturating_sub(range.0.max(start)))
            .sum();
        let merged = touched.iter().fold((start, end), |merged, range| {
            (merged.0.min(range.0), merged.1.max(range.1))
        });
        self.noted.splice(first..last, [merged]);
        end - start - known
    }

    /// Start and end of each piece between these two that was not seen.
    fn unseen(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let begins = [self.hashed]
            .into_iter()
            .chain(self.noted.iter().map(|range| range.1));
        let ends = self.noted.iter().map(|range| range.0).chain([GROUP]);
        begins
            .zip(ends)
            .map(move |(gap, next)| (gap.max(start), next.min(end)))
            .filter(|(start, end)| start < end)
    }

    /// Hashes what was only noted, up to `size`, which must be covered.
    fn catch_up(&mut self, index: u64, size: u64, read_back: ReadBack<'_>) -> io::Result<()> {
        if self.hashed == size {
            return Ok(());
        }
        let rest = usize::try_from(size - self.hashed).unwrap_or(READ_BACK);
        let mut buffer = vec![0; rest.min(READ_BACK)];
        while self.hashed < size {
            let rest = usize::try_from(size - self.hashed).unwrap_or(READ_BACK);
            let piece = buffer.len().min(rest);
            read_back(index * GROUP + self.hashed, &mut buffer[..piece])?;
            self.hasher.update(&buffer[..piece]);
            self.hashed += piece as u64;
        }
        Ok(())
    }
}
