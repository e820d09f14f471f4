//! What the controller knows of the path, in one place, and one round's news.
//! The states read and steer it; none of them keeps a measurement of its own.

use super::{
    baseline::Baseline, brake::Brake, delay_model::DelayModel, delivery::Delivery,
    low_rate_probe::LowRateProbe, resume::Resume, rounds::Rounds, trains::Trains,
};

/// Share of the base RTT that a flow alone keeps as queue.
const QUEUE_SHARE: f64 = 0.04;
/// The base RTT at which that share holds, and the power of the base it follows: with the first power the
/// longer of two paths would take nine tenths.
const QUEUE_REFERENCE: f64 = 0.1;
const QUEUE_POWER: f64 = 0.6;
/// Share of a short base RTT that the target stops at.
const QUEUE_SHARE_MOST: f64 = 0.06;
/// The power of the share that the target follows: at the reference, by how much it changes when the base
/// grows e-fold.
const SHARE_POWER: f64 = 0.65;
const SHARE_POWER_GROWTH: f64 = 0.13;
/// Share of the base up to which it follows more than the square root: company is looked for above 0.13.
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
    /// Others come first.
    pub(super) yields: bool,
    pub(super) rounds: Rounds,
    pub(super) delay: DelayModel,
    pub(super) delivery: Delivery,
    pub(super) trains: Trains,
    pub(super) baseline: Baseline,
    pub(super) brake: Brake,
    /// Capacity of the bottleneck.
    pub(super) capacity: f64,
    /// Queue target of a flow that is alone.
    pub(super) queue_alone: f64,
    /// This flow's share of it.
    pub(super) share: f64,
    pub(super) queue_target: f64,
    /// A shallow buffer's limit to the queue target.
    pub(super) queue_cap: Option<f64>,
    /// The answers.
    pub(super) rate: f64,
    pub(super) cwnd: f64,
    pub(super) probe: LowRateProbe,
    /// The rate the user never wants exceeded.
    pub(super) user_ceiling: f64,
    pub(super) resume: Resume,
    jitter: u64,
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) now: f64,
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Arrivals per second in bytes; 0 if the round gave no sample.
    pub(super) arrival: f64,
    /// The same with those lost behind the bottleneck; 0 if the round gave no sample.
    pub(super) spanned: f64,
    /// At which the packets that came back were to be sent.
    pub(super) sent_rate: f64,
    /// At which they left.
    pub(super) left_rate: f64,
    pub(super) app_limited: bool,
    /// The rate was the limit for half of a round trip.
    pub(super) half_full: bool,
    /// More loss than the baseline explains.
    pub(super) excess: bool,
    /// Packets marked by a congested queue.
    pub(super) ce: u64,
    /// START went too far: the round was ended before its time.
    pub(super) overdone: bool,
}

impl Round {
    /// The sender did not get its packets out at the rate it was given.
    pub(super) fn is_kept_back(&self) -> bool {
        self.left_rate < 0.7 * self.sent_rate
    }

    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / ((self.acked + self.lost) as f64).max(1.0)
    }
}

/// What a flow of that share aims at: steeper than the square root of the share while the queue stays
/// below what others take for company.
fn share_target(alone: f64, share: f64, base: f64) -> f64 {
    let power = SHARE_POWER + SHARE_POWER_GROWTH * (base / QUEUE_REFERENCE).ln();
    let power = power.min(SHARE_POWER);
    let steep = (alone / share.powf(power)).min(STEEP_UP_TO * base);
    steep.max(alone / share.sqrt())
}

impl Model {
    pub(super) fn new(now: f64, mtu: f64, initial_rtt: f64, rate: f64, window: f64) -> Self {
        Self {
            mtu,
            yields: false,
            rounds: Rounds::new(now, rate),
            delay: DelayModel::new(initial_rtt),
            delivery: Delivery::new(),
            trains: Trains::new(now),
            baseline: Baseline::new(now),
            brake: Brake::new(),
            capacity: 0.0,
            queue_alone: QUEUE_SHARE * initial_rtt,
            share: 1.0,
            queue_target: QUEUE_SHARE * initial_rtt,
            queue_cap: None,
            rate,
            cwnd: window,
            probe: LowRateProbe::new(now),
            user_ceiling: f64::INFINITY,
            resume: Resume::default(),
            jitter: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Capacity, share and queue target from the present estimates.
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
        let base = self.delay.base_rtt;
        let alone = (QUEUE_SHARE * QUEUE_REFERENCE * (base / QUEUE_REFERENCE).powf(QUEUE_POWER))
            .min(QUEUE_SHARE_MOST * base);
        self.queue_alone = alone.max(self.delay.noise());
        //= spec/04-congestion.md#low
        //# Its queue target MUST be a third of that of a flow alone, whatever its share.
        let wanted = if self.yields {
            alone / 3.0
        } else {
            share_target(alone, self.share, base)
        };
        let target = wanted.max(self.delay.noise()).max(LEAST_QUEUE).max(packets);
        self.queue_target = match &mut self.queue_cap {
            Some(cap) if *cap < target => {
                *cap *= 1.01;
                cap.max(packets)
            }
            _ => target,
        };
    }

    /// For traces.
    pub(super) fn estimates(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        visit("base_rtt_ms", self.delay.base_rtt * 1e3);
        visit("queue_target_ms", self.queue_target * 1e3);
        visit("capacity_mbps", self.capacity * 8e-6);
        visit("trains_mbps", self.trains.valid().unwrap_or(0.0) * 8e-6);
        visit("share", self.share);
        let ceiling = self.brake.ceiling().map_or(0.0, |ceiling| ceiling.rate);
        visit("brake_ceiling_mbps", ceiling * 8e-6);
        visit("loss_dispersion", self.baseline.dispersion());
        visit("noise_ms", self.delay.noise() * 1e3);
    }

    /// Queue below which loss cannot be called congestion.
    pub(super) fn has_no_queue(&self) -> bool {
        self.delay.dq < 0.6 * QUEUE_SHARE * self.delay.base_rtt
    }

    /// The user, not the path, is the limit.
    pub(super) fn is_at_ceiling(&self) -> bool {
        self.rate >= self.user_ceiling
    }

    /// Time without a packet that the rate does not account for.
    pub(super) fn idle_time(&self) -> f64 {
        self.delay.srtt / 2.0 + 2.0 * self.mtu / self.send_rate()
    }

    /// Packets that the rate fills a round trip without a queue with.
    pub(super) fn packets_per_round_trip(&self) -> f64 {
        self.rate * self.delay.base_rtt / self.mtu
    }

    /// The rate packets leave at.
    pub(super) fn send_rate(&self) -> f64 {
        self.rate * self.probe.factor()
    }

    /// 0.9 to 1.1, so that flows do not act in step.
    pub(super) fn jitter(&mut self) -> f64 {
        // xorshift64: no more is needed than flows that started apart staying apart.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        0.9 + 0.2 * ((self.jitter >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
