//! A set of 62-bit numbers kept as sorted, disjoint, half-open ranges.
//! Packet numbers and stream offsets are kept in it; it knows neither.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, ops::Range};

/// A set of `u64` as ranges. No two ranges of the set touch.
///
/// Ranges lie sorted in a ring: numbers arrive nearly in order and leave from the low end, so
/// appending and dropping the lowest are O(1), finding is a binary search, and an insertion in
/// the middle moves the shorter side (16 bytes per range).
///
/// ```
/// use rp_protocol::wire::RangeSet;
///
/// let mut arrived = RangeSet::default();
/// arrived.insert(0..4);
/// arrived.insert_one(6);
/// assert!(!arrived.contains(4));
/// arrived.insert(4..6);
/// assert_eq!(arrived.iter().collect::<Vec<_>>(), [0..7], "they touch, so they are one");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: VecDeque<Span>,
}

/// `Range<u64>` that is `Copy`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
}

impl From<Span> for Range<u64> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

impl RangeSet {
    /// The empty set; allocates nothing.
    pub const fn new() -> Self {
        Self {
            ranges: VecDeque::new(),
        }
    }

    /// Adds all of `range`; whether any of it was not there before.
    pub fn insert(&mut self, range: Range<u64>) -> bool {
        let Range { start, end } = range;
        if start >= end {
            return false;
        }
        match self.ranges.back_mut() {
            Some(last) if start == last.end => {
                last.end = end;
                true
            }
            Some(last) if start < last.end => self.insert_inside(Span { start, end }),
            _ => {
                self.ranges.push_back(Span { start, end });
                true
            }
        }
    }

    /// Adds `value`; whether it was not there before.
    pub fn insert_one(&mut self, value: u64) -> bool {
        match value.checked_add(1) {
            Some(end) => self.insert(value..end),
            // Half-open ranges cannot hold the largest u64; nothing on the wire reaches it.
            None => false,
        }
    }

    /// Adds a span that begins before the end of the last range.
    fn insert_inside(&mut self, new: Span) -> bool {
        // The ranges that overlap or touch the new one.
        let first = self.ranges.partition_point(|r| r.end < new.start);
        let after = self.ranges.partition_point(|r| r.start <= new.end);
        if first == after {
            self.ranges.insert(first, new);
            return true;
        }
        let (low, high) = (self.ranges[first], self.ranges[after - 1]);
        if low.start <= new.start && new.end <= low.end {
            return false;
        }
        self.ranges[first] = Span {
            start: low.start.min(new.start),
            end: high.end.max(new.end),
        };
        self.drop_between(first + 1, after);
        true
    }

    /// Takes out all of `range`; whether any of it was there.
    pub fn remove(&mut self, range: Range<u64>) -> bool {
        let Range { start, end } = range;
        if start >= end {
            return false;
        }
        let mut first = self.ranges.partition_point(|r| r.end <= start);
        let mut after = self.ranges.partition_point(|r| r.start < end);
        if first >= after {
            return false;
        }
        let (low, high) = (self.ranges[first], self.ranges[after - 1]);
        let left = (low.start < start).then_some(Span {
            start: low.start,
            end: start,
        });
        let right = (end < high.end).then_some(Span {
            start: end,
            end: high.end,
        });
        match (left, right) {
            (Some(left), Some(right)) if first + 1 == after => {
                self.ranges[first] = left;
                self.ranges.insert(after, right);
                return true;
            }
            (left, right) => {
                if let Some(left) = left {
                    self.ranges[first] = left;
                    first += 1;
                }
                if let Some(right) = right {
                    self.ranges[after - 1] = right;
                    after -= 1;
                }
            }
        }
        self.drop_between(first, after);
        true
    }

    /// Takes out everything below `bound`.
    pub fn remove_below(&mut self, bound: u64) {
        while let Some(first) = self.ranges.front_mut() {
            if first.start >= bound {
                return;
            }
            if first.end > bound {
                first.start = bound;
                return;
            }
            self.ranges.pop_front();
        }
    }

    /// Takes out the lowest range.
    pub fn pop_min(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front().map(Range::from)
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        self.range_of(value).is_some()
    }

    /// The whole range that holds `value`, if it is in the set.
    pub fn range_of(&self, value: u64) -> Option<Range<u64>> {
        let at = self.ranges.partition_point(|r| r.end <= value);
        let range = self.ranges.get(at)?;
        (range.start <= value).then_some((*range).into())
    }

    /// The ranges, lowest first; `.rev()` for highest first.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.ranges.iter().map(|&span| span.into())
    }

    /// The parts of `within` that are not in the set, lowest first; `.rev()` for highest first.
    pub fn gaps(
        &self,
        within: Range<u64>,
    ) -> impl DoubleEndedIterator<Item = Range<u64>> + Clone + '_ {
        let first = self.ranges.partition_point(|r| r.end <= within.start);
        let after = self
            .ranges
            .partition_point(|r| r.start < within.end)
            .max(first);
        // A gap lies before each overlapping range and after the last one, unless it is empty.
        (first..=after)
            .map(move |at| {
                let start = match at {
                    at if at == first => within.start,
                    at => self.ranges[at - 1].end,
                };
                let end = match at {
                    at if at == after => within.end,
                    at => self.ranges[at].start,
                };
                start..end
            })
            .filter(|gap| gap.start < gap.end)
    }

    /// The lowest number in the set.
    pub fn min(&self) -> Option<u64> {
        self.ranges.front().map(|r| r.start)
    }

    /// The highest number in the set.
    pub fn max(&self) -> Option<u64> {
        self.ranges.back().map(|r| r.end - 1)
    }

    /// How many ranges the set consists of.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in the set; walks all ranges.
    pub fn covered(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// Bytes of memory the set holds on to.
    pub fn allocated_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Span>()
    }

    fn drop_between(&mut self, first: usize, after: usize) {
        if first < after {
            self.ranges.drain(first..after);
        }
    }
}

impl Extend<Range<u64>> for RangeSet {
    fn extend<I: IntoIterator<Item = Range<u64>>>(&mut self, ranges: I) {
        for range in ranges {
            self.insert(range);
        }
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
