//! The low-rate probe: now and then a few packets are sent slowly, so that their loss is surely not our
//! own. What that loss bounds is `baseline`'s.

/// Baseline worth probing.
const LEAST_LOSS: f64 = 0.012;
/// Rate of the probe over the usual.
const FACTOR: f64 = 0.7;
const PACKETS: f64 = 150.0;
const LONGEST: f64 = 0.6;
/// When the first is due, from the beginning: what START lost may have been its own doing.
const FIRST: f64 = 1.0;
/// Time between probes.
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

    /// What the rate is multiplied by.
    pub(super) fn factor(&self) -> f64 {
        if self.running.is_some() { FACTOR } else { 1.0 }
    }

    /// A round ends, the next will hold about `packets` at the usual rate. True if it is to be sent
    /// slowly.
    //= spec/04-congestion.md#low-rate-probe
    //# While the baseline is above 1.2 % a sender MUST send 150 packets at 0.7 of its rate every
    //# 5 s or 40 base RTTs, whichever is longer.
    pub(super) fn on_round(
        &mut self,
        now: f64,
        baseline: f64,
        base: f64,
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
            None if baseline > LEAST_LOSS && now >= self.due_at => {
                self.due_at = now + (EVERY_RTTS * base).max(EVERY);
                Some((now, PACKETS))
            }
            None => None,
        };
        self.running.is_some()
    }
}
