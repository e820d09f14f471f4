//! What the unit tests of several rooms share: a fixed seed, a fixed epoch.
//! Nothing of it is compiled into the library.

use std::time::Instant;

use proptest::test_runner::{Config, RngSeed};

/// Settings of property tests: the same cases every run, and no files left behind.
pub(crate) fn proptest_config() -> Config {
    Config {
        rng_seed: RngSeed::Fixed(0x5250_5001),
        failure_persistence: None,
        ..Config::default()
    }
}

/// An instant to count virtual time from.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made any other way"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}
