//! UDP associations at the exit (`spec/10-proxy.md#udp`): sockets, filtering, idle time. What is sent goes through
//! the same policy as dials; names are looked up in `names`.

mod names;
mod peers;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rp_protocol::{RecvStream, SendStream};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{debug, info};

use self::{names::Names, peers::Peers};
use super::{Exit, Peer, TargetAccess, User, answer, exhausted};
use crate::{
    datagram::{
        carrier::{Carrier, StreamEnd, receive},
        message::Datagram,
        router::Router,
        socket,
    },
    error::{DialFailure, FailureKind},
    relay::{abandon, code},
    shares::Place,
    target::{Host, Target},
};

/// Time without a datagram after which an association is closed by default (RFC 4787, REQ-5).
pub const DEFAULT_UDP_IDLE: Duration = Duration::from_secs(5 * 60);

/// Least such time (RFC 4787, REQ-5).
const MIN_UDP_IDLE: Duration = Duration::from_secs(2 * 60);

/// Looks for datagrams per idle time, as in `relay`.
const IDLE_TICKS: u32 = 4;

/// Associations are at most this part of the targets there may be; each counts as two of those, for its two
/// sockets.
const PART_OF_TARGETS: usize = 4;

/// Time between two questions whether the client may still do what it does, and between two lines of the log.
const RECHECK: Duration = Duration::from_secs(1);

/// Counters of an exit's UDP associations, for statistics; they only grow.
#[derive(Debug, Default)]
pub struct DatagramCounters {
    /// Associations opened.
    pub associations: AtomicU64,
    /// Datagrams sent to targets.
    pub sent: AtomicU64,
    /// Datagrams of targets passed on to clients.
    pub received: AtomicU64,
    /// Datagrams to targets refused by policy or by the key's options; the exit's other counters have them, too.
    pub denied: AtomicU64,
    /// Datagrams discarded otherwise: no address, no room, from nobody that was sent to.
    pub discarded: Arc<AtomicU64>,
}

/// What an association holds of the exit's shares.
#[derive(Debug)]
struct Places {
    _association: Place<User>,
    _sockets: [Place<User>; 2],
}

impl Exit {
    /// Serves a stream that asked for an association, until that ends.
    pub(super) async fn associate(
        &self,
        (mut send, mut recv): (SendStream, RecvStream),
        early: Bytes,
        client: &Arc<Peer>,
        access: TargetAccess,
    ) {
        let places = match self.places(client, &access) {
            Ok(places) => places,
            Err(failure) => {
                client.account.failed(failure.kind);
                info!(client = client.name, %failure, "no UDP association");
                let within = self.shared.config.request_timeout;
                let _ = timeout(within, answer(&mut send, &Err(failure))).await;
                let _ = send.finish();
                recv.stop(code::CANCELLED);
                return;
            }
        };
        // Known before the client may send frames that name it.
        let route = self.router(client).register(send.id().index());
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let within = self.shared.config.request_timeout;
        let Ok(Some(())) = timeout(within, answer(&mut send, &Ok(nowhere))).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        self.datagrams().associations.fetch_add(1, Relaxed);
        debug!(client = client.name, "UDP association");
        let association = Arc::new(Association {
            exit: self.clone(),
            client: client.clone(),
            carrier: Carrier::new(route, send, true),
            peers: Mutex::default(),
            has_moved: AtomicBool::new(false),
        });
        // A task of its own frees what asking needed.
        tokio::spawn(async move {
            let end = association.run(&mut recv, early, access).await;
            debug!(
                client = association.client.name,
                ?end,
                "UDP association ended"
            );
            let code = match end {
                End::Client => return,
                End::Malformed => code::MALFORMED,
                End::Idle => code::IDLE,
                End::NotAllowed => code::CANCELLED,
            };
            recv.stop(code);
            association.carrier.reset(code).await;
            drop(places);
        });
    }

    //= spec/10-proxy.md#udp
    //# An exit MUST bound the associations of a connection, of a key and in all.
    fn places(&self, client: &Peer, access: &TargetAccess) -> Result<Places, DialFailure> {
        if matches!(access, TargetAccess::Nothing) {
            return Err(DialFailure::because(
                FailureKind::Denied,
                "this key may open nothing",
            ));
        }
        let config = &self.shared.config;
        let association = self.shared.associations.take([
            (
                User::Connection(client.connection),
                config.max_targets_per_connection() / PART_OF_TARGETS,
            ),
            (
                User::Key(client.key),
                config.max_targets_per_key / PART_OF_TARGETS,
            ),
            (User::Everybody, config.max_targets / PART_OF_TARGETS),
        ]);
        let association = association.map_err(|user| {
            exhausted(match user {
                User::Connection(_) => "UDP associations of this connection",
                User::Key(_) => "UDP associations of this key",
                User::Everybody => "UDP associations of this server",
            })
        })?;
        Ok(Places {
            _association: association,
            _sockets: [self.take_place(client)?, self.take_place(client)?],
        })
    }

