//! Times of arrival that a receiver cannot lie about: its own times, held to the times at which its ACKs came.
//! What is delivered between two of them is counted in `adaptive` and `fixed`.

/// Share of the time between two ACKs that must be counted between the arrivals they report.
const LEAST_SHARE: f64 = 0.75;
/// Time by which an ACK may come later than another after the arrival it reports: the longest delay that a
/// receiver is asked for, and a part of the minimum RTT for what the return path varies.
const TOLERANCE: f64 = 0.025;
const TOLERANCE_SHARE: f64 = 0.25;

/// When a packet arrived, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// By the receiver's clock, as its ACK says.
    reported: f64,
    /// By the sender's clock, at most the tolerance before the ACK came.
    bounded: f64,
    /// When the ACK came.
    acked: f64,
}

impl Arrival {
    /// Time since the arrival `from`: what the receiver says, but no less than its ACKs prove.
    //= spec/04-congestion.md#rounds
    //# Between two arrivals no less time MUST be counted than three quarters of the time between their ACKs.
    pub(super) fn since(&self, from: &Self) -> f64 {
        (self.reported - from.reported)
            .max(self.bounded - from.bounded)
            .max(LEAST_SHARE * (self.acked - from.acked))
    }
}

/// Follows the receiver's clock.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The sender's clock less the receiver's, as far as ACKs confirm it.
    offset: Option<f64>,
}

impl Arrivals {
    /// An ACK that came at `acked` reports an arrival at `reported`.
    //= spec/04-congestion.md#rounds
    //# An arrival MUST NOT be counted as more than 25 ms and a quarter of the minimum RTT before its ACK.
    pub(super) fn on_ack(&mut self, reported: f64, acked: f64, min_rtt: f64) -> Arrival {
        let tolerance = TOLERANCE + TOLERANCE_SHARE * min_rtt;
        let latest = acked - reported;
        let offset = self
            .offset
            .unwrap_or(latest)
            .clamp(latest - tolerance, latest);
        self.offset = Some(offset);
        Arrival {
            reported,
            bounded: reported + offset,
            acked,
        }
    }
}

#[cfg(test)]
mod tests;
