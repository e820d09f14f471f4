//! The named scenarios of the congestion specification, each a function from a seed to figures.
//! What a good figure is stands in the tests; grids of plain cells in `scenario`.

use std::time::Duration;

use rp_protocol::{config::Policy, units::Bandwidth};

use super::{
    AckPolicy, Application, ArrivalTimes, Bottleneck, FlowConfig,
    scenario::{self, Cell, Solo},
};
use crate::{
    link::{LinkConfig, Spread, Step},
    loss::Loss,
    queue::{Policer, QueueLimit},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Rate falls tenfold and comes back.
#[derive(Clone, Copy, Debug)]
pub struct StepFigures {
    /// Goodput over the low rate, from 3 s after the fall on.
    pub low: f64,
    /// Goodput over the high rate, from 3 s after the return on.
    pub back: f64,
    /// Seconds from the fall to 90 % of the low rate.
    pub low_after: f64,
    /// Seconds from the return to 90 % of the rate.
    pub back_after: f64,
}

/// 100 to 10 to 100 Mbit/s at 20 s and 40 s.
pub fn step_10x(rtt_ms: u64, seed: u64) -> StepFigures {
    step(&plain(100.0, rtt_ms, 1.0, 0.0), 20, seed)
}

/// The rate of `cell` falls tenfold after `every` seconds and comes back after as many more.
pub fn step(cell: &Cell, every: u64, seed: u64) -> StepFigures {
    let low = cell.rate().scaled(0.1);
    let step = |at, rate| Step {
        at: secs(at),
        rate: Some(rate),
        ..Step::default()
    };
    let (fall, rise) = (every, 2 * every);
    let link = cell
        .link()
        .steps(vec![step(fall, low), step(rise, cell.rate())]);
    let mut bottleneck = Bottleneck::new(link, seed);
    let flow = bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.run(secs(3 * every));
    let record = bottleneck.flow(flow);
    let share = |from, to, of: Bandwidth| {
        record.goodput(secs(from)..secs(to)).bytes_per_second() as f64
            / of.bytes_per_second() as f64
    };
    let after = |at: u64, of: Bandwidth| {
        let goal = of.scaled(0.9);
        (0..every * 10)
            .map(|tick| secs(at) + Duration::from_millis(tick * 100))
            .find(|&from| record.goodput(from..from + Duration::from_millis(200)) >= goal)
            .map_or(f64::INFINITY, |from| from.as_secs_f64() - at as f64)
    };
    StepFigures {
        low: share(fall + 3, rise, low),
        back: share(rise + 3, 3 * every, cell.rate()),
        low_after: after(fall, low),
        back_after: after(rise, cell.rate()),
    }
}

/// A token-bucket policer of `mbps` and `depth` packets on a gigabit line, 50 ms.
pub fn police(mbps: f64, depth: u64, loss: f64, to: Duration, seed: u64) -> Solo {
    let line = plain(1000.0, 50, 1.0, loss);
    let cell = plain(mbps, 50, 1.0, loss);
    let link = line.link().policer(Policer {
        rate: cell.rate(),
        burst_bytes: depth * 1200,
    });
    scenario::solo(&cell, link, FlowConfig::new(Policy::Fair), seed, to)
}

/// A policer of 50 Mbit/s with a bucket of 20 ms on a gigabit line.
pub fn police_20_ms(rtt_ms: u64, loss: f64, seed: u64) -> Solo {
    let line = plain(1000.0, rtt_ms, 1.0, loss);
    let cell = plain(50.0, rtt_ms, 1.0, loss);
    let link = line.link().policer(Policer {
        rate: cell.rate(),
        burst_bytes: cell.rate().bytes_in(Duration::from_millis(20)),
    });
    scenario::solo(&cell, link, FlowConfig::new(Policy::Fair), seed, secs(30))
}

/// 3 % of the packets of a gigabit are overtaken by up to 5 ms.
pub fn reordered_gigabit(rtt_ms: u64, seed: u64) -> Solo {
    let cell = plain(1000.0, rtt_ms, 1.0, 0.0);
    let link = cell.link().reorder(0.03, Duration::from_millis(5));
    scenario::solo(&cell, link, FlowConfig::new(Policy::Fair), seed, secs(15))
}

/// Impairments of a single flow at 100 Mbit/s, 1 BDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// Delay varies by up to this, order kept.
    Jitter(Duration),
    /// 3 % of packets are overtaken by up to this.
    Reorder(Duration),
    /// An ACK every 10 ms only.
    Ack10,
    /// The same, and a fifth of the ACKs is lost.
    Ack10Loss20,
    /// Loss in bursts of this many packets, 4 % of all.
    Bursts(u32),
    /// ACKs vary by up to 5 ms.
    AckJitter,
    /// The receiver does not time trains.
    NoTrains,
}

