//! The far side: takes streams, dials what they name if policy allows it, and relays.
//! What clients speak to the near side never gets here.

mod dial;
pub mod policy;
mod resolve;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{Connection, RecvStream, SendStream};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::{debug, info};

use self::policy::Policy;
use crate::{
    client::DEFAULT_IDLE,
    error::{DialFailure, FailureKind},
    keep_alive::keep_alive,
    open::{self, Reply, Request},
    relay::{Far, Near, Traffic, abandon, code, relay},
    target::Target,
};

/// Time a stream has to bring its request, which is its first bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Time to resolve and connect by default: shorter than the patience of common clients, so that
/// they see the real outcome and not their own timeout.
pub const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Targets connected at once by default.
pub const DEFAULT_MAX_TARGETS: usize = 65536;

/// What an exit's owner may choose.
#[derive(Clone, Debug)]
pub struct ExitConfig {
    policy: Policy,
    dial_timeout: Duration,
    idle: Duration,
    max_targets: usize,
}

impl Default for ExitConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            dial_timeout: DEFAULT_DIAL_TIMEOUT,
            idle: DEFAULT_IDLE,
            max_targets: DEFAULT_MAX_TARGETS,
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

    /// Targets connected at once over all clients; more are refused as "too many connections".
    /// Default [`DEFAULT_MAX_TARGETS`].
    #[must_use]
    pub fn max_targets(mut self, targets: usize) -> Self {
        self.max_targets = targets;
        self
    }
}

/// What one client's key may reach, on top of the exit's policy.
#[derive(Clone, Debug, Default)]
pub enum TargetAccess {
    /// Whatever policy allows.
    #[default]
    All,
    /// Nothing: the key has `no-port-forwarding`.
    Nothing,
    /// Only these, as its `permitopen` options name them: host as typed or `*`, `None` for any port.
    Only(Vec<(String, Option<u16>)>),
}

impl TargetAccess {
    fn allows(&self, target: &Target) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Only(list) => {
                let wanted = target.host().to_string();
                let wanted = wanted.trim_start_matches('[').trim_end_matches(']');
                list.iter().any(|(host, port)| {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    (host == "*" || host.eq_ignore_ascii_case(wanted))
                        && port.is_none_or(|port| port == target.port())
                })
            }
        }
    }
}

/// Counters of an exit, for statistics; they only grow.
#[derive(Debug, Default)]
pub struct ExitCounters {
    /// Targets connected.
    pub connected: AtomicU64,
    /// Requests refused by policy or by the key's options.
    pub denied: AtomicU64,
    /// Requests that failed otherwise.
    pub failed: AtomicU64,
}

/// The far side of the proxy. Clones share limits and counters.
#[derive(Clone, Debug)]
pub struct Exit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ExitConfig,
    places: Arc<Semaphore>,
    counters: ExitCounters,
    traffic: Traffic,
}

impl Exit {
    /// An exit with `config`.
    pub fn new(config: ExitConfig) -> Self {
        let places = Arc::new(Semaphore::new(config.max_targets));
        Self {
            shared: Arc::new(Shared {
                config,
                places,
                counters: ExitCounters::default(),
                traffic: Traffic::default(),
            }),
        }
    }

    /// Requests so far.
    pub fn counters(&self) -> &ExitCounters {
        &self.shared.counters
    }

    /// Bytes relayed so far.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Serves the streams of `connection`, whose key may reach what `access` says, until it ends.
    pub async fn serve(&self, connection: Connection, access: TargetAccess) {
        let client = Arc::new(Peer {
            name: connection.peer().to_string(),
            access,
        });
        loop {
            match connection.accept_bi().await {
                Ok((send, recv)) => {
                    let (exit, client) = (self.clone(), client.clone());
                    tokio::spawn(async move { exit.handle(send, recv, &client).await });
                }
                Err(error) => {
                    debug!(client = client.name, %error, "proxy connection ended");
                    return;
                }
            }
        }
    }

