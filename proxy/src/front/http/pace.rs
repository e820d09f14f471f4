//! The least rate of a request's body: a client that sends a byte now and then holds a target of its server
//! for ever. Reading the body is `exchange`'s.

use std::time::Duration;

/// Bytes that earn a second more: far below any link that is used, and a hundred times what a client sends
/// that only wants to hold its place.
const LEAST_BYTES_PER_SECOND: u64 = 100;

/// How long a client's body may still be waited for.
#[derive(Debug)]
pub(super) struct Pace {
    left: Duration,
}

impl Pace {
    /// A body may be waited for `grace` in all, and a second more for each 100 bytes of it.
    pub(super) fn new(grace: Duration) -> Self {
        Self { left: grace }
    }

    /// The time left to wait.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Bytes came after some time of waiting.
    pub(super) fn on_read(&mut self, waited: Duration, bytes: usize) {
        let earned = Duration::from_millis(bytes as u64 * 1000 / LEAST_BYTES_PER_SECOND);
        self.left = (self.left + earned).saturating_sub(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds a client lasts that sends so many bytes in each.
    fn lasts(bytes_per_second: usize) -> u64 {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(Duration::from_secs(60));
        (0..100_000)
            .take_while(|_| {
                let in_time = pace.left() > second;
                pace.on_read(second, bytes_per_second);
                in_time
            })
            .count() as u64
    }

    #[test]
    fn a_trickle_is_cut_off_after_a_minute_and_a_slow_link_never() {
        assert_eq!(lasts(0), 59);
        assert_eq!(lasts(1), 60);
        assert!((110..130).contains(&lasts(50)));
        assert_eq!(lasts(100), 100_000);
    }
}