/// One flow under an impairment.
pub fn impaired(kind: Impairment, rtt_ms: u64, seed: u64) -> Solo {
    let mut cell = plain(100.0, rtt_ms, 1.0, 0.0);
    let mut link = cell.link();
    let mut flow = FlowConfig::new(Policy::Fair);
    match kind {
        Impairment::Jitter(most) => link = link.jitter(Spread::Uniform(most), true),
        Impairment::Reorder(by) => link = link.reorder(0.03, by),
        Impairment::Ack10 => flow = flow.acks(AckPolicy::Every(Duration::from_millis(10))),
        Impairment::Ack10Loss20 => {
            flow = flow
                .acks(AckPolicy::Every(Duration::from_millis(10)))
                .ack_loss(Loss::bernoulli(0.2));
        }
        Impairment::Bursts(mean) => {
            cell.loss = 0.04;
            link = link.loss(Loss::bursts(cell.loss, f64::from(mean)));
        }
        Impairment::AckJitter => flow = flow.ack_jitter(Spread::Uniform(Duration::from_millis(5))),
        Impairment::NoTrains => flow = flow.trains(false),
    }
    scenario::solo(&cell, link, flow, seed, secs(30))
}

/// Loss in bursts of 20 packets on a short path: goodput over two minutes, and of its worst 5 s.
pub fn burst_dead(seed: u64) -> (f64, f64) {
    let cell = plain(100.0, 20, 1.0, 0.04);
    let mut bottleneck = Bottleneck::new(cell.link().loss(Loss::bursts(cell.loss, 20.0)), seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.run(secs(120));
    let share = |from, to| {
        let goodput = bottleneck.flow(0).goodput(secs(from)..secs(to));
        goodput.bytes_per_second() as f64 / cell.limit()
    };
    let least = (1..24).map(|n| share(5 * n, 5 * n + 5));
    (share(5, 120), least.fold(f64::INFINITY, f64::min))
}

/// Goodput over the link of an application that has data 2 s on, 1 s off, at 1 % loss.
pub fn idle_burst(rtt_ms: u64, seed: u64) -> f64 {
    let cell = plain(100.0, rtt_ms, 1.0, 0.01);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let flow = bottleneck.add(
        FlowConfig::new(Policy::Fair).application(Application::Bursts {
            on: secs(2),
            off: secs(1),
        }),
    );
    bottleneck.run(secs(45));
    bottleneck
        .flow(flow)
        .goodput(secs(15)..secs(45))
        .bytes_per_second() as f64
        / cell.limit()
}

/// An application that needs a small part of the link, alone on it: the pacing rate over the link's, median
/// and 5th percentile over the time from 20 s on.
pub fn thin(application: Application, rtt_ms: u64, loss: f64, seed: u64) -> (f64, f64) {
    let cell = plain(100.0, rtt_ms, 1.0, loss);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let config = FlowConfig::new(Policy::Fair).application(application);
    let flow = bottleneck.add(config.trace(true));
    bottleneck.run(secs(120));
    let states = bottleneck.flow(flow).states().iter();
    let later = states.filter(|state| state.at >= secs(20));
    let mut rates: Vec<u64> = later.map(|state| state.rate.bytes_per_second()).collect();
    rates.sort_unstable();
    let share = |part: usize| {
        let rate = rates.get(rates.len() * part / 100).copied();
        rate.unwrap_or(0) as f64 / cell.rate().bytes_per_second() as f64
    };
    (share(50), share(5))
}

/// A second flow joins a full link: largest queue after it, and the mean queue from 3 s after it on,
/// in round trips.
pub fn start_late(rtt_ms: u64, seed: u64) -> (f64, f64) {
    let cell = plain(100.0, rtt_ms, 2.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.add(FlowConfig::new(Policy::Fair).start(secs(10)));
    bottleneck.run(secs(20));
    let rtt = cell.rtt().as_secs_f64();
    (
        bottleneck.queue(secs(10)..secs(13)).max.as_secs_f64() / rtt,
        bottleneck.queue(secs(13)..secs(20)).mean.as_secs_f64() / rtt,
    )
}

/// CUBIC stops at 45 s: mean queue over the RTT and Jain's index of `own` flows from 60 s on.
pub fn cubic_leaves(own: u64, rtt_ms: u64, seed: u64) -> (f64, f64) {
    let cell = plain(100.0, rtt_ms, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    for i in 0..own {
        bottleneck.add(FlowConfig::new(Policy::Fair).start(secs(i)));
    }
    let cubic = bottleneck.add(FlowConfig::tcp().start(secs(5)).stop(secs(45)));
    bottleneck.run(secs(80));
    let range = secs(60)..secs(80);
    let mut shares = scenario::shares(&bottleneck, range.clone());
    shares.remove(cubic);
    let queue = bottleneck.queue(range).mean.as_secs_f64() / cell.rtt().as_secs_f64();
    (queue, scenario::jain(&shares))
}

/// One CUBIC flow and one of policy `low`: CUBIC's share of what it had alone, and what the low flow
/// makes of the link once CUBIC has left.
pub fn low_beside_cubic(bdp: f64, rtt_ms: u64, seed: u64) -> (f64, f64) {
    let cell = plain(100.0, rtt_ms, bdp, 0.0);
    let cubic = |with_low: bool| {
        let mut bottleneck = Bottleneck::new(cell.link(), seed);
        let cubic = bottleneck.add(FlowConfig::tcp().stop(secs(60)));
        let low = with_low.then(|| bottleneck.add(FlowConfig::new(Policy::Low).start(secs(10))));
        bottleneck.run(secs(90));
        let goodput = |flow, range| bottleneck.flow(flow).goodput(range).bytes_per_second() as f64;
        let after = low.map_or(0.0, |low| goodput(low, secs(75)..secs(90)));
        (goodput(cubic, secs(15)..secs(60)), after)
    };
    let (beside, after) = cubic(true);
    (beside / cubic(false).0, after / cell.limit())
}

/// Four CUBIC flows and one of ours: our share and the smallest CUBIC share.
pub fn cubic_4(bdp: f64, rtt_ms: u64, seed: u64) -> (f64, f64) {
    let cell = plain(100.0, rtt_ms, bdp, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    for i in 0..4 {
        bottleneck.add(FlowConfig::tcp().start(secs(i)));
    }
    bottleneck.run(secs(80));
    let shares = scenario::shares(&bottleneck, secs(30)..secs(80));
    let least = shares[1..].iter().copied().fold(f64::INFINITY, f64::min);
    (shares[0], least)
}

/// One flow like BBR version 1 and one of ours, which comes 10 s later if `late`: our share.
pub fn bbr_1(bdp: f64, rtt_ms: u64, late: bool, seed: u64) -> f64 {
    let cell = plain(100.0, rtt_ms, bdp, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let start = if late { secs(10) } else { Duration::ZERO };
    bottleneck.add(FlowConfig::new(Policy::Fair).start(start));
    bottleneck.add(FlowConfig::bbr());
    bottleneck.run(secs(80));
    scenario::shares(&bottleneck, secs(30)..secs(80))[0]
}

/// One of ours beside web traffic of half of the link: the queue's mean over the RTT, our goodput and the
/// web's over the link.
pub fn web_half(rtt_ms: u64, seed: u64) -> (f64, f64, f64) {
    let cell = plain(100.0, rtt_ms, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.add(FlowConfig::web(cell.rate().scaled(0.5)));
    let range = secs(10)..secs(60);
    bottleneck.run(range.end);
    let share = |flow: usize| {
        let goodput = bottleneck.flow(flow).goodput(range.clone());
        goodput.bytes_per_second() as f64 / cell.limit()
    };
    let queue = bottleneck.queue(range.clone()).mean.as_secs_f64() / cell.rtt().as_secs_f64();
    (queue, share(0), share(1))
}

/// `n` own flows that start a second apart: Jain's index over 20 s, 20 s after the last start, their
/// sum over the limit, and the mean queue over the RTT.
pub fn own(cell: &Cell, n: u64, trains: bool, seed: u64) -> (f64, f64, f64) {
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    for i in 0..n {
        let flow = FlowConfig::new(Policy::Fair).trains(trains);
        bottleneck.add(flow.start(secs(i)));
    }
    let range = secs(19 + n)..secs(39 + n);
    bottleneck.run(range.end);
    let sum: f64 = (0..bottleneck.flows())
        .map(|i| bottleneck.flow(i).goodput(range.clone()).bytes_per_second() as f64)
        .sum();
    let queue = bottleneck.queue(range.clone()).mean.as_secs_f64() / cell.rtt().as_secs_f64();
    let jain = scenario::jain(&scenario::shares(&bottleneck, range));
    (jain, sum / cell.limit(), queue)
}

/// Eight flows join a 10 Mbit/s link one by one: drops over packets sent.
pub fn late_full(seed: u64) -> f64 {
    let cell = plain(10.0, 100, 0.25, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    for i in 0..8 {
        bottleneck.add(FlowConfig::new(Policy::Fair).start(secs(2 * i)));
    }
    bottleneck.run(secs(60));
    let counters = bottleneck.link();
    counters.queue_dropped as f64 / counters.offered as f64
}

/// The base RTT rises from 100 to 180 ms at 30 s: goodput from then on.
pub fn base_rises(seed: u64) -> f64 {
    let cell = plain(100.0, 100, 1.0, 0.0);
    let link = cell.link().steps(vec![Step {
        at: secs(30),
        delay: Some(Duration::from_millis(130)),
        ..Step::default()
    }]);
    one(link, seed, secs(32)..secs(60)) / cell.limit()
}

/// Loss rises from 0 to 8 % at 20 s: goodput from 5 s later on.
pub fn loss_rises(seed: u64) -> f64 {
    let mut cell = plain(100.0, 100, 1.0, 0.0);
    let link = cell.link().steps(vec![Step {
        at: secs(20),
        loss: Some(Loss::bernoulli(0.08)),
        ..Step::default()
    }]);
    cell.loss = 0.08;
    one(link, seed, secs(25)..secs(60)) / cell.limit()
}

/// Two own flows, one of whose round trips is longer: the longer one's share.
pub fn rtt_unfair(rtt_ms: u64, extra_ms: u64, seed: u64) -> f64 {
    let cell = plain(100.0, rtt_ms, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.add(FlowConfig::new(Policy::Fair).extra_rtt(Duration::from_millis(extra_ms)));
    bottleneck.run(secs(90));
    scenario::shares(&bottleneck, secs(40)..secs(90))[1]
}

/// A queue marks above 5 ms: goodput, and the mean queue over the RTT.
pub fn marking_queue(seed: u64) -> (f64, f64) {
    let cell = plain(100.0, 50, 4.0, 0.0);
    let link = cell.link().mark_above(Duration::from_millis(5));
    let mut bottleneck = Bottleneck::new(link, seed);
    bottleneck.add(FlowConfig::new(Policy::Fair).ecn(true));
    bottleneck.run(secs(20));
    let range = secs(5)..secs(20);
    let goodput = bottleneck.flow(0).goodput(range.clone()).bytes_per_second() as f64;
    let queue = bottleneck.queue(range).mean.as_secs_f64();
    (goodput / cell.limit(), queue / cell.rtt().as_secs_f64())
}

/// A receiver that lies about the times of arrival, alone on a link: packets sent over packets that the link
/// passed in 20 s, and goodput over the limit from 5 s on.
pub fn lying_receiver(cell: &Cell, policy: Policy, times: ArrivalTimes, seed: u64) -> (f64, f64) {
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let flow = bottleneck.add(FlowConfig::new(policy).arrival_times(times));
    bottleneck.run(secs(20));
    let record = bottleneck.flow(flow);
    let goodput = record.goodput(secs(5)..secs(20)).bytes_per_second() as f64;
    let sent = record.sent_packets() as f64 / bottleneck.link().delivered as f64;
    (sent, goodput / cell.limit())
}

/// A typed rate of 800 Mbit/s on a 10 Mbit/s link: sent over delivered.
pub fn fixed_lie(seed: u64) -> f64 {
    let cell = plain(10.0, 50, 1.0, 0.0);
    let mut bottleneck = Bottleneck::new(cell.link(), seed);
    let rate = Bandwidth::from_bits_per_second(800_000_000);
    let flow = bottleneck.add(FlowConfig::new(Policy::Fixed(rate)));
    bottleneck.run(secs(20));
    bottleneck.flow(flow).sent_packets() as f64 / bottleneck.link().delivered as f64
}

fn one(link: LinkConfig, seed: u64, range: std::ops::Range<Duration>) -> f64 {
    let mut bottleneck = Bottleneck::new(link, seed);
    bottleneck.add(FlowConfig::new(Policy::Fair));
    bottleneck.run(range.end);
    bottleneck.flow(0).goodput(range).bytes_per_second() as f64
}

/// A cell without anything special.
pub fn plain(mbps: f64, rtt_ms: u64, bdp: f64, loss: f64) -> Cell {
    Cell {
        mbps,
        rtt_ms,
        bdp,
        loss,
    }
}

/// The link of `cell` with a queue of whole packets.
pub fn packet_queue(cell: &Cell, packets: u64) -> LinkConfig {
    cell.link().queue(QueueLimit::Bytes(packets * 1200))
}
