//! The far side: takes streams, dials what they name if policy allows it, and relays.
//! What clients speak to the near side never gets here.

mod access;
mod config;
pub mod counters;
mod datagram;
mod dial;
mod listen;
mod listen_access;
mod listen_datagrams;
mod lookups;
mod peer;
pub mod policy;
mod proxy_header;
mod request;
mod resolve;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rp_protocol::{Connection, RecvStream, SendStream, crypto::identity::PublicKey};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout},
};
use tracing::{debug, info};

use self::{
    counters::{Accounts, Counters, Subject, TargetAccount},
    peer::Peer,
    request::{answer, read_request, refused},
    resolve::Resolver,
};
use crate::{
    datagram::queue::QueueBudget,
    error::{DialFailure, FailureKind},
    keep_alive::keep_alive,
    listening::NO_ADDRESS,
    open::{NOTHING_ASKED, Request},
    relay::{Account, Far, Near, Traffic, abandon, code, relay},
    shares::{Place, Shares},
    socket::Socket,
    target::{Destination, ListenAt, Target},
};

pub use access::{AccessCheck, TargetAccess};
pub use config::{
    DEFAULT_DIAL_TIMEOUT, DEFAULT_MAX_TARGETS, DEFAULT_MAX_TARGETS_PER_KEY,
    DEFAULT_REQUEST_TIMEOUT, ExitConfig,
};
pub use datagram::{DEFAULT_UDP_IDLE, DatagramCounters};
pub use listen_access::{BadListenRule, ListenAccess, ListenRule};
pub use proxy_header::{TargetPattern, TargetPatternError};

/// What datagrams that wait may take in all, beside a least share of each connection.
const QUEUE_BYTES: usize = 64 << 20;

/// Requests of one connection that may be incomplete at once; further streams wait. A request fits a packet,
/// so these are the ones a lossy network keeps back, and each costs a task.
const MAX_PENDING: usize = 1024;

/// The same for all connections of one key; further streams are refused.
const MAX_PENDING_PER_KEY: usize = 4096;

/// The same for one connection that may dial nothing: it is only to be told so.
const MAX_PENDING_WITHOUT_ACCESS: usize = 16;

/// The far side of the proxy. Clones share limits and counters.
#[derive(Clone, Debug)]
pub struct Exit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ExitConfig,
    targets: Shares<User>,
    associations: Shares<User>,
    queues: Arc<QueueBudget>,
    datagrams: DatagramCounters,
    listeners: Shares<User>,
    pending: Shares<PublicKey>,
    connections: AtomicU64,
    resolver: Resolver,
    accounts: Accounts,
    /// Whether nothing new is listened for.
    draining: watch::Sender<bool>,
}

impl Exit {
    /// An exit with `config`.
    pub fn new(config: ExitConfig) -> Self {
        let datagrams = DatagramCounters::default();
        let resolver = Resolver::new(lookups::DEFAULT_LOOKUPS).asking(&config.name_servers);
        Self {
            shared: Arc::new(Shared {
                config,
                targets: Shares::new(),
                associations: Shares::new(),
                queues: QueueBudget::new(QUEUE_BYTES, datagrams.discarded.clone()),
                datagrams,
                listeners: Shares::new(),
                pending: Shares::new(),
                connections: AtomicU64::new(0),
                resolver,
                accounts: Accounts::default(),
                draining: watch::Sender::new(false),
            }),
        }
    }

    /// Closes all listeners of clients and opens no more. What came to them goes on, and clients may go on
    /// asking for targets.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Waits for [`drain`](Self::drain).
    async fn drained(&self) {
        // The sender lives as long as we do.
        let _ = self
            .shared
            .draining
            .subscribe()
            .wait_for(|is_on| *is_on)
            .await;
    }

    /// Requests so far.
    pub fn counters(&self) -> &Counters {
        self.shared.accounts.total()
    }

    /// Bytes relayed so far.
    pub fn traffic(&self) -> &Traffic {
        self.counters().traffic()
    }

    /// UDP associations and their datagrams so far.
    pub fn datagrams(&self) -> &DatagramCounters {
        &self.shared.datagrams
    }

    /// What each key and each target used so far.
    pub fn accounts(&self) -> &Accounts {
        &self.shared.accounts
    }