    /// The first address of `name` that policy allows.
    async fn first(&self, name: &Target, client: &Peer) -> Result<SocketAddr, DialFailure> {
        let deadline = Instant::now() + self.shared.config.dial_timeout;
        let (resolver, policy) = (&self.shared.resolver, &self.shared.config.policy);
        let found = resolver
            .resolve(name, policy, &client.name, deadline)
            .await?;
        let first = found.first().copied();
        first.ok_or_else(|| DialFailure::new(FailureKind::NameNotFound))
    }

    /// The reader of this client's datagrams, which the first association starts.
    pub(super) fn router<'a>(&self, client: &'a Peer) -> &'a Arc<Router> {
        client
            .router
            .get_or_init(|| Router::start(client.link.clone(), self.shared.queues.share()))
    }
}

/// How an association ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its client ended it, or was lost.
    Client,
    /// Its client sent what is no datagram.
    Malformed,
    /// Nothing was sent or received for long.
    Idle,
    /// Its client may not be here any more.
    NotAllowed,
}

struct Association {
    exit: Exit,
    client: Arc<Peer>,
    carrier: Carrier,
    peers: Mutex<Peers>,
    /// Something was sent or received since the last look.
    has_moved: AtomicBool,
}

impl Association {
    async fn run(
        self: &Arc<Self>,
        recv: &mut RecvStream,
        early: Bytes,
        access: TargetAccess,
    ) -> End {
        let queue = self.carrier.route().queue();
        //= spec/10-proxy.md#udp
        //# An exit MUST close the sockets of an association when a direction of its stream has ended or
        //# failed.
        let receiving = async {
            match receive(recv, early, self.carrier.route()).await {
                StreamEnd::Finished => {
                    // What came before the end is still sent.
                    queue.close();
                    std::future::pending().await
                }
                StreamEnd::Malformed => End::Malformed,
                StreamEnd::Failed(_) => End::Client,
            }
        };
        tokio::select! {
            end = receiving => end,
            end = Outward::new(self, access).run() => end,
            () = self.idle() => End::Idle,
        }
    }

    async fn idle(&self) {
        let idle = self.exit.shared.config.udp_idle;
        silence(&self.has_moved, idle, || self.peers().grow_old()).await;
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what arrives at `socket` from those the association has sent to.
    async fn inward(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let counters = self.exit.datagrams();
        loop {
            let Ok((payload, sender)) = socket::receive(&socket).await else {
                // As for an answer by ICMP: it is about one datagram, not about the socket.
                continue;
            };
            //= spec/10-proxy.md#udp
            //# An exit MUST pass on only datagrams that come from an IP address the association has sent to.
            let is_known = self.peers().has(sender.ip());
            let address = Target::try_from(sender).ok().filter(|_| is_known);
            let Some(address) = address else {
                counters.discarded.fetch_add(1, Relaxed);
                continue;
            };
            self.has_moved.store(true, Relaxed);
            counters.received.fetch_add(1, Relaxed);
            let bytes = payload.len() as u64;
            self.client.account.traffic().count_sent(bytes);
            if !self.carrier.send(&Datagram { address, payload }).await {
                return;
            }
        }
    }
}

/// The direction to the targets.
struct Outward<'a> {
    association: &'a Arc<Association>,
    access: TargetAccess,
    checked: Instant,
    names: Names,
    sockets: [Option<Arc<UdpSocket>>; 2],
    inward: JoinSet<()>,
    logged: Option<Instant>,
}

impl<'a> Outward<'a> {
    fn new(association: &'a Arc<Association>, access: TargetAccess) -> Self {
        Self {
            association,
            access,
            checked: Instant::now(),
            names: Names::new(association.carrier.route().waiting_room()),
            sockets: [None, None],
            inward: JoinSet::new(),
            logged: None,
        }
    }

    /// Sends what the client sends, until it ends its direction.
    async fn run(mut self) -> End {
        let queue = self.association.carrier.route().queue();
        let mut is_closed = false;
        loop {
            tokio::select! {
                datagram = queue.pop(), if !is_closed => match datagram {
                    Some(datagram) => {
                        if !self.may_go_on() {
                            return End::NotAllowed;
                        }
                        self.pass_on(datagram).await;
                    }
                    None => is_closed = true,
                },
                Some((name, found)) = self.names.found() => {
                    if let Err(failure) = found {
                        self.refuse(&name, &failure);
                    }
                    for datagram in self.names.released() {
                        self.pass_on(datagram).await;
                    }
                }
                else => return End::Client,
            }
        }
    }

