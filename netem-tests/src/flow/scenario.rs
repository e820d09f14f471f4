//! The named cells controllers are judged on, shared by the tests and the `controller` command.
//! What a good figure is stands in the tests.

use std::{ops::Range, time::Duration};

use rp_protocol::{config::Policy, units::Bandwidth};

use super::{Bottleneck, FlowConfig};
use crate::{link::LinkConfig, loss::Loss, queue::QueueLimit};

/// A path: one bottleneck with random loss behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Mbit/s.
    pub mbps: f64,
    /// Round trip in milliseconds.
    pub rtt_ms: u64,
    /// Buffer in bandwidth-delay products.
    pub bdp: f64,
    /// Loss probability.
    pub loss: f64,
}

impl Cell {
    /// The link of this cell.
    pub fn link(&self) -> LinkConfig {
        LinkConfig::new(self.rate(), Duration::from_micros(self.rtt_ms * 500))
            .queue(QueueLimit::Bdp(self.bdp))
            .loss(Loss::bernoulli(self.loss))
    }

    /// The bottleneck's rate.
    pub fn rate(&self) -> Bandwidth {
        Bandwidth::from_bits_per_second(1_000_000).scaled(self.mbps)
    }

    /// The round trip.
    pub fn rtt(&self) -> Duration {
        Duration::from_millis(self.rtt_ms)
    }

    /// Bytes per second that can arrive: the rate less the loss.
    pub fn limit(&self) -> f64 {
        self.rate().bytes_per_second() as f64 * (1.0 - self.loss)
    }
}

/// Results of one flow alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solo {
    /// Steady goodput over rate x (1 - loss).
    pub goodput: f64,
    /// Mean queuing delay over the RTT.
    pub queue_mean: f64,
    /// 95th percentile of the queuing delay over the RTT.
    pub queue_p95: f64,
    /// Packets dropped by the queue over packets sent.
    pub drops: f64,
    /// Round trips to 90 % of the rate; infinite if it was never reached.
    pub start_rtts: f64,
    /// Largest queuing delay of the first 20 RTTs over the RTT.
    pub overshoot: f64,
    /// Spurious losses over packets sent.
    pub spurious: f64,
}

/// One default flow alone on `link`, judged from a third of the time on.
pub fn solo(cell: &Cell, link: LinkConfig, flow: FlowConfig, seed: u64, to: Duration) -> Solo {
    solo_between(cell, link, flow, seed, to / 3..to)
}

/// One flow alone on `link`, judged over the times in `steady`.
pub fn solo_between(
    cell: &Cell,
    link: LinkConfig,
    flow: FlowConfig,
    seed: u64,
    steady: Range<Duration>,
) -> Solo {
    let mut bottleneck = Bottleneck::new(link, seed);
    let number = bottleneck.add(flow);
    bottleneck.run(steady.end);
    let record = bottleneck.flow(number);
    let rtt = cell.rtt().as_secs_f64();
    let queue = bottleneck.queue(steady.clone());
    let early = bottleneck.queue(Duration::ZERO..20 * cell.rtt());
    let goal = cell.rate().scaled(0.9 * (1.0 - cell.loss));
    let width = cell.rtt().max(Duration::from_millis(50));
    let start = record.reached(goal, width);
    let counters = bottleneck.link();
    Solo {
        goodput: record.goodput(steady).bytes_per_second() as f64 / cell.limit(),
        queue_mean: queue.mean.as_secs_f64() / rtt,
        queue_p95: queue.p95.as_secs_f64() / rtt,
        drops: (counters.queue_dropped + counters.policed) as f64 / counters.offered as f64,
        start_rtts: start.map_or(f64::INFINITY, |at| at.as_secs_f64() / rtt),
        overshoot: early.max.as_secs_f64() / rtt,
        spurious: record.spurious_packets() as f64 / record.sent_packets() as f64,
    }
}

/// Time range in which a cell is judged as steady.
///
/// It begins after the longer of 5 s and 30 round trips and lasts for the longer of 20 s and 60 round trips; above
/// 1 Gbit/s, where a second holds a million packets, 2 s or 30 round trips each.
pub fn steady_range(cell: &Cell) -> Range<Duration> {
    let (start, length, rtts) = if cell.mbps > 1000.0 {
        (2, 2, 30)
    } else {
        (5, 20, 60)
    };
    let from = (30 * cell.rtt()).max(Duration::from_secs(start));
    from..from + (rtts * cell.rtt()).max(Duration::from_secs(length))
}

/// Shortest run that shows a cell's steady state: 100 round trips, at least 12 s.
pub fn long_enough(cell: &Cell) -> Duration {
    (100 * cell.rtt()).max(Duration::from_secs(12))
}

/// Each flow's share of what all flows got between two times.
pub fn shares(bottleneck: &Bottleneck, range: Range<Duration>) -> Vec<f64> {
    let rates: Vec<f64> = (0..bottleneck.flows())
        .map(|n| bottleneck.flow(n).goodput(range.clone()).bytes_per_second() as f64)
        .collect();
    let total: f64 = rates.iter().sum();
    rates.iter().map(|rate| rate / total.max(1.0)).collect()
}

/// Jain's index of fairness.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares).max(f64::MIN_POSITIVE)
}

/// Share of a default flow beside one kernel-like CUBIC flow, from a third of the time on.
pub fn beside_cubic(cell: &Cell, late: bool, seed: u64) -> f64 {
    let to = (300 * cell.rtt()).max(Duration::from_secs(60));
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let joins = if late {
        Duration::from_secs(10)
    } else {
        Duration::ZERO
    };
    bottleneck.add(FlowConfig::new(Policy::Fair).start(joins));
    bottleneck.add(FlowConfig::tcp().start(Duration::from_secs(10) - joins));
    bottleneck.run(to);
    shares(&bottleneck, to / 3..to)[0]
}
