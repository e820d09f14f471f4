//! What a user may choose: endpoint, transport, client and server settings.
//! Fields are private, defaults are usable, setters consume and cannot fail.

use std::{sync::Arc, time::Duration};

use crate::{
    crypto::identity::{Identity, PeerVerifier},
    trace::Tracer,
    units::Bandwidth,
};

/// How a connection decides its rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Fill the path, hold a small queue, share with others. The default.
    #[default]
    Fair,
    /// Take only what others leave: for backups. Gives way to any queue, alone it fills the path.
    Low,
    /// RFC 9438, the yardstick of fairness; collapses under random loss by design.
    Cubic,
    /// A typed rate, for links one owns. Sent/delivered is still capped.
    Fixed(Bandwidth),
}

/// Settings of an endpoint, shared by all its connections.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub(crate) max_half_open: usize,
    pub(crate) retry_above: usize,
    pub(crate) max_udp_payload: u16,
    pub(crate) receive_budget: u64,
    pub(crate) send_budget: u64,
    pub(crate) instance: Vec<u8>,
}

impl EndpointConfig {
    /// What tells this endpoint from all others with the same identity that run at the same time, and is the same after
    /// a restart: only the endpoint itself then knows its stateless reset tokens. Default empty;
    /// [`Endpoint::bind`](crate::Endpoint::bind) adds what it knows of machine and address.
    #[must_use]
    pub fn instance(mut self, instance: &[u8]) -> Self {
        self.instance = instance.to_vec();
        self
    }

    /// Handshakes in progress at once. Default 4096, about 20 KB each; a sixteenth for each range of addresses (/24, /48).
    /// Beyond that each new client that has proven its address takes the place of another. 0 refuses everybody.
    #[must_use]
    pub fn max_half_open(mut self, connections: usize) -> Self {
        self.max_half_open = connections;
        self
    }

    /// Handshakes in progress above which a new client must first prove its address with a
    /// retry token (one more round trip, no state). Default 256; 0 asks always.
    #[must_use]
    pub fn retry_above(mut self, connections: usize) -> Self {
        self.retry_above = connections;
        self
    }

    /// Largest UDP payload taken from the network, announced to peers. Default 8952
    /// (a 9000-byte MTU); clamped to 1200..=65527.
    #[must_use]
    pub fn max_udp_payload(mut self, bytes: u16) -> Self {
        self.max_udp_payload = bytes.clamp(1200, 65527);
        self
    }
}

impl EndpointConfig {
    /// Bytes all connections together may promise their peers, beside 64 KiB for each. Default 1 GiB; it
    /// bounds what a process buffers for slow readers. A connection gets at most an eighth of it, those of
    /// one network (IPv4 /24, IPv6 /64) a quarter.
    #[must_use]
    pub fn receive_budget(mut self, bytes: u64) -> Self {
        self.receive_budget = bytes;
        self
    }

    /// Bytes all connections together may hold that were written and not acknowledged, beside 64 KiB for each.
    /// Default 1 GiB. A connection gets as much as is left for others, and at most its
    /// [`TransportConfig::send_buffer`].
    #[must_use]
    pub fn send_budget(mut self, bytes: u64) -> Self {
        self.send_budget = bytes;
        self
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            max_half_open: 4096,
            retry_above: 256,
            max_udp_payload: 8952,
            receive_budget: 1 << 30,
            send_budget: 1 << 30,
            instance: Vec::new(),
        }
    }
}

/// Settings of one connection's transport.
///
/// ```
/// use std::time::Duration;
///
/// use rp_protocol::{
///     config::{Policy, TransportConfig},
///     units::Bandwidth,
/// };
///
/// // A backup that gives way to everybody, takes at most half of the line, and bears two minutes of silence.
/// let transport = TransportConfig::default()
///     .policy(Policy::Low)
///     .max_rate(Some(Bandwidth::from_bits_per_second(50_000_000)))
///     .idle_timeout(Duration::from_secs(120));
/// # drop(transport);
/// ```
#[derive(Clone, Debug)]
pub struct TransportConfig {
    pub(crate) policy: Policy,
    pub(crate) max_rate: Option<Bandwidth>,
    pub(crate) idle_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) initial_rtt: Duration,
    pub(crate) initial_stream_credit: u64,
    pub(crate) max_stream_credit: u64,
    pub(crate) max_connection_credit: u64,
    pub(crate) send_buffer: u64,
    pub(crate) max_streams_bi: u64,
    pub(crate) max_streams_uni: u64,
    pub(crate) datagram_buffer: usize,
    pub(crate) max_udp_payload: u16,
    pub(crate) mtu_discovery: bool,
    pub(crate) tracer: Option<Arc<dyn Tracer>>,
}

impl TransportConfig {
    /// How the rate is decided. Default [`Policy::Fair`].
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Never send faster than this, whatever the policy finds. Default none.
    #[must_use]
    pub fn max_rate(mut self, max_rate: Option<Bandwidth>) -> Self {
        self.max_rate = max_rate;
        self
    }

