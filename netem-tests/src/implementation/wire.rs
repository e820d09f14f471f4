//! What joins the two sides of a stage: the TUN carrier or the kernel's netem, alike for whoever sends.
//! How each emulates is in `tun` and `netem::lab`.

use std::{fmt, io, time::Duration};

use serde::{Deserialize, Serialize};

use super::Figures;
use crate::{netem::NetemLab, netns::Namespace, scenario::Scenario, tcp, tun::TunLab};

/// A kind of link between two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// Ours, between two TUN devices.
    Tun,
    /// The kernel's `tc netem`.
    Netem,
}

/// A link of some kind between two namespaces, which last as long as it.
pub(crate) trait Wire: fmt::Debug + Sized {
    /// Joins two new namespaces as the scenario says. Not every kind can be seeded.
    fn start(scenario: &Scenario, seed: u64) -> io::Result<Self>;

    /// The side that sends data.
    fn near(&self) -> &Namespace;

    /// The side that receives data.
    fn far(&self) -> &Namespace;

    /// Ends the link; what it saw goes into `figures`.
    fn end(self, figures: &mut Figures) -> io::Result<()>;

    /// Lets TCP's windows grow to what the link needs.
    fn enlarge_windows(&self) -> io::Result<()> {
        tcp::enlarge_windows_of(self.near())?;
        tcp::enlarge_windows_of(self.far())
    }
}

impl Wire for TunLab {
    fn start(scenario: &Scenario, seed: u64) -> io::Result<Self> {
        Self::start(scenario.forward.clone(), scenario.back.clone(), seed)
    }

    fn near(&self) -> &Namespace {
        self.near()
    }

    fn far(&self) -> &Namespace {
        self.far()
    }

    fn end(self, figures: &mut Figures) -> io::Result<()> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        figures.overrun = self.overrun()?;
        let report = self.stop()?;
        let forward = report.forward;
        figures.wire_forward_bytes = forward.offered_bytes;
        figures.wire_back_bytes = report.back.offered_bytes;
        figures.forward_packets = forward.offered;
        figures.queue_dropped = forward.queue_dropped + forward.policed;
        figures.lost = forward.lost;
        figures.queue_mean_ms = millis(forward.queue_delay.mean);
        figures.queue_p95_ms = millis(forward.queue_delay.p95);
        figures.late_p99_us = report.late_p99.as_secs_f64() * 1e6;
        Ok(())
    }
}

impl Wire for NetemLab {
    fn start(scenario: &Scenario, _seed: u64) -> io::Result<Self> {
        Self::start(&scenario.forward, &scenario.back)
    }

    fn near(&self) -> &Namespace {
        self.near()
    }

    fn far(&self) -> &Namespace {
        self.far()
    }

    fn end(self, figures: &mut Figures) -> io::Result<()> {
        let (forward, back) = self.report()?;
        // netem counts what has left, with Ethernet headers, and one sum of all drops.
        figures.wire_forward_bytes = forward.ip_bytes();
        figures.wire_back_bytes = back.ip_bytes();
        figures.forward_packets = forward.packets + forward.drops;
        figures.lost = forward.drops;
        self.stop()
    }
}
