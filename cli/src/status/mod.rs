//! The numbers of a running program: one form for its control socket, its status page, its metrics and
//! the terminal. They are gathered where they arise.

mod render;
mod show;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use rp_protocol::Connection;
use rp_proxy::exit::{DatagramCounters, counters};
use serde::{Deserialize, Serialize};

use crate::{forwards::ForwardStatus, servers::ServerHealth};

pub use render::{Rates, render};
pub use show::show;

#[cfg(test)]
mod tests;

/// Rows of a table of connections, keys or targets that are told; the busiest come first.
pub const MAX_ROWS: usize = 100;

/// The numbers of a running program at one moment. Totals count from its start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Status {
    /// Whose numbers they are.
    pub process: Process,
    /// What it is doing, in a word or two: `up`, `connecting`, `serving`, `draining`.
    pub state: String,
    /// Why, where that is no good sign.
    pub reason: Option<String>,
    /// The addresses it listens on.
    pub listen: Vec<String>,
    /// What went through it in all.
    pub total: Usage,
    /// What was refused or went wrong before there was a request to count.
    pub refusals: Refusals,
    /// UDP of proxied clients, at a server.
    #[serde(default)]
    pub datagrams: Datagrams,
    /// Connections to clients or to the server at present, also those that are not listed.
    pub connection_count: u64,
    /// Connections to clients or to the server at present.
    pub connections: Vec<ConnectionStatus>,
    /// The servers a client may use, in their order.
    #[serde(default)]
    pub servers: Vec<ServerHealth>,
    /// What a client forwards, and where that listens.
    #[serde(default)]
    pub forwards: Vec<ForwardStatus>,
    /// What each key used, at a server.
    pub keys: Vec<NamedUsage>,
    /// What went to each target, at a server.
    pub targets: Vec<NamedUsage>,
}

impl Status {
    /// Whether the program can do what it is there for.
    pub fn is_well(&self) -> bool {
        ["up", "serving", "asleep"].contains(&self.state.as_str())
    }
}

/// Tells the numbers of a program at any moment.
pub trait Numbers: Clone + Send + Sync + 'static {
    /// The numbers at this moment.
    fn status(&self) -> Status;
}

/// Which program tells its numbers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its name.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Its number in the system.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_seconds: f64,
}

/// The process we are.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    program: &'static str,
    started: Instant,
}

impl Clock {
    /// The process we are, as `program`, which starts at this moment.
    pub fn start(program: &'static str) -> Self {
        Self {
            program,
            started: Instant::now(),
        }
    }

    /// The process as it is at this moment.
    pub fn process(&self) -> Process {
        Process {
            program: self.program.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

/// What somebody or something used.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Usage {
    /// Proxied connections at present.
    pub streams: u64,
    /// Targets connected.
    pub connected: u64,
    /// Requests refused by rules.
    pub denied: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Bytes of proxied connections from targets to clients.
    pub down_bytes: u64,
    /// Bytes of proxied connections from clients to targets.
    pub up_bytes: u64,
}

/// What a key or a target used.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NamedUsage {
    /// Fingerprint, or host and port.
    pub name: String,
    /// What it used.
    #[serde(flatten)]
    pub usage: Usage,
}

impl From<counters::Usage> for Usage {
    fn from(usage: counters::Usage) -> Self {
        Self {
            streams: usage.active,
            connected: usage.connected,
            denied: usage.denied,
            failed: usage.failed,
            down_bytes: usage.sent,
            up_bytes: usage.received,
        }
    }
}

/// The first rows of a table, each with its name.
pub fn named<N: ToString>(rows: Vec<(N, counters::Usage)>) -> Vec<NamedUsage> {
    let rows = rows.into_iter().take(MAX_ROWS);
    let named = rows.map(|(name, usage)| NamedUsage {
        name: name.to_string(),
        usage: usage.into(),
    });
    named.collect()
}

/// Connections that were refused.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Refusals {
    /// Clients whose key, address, version or handshake was not accepted.
    pub clients: u64,
    /// Clients beyond a limit.
    pub too_many: u64,
    /// Connections to a front end that made no sense, or had no right to it.
    pub front_end: u64,
}

/// UDP of proxied clients, from the start on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Datagrams {
    /// Associations opened.
    pub associations: u64,
    /// Datagrams from targets to clients.
    pub down: u64,
    /// Datagrams from clients to targets.
    pub up: u64,
    /// Those that rules refused.
    pub denied: u64,
    /// Those that had no room, no address or nobody who waited for them.
    pub discarded: u64,
}

impl From<&DatagramCounters> for Datagrams {
    fn from(counters: &DatagramCounters) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            associations: get(&counters.associations),
            down: get(&counters.received),
            up: get(&counters.sent),
            denied: get(&counters.denied),
            discarded: get(&counters.discarded),
        }
    }
}

/// One RPP connection.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionStatus {
    /// Address of the other side.
    pub remote: String,
    /// Fingerprint of its key.
    pub key: String,
    /// What stands behind the key in its list.
    pub comment: Option<String>,
    /// What is done over it.
    pub service: String,
    /// Smoothed round-trip time.
    pub rtt_ms: f64,
    /// Least round-trip time of late.
    pub min_rtt_ms: f64,
    /// How long packets wait in the queue of the slowest link, as far as we cause it.
    pub queue_ms: f64,
    /// Packets lost of those sent, 0 to 1.
    pub loss: f64,
    /// Bits per second that may be sent.
    pub pacing_bps: u64,
    /// Bits per second that arrive at the other side, as far as there was something to send.
    pub delivery_bps: u64,
    /// Bytes sent and neither acknowledged nor lost.
    pub in_flight_bytes: u64,
    /// UDP payload sent, in bytes.
    pub sent_bytes: u64,
    /// UDP payload received, in bytes.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Packets that came and were not believed.
    pub dropped_packets: u64,
    /// Streams opened by either side so far.
    pub streams_opened: u64,
    /// The congestion controller's state.
    pub controller: String,
    /// Largest UDP payload in use.
    pub max_payload: u64,
}

impl ConnectionStatus {
    /// The numbers of `connection` at this moment: those of its first path, and the sums of all.
    pub fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        let dropped = stats.dropped;
        let mut status = Self {
            remote: connection.remote_address().to_string(),
            key: connection.peer().fingerprint(),
            service: connection.service().to_owned(),
            dropped_packets: dropped.malformed + dropped.unauthentic + dropped.unexpected,
            streams_opened: stats.streams.opened + stats.streams.accepted,
            ..Self::default()
        };
        for path in &stats.paths {
            status.pacing_bps += path.pacing_rate.bits_per_second();
            status.delivery_bps += path.delivery_rate.bits_per_second();
            status.in_flight_bytes += path.in_flight;
            status.sent_bytes += path.sent_bytes;
            status.received_bytes += path.received_bytes;
            status.sent_packets += path.sent_packets;
            // Those that came after all were only late.
            status.lost_packets += path.lost_packets.saturating_sub(path.spurious_losses);
        }
        if let Some(path) = stats.paths.first() {
            status.rtt_ms = path.rtt.as_secs_f64() * 1e3;
            status.min_rtt_ms = path.min_rtt.as_secs_f64() * 1e3;
            status.queue_ms = path.queue_delay.as_secs_f64() * 1e3;
            status.controller = path.state.to_owned();
            status.max_payload = path.max_payload.into();
        }
        if status.sent_packets > 0 {
            status.loss = status.lost_packets as f64 / status.sent_packets as f64;
        }
        status
    }
}
