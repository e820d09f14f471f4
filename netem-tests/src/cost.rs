//! What a transfer between engines costs over a scenario in virtual time, and whether that is within the
//! scenario's budget. Scenarios and their budgets are read in `scenario`.

use std::{fmt, time::Duration};

use rp_protocol::{config::TransportConfig, error::ConnectError};

use crate::{
    bulk::content,
    flow::FlowConfig,
    scenario::{Budget, Cross, CrossKind, Scenario},
    world::World,
};

/// What it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Fixed all chances.
    pub seed: u64,
    /// From the first packet to the last byte, or to the error; absent if neither came in time.
    pub time: Option<Duration>,
    /// Bytes that arrived in order.
    pub arrived: u64,
    /// Why the sender's connection ended, if it did.
    pub error: Option<String>,
    /// Bytes put on the link per byte that arrived, other traffic left out.
    pub wire: f64,
    /// Mean wait at the bottleneck, of everything there.
    pub queue_mean: Duration,
    /// 95th percentile of it.
    pub queue_p95: Duration,
    /// Most memory held at once, as far as it was counted.
    pub memory_bytes: u64,
    /// Of every delivery.
    pub digest: u64,
}

/// Budgets are waited for so many times over, so that a failure can say by how much.
const SLOWEST: u32 = 3;

impl Cross {
    /// The flow that is meant.
    pub fn flow(&self) -> FlowConfig {
        let flow = match self.kind {
            CrossKind::Cubic => FlowConfig::tcp(),
            CrossKind::Reno => FlowConfig::reno(),
            CrossKind::Bbr => FlowConfig::bbr(),
            CrossKind::Web => FlowConfig::web(self.load),
        };
        let flow = flow.start(self.start).mtu(OTHER_PACKET_BYTES);
        match self.stop {
            Some(stop) => flow.stop(stop),
            None => flow,
        }
    }
}

/// Packets of TCP are full.
const OTHER_PACKET_BYTES: u16 = 1500;

/// Moves the budget's bytes over the scenario; `heap` says how much memory is held at the moment.
///
/// # Errors
/// The engine refuses the world's own address or service.
pub fn measure(
    scenario: &Scenario,
    budget: &Budget,
    seed: u64,
    heap: impl Fn() -> u64,
) -> Result<Cost, ConnectError> {
    let mut world = World::new(scenario.forward.clone(), scenario.back.clone(), seed);
    for cross in &scenario.cross {
        world.add_other(cross.flow());
    }
    // Made once a process: no cost of this transfer.
    content();
    let before = heap();
    let pair = world.add_transfer(budget.bytes, TransportConfig::default())?;
    let mut memory_bytes = 0;
    let mut ended = None;
    world.run(budget.time * SLOWEST, |world| {
        // What is on the links is the world's, not the engines'.
        let held = heap().saturating_sub(before);
        memory_bytes = memory_bytes.max(held.saturating_sub(world.carried_bytes()));
        ended = world.completed_after(pair).or_else(|| {
            let failed = world.near(pair).error().is_some();
            failed.then(|| world.elapsed())
        });
        ended.is_some()
    });
    let (forward, _) = world.links();
    let arrived = world.receiving(pair).map_or(0, |r| r.bytes());
    let own = world.offered_bytes();
    Ok(Cost {
        seed,
        time: ended,
        arrived,
        error: world.near(pair).error().map(ToString::to_string),
        wire: own as f64 / arrived.max(1) as f64,
        queue_mean: forward.queue_delay.mean,
        queue_p95: forward.queue_delay.p95,
        memory_bytes,
        digest: world.digest(),
    })
}

impl Cost {
    /// Every limit it broke, in words; none if it is within the budget.
    pub fn excess(&self, budget: &Budget) -> Vec<String> {
        let mut broken = Vec::new();
        match (self.time, &self.error, budget.must_fail) {
            (None, _, _) => broken.push("no end in time".to_owned()),
            (Some(_), Some(error), false) => broken.push(format!("failed: {error}")),
            (Some(_), None, true) => broken.push("did not fail".to_owned()),
            _ => {}
        }
        let mut at_most = |name: &str, is_within: bool, limit: String| {
            if !is_within {
                broken.push(format!("{name} over {limit}"));
            }
        };
        let time = self.time.unwrap_or(Duration::MAX);
        at_most("time", time <= budget.time, format!("{:?}", budget.time));
        at_most("wire", self.wire <= budget.wire, budget.wire.to_string());
        at_most(
            "mean queue",
            self.queue_mean <= budget.queue_mean,
            format!("{:?}", budget.queue_mean),
        );
        at_most(
            "p95 queue",
            self.queue_p95 <= budget.queue_p95,
            format!("{:?}", budget.queue_p95),
        );
        at_most(
            "memory",
            self.memory_bytes <= budget.memory_bytes,
            format!("{} bytes", budget.memory_bytes),
        );
        broken
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} bytes arrived in {:.3} s, {:.3} wire bytes each, queue {:.1} ms mean and {:.1} ms p95, {:.2} MB held",
            self.seed,
            self.arrived,
            self.time.unwrap_or_default().as_secs_f64(),
            self.wire,
            self.queue_mean.as_secs_f64() * 1e3,
            self.queue_p95.as_secs_f64() * 1e3,
            self.memory_bytes as f64 / 1e6,
        )?;
        match &self.error {
            Some(error) => write!(f, ", then: {error}"),
            None => Ok(()),
        }
    }
}