    /// Serves the streams of `connection`, whose key may reach what `access` says when it is asked, until it
    /// ends.
    ///
    /// ```
    /// use rp_protocol::Endpoint;
    /// use rp_proxy::{Exit, TargetAccess};
    ///
    /// /// Serves every client that `endpoint` lets in.
    /// async fn serve(endpoint: Endpoint, exit: Exit) {
    ///     while let Some(incoming) = endpoint.accept().await {
    ///         let exit = exit.clone();
    ///         tokio::spawn(async move {
    ///             if let Ok(connection) = incoming.accept().await {
    ///                 exit.serve(connection, TargetAccess::All).await;
    ///             }
    ///         });
    ///     }
    /// }
    /// ```
    pub async fn serve(&self, connection: Connection, access: impl AccessCheck) {
        let max_pending = match access.target_access() {
            None => return,
            Some(TargetAccess::Nothing) => MAX_PENDING_WITHOUT_ACCESS,
            Some(TargetAccess::All | TargetAccess::Only(_)) => MAX_PENDING,
        };
        //= spec/10-proxy.md#shares
        //# An exit MUST bound the incomplete requests of a connection.
        let pending = Arc::new(Semaphore::new(max_pending));
        let client = Arc::new(Peer {
            name: connection.peer().to_string(),
            key: connection.peer(),
            link: connection.clone(),
            account: self.shared.accounts.open(connection.peer()),
            connection: self.shared.connections.fetch_add(1, Ordering::Relaxed),
            access: Box::new(access),
            router: OnceLock::new(),
        });
        while let Ok(turn) = pending.clone().acquire_owned().await {
            self.shared.config.pace.turn().await;
            match connection.accept_bi().await {
                Ok((send, recv)) => {
                    let (exit, client) = (self.clone(), client.clone());
                    tokio::spawn(async move { exit.handle(send, recv, &client, turn).await });
                }
                Err(error) => {
                    debug!(client = client.name, %error, "proxy connection ended");
                    return;
                }
            }
        }
    }

    async fn handle(
        &self,
        mut send: SendStream,
        mut recv: RecvStream,
        client: &Arc<Peer>,
        turn: OwnedSemaphorePermit,
    ) {
        let within = self.shared.config.request_timeout;
        let request = match self
            .shared
            .pending
            .take([(client.key, MAX_PENDING_PER_KEY)])
        {
            Ok(_pending) => timeout(within, read_request(&mut recv)).await,
            Err(_) => Ok(Some(refused(exhausted("requests of this key")))),
        };
        //= spec/10-proxy.md#request
        //# An exit MUST reset a stream that brings no complete request within 30 seconds, with code 3.
        let Ok(Some((request, options, early))) = request else {
            abandon(&mut send, &mut recv, code::MALFORMED);
            return;
        };
        let Some(access) = client.access.target_access() else {
            return;
        };
        // Listeners and associations live long, and have bounds of their own.
        let turn = matches!(request, Ok(Request::Connect(_)) | Err(_)).then_some(turn);
        let opened = match request {
            Ok(Request::Associate) => {
                return self.associate((send, recv), early, client, access).await;
            }
            Ok(Request::Connect(destination)) => {
                let subject = Subject::Target(destination.clone());
                let mut account = client.account.request(&subject);
                match self.place(&destination, client, &access) {
                    Ok(place) => {
                        // The place counts it from here on, and the next request is read meanwhile.
                        drop(turn);
                        let connected = self.connect(&destination, client, &mut account).await;
                        connected.map(|(socket, bound)| {
                            let source = client.source(options);
                            let header = self.header(&destination, &socket, source);
                            (bound, (socket, header, place, account))
                        })
                    }
                    Err(failure) => Err(failed(&destination, client, &account, failure)),
                }
            }
            Ok(Request::Listen(at)) => {
                return self.listen((send, recv), client, at).await;
            }
            Ok(Request::ListenDatagrams(host, port)) => {
                let at = ListenAt::Tcp(host, port);
                return self.listen_datagrams((send, recv), early, client, at).await;
            }
            Ok(Request::Bind(from)) => {
                return self.bind((send, recv), client, from).await;
            }
            Err(failure) if failure.reason == NOTHING_ASKED => Err(failure),
            Err(failure) => {
                client.account.failed(failure.kind);
                info!(client = client.name, %failure, "request not served");
                Err(failure)
            }
        };
        let (reply, connected) = match opened {
            Ok((bound, connected)) => (Ok(bound), Some(connected)),
            Err(failure) => (Err(failure), None),
        };
        let Ok(Some(())) = timeout(within, answer(&mut send, &reply)).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        let Some((socket, header, place, account)) = connected else {
            //= spec/10-proxy.md#reply
            //# After a reply with a failure the exit MUST finish the stream.
            let _ = send.finish();
            recv.stop(code::CANCELLED);
            return;
        };
        //= spec/10-proxy.md#proxy-protocol
        //# The header MUST stand before everything the client sends.
        let early = match header.is_empty() {
            true => early,
            false => [&header[..], &early].concat().into(),
        };
        let far = Far {
            send,
            recv,
            early,
            awaits_reply: false,
        };
        self.join(socket, far, (place, account));
    }

