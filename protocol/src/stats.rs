//! Numbers for people and programs: what a connection and its paths did and believe.

use std::{net::SocketAddr, time::Duration};

use crate::{stream::StreamCounters, units::Bandwidth, wire::id::PathId};

/// A connection's numbers at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// One entry per path.
    pub paths: Vec<PathStats>,
    /// Datagrams dropped, by reason.
    pub dropped: Dropped,
    /// Key updates done, by either side.
    pub key_updates: u64,
    /// What happened on the streams.
    pub streams: StreamCounters,
}

/// Incoming packets that were not believed, by reason. Counted, never logged one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Did not parse.
    pub malformed: u64,
    /// Failed authentication.
    pub unauthentic: u64,
    /// Seen before, or too old to tell.
    pub duplicate: u64,
    /// Keys not there yet, or already gone.
    pub no_keys: u64,
    /// Not for this connection or state.
    pub unexpected: u64,
}

/// A path's numbers at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PathStats {
    /// Which path.
    pub id: PathId,
    /// Where its packets go.
    pub remote: SocketAddr,
    /// Smoothed RTT.
    pub rtt: Duration,
    /// Windowed minimum RTT.
    pub min_rtt: Duration,
    /// RTT variation.
    pub rtt_variation: Duration,
    /// What the controller allows.
    pub pacing_rate: Bandwidth,
    /// What the controller believes arrives.
    pub delivery_rate: Bandwidth,
    /// Most bytes allowed in flight.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Standing queue as delay.
    pub queue_delay: Duration,
    /// Loss believed not to be congestion, 0 to 1.
    pub random_loss: f64,
    /// The controller's state.
    pub state: &'static str,
    /// Largest UDP payload in use.
    pub max_payload: u16,
    /// How often the path stopped carrying the size in use.
    pub black_holes: u64,
    /// How long a packet may be overtaken before it counts as lost.
    pub reorder_window: Duration,
    /// Packets sent.
    pub sent_packets: u64,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// Packets received and opened.
    pub received_packets: u64,
    /// UDP payload bytes received in them.
    pub received_bytes: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Bytes in them.
    pub lost_bytes: u64,
    /// Packets declared lost that arrived after all.
    pub spurious_losses: u64,
    /// NAK frames sent.
    pub naks_sent: u64,
    /// NAK frames received.
    pub naks_received: u64,
    /// NAK frames that named nothing still open: repeats, or nonsense.
    pub idle_naks: u64,
    /// Probe timeouts.
    pub probe_timeouts: u64,
    /// Packets reported CE-marked.
    pub congestion_marks: u64,
    /// Gaps not reported for lack of room.
    pub gaps_dropped: u64,
}
