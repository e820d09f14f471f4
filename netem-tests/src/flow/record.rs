//! What happened: delivered bytes over time, the queue over time, the controller's states.
//! Nothing is decided here.

use std::{ops::Range, time::Duration};

use rp_protocol::{
    congestion::{ControllerReport, PathMemory},
    units::Bandwidth,
};

use super::sender::Sender;
use crate::link::LinkConfig;

/// Delivered bytes are counted per slot of this length.
const SLOT: Duration = Duration::from_millis(10);

/// A flow's past.
#[derive(Debug)]
pub struct Record {
    delivered: Vec<u64>,
    keep_states: bool,
    states: Vec<State>,
    sent_packets: u64,
    lost_packets: u64,
    spurious_packets: u64,
    memory: Option<PathMemory>,
}

/// A controller at a time.
#[derive(Clone, Debug)]
pub struct State {
    /// Since the beginning.
    pub at: Duration,
    /// Smoothed RTT.
    pub rtt: Duration,
    /// Pacing rate.
    pub rate: Bandwidth,
    /// Window in bytes.
    pub window: u64,
    /// What it says of itself.
    pub report: ControllerReport,
    /// Its own estimates, by name.
    pub estimates: Vec<(&'static str, f64)>,
    /// Packets declared lost so far.
    pub lost: u64,
}

impl Record {
    pub(super) fn new(keep_states: bool) -> Self {
        Self {
            delivered: Vec::new(),
            keep_states,
            states: Vec::new(),
            sent_packets: 0,
            lost_packets: 0,
            spurious_packets: 0,
            memory: None,
        }
    }

    pub(super) fn on_delivered(&mut self, at: Duration, bytes: u16) {
        let slot = slot(at);
        if self.delivered.len() <= slot {
            self.delivered.resize(slot + 1, 0);
        }
        self.delivered[slot] += u64::from(bytes);
    }

    pub(super) fn on_state(&mut self, at: Duration, sender: &Sender) {
        self.sent_packets = sender.sent_packets;
        self.lost_packets = sender.lost_packets;
        self.spurious_packets = sender.spurious_packets;
        self.memory = sender.controller.memory();
        if !self.keep_states || self.states.last().is_some_and(|last| at < last.at + SLOT) {
            return;
        }
        let mut estimates = Vec::new();
        sender
            .controller
            .estimates(&mut |name, value| estimates.push((name, value)));
        self.states.push(State {
            at,
            rtt: sender.smoothed_rtt(),
            rate: sender.controller.pacing_rate(),
            window: sender.controller.window(),
            report: sender.controller.report(),
            estimates,
            lost: sender.lost_packets,
        });
    }

    /// Bytes that reached the receiver between two times (to 10 ms), per second.
    pub fn goodput(&self, range: Range<Duration>) -> Bandwidth {
        let (from, to) = (slot(range.start), slot(range.end));
        let bytes = self
            .delivered
            .get(from.min(self.delivered.len())..to.min(self.delivered.len()))
            .map_or(0, |slots| slots.iter().sum());
        Bandwidth::from_delivery(bytes, range.end - range.start).unwrap_or_default()
    }

    /// When delivery over `width` first reached `rate`.
    pub fn reached(&self, rate: Bandwidth, width: Duration) -> Option<Duration> {
        let width_slots = slot(width).max(1);
        let goal = rate.bytes_in(SLOT * u32::try_from(width_slots).unwrap_or(u32::MAX));
        let windows = self.delivered.windows(width_slots);
        let found = windows
            .enumerate()
            .find(|(_, slots)| slots.iter().sum::<u64>() >= goal)?;
        Some(SLOT * u32::try_from(found.0).unwrap_or(u32::MAX))
    }

    /// The controller every 10 ms, if it was to be kept.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// What was learnt of the path.
    pub fn memory(&self) -> Option<PathMemory> {
        self.memory
    }

    /// Packets sent.
    pub fn sent_packets(&self) -> u64 {
        self.sent_packets
    }

    /// Packets declared lost.
    pub fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// Packets declared lost that arrived after all.
    pub fn spurious_packets(&self) -> u64 {
        self.spurious_packets
    }
}

fn slot(at: Duration) -> usize {
    usize::try_from(at.as_nanos() / SLOT.as_nanos()).unwrap_or(usize::MAX)
}

/// The queue in front of the bottleneck, as waiting time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queue {
    /// Mean over time.
    pub mean: Duration,
    /// 95th percentile over time.
    pub p95: Duration,
    /// Largest.
    pub max: Duration,
}

#[derive(Debug)]
pub(super) struct QueueRecord {
    /// Time and rate of the steps, the first at 0.
    rates: Vec<(Duration, Bandwidth)>,
    waits: Vec<Duration>,
}

impl QueueRecord {
    pub(super) fn new(link: &LinkConfig) -> Self {
        Self {
            rates: link.rates(),
            waits: Vec::new(),
        }
    }

    pub(super) fn due_at(&self) -> Duration {
        SLOT * u32::try_from(self.waits.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn sample(&mut self, at: Duration, backlog: u64) {
        let rate = self
            .rates
            .iter()
            .rev()
            .find(|(from, _)| *from <= at)
            .map_or(Bandwidth::MAX, |&(_, rate)| rate);
        self.waits
            .push(rate.time_for(backlog).min(Duration::from_secs(60)));
    }

    pub(super) fn between(&self, range: Range<Duration>) -> Queue {
        let to = slot(range.end).min(self.waits.len());
        let mut waits = self.waits[slot(range.start).min(to)..to].to_vec();
        waits.sort();
        let Some(&max) = waits.last() else {
            return Queue::default();
        };
        let count = u32::try_from(waits.len()).unwrap_or(u32::MAX);
        Queue {
            mean: waits.iter().sum::<Duration>() / count,
            p95: waits[(waits.len() - 1) * 95 / 100],
            max,
        }
    }
}
