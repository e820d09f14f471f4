//! What this machine has: measured, not judged.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quinn_udp::UdpSocketState;
use rp_protocol::{Endpoint, config::EndpointConfig};

use super::{Finding, LEAST_BUFFER, Severity, buffers, clock, descriptors, segmentation};
use crate::run;

/// What was found of this machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The buffers one of our sockets was granted, to receive and to send, in bytes.
    granted: Option<(u64, u64)>,
    /// Most that a user who is not root is granted.
    limits: Option<(u64, u64)>,
    /// Datagrams in one system call.
    segments: Option<usize>,
    descriptors: u64,
    now: Duration,
    newest: Duration,
    clock_source: Option<String>,
    /// Why no UDP socket can be had.
    no_socket: Option<String>,
}

impl Machine {
    /// Looks.
    pub async fn look() -> Self {
        let mut machine = Self {
            limits: number("/proc/sys/net/core/rmem_max")
                .zip(number("/proc/sys/net/core/wmem_max")),
            descriptors: run::raise_descriptor_limit() as u64,
            now: since_epoch(SystemTime::now()),
            newest: installed().map(since_epoch).unwrap_or_default(),
            clock_source: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            ..Self::default()
        };
        let any = (Ipv4Addr::UNSPECIFIED, 0);
        match Endpoint::bind(any.into(), EndpointConfig::default(), None) {
            Ok(endpoint) => {
                let stats = endpoint.stats();
                machine.granted = Some((stats.receive_buffer as u64, stats.send_buffer as u64));
            }
            Err(error) => machine.no_socket = Some(error.to_string()),
        }
        let state = UdpSocket::bind(any).and_then(|socket| UdpSocketState::new((&socket).into()));
        machine.segments = state.ok().map(|state| state.max_gso_segments());
        machine
    }

    /// What it means.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(error) = &self.no_socket {
            let text = format!("no UDP socket can be had: {error}");
            findings.push(Finding::new(Severity::Bad, "UDP", text, &[]));
        }
        if let Some((received, sent)) = self.granted {
            let is_limited = self.limits.is_some_and(|(r, s)| r.min(s) < LEAST_BUFFER);
            findings.push(buffers(received, sent, is_limited));
        }
        findings.extend(self.segments.map(segmentation));
        findings.push(descriptors(self.descriptors));
        findings.push(clock(self.now, self.newest, self.clock_source.as_deref()));
        findings
    }
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// When our own program was put where it is.
fn installed() -> Option<SystemTime> {
    let program = std::env::current_exe().ok()?;
    program.metadata().ok()?.modified().ok()
}