    /// Asks again whether the client may be here, and what it may reach.
    fn may_go_on(&mut self) -> bool {
        let now = Instant::now();
        if now < self.checked + RECHECK {
            return true;
        }
        self.checked = now;
        let access = self.association.client.access.target_access();
        access.is_some_and(|access| {
            let may = !matches!(access, TargetAccess::Nothing);
            self.access = access;
            may
        })
    }

    /// Sends `datagram`, or keeps it until its name is known.
    async fn pass_on(&mut self, datagram: Datagram) {
        if !self.access.allows(&datagram.address) {
            let failure =
                DialFailure::because(FailureKind::Denied, "not among what this key may open");
            return self.refuse(&datagram.address, &failure);
        }
        let addr = match datagram.address.host() {
            Host::Ip(ip) => SocketAddr::new(*ip, datagram.address.port()),
            Host::Name(_) => {
                let Some(addr) = self.names.get(&datagram.address) else {
                    let association = self.association.clone();
                    return self.names.look_up(datagram, |name| async move {
                        association.exit.first(&name, &association.client).await
                    });
                };
                addr
            }
        };
        //= spec/10-proxy.md#udp
        //# An exit MUST judge the address of every datagram from a client as it would judge that of a dial.
        match self.association.exit.shared.config.policy.check(addr) {
            Ok(addr) => self.send(addr, &datagram).await,
            Err(denial) => {
                let failure = DialFailure::because(FailureKind::Denied, denial.to_string());
                self.refuse(&datagram.address, &failure);
            }
        }
    }

    async fn send(&mut self, addr: SocketAddr, datagram: &Datagram) {
        let association = self.association;
        let counters = association.exit.datagrams();
        // Before the answer can come.
        association.peers().note(addr.ip());
        let sent = match self.socket(addr) {
            Ok(socket) => socket.send_to(&datagram.payload, addr).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(bytes) => {
                association.has_moved.store(true, Relaxed);
                counters.sent.fetch_add(1, Relaxed);
                let traffic = association.client.account.traffic();
                traffic.count_received(bytes as u64);
            }
            Err(error) => {
                counters.discarded.fetch_add(1, Relaxed);
                debug!(client = association.client.name, target = %datagram.address, %error, "datagram not sent");
            }
        }
    }

    //= spec/10-proxy.md#udp
    //# An exit MUST send the datagrams of an association to one address family from one socket.
    fn socket(&mut self, to: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
        let known = &mut self.sockets[usize::from(to.is_ipv6())];
        if let Some(socket) = known {
            return Ok(socket.clone());
        }
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Arc::new(socket::open((any, 0).into())?);
        *known = Some(socket.clone());
        self.inward
            .spawn(self.association.clone().inward(socket.clone()));
        Ok(socket)
    }

    /// Counts a datagram that goes nowhere, and logs it unless another one was just logged.
    fn refuse(&mut self, target: &Target, failure: &DialFailure) {
        let counters = self.association.exit.datagrams();
        if failure.kind == FailureKind::Denied {
            counters.denied.fetch_add(1, Relaxed);
            self.association.client.account.failed(failure.kind);
        } else {
            counters.discarded.fetch_add(1, Relaxed);
        }
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now >= logged + RECHECK) {
            self.logged = Some(now);
            let client = &self.association.client.name;
            info!(client, %target, %failure, "datagrams go nowhere");
        }
    }
}

//= spec/10-proxy.md#udp
//# An exit SHOULD reset an association with code 2 when no datagram has passed in either direction for 5
//# minutes.
/// Waits until nothing has moved for `idle`, which is cut off at the least that is allowed; tells of each such
/// period.
async fn silence(has_moved: &AtomicBool, idle: Duration, on_period: impl Fn()) {
    //= spec/10-proxy.md#udp
    //# An exit MUST NOT do so within 2 minutes (RFC 4787, REQ-5).
    let mut ticks = interval(idle.max(MIN_UDP_IDLE) / IDLE_TICKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look is at once.
    ticks.tick().await;
    let (mut quiet, mut age) = (0, 0);
    while quiet < IDLE_TICKS {
        ticks.tick().await;
        // What moved may have done so just behind the look before.
        quiet = if has_moved.swap(false, Relaxed) {
            0
        } else {
            quiet + 1
        };
        age = (age + 1) % IDLE_TICKS;
        if age == 0 {
            on_period();
        }
    }
}

#[cfg(test)]
mod tests;
