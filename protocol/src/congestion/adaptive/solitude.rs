//! Whether a flow has had its path to itself for a while, so that it may send in longer bursts: wake-ups are most of what a
//! sender of 100 Mbit/s costs. Where flows share, or a buffer is shallow, how evenly they send decides who gets what.

use std::time::Duration;

use super::model::Model;
use crate::congestion::pacer::BURST_TIME;

/// Share of the capacity from which on a flow counts as alone, and below which it no longer does.
const ALONE: f64 = 0.9;
const NOT_ALONE: f64 = 0.75;
/// The share counts as it was over this time, in seconds: on a path of 2 ms a hundred rounds end in it, and one of
/// them may show anything.
const AVERAGED_OVER: f64 = 0.2;
/// How long, in seconds, it must have been alone: flows that start after each other find the path to themselves, too.
const SETTLED_AFTER: f64 = 5.0;
/// Random loss above which bursts stay short: losses that come in bursts would take whole bursts of packets.
const LOSSY: f64 = 0.02;
/// Rate, in bytes per second (64 Mbit/s), from which on longer bursts save wake-ups worth saving.
const FAST: f64 = 8e6;
/// Time between two bursts of a flow that is alone: a part of the minimum RTT within these bounds.
const BURST_PART: u32 = 8;
const SHORTEST: Duration = Duration::from_micros(600);
const LONGEST: Duration = Duration::from_millis(1);

/// Since when a flow has had its path to itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Solitude {
    /// Smoothed share of the capacity, and when it was brought up to date.
    share: f64,
    updated_at: f64,
    since: Option<f64>,
    is_settled: bool,
}

impl Solitude {
    /// Handles the end of a round at `now`, in seconds.
    pub(super) fn close_round(&mut self, now: f64, starting: bool, model: &Model) {
        let weight = ((now - self.updated_at) / AVERAGED_OVER).clamp(0.0, 1.0);
        self.share += weight * (model.share - self.share);
        self.updated_at = now;
        let least = if self.since.is_some() {
            NOT_ALONE
        } else {
            ALONE
        };
        let alone = model.trains.valid().is_some() && self.share > least;
        let shallow = model.queue_cap.is_some() || model.loss_response.loss_limit().is_some();
        if starting || !alone || shallow || model.random_loss.loss() > LOSSY {
            self.since = None;
            self.is_settled = false;
            return;
        }
        let since = *self.since.get_or_insert(now);
        self.is_settled = now - since >= SETTLED_AFTER;
    }

    /// Time between two bursts.
    pub(super) fn burst_time(self, model: &Model) -> Duration {
        if !self.is_settled || model.rate < FAST {
            return BURST_TIME;
        }
        let min_rtt = Duration::try_from_secs_f64(model.delay.min_rtt).unwrap_or_default();
        (min_rtt / BURST_PART).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests;