    /// Silence after which the peer is given up; the smaller of both ends' counts. Default 30 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Time a handshake may take. Default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Interval of pings while streams are open, so that NAT bindings and the peer's idle timer live.
    /// Default 15 s. Nothing is sent while no stream is open.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// RTT assumed before the first sample. Default 200 ms.
    #[must_use]
    pub fn initial_rtt(mut self, rtt: Duration) -> Self {
        self.initial_rtt = rtt;
        self
    }

    /// Bytes a peer may send on a new stream before it hears from us. Default 8 MiB: a start
    /// that multiplies its rate each round trip must not wait for credit, nor behind the first holes. It
    /// is a promise of memory, bounded by the connection's, twice as much, and by
    /// [`EndpointConfig::receive_budget`]; it grows with what arrives.
    #[must_use]
    pub fn initial_stream_credit(mut self, bytes: u64) -> Self {
        self.initial_stream_credit = bytes;
        self
    }

    /// Ceiling of one stream's automatic credit. Default 64 MiB.
    #[must_use]
    pub fn max_stream_credit(mut self, bytes: u64) -> Self {
        self.max_stream_credit = bytes;
        self
    }

    /// Ceiling of the connection's automatic credit. Default 128 MiB.
    #[must_use]
    pub fn max_connection_credit(mut self, bytes: u64) -> Self {
        self.max_connection_credit = bytes;
        self
    }

    /// Ceiling of unacknowledged and unsent stream bytes held for one connection; the buffer in use
    /// follows the delivered rate. Default 64 MiB.
    #[must_use]
    pub fn send_buffer(mut self, bytes: u64) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Bidirectional streams the peer may have open at once. Default 16384; unopened ones cost nothing.
    #[must_use]
    pub fn max_streams_bi(mut self, streams: u64) -> Self {
        self.max_streams_bi = streams;
        self
    }

    /// Unidirectional streams the peer may have open at once. Default 1024.
    #[must_use]
    pub fn max_streams_uni(mut self, streams: u64) -> Self {
        self.max_streams_uni = streams;
        self
    }

    /// Bytes of datagrams queued at most: before the oldest incoming is dropped, and before a sender waits,
    /// who commonly does so after 20 ms' worth. Default 1 MiB; 0 refuses datagrams.
    #[must_use]
    pub fn datagram_buffer(mut self, bytes: usize) -> Self {
        self.datagram_buffer = bytes;
        self
    }

    /// Largest UDP payload to probe for. Default 8952; clamped to 1200..=65527.
    #[must_use]
    pub fn max_udp_payload(mut self, bytes: u16) -> Self {
        self.max_udp_payload = bytes.clamp(1200, 65527);
        self
    }

    /// Whether to search for a larger packet than 1200 bytes. Default true.
    #[must_use]
    pub fn mtu_discovery(mut self, search: bool) -> Self {
        self.mtu_discovery = search;
        self
    }

    /// Who is told what each connection does, event by event. Default nobody; then it costs nothing.
    #[must_use]
    pub fn tracer(mut self, tracer: Option<Arc<dyn Tracer>>) -> Self {
        self.tracer = tracer;
        self
    }
}

impl TransportConfig {
    /// Largest DATAGRAM frame taken, as announced to the peer; 0 for none.
    pub(crate) fn max_datagram(&self) -> u64 {
        self.datagram_buffer.min(usize::from(u16::MAX)) as u64
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            policy: Policy::Fair,
            max_rate: None,
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            initial_rtt: Duration::from_millis(200),
            initial_stream_credit: 8 << 20,
            max_stream_credit: 64 << 20,
            max_connection_credit: 128 << 20,
            send_buffer: 64 << 20,
            max_streams_bi: 16384,
            max_streams_uni: 1024,
            datagram_buffer: 1 << 20,
            max_udp_payload: 8952,
            mtu_discovery: true,
            tracer: None,
        }
    }
}

/// What a client needs to connect: who it is, whom it trusts, which service it wants.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) identity: Arc<Identity>,
    pub(crate) verifier: Arc<dyn PeerVerifier>,
    pub(crate) service: String,
    pub(crate) transport: TransportConfig,
}

impl ClientConfig {
    /// Connect as `identity` to a server that `verifier` accepts, asking for `service` (an ALPN
    /// name such as `rpp-copy/1`).
    pub fn new(identity: Arc<Identity>, verifier: Arc<dyn PeerVerifier>, service: &str) -> Self {
        Self {
            identity,
            verifier,
            service: service.to_owned(),
            transport: TransportConfig::default(),
        }
    }

    /// Transport settings. Default [`TransportConfig::default`].
    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }
}

/// What a server needs to accept: who it is, whom it lets in, which services it offers.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) identity: Arc<Identity>,
    pub(crate) verifier: Arc<dyn PeerVerifier>,
    pub(crate) services: Vec<String>,
    pub(crate) transport: TransportConfig,
}

impl ServerConfig {
    /// Accept as `identity` clients that `verifier` lets in, for any of `services`.
    pub fn new(
        identity: Arc<Identity>,
        verifier: Arc<dyn PeerVerifier>,
        services: &[&str],
    ) -> Self {
        Self {
            identity,
            verifier,
            services: services.iter().map(|&s| s.to_owned()).collect(),
            transport: TransportConfig::default(),
        }
    }

    /// Transport settings. Default [`TransportConfig::default`].
    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }
}
