//! The model of the path: all estimates, the rate and the window in one place, and what one round showed.
//! The states read and set it; none of them keeps a measurement of its own.

use super::{
    delay_model::DelayModel, delivery::Delivery, loss_response::LossResponse,
    low_rate_probe::LowRateProbe, random_loss::RandomLoss, resume::Resume, rounds::Rounds,
    trains::Trains,
};

/// Queue target of a flow alone, as a share of the minimum RTT.
const QUEUE_SHARE: f64 = 0.04;
/// Minimum RTT, in seconds, at which that share holds, and the power of it that the target follows: with the first
/// power the longer of two paths would take nine tenths.
const QUEUE_REFERENCE: f64 = 0.1;
const QUEUE_POWER: f64 = 0.6;
/// Largest queue target of a flow alone on short paths, as a share of the minimum RTT.
const QUEUE_SHARE_MOST: f64 = 0.06;
/// The power of the capacity share that the target follows: at the reference, and its change when the minimum RTT
/// grows e-fold.
const SHARE_POWER: f64 = 0.65;
const SHARE_POWER_GROWTH: f64 = 0.13;
/// Share of the minimum RTT up to which the target follows more than the square root of the capacity share: a
/// longer queue, above 0.13, counts as cross traffic.
const STEEP_UP_TO: f64 = 0.125;
const LEAST_QUEUE: f64 = 0.000_5;
/// The queue target is never less than this many packet times.
const QUEUE_PACKETS: f64 = 1.5;
const LEAST_SHARE: f64 = 1.0 / 64.0;

/// Estimates and outputs. Times in seconds since the epoch of the controller, rates in bytes per
/// second, windows in bytes.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) mtu: f64,
    /// Less than best effort (policy `low`).
    pub(super) scavenger: bool,
    pub(super) rounds: Rounds,
    pub(super) delay: DelayModel,
    pub(super) delivery: Delivery,
    pub(super) trains: Trains,
    pub(super) random_loss: RandomLoss,
    pub(super) loss_response: LossResponse,
    /// Capacity of the bottleneck, bytes per second.
    pub(super) capacity: f64,
    /// Queue target of a flow that is alone.
    pub(super) queue_alone: f64,
    /// This flow's share of the capacity, 0 to 1.
    pub(super) share: f64,
    pub(super) queue_target: f64,
    /// Upper limit of the queue target, if the buffer is shallow.
    pub(super) queue_cap: Option<f64>,
    /// Rate and window that the controller answers with.
    pub(super) rate: f64,
    pub(super) cwnd: f64,
    pub(super) probe: LowRateProbe,
    /// The user's maximum rate.
    pub(super) max_rate: f64,
    pub(super) resume: Resume,
    random_state: u64,
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) now: f64,
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Arrival rate, bytes per second; 0 if the round gave no sample.
    pub(super) arrival: f64,
    /// The same with the packets lost behind the bottleneck; 0 if the round gave no sample.
    pub(super) spanned: f64,
    /// Rate that the acknowledged packets were to be sent at.
    pub(super) sent_rate: f64,
    /// Rate that they left at.
    pub(super) left_rate: f64,
    pub(super) app_limited: bool,
    /// The rate, and not the application, was the limit for at least half of a round trip.
    pub(super) half_full: bool,
    /// More was lost than the random-loss estimate explains.
    pub(super) excess: bool,
    /// Packets marked by a congested queue.
    pub(super) ce: u64,
    /// START overshot: the round was ended early.
    pub(super) overdone: bool,
}

impl Round {
    /// Whether the sender could not send at the rate it was given.
    pub(super) fn is_kept_back(&self) -> bool {
        self.left_rate < 0.7 * self.sent_rate
    }

    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / ((self.acked + self.lost) as f64).max(1.0)
    }
}

/// Queue target of a flow with that share of the capacity: steeper than the square root of the share while the
/// queue stays below what other flows take for cross traffic.
fn share_target(alone: f64, share: f64, min_rtt: f64) -> f64 {
    let power = SHARE_POWER + SHARE_POWER_GROWTH * (min_rtt / QUEUE_REFERENCE).ln();
    let power = power.min(SHARE_POWER);
    let steep = (alone / share.powf(power)).min(STEEP_UP_TO * min_rtt);
    steep.max(alone / share.sqrt())
}