    async fn handle(&self, mut send: SendStream, mut recv: RecvStream, client: &Peer) {
        let Ok(Some(place)) = self.place(&mut send).await else {
            return;
        };
        let request = timeout(REQUEST_TIMEOUT, read_request(&mut recv)).await;
        let Ok(Some((request, early))) = request else {
            abandon(&mut send, &mut recv, code::MALFORMED);
            return;
        };
        let dialled = match request {
            Ok(request) => self.connect(&request.target, client).await,
            Err(failure) => Err(failure),
        };
        let (reply, tcp) = match dialled {
            Ok((tcp, bound)) => (Ok(bound), Some(tcp)),
            Err(failure) => (Err(failure), None),
        };
        if answer(&mut send, &reply).await.is_none() {
            return;
        }
        let Some(tcp) = tcp else {
            //= spec/10-proxy.md#reply
            //# After a reply with a failure the exit MUST finish the stream.
            let _ = send.finish();
            recv.stop(code::CANCELLED);
            return;
        };
        let near = Near {
            tcp,
            early: Bytes::new(),
        };
        let far = Far { send, recv, early };
        // A task of its own frees what dialling needed.
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let end = relay(near, far, shared.config.idle, &shared.traffic).await;
            debug!(?end, "target ended");
            drop(place);
        });
    }

    /// A place among the targets connected at once, or the refusal sent.
    async fn place(
        &self,
        send: &mut SendStream,
    ) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, ()> {
        if let Ok(place) = self.shared.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        self.shared.counters.failed.fetch_add(1, Ordering::Relaxed);
        answer(send, &Err(DialFailure::new(FailureKind::Exhausted))).await;
        let _ = send.finish();
        Ok(None)
    }

    async fn connect(
        &self,
        target: &Target,
        client: &Peer,
    ) -> Result<(TcpStream, SocketAddr), DialFailure> {
        let counters = &self.shared.counters;
        match self.dial(target, &client.access).await {
            Ok(connected) => {
                counters.connected.fetch_add(1, Ordering::Relaxed);
                debug!(client = client.name, %target, "connected");
                Ok(connected)
            }
            Err(failure) if failure.kind == FailureKind::Denied => {
                counters.denied.fetch_add(1, Ordering::Relaxed);
                info!(client = client.name, %target, reason = failure.reason, "target denied");
                Err(failure)
            }
            Err(failure) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                info!(client = client.name, %target, %failure, "target not reached");
                Err(failure)
            }
        }
    }

    async fn dial(
        &self,
        target: &Target,
        access: &TargetAccess,
    ) -> Result<(TcpStream, SocketAddr), DialFailure> {
        if !access.allows(target) {
            return Err(DialFailure::because(
                FailureKind::Denied,
                "not among what this key may open",
            ));
        }
        let config = &self.shared.config;
        let deadline = Instant::now() + config.dial_timeout;
        let addrs = resolve::resolve(target, &config.policy, config.dial_timeout).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let tcp = dial::dial(&addrs, left).await?;
        let bound = tcp
            .set_nodelay(true)
            .and_then(|()| tcp.local_addr())
            .map_err(|error| DialFailure::new(FailureKind::from_io(&error)))?;
        keep_alive(&tcp);
        Ok((tcp, bound))
    }
}

/// Who asks.
#[derive(Debug)]
struct Peer {
    name: String,
    access: TargetAccess,
}

/// The request at the head of a stream, or the failure it deserves, and what follows it. `None` if
/// the stream ended before.
async fn read_request(recv: &mut RecvStream) -> Option<(Result<Request, DialFailure>, Bytes)> {
    let mut head = BytesMut::new();
    loop {
        let piece = recv.read_bytes(open::MAX_REQUEST_BYTES).await.ok()??;
        head.extend_from_slice(&piece);
        match Request::decode(&head) {
            Ok(None) => {}
            Ok(Some((request, len))) => return Some((Ok(request), head.split_off(len).freeze())),
            Err(failure) => return Some((Err(failure), Bytes::new())),
        }
    }
}

async fn answer(send: &mut SendStream, reply: &Reply) -> Option<()> {
    let mut head = Vec::with_capacity(open::MAX_REPLY_BYTES);
    open::encode_reply(reply, &mut head);
    send.write_bytes(head.into()).await.ok()
}

#[cfg(test)]
mod tests;
