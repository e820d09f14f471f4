//! What an exit's owner may choose. What it means for a request is the exit's business.

use std::{net::SocketAddr, time::Duration};

use super::{TargetPattern, datagram::DEFAULT_UDP_IDLE, policy::Policy};
use crate::{client::DEFAULT_IDLE, pace::Pace};

/// Time a stream has by default to bring its request, which is its first bytes, and to take the reply.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Time to resolve and connect by default: shorter than the patience of common clients, so that
/// they see the real outcome and not their own timeout.
pub const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Targets connected at once by default, over all clients.
pub const DEFAULT_MAX_TARGETS: usize = 65536;

/// Targets connected at once by default for one key: ten thousand and a reserve, a quarter of all.
pub const DEFAULT_MAX_TARGETS_PER_KEY: usize = 16384;

/// What an exit's owner may choose.
///
/// ```
/// use std::time::Duration;
///
/// use rp_proxy::{Exit, ExitConfig, exit::policy::Policy};
///
/// let exit = Exit::new(
///     ExitConfig::default()
///         .policy(Policy::default().allow("10.0.0.0/8".parse()?))
///         .dial_timeout(Duration::from_secs(5))
///         .max_targets_per_key(1000),
/// );
/// # drop(exit);
/// # Ok::<(), rp_proxy::exit::policy::BadRule>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExitConfig {
    pub(super) policy: Policy,
    pub(super) request_timeout: Duration,
    pub(super) dial_timeout: Duration,
    pub(super) idle: Duration,
    pub(super) udp_idle: Duration,
    pub(super) max_targets: usize,
    pub(super) max_targets_per_key: usize,
    pub(super) proxy_protocol: Vec<TargetPattern>,
    pub(super) name_servers: Vec<SocketAddr>,
    pub(super) pace: Pace,
}

impl Default for ExitConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            dial_timeout: DEFAULT_DIAL_TIMEOUT,
            idle: DEFAULT_IDLE,
            udp_idle: DEFAULT_UDP_IDLE,
            max_targets: DEFAULT_MAX_TARGETS,
            max_targets_per_key: DEFAULT_MAX_TARGETS_PER_KEY,
            proxy_protocol: Vec::new(),
            name_servers: Vec::new(),
            pace: Pace::default(),
        }
    }
}

impl ExitConfig {
    /// What may be dialled. Default: public addresses.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Time a stream has to bring its request, and to take the reply. Default [`DEFAULT_REQUEST_TIMEOUT`].
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Time to resolve and connect. Default [`DEFAULT_DIAL_TIMEOUT`].
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Silence after which a relayed connection is reset. Default [`DEFAULT_IDLE`].
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Time without a datagram after which a UDP association is closed, two minutes at least. Default
    /// [`DEFAULT_UDP_IDLE`].
    #[must_use]
    pub fn udp_idle(mut self, idle: Duration) -> Self {
        self.udp_idle = idle;
        self
    }

    /// Targets connected at once over all clients, a UDP association counted as two; more are refused as "too many connections".
    /// Default [`DEFAULT_MAX_TARGETS`].
    #[must_use]
    pub fn max_targets(mut self, targets: usize) -> Self {
        self.max_targets = targets;
        self
    }

    /// Targets connected at once for one key. One connection of it gets seven eighths of them, so that
    /// another still has some. Default [`DEFAULT_MAX_TARGETS_PER_KEY`].
    #[must_use]
    pub fn max_targets_per_key(mut self, targets: usize) -> Self {
        self.max_targets_per_key = targets;
        self
    }

    /// Targets that are told whom they serve, by a header of the PROXY protocol before the first byte.
    /// Default: none.
    ///
    /// ```
    /// let config = rp_proxy::ExitConfig::default().proxy_protocol(vec!["web.example:*".parse()?]);
    /// # drop(config);
    /// # Ok::<(), rp_proxy::exit::TargetPatternError>(())
    /// ```
    #[must_use]
    pub fn proxy_protocol(mut self, targets: Vec<TargetPattern>) -> Self {
        self.proxy_protocol = targets;
        self
    }

    /// Name servers to ask in the place of the system's, with no search list; the hosts file still comes first.
    /// Default: none, which are the system's.
    #[must_use]
    pub fn name_servers(mut self, servers: Vec<SocketAddr>) -> Self {
        self.name_servers = servers;
        self
    }

    /// How fast requests are taken on. Default: at once.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    pub(super) fn max_targets_per_connection(&self) -> usize {
        self.max_targets_per_key - self.max_targets_per_key / 8
    }
}
