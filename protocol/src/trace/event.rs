//! What can be told of a connection. Who is told, and how it is written, is not here.

use std::time::Duration;

use crate::{error::ConnectionError, units::Bandwidth};

/// One thing that happened. Small and without references, so that it can be handed to another thread.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete on this side.
    Established,
    /// The connection is over for its application.
    Closed(Close),
    /// A data packet left.
    PacketSent {
        /// Its number.
        number: u64,
        /// Its size as UDP payload.
        bytes: u16,
        /// It counts against window and pacer; else it holds only reports.
        in_flight: bool,
        /// It searches for a larger packet size.
        is_mtu_probe: bool,
    },
    /// A data packet arrived and opened.
    PacketReceived {
        /// Its number.
        number: u64,
        /// Its size as UDP payload.
        bytes: u16,
    },
    /// A packet is believed lost.
    PacketLost {
        /// Its number.
        number: u64,
        /// Its size as UDP payload.
        bytes: u16,
        /// It searched for a larger packet size: no congestion.
        is_mtu_probe: bool,
        /// Why.
        trigger: LossTrigger,
    },
    /// A packet believed lost arrived after all.
    SpuriousLoss {
        /// Its number.
        number: u64,
        /// Its size as UDP payload.
        bytes: u16,
    },
    /// Nothing was acknowledged for so long that the path is asked.
    ProbeTimeout {
        /// So many in a row.
        count: u32,
    },
    /// The largest UDP payload changed.
    MtuUpdated {
        /// Before; `None` at the beginning.
        old: Option<u16>,
        /// From now on.
        new: u16,
    },
    /// Where recovery and rate stand.
    Metrics(Metrics),
    /// The controller does something else than before (names as in spec/04-congestion.md).
    State {
        /// Before; `None` at the beginning.
        old: Option<&'static str>,
        /// From now on.
        new: &'static str,
    },
    /// What the controller believes, about twice a round trip.
    Controller {
        /// Estimated delivery rate.
        delivery_rate: Bandwidth,
        /// Standing queue as delay.
        queue_delay: Duration,
        /// Loss believed not to be congestion, 0 to 1.
        random_loss: f64,
        /// Its own estimates by name.
        estimates: Box<[(&'static str, f64)]>,
    },
}

/// Where recovery and rate stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Smallest RTT of the path's life.
    pub min_rtt: Duration,
    /// Smoothed RTT.
    pub smoothed_rtt: Duration,
    /// Newest sample.
    pub latest_rtt: Duration,
    /// RTT variation.
    pub rtt_variation: Duration,
    /// Probe timeouts in a row.
    pub probe_count: u32,
    /// Most bytes allowed in flight.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight_bytes: u64,
    /// Packets in flight.
    pub in_flight_packets: u64,
    /// What the controller allows.
    pub pacing_rate: Bandwidth,
    /// Bytes acknowledged so far, as UDP payload.
    pub acked_bytes: u64,
}

/// Why a packet is believed lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossTrigger {
    /// A later packet arrived, and this one's time is over.
    Time,
    /// The receiver names it as missing.
    Nak,
}

/// How a connection ended. Words of the peer's are left out: they are not ours to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// qlog's word for the cause.
    pub trigger: &'static str,
    /// The peer began it.
    pub is_remote: bool,
    /// A close code of the transport.
    pub transport_code: Option<u64>,
    /// A close code of the application.
    pub application_code: Option<u64>,
}

impl From<&ConnectionError> for Close {
    fn from(error: &ConnectionError) -> Self {
        let close = |trigger, is_remote| Self {
            trigger,
            is_remote,
            transport_code: None,
            application_code: None,
        };
        match error {
            ConnectionError::TimedOut | ConnectionError::HandshakeTimedOut => {
                close("idle_timeout", false)
            }
            ConnectionError::Reset => close("stateless_reset", true),
            ConnectionError::VersionMismatch => close("version_mismatch", false),
            ConnectionError::PeerRejected(_) | ConnectionError::SigningFailed(_) => {
                close("error", false)
            }
            ConnectionError::PeerTransport { code, .. } => Self {
                transport_code: Some(code.into_inner()),
                ..close("error", true)
            },
            ConnectionError::PeerClosed { code, .. } => Self {
                application_code: Some(code.into_inner()),
                ..close("application", true)
            },
            ConnectionError::Transport(error) => Self {
                transport_code: Some(error.code.into_inner()),
                ..close("error", false)
            },
            ConnectionError::LocallyClosed => close("application", false),
        }
    }
}
