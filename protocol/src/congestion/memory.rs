//! What is remembered of a path from one connection to the next.
//! The application keeps it; the controller decides how to use it.

use std::time::Duration;

use crate::units::Bandwidth;

/// Age beyond which a memory is not used (spec/04-congestion.md#path-memory).
const OLDEST: Duration = Duration::from_hours(24);

/// What this endpoint measured of a path on an earlier connection.
///
/// It must never come from the peer, who could have somebody else flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMemory {
    /// Delivered rate in the steady state.
    pub rate: Bandwidth,
    /// Minimum RTT.
    pub min_rtt: Duration,
    /// Time since it was measured.
    pub age: Duration,
}

impl PathMemory {
    /// Whether it may be used at all.
    //= spec/04-congestion.md#path-memory
    //# A memory older than 24 hours MUST NOT be used.
    pub fn is_usable(&self) -> bool {
        self.age <= OLDEST && self.rate > Bandwidth::ZERO && !self.min_rtt.is_zero()
    }
}