    /// Relays between a client and its target, counted meanwhile, in a task of its own, which frees what dialling
    /// needed.
    fn join(&self, socket: Socket, far: Far, (place, account): (Place<User>, TargetAccount)) {
        let near = Near {
            socket,
            early: Bytes::new(),
            // A client that has gone reads no answer: its target learns of it at once.
            lingers: false,
        };
        let idle = self.shared.config.idle;
        let held = Relayed {
            account,
            _place: place,
        };
        tokio::spawn(relay(near, far, idle, held));
    }

    //= spec/10-proxy.md#proxy-protocol
    //# An exit MAY begin its connection to a target with a header of the PROXY protocol, version 2, where its owner asked
    //# for that for the target.
    /// What a connection to `target` begins with, which is nothing for most.
    fn header(&self, destination: &Destination, socket: &Socket, source: SocketAddr) -> Vec<u8> {
        let (Destination::Tcp(target), Socket::Tcp(tcp)) = (destination, socket) else {
            return Vec::new();
        };
        let rules = &self.shared.config.proxy_protocol;
        let is_asked_for = rules.iter().any(|rule| rule.fits(target));
        match tcp.peer_addr() {
            Ok(destination) if is_asked_for => proxy_header::encode(source, destination),
            _ => Vec::new(),
        }
    }

    //= spec/10-proxy.md#shares
    //# An exit MUST NOT count a stream as a target before its request is complete and its client may dial
    //# what it names.
    /// A place among the targets connected at once, for a client that may have this one.
    fn place(
        &self,
        destination: &Destination,
        client: &Peer,
        access: &TargetAccess,
    ) -> Result<Place<User>, DialFailure> {
        if !access.allows_any(destination) {
            return Err(not_to_be_opened());
        }
        self.take_place(client)
    }

    //= spec/10-proxy.md#shares
    //# An exit MUST bound the targets connected at once for a connection, for a key and in all.
    fn take_place(&self, client: &Peer) -> Result<Place<User>, DialFailure> {
        let config = &self.shared.config;
        let place = self.shared.targets.take([
            (
                User::Connection(client.connection),
                config.max_targets_per_connection(),
            ),
            (User::Key(client.key), config.max_targets_per_key),
            (User::Everybody, config.max_targets),
        ]);
        place.map_err(|user| {
            exhausted(match user {
                User::Connection(_) => "targets of this connection",
                User::Key(_) => "targets of this key",
                User::Everybody => "targets of this server",
            })
        })
    }

    async fn connect(
        &self,
        destination: &Destination,
        client: &Peer,
        account: &mut TargetAccount,
    ) -> Result<(Socket, SocketAddr), DialFailure> {
        let connected = match destination {
            Destination::Tcp(target) => {
                let dialled = self.dial(target, client).await;
                dialled.map(|(tcp, bound)| (tcp.into(), bound))
            }
            Destination::Unix(path) => {
                let config = &self.shared.config;
                let dialled = dial::dial_path(path, &config.policy, config.dial_timeout).await;
                dialled.map(|unix| (unix.into(), NO_ADDRESS))
            }
        };
        match connected {
            Ok(connected) => {
                account.connected();
                debug!(client = client.name, target = %destination, "connected");
                Ok(connected)
            }
            Err(failure) => Err(failed(destination, client, account, failure)),
        }
    }

    async fn dial(
        &self,
        target: &Target,
        client: &Peer,
    ) -> Result<(TcpStream, SocketAddr), DialFailure> {
        let config = &self.shared.config;
        let deadline = Instant::now() + config.dial_timeout;
        let resolver = &self.shared.resolver;
        let found = resolver.resolve(target, &config.policy, &client.name, deadline);
        let addrs = found.await?;
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

/// Whose targets are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum User {
    Everybody,
    Key(PublicKey),
    Connection(u64),
}

/// What the connection of a relay is counted by, up to its end.
struct Relayed {
    account: TargetAccount,
    _place: Place<User>,
}

impl Account for Relayed {
    fn traffic(&self) -> &Traffic {
        self.account.traffic()
    }
}

/// Counts and logs a failure.
fn failed(
    target: &impl fmt::Display,
    client: &Peer,
    account: &TargetAccount,
    failure: DialFailure,
) -> DialFailure {
    account.failed(failure.kind);
    if failure.kind == FailureKind::Denied {
        info!(client = client.name, %target, reason = failure.reason, "target denied");
    } else {
        info!(client = client.name, %target, %failure, "target not reached");
    }
    failure
}

fn not_to_be_opened() -> DialFailure {
    DialFailure::because(FailureKind::Denied, "not among what this key may open")
}

fn exhausted(what: &str) -> DialFailure {
    DialFailure::because(FailureKind::Exhausted, what)
}

#[cfg(test)]
mod tests;
