//! An epoch for tests of congestion control. No sample builders of a particular controller.

use std::time::Instant;

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "the one real instant that virtual time is counted from"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}
