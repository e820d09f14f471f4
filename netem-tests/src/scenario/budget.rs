//! What a transfer over a scenario may cost, at most. It is measured and judged in `tests/scenarios.rs`.

use std::time::Duration;

use serde::Deserialize;

use crate::quantity::{Size, Time};

/// Limits of one transfer in virtual time.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// How much is sent.
    pub bytes: u64,
    /// Longest time from the first packet to the last byte; where the link fails for good, to the error.
    pub time: Duration,
    /// The link fails for good, and the sender must find out.
    pub must_fail: bool,
    /// Most bytes put on the link per byte delivered.
    pub wire: f64,
    /// Longest mean wait at the bottleneck.
    pub queue_mean: Duration,
    /// Longest 95th percentile of that wait.
    pub queue_p95: Duration,
    /// Most memory that both engines hold at once.
    pub memory_bytes: u64,
    /// Seeds it is run with, from 1 on.
    pub seeds: u64,
}

/// The same as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BudgetText {
    size: Size,
    time: Time,
    #[serde(default)]
    must_fail: bool,
    wire: f64,
    queue_mean: Time,
    queue_p95: Time,
    memory: Size,
    #[serde(default = "one")]
    seeds: u64,
}

fn one() -> u64 {
    1
}

impl From<BudgetText> for Budget {
    fn from(text: BudgetText) -> Self {
        Self {
            bytes: text.size.0,
            time: text.time.0,
            must_fail: text.must_fail,
            wire: text.wire,
            queue_mean: text.queue_mean.0,
            queue_p95: text.queue_p95.0,
            memory_bytes: text.memory.0,
            seeds: text.seeds,
        }
    }
}
