//! The low-rate probe: now and then some packets are sent slowly, so that their loss is not self-made.
//! How that loss bounds the estimate stands in `random_loss`.

/// Least random-loss estimate that is probed.
const LEAST_LOSS: f64 = 0.012;
/// Rate of the probe over the usual rate.
const FACTOR: f64 = 0.7;
const PACKETS: f64 = 150.0;
const LONGEST: f64 = 0.6;
/// Seconds from the beginning to the first probe: START may have caused its losses itself.
const FIRST: f64 = 1.0;
/// Least time between probes, in seconds and in minimum RTTs.
const EVERY: f64 = 5.0;
const EVERY_RTTS: f64 = 40.0;

/// When to probe, and whether a probe is running.
#[derive(Debug)]
pub(super) struct LowRateProbe {
    due_at: f64,
    running: Option<(f64, f64)>,
}

impl LowRateProbe {
    pub(super) fn new(now: f64) -> Self {
        Self {
            due_at: now + FIRST,
            running: None,
        }
    }

    /// Factor of the rate: below 1 while a probe is running.
    pub(super) fn factor(&self) -> f64 {
        if self.running.is_some() { FACTOR } else { 1.0 }
    }

    /// Whether the next round, of about `packets` at the usual rate, is to be sent slowly.
    //= spec/04-congestion.md#low-rate-probe
    //# While the random-loss estimate is above 1.2 % a sender MUST send 150 packets at 0.7 of its rate every
    //# 5 s or 40 minimum RTTs, whichever is longer.
    pub(super) fn on_round(
        &mut self,
        now: f64,
        random_loss: f64,
        min_rtt: f64,
        packets: f64,
        allowed: bool,
    ) -> bool {
        if !allowed {
            self.running = None;
            return false;
        }
        self.running = match self.running {
            Some((since, left)) => {
                let left = left - FACTOR * packets;
                (left > 0.0 && now - since < LONGEST).then_some((since, left))
            }
            None if random_loss > LEAST_LOSS && now >= self.due_at => {
                self.due_at = now + (EVERY_RTTS * min_rtt).max(EVERY);
                Some((now, PACKETS))
            }
            None => None,
        };
        self.running.is_some()
    }
}
