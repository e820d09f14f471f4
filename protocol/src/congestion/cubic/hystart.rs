//! HyStart++ (RFC 9406): leave slow start when the round-trip time rises, before the queue is full.
//! The window itself is not touched here.

use std::time::Duration;

/// RFC 9406 section 4.3.
const MIN_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_THRESHOLD: Duration = Duration::from_millis(16);
const DIVISOR: u32 = 8;
const SAMPLES: u32 = 8;
const GROWTH_DIVISOR: f64 = 4.0;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Slow-start state: rounds are told by packet index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HyStart {
    /// The round ends when a packet from here on is acknowledged.
    round_end: u64,
    last_min: Option<Duration>,
    min: Option<Duration>,
    samples: u32,
    /// RTT at which the conservative phase began, and how many rounds it has lasted.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    /// One ACK of `packets`, the newest of them `newest`; `next` is the index to be sent next.
    /// True when slow start is over.
    pub(super) fn on_ack(
        &mut self,
        newest: u64,
        next: u64,
        packets: u32,
        rtt: Option<Duration>,
    ) -> bool {
        if newest >= self.round_end {
            self.round_end = next;
            self.last_min = self.min.take();
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.conservative {
                *rounds += 1;
                if *rounds >= CONSERVATIVE_ROUNDS {
                    return true;
                }
            }
        }
        let Some(rtt) = rtt else { return false };
        let min = self.min.map_or(rtt, |min| min.min(rtt));
        self.min = Some(min);
        // ACKs are sparse: the packets they stand for count as the samples the RFC asks for.
        self.samples = self.samples.saturating_add(packets);
        if self.samples < SAMPLES {
            return false;
        }
        match (self.conservative, self.last_min) {
            (Some((baseline, _)), _) if min < baseline => self.conservative = None,
            (None, Some(last))
                if min >= last + (last / DIVISOR).clamp(MIN_THRESHOLD, MAX_THRESHOLD) =>
            {
                self.conservative = Some((min, 0));
            }
            _ => {}
        }
        false
    }

    /// Packets the window grows by for `acked` acknowledged ones.
    pub(super) fn growth(&self, acked: f64) -> f64 {
        match self.conservative {
            Some(_) => acked / GROWTH_DIVISOR,
            None => acked,
        }
    }
}