impl Model {
    pub(super) fn new(now: f64, mtu: f64, initial_rtt: f64, rate: f64, window: f64) -> Self {
        Self {
            mtu,
            scavenger: false,
            rounds: Rounds::new(now, rate),
            delay: DelayModel::new(initial_rtt),
            delivery: Delivery::new(),
            trains: Trains::new(now),
            random_loss: RandomLoss::new(now),
            loss_response: LossResponse::new(),
            capacity: 0.0,
            queue_alone: QUEUE_SHARE * initial_rtt,
            share: 1.0,
            queue_target: QUEUE_SHARE * initial_rtt,
            queue_cap: None,
            rate,
            cwnd: window,
            probe: LowRateProbe::new(now),
            max_rate: f64::INFINITY,
            resume: Resume::default(),
            random_state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Computes capacity, share and queue target from the current estimates.
    //= spec/04-congestion.md#queue-target
    //# The queue target MUST grow as the share of the capacity falls.
    pub(super) fn refresh(&mut self, now: f64) {
        let delivered = self.delivery.rate;
        self.trains.expire(now, self.delay.srtt);
        self.capacity = self.trains.capacity(now, delivered);
        self.share = if self.capacity > 0.0 && delivered > 0.0 {
            (delivered / self.capacity).clamp(LEAST_SHARE, 1.0)
        } else {
            1.0
        };
        let packets = match self.capacity {
            capacity if capacity > 0.0 => QUEUE_PACKETS * self.mtu / capacity,
            _ => 0.0,
        };
        let min_rtt = self.delay.min_rtt;
        let alone = (QUEUE_SHARE * QUEUE_REFERENCE * (min_rtt / QUEUE_REFERENCE).powf(QUEUE_POWER))
            .min(QUEUE_SHARE_MOST * min_rtt);
        self.queue_alone = alone.max(self.delay.jitter());
        //= spec/04-congestion.md#low
        //# Its queue target MUST be a third of that of a flow alone, whatever its share.
        let wanted = if self.scavenger {
            alone / 3.0
        } else {
            share_target(alone, self.share, min_rtt)
        };
        let target = wanted
            .max(self.delay.jitter())
            .max(LEAST_QUEUE)
            .max(packets);
        self.queue_target = match &mut self.queue_cap {
            Some(cap) if *cap < target => {
                *cap *= 1.01;
                cap.max(packets)
            }
            _ => target,
        };
    }

    /// Visits the estimates, for traces.
    pub(super) fn estimates(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        visit("min_rtt_ms", self.delay.min_rtt * 1e3);
        visit("queue_target_ms", self.queue_target * 1e3);
        visit("capacity_mbps", self.capacity * 8e-6);
        visit("trains_mbps", self.trains.valid().unwrap_or(0.0) * 8e-6);
        visit("share", self.share);
        let loss_limit = self
            .loss_response
            .loss_limit()
            .map_or(0.0, |limit| limit.rate);
        visit("loss_limit_mbps", loss_limit * 8e-6);
        visit("loss_dispersion", self.random_loss.dispersion());
        visit("jitter_ms", self.delay.jitter() * 1e3);
    }

    /// Whether the queue is too short for losses to be congestion.
    pub(super) fn has_no_queue(&self) -> bool {
        self.delay.queuing_delay < 0.6 * QUEUE_SHARE * self.delay.min_rtt
    }

    /// Whether the user's maximum, not the path, is the limit.
    pub(super) fn is_at_max_rate(&self) -> bool {
        self.rate >= self.max_rate
    }

    /// Longest time between two packets that is not idle, in seconds.
    pub(super) fn idle_time(&self) -> f64 {
        self.delay.srtt / 2.0 + 2.0 * self.mtu / self.send_rate()
    }

    /// Packets of a round trip at the rate, without a queue.
    pub(super) fn packets_per_round_trip(&self) -> f64 {
        self.rate * self.delay.min_rtt / self.mtu
    }

    /// The rate that packets leave at: lower than `rate` in a low-rate probe.
    pub(super) fn send_rate(&self) -> f64 {
        self.rate * self.probe.factor()
    }

    /// A random factor of 0.9 to 1.1, so that flows do not act in step.
    pub(super) fn random_factor(&mut self) -> f64 {
        // xorshift64: flows that started apart must stay apart, no more.
        self.random_state ^= self.random_state << 13;
        self.random_state ^= self.random_state >> 7;
        self.random_state ^= self.random_state << 17;
        0.9 + 0.2 * ((self.random_state >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
