//! The receiver's list of missing packet numbers: when each is named, and when it is named again.
//! What the sender does with a NAK lives in `loss.rs`.
//!
//! ```text
//!   number skipped --(reorder window)--> due --(NAK sent)--> named --(interval)--> due again
//!          \------- arrives late: closed        \--- NAK acknowledged: retired
//! ```

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

/// Gaps remembered at once, about 40 KB. The oldest is dropped above that: ACK ranges still say
/// what is missing (spec/03-reliability.md#nak-schedule).
const MAX_GAPS: usize = 1024;
/// Least time between two NAK frames of a path: at 10 Gbit/s and 5 % loss a gap opens every 25 us,
/// and a frame for each would cost more than it repairs.
const MIN_SPACING: Duration = Duration::from_millis(1);
/// Least repetition interval (spec/03-reliability.md#nak-schedule).
const MIN_REPEAT: Duration = Duration::from_millis(10);
/// A gap is given up after being named so often; the sender's own clock takes over.
const MAX_NAMED: u8 = 16;

#[derive(Debug)]
struct Gap {
    numbers: Range<u64>,
    due: Instant,
    named: u8,
}

/// Ranges named by one NAK frame, oldest first.
pub(crate) type Named = SmallVec<[Range<u64>; 8]>;

/// Missing packet numbers of one path and their timers.
#[derive(Debug, Default)]
pub(crate) struct NakSchedule {
    /// Oldest numbers first, disjoint.
    gaps: VecDeque<Gap>,
    /// No gap is due before this; may be early, never late.
    next_due: Option<Instant>,
    last_sent: Option<Instant>,
    dropped: u64,
}

impl NakSchedule {
    /// `missing` was skipped by a newer arrival at `now`; name it once `reorder_window` has passed.
    pub(crate) fn on_gap(&mut self, now: Instant, missing: Range<u64>, reorder_window: Duration) {
        debug_assert!(
            self.gaps
                .back()
                .is_none_or(|gap| gap.numbers.end <= missing.start)
        );
        if self.gaps.len() == MAX_GAPS {
            self.gaps.pop_front();
            self.dropped += 1;
        }
        //= spec/03-reliability.md#nak-schedule
        //# A receiver SHOULD name a due gap within 1 ms.
        let due = now + reorder_window;
        self.gaps.push_back(Gap {
            numbers: missing,
            due,
            named: 0,
        });
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// `number` arrived late. Returns whether it closed (part of) a gap.
    pub(crate) fn on_late_arrival(&mut self, number: u64) -> bool {
        let position = self.gaps.partition_point(|gap| gap.numbers.end <= number);
        let Some(gap) = self.gaps.get_mut(position) else {
            return false;
        };
        if !gap.numbers.contains(&number) {
            return false;
        }
        let after = number + 1..gap.numbers.end;
        let (due, named) = (gap.due, gap.named);
        gap.numbers.end = number;
        let emptied = gap.numbers.is_empty();
        if !after.is_empty() {
            self.gaps.insert(
                position + 1,
                Gap {
                    numbers: after,
                    due,
                    named,
                },
            );
        }
        if emptied {
            self.gaps.remove(position);
        }
        if self.gaps.is_empty() {
            self.next_due = None;
        }
        true
    }

    /// When the next NAK wants to be sent.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let due = self.next_due?;
        Some(
            self.last_sent
                .map_or(due, |sent| due.max(sent + MIN_SPACING)),
        )
    }

    /// Whether a NAK wants to be sent now.
    pub(crate) fn interest(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|due| due <= now)
    }

    /// Take the due gaps, oldest first and at most `limit`, as the content of one NAK frame;
    /// each is named again after (`smoothed_rtt` + 4 `rtt_var`) / 2 unless that NAK is acknowledged.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        limit: usize,
        smoothed_rtt: Duration,
        rtt_var: Duration,
    ) -> Named {
        //= spec/03-reliability.md#nak-schedule
        //# A receiver SHOULD name a gap again after half of (smoothed RTT + 4 x RTT variation), but not
        //# before 10 ms have passed, until the gap is closed or retired.
        let repeat = ((smoothed_rtt + 4 * rtt_var) / 2).max(MIN_REPEAT);
        let mut named = Named::new();
        let mut next_due: Option<Instant> = None;
        self.gaps.retain_mut(|gap| {
            if gap.due <= now && named.len() < limit {
                named.push(gap.numbers.clone());
                gap.named += 1;
                gap.due = now + repeat;
            }
            let keep = gap.named < MAX_NAMED;
            if keep {
                next_due = Some(next_due.map_or(gap.due, |next| next.min(gap.due)));
            }
            keep
        });
        self.next_due = next_due;
        self.last_sent = Some(now);
        named
    }

    /// The sender acknowledged a NAK that named gaps up to `largest`: it knows of them.
    pub(crate) fn on_nak_acked(&mut self, largest: u64) {
        //= spec/03-reliability.md#nak-schedule
        //# A receiver MUST stop naming a gap when a NAK that named it was acknowledged.
        self.gaps
            .retain(|gap| gap.named == 0 || gap.numbers.start > largest);
        if self.gaps.is_empty() {
            self.next_due = None;
        }
    }

    /// Gaps dropped for lack of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests;
