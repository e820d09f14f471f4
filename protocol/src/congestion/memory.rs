//! What is remembered of a path from one connection to the next. Who keeps it, and for which peer, is the
//! application's business; what may be made of it, the controller's.

use std::time::Duration;

use crate::units::Bandwidth;

/// Age beyond which nothing is believed of a path (spec/04-congestion.md#path-memory).
const OLDEST: Duration = Duration::from_hours(24);

/// What was learnt of a path by this end, on an earlier connection.
///
/// It must never be made of what a peer says of the path: a peer could have somebody else flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMemory {
    /// What was delivered in the steady state.
    pub rate: Bandwidth,
    /// RTT with an empty queue.
    pub min_rtt: Duration,
    /// Time since it was learnt.
    pub age: Duration,
}

impl PathMemory {
    /// Whether it may be made use of at all.
    //= spec/04-congestion.md#path-memory
    //# A memory older than 24 hours MUST NOT be used.
    pub fn is_usable(&self) -> bool {
        self.age <= OLDEST && self.rate > Bandwidth::ZERO && !self.min_rtt.is_zero()
    }
}
