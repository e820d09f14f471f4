//! Listening for a client: commands 2 and 4 of `spec/10-proxy.md`. Where it may be done is
//! `listen_access`'s business, moving the bytes is `relay`'s.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rp_protocol::{RecvStream, SendStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::{
    Exit, Peer, Relayed, User, answer,
    counters::{Subject, TargetAccount},
    failed,
    listen_access::{LOCALHOST, ListenAccess},
    not_to_be_opened,
};
use crate::{
    closing::reset_on_close,
    error::{DialFailure, FailureKind},
    listening::{Listening, loopback},
    open::Arrival,
    relay::{Far, Near, abandon, code, relay},
    shares::Place,
    socket::Socket,
    target::{Host, ListenAt, Target},
};

/// Listeners of one connection at once.
const MAX_LISTENERS_PER_CONNECTION: usize = 64;

/// Listeners of one key at once.
const MAX_LISTENERS_PER_KEY: usize = 256;

/// Listeners at once over all clients; each may take a port.
const MAX_LISTENERS: usize = 1024;

/// Time a connection that came waits for a stream the client has to grant.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// Time command 4 waits for its one connection: an active FTP server that was told an address comes at
/// once, a person who has to start something within a few minutes.
const BIND_TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// Pause after `accept` failed, in which descriptors may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Both parts of the stream that asked.
pub(super) type Streams = (SendStream, RecvStream);

/// Who may come to a listener that waits for one connection.
enum Expected {
    These(Vec<IpAddr>),
    /// Whomever the client may dial.
    Anybody,
}

/// A listener, and the place it takes among those of its client.
struct Listener {
    sockets: Listening,
    bound: SocketAddr,
    _place: Place<User>,
}

impl Exit {
    /// Listens at `at` and hands over what comes, until the stream that asked ends.
    pub(super) async fn listen(
        &self,
        (mut send, mut recv): Streams,
        client: &Arc<Peer>,
        at: ListenAt,
    ) {
        let listener = match self.listener(client, &at) {
            Ok(listener) => listener,
            Err(failure) => {
                let failure = failed(&at, client, &account_of(client, &at), failure);
                return self.refuse_listener((send, recv), failure).await;
            }
        };
        let bound = listener.bound;
        info!(client = client.name, %at, %bound, "listening for a client");
        let within = self.shared.config.request_timeout;
        let Ok(Some(())) = timeout(within, answer(&mut send, &Ok(bound))).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        loop {
            tokio::select! {
                //= spec/10-proxy.md#listening
                //# An exit MUST end a listener with the stream that asked for it.
                () = ended(&mut recv) => break,
                _ = send.stopped() => break,
                () = self.drained() => break,
                came = listener.sockets.accept() => match came {
                    Ok((socket, from)) => {
                        if !self.hand_over((socket, from), &send, client, &at).await {
                            break;
                        }
                    }
                    Err(error) => {
                        warn!(%error, %at, "cannot accept for a client");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        info!(client = client.name, %at, "no longer listening for a client");
        abandon(&mut send, &mut recv, code::CANCELLED);
    }

    /// Opens a stream for a connection that came; `false` if the client may not listen there any more.
    async fn hand_over(
        &self,
        (socket, from): (Socket, SocketAddr),
        listener: &SendStream,
        client: &Arc<Peer>,
        at: &ListenAt,
    ) -> bool {
        // Until it is relayed it ends with a reset.
        reset_on_close(&socket);
        if !client
            .access
            .listen_access()
            .is_some_and(|access| access.allows(at))
        {
            return false;
        }
        //= spec/10-proxy.md#listening
        //# An exit MUST count a connection that came to a listener as a target of the client.
        let mut account = account_of(client, at);
        let place = match self.take_place(client) {
            Ok(place) => place,
            Err(failure) => {
                failed(at, client, &account, failure);
                return true;
            }
        };
        let opened = timeout(STREAM_TIMEOUT, client.link.open_bi()).await;
        let Ok(Ok((mut send, recv))) = opened else {
            debug!(client = client.name, %at, "the client grants no stream");
            return true;
        };
        let mut head = Vec::new();
        let listener = listener.id().into_inner();
        Arrival {
            listener,
            peer: from,
        }
        .encode(&mut head);
        // A new stream takes as much at once, or its client is gone.
        let Ok(Ok(())) = timeout(STREAM_TIMEOUT, send.write_bytes(head.into())).await else {
            return true;
        };
        let far = Far {
            send,
            recv,
            early: Bytes::new(),
            awaits_reply: false,
        };
        account.connected();
        self.join_came(socket, far, (place, account));
        true
    }

    /// Relays in a task of its own, counted meanwhile.
    fn join_came(&self, socket: Socket, far: Far, (place, account): (Place<User>, TargetAccount)) {
        let near = Near {
            socket,
            early: Bytes::new(),
            lingers: true,
        };
        let idle = self.shared.config.idle;
        let held = Relayed {
            account,
            _place: place,
        };
        tokio::spawn(relay(near, far, idle, held));
    }

    /// Waits for one connection from `from` and relays it over the stream that asked.
    pub(super) async fn bind(
        &self,
        (mut send, mut recv): Streams,
        client: &Arc<Peer>,
        from: Target,
    ) {
        let mut account = client
            .account
            .request(&Subject::Target(from.clone().into()));
        let (listener, peers) = match self.binding(client, &from).await {
            Ok(bound) => bound,
            Err(failure) => {
                let failure = failed(&from, client, &account, failure);
                return self.refuse_listener((send, recv), failure).await;
            }
        };
        let bound = listener.bound;
        info!(client = client.name, %from, %bound, "waiting for a connection for a client");
        let within = self.shared.config.request_timeout;
        let deadline = Instant::now() + BIND_TIMEOUT;
        let Ok(Some(())) = timeout(within, answer(&mut send, &Ok(bound))).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        let came = tokio::select! {
            came = timeout_at(deadline, self.expected(&listener.sockets, &peers, client)) => came,
            _ = send.stopped() => return,
        };
        let joined = match came {
            Ok((socket, peer)) => self.take_place(client).map(|place| (socket, peer, place)),
            Err(_elapsed) => Err(DialFailure::because(FailureKind::TimedOut, "nobody came")),
        };
        let (reply, joined) = match joined {
            Ok((socket, peer, place)) => (Ok(peer), Some((socket, place))),
            Err(failure) => (Err(failed(&from, client, &account, failure)), None),
        };
        drop(listener);
        let Ok(Some(())) = timeout(within, answer(&mut send, &reply)).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        match joined {
            Some((socket, place)) => {
                let far = Far {
                    send,
                    recv,
                    early: Bytes::new(),
                    awaits_reply: false,
                };
                account.connected();
                self.join_came(socket, far, (place, account));
            }
            None => {
                let _ = send.finish();
                recv.stop(code::CANCELLED);
            }
        }
    }

    /// A listener at which `from` can reach us, and the addresses it may come from.
    async fn binding(
        &self,
        client: &Peer,
        from: &Target,
    ) -> Result<(Listener, Expected), DialFailure> {
        let config = &self.shared.config;
        let access = listen_access(client)?;
        let deadline = Instant::now() + config.dial_timeout;
        let resolver = &self.shared.resolver;
        //= spec/10-proxy.md#listening
        //# An exit MUST wait only for a host that its client may dial.
        if !client.may_dial(from) {
            return Err(not_to_be_opened());
        }
        let (peers, nearest) = match from.host() {
            Host::Ip(ip) if ip.to_canonical().is_unspecified() => {
                (Expected::Anybody, Some(client.link.remote_address()))
            }
            _ => {
                let found = resolver.resolve(from, &config.policy, &client.name, deadline);
                let addrs = found.await?;
                let ips = addrs.iter().map(|addr| addr.ip().to_canonical());
                (Expected::These(ips.collect()), addrs.first().copied())
            }
        };
        // The address of ours that is nearest to the first of them.
        let ours = nearest.and_then(towards);
        let ours = ours.ok_or_else(|| DialFailure::new(FailureKind::NetworkUnreachable))?;
        let place = self.count_listener(client)?;
        let sockets = bind_any(&access, &Host::Ip(ours), 0, |port| {
            Listening::at(&[(ours, port).into()])
        })?;
        let listener = Listener::new(sockets, place)?;
        Ok((listener, peers))
    }

    /// The first connection from one of `peers`; others are reset.
    //= spec/10-proxy.md#listening
    //# An exit MUST reset a connection from another address.
    async fn expected(
        &self,
        sockets: &Listening,
        peers: &Expected,
        client: &Peer,
    ) -> (Socket, SocketAddr) {
        loop {
            match sockets.accept().await {
                Ok((socket, from)) if self.is_expected(from, peers, client) => {
                    return (socket, from);
                }
                Ok((socket, from)) => {
                    debug!(%from, "somebody else came");
                    reset_on_close(&socket);
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn is_expected(&self, from: SocketAddr, peers: &Expected, client: &Peer) -> bool {
        match peers {
            Expected::These(ips) => ips.contains(&from.ip().to_canonical()),
            //= spec/10-proxy.md#listening
            //# Where any host is expected, an exit MUST judge the address of each connection that comes as it would judge that of a dial.
            Expected::Anybody => {
                let may_dial = Target::try_from(from).is_ok_and(|from| client.may_dial(&from));
                may_dial && self.shared.config.policy.check(from).is_ok()
            }
        }
    }

    fn listener(&self, client: &Peer, at: &ListenAt) -> Result<Listener, DialFailure> {
        //= spec/10-proxy.md#listening
        //# An exit MUST NOT listen anywhere that no rule of its owner allows to the client's key.
        let access = listen_access(client)?;
        let denied = || DialFailure::because(FailureKind::Denied, NOT_PERMITTED);
        if !access.allows(at) {
            return Err(denied());
        }
        if *self.shared.draining.borrow() {
            return Err(DialFailure::because(
                FailureKind::General,
                "this server is about to end",
            ));
        }
        let place = self.count_listener(client)?;
        let sockets = match at {
            ListenAt::Unix(path) => {
                Listening::at_path(path.as_path()).map_err(|e| io_failure(&e))?
            }
            ListenAt::Tcp(host @ Host::Ip(ip), port) => bind_any(&access, host, *port, |port| {
                match ip.is_unspecified() && ip.is_ipv6() {
                    true => Listening::everywhere(port),
                    false => Listening::at(&[(*ip, port).into()]),
                }
            })?,
            ListenAt::Tcp(host @ Host::Name(name), port)
                if name.as_str().eq_ignore_ascii_case(LOCALHOST) =>
            {
                bind_any(&access, host, *port, |port| Listening::at(&loopback(port)))?
            }
            ListenAt::Tcp(Host::Name(_), _) => {
                let advice = "the address to listen at is localhost, or an address";
                return Err(DialFailure::because(FailureKind::Malformed, advice));
            }
        };
        Listener::new(sockets, place)
    }

    //= spec/10-proxy.md#listening
    //# An exit MUST bound the listeners of a connection, of a key and in all.
    pub(super) fn count_listener(&self, client: &Peer) -> Result<Place<User>, DialFailure> {
        let place = self.shared.listeners.take([
            (
                User::Connection(client.connection),
                MAX_LISTENERS_PER_CONNECTION,
            ),
            (User::Key(client.key), MAX_LISTENERS_PER_KEY),
            (User::Everybody, MAX_LISTENERS),
        ]);
        place.map_err(|user| {
            let whose = match user {
                User::Connection(_) => "listeners of this connection",
                User::Key(_) => "listeners of this key",
                User::Everybody => "listeners of this server",
            };
            DialFailure::because(FailureKind::Exhausted, whose)
        })
    }

    pub(super) async fn refuse_listener(
        &self,
        (mut send, mut recv): Streams,
        failure: DialFailure,
    ) {
        let reply = Err(failure);
        let within = self.shared.config.request_timeout;
        if let Ok(Some(())) = timeout(within, answer(&mut send, &reply)).await {
            let _ = send.finish();
            recv.stop(code::CANCELLED);
        } else {
            abandon(&mut send, &mut recv, code::CANCELLED);
        }
    }
}

/// The reason for a client that may not listen there.
pub(super) const NOT_PERMITTED: &str =
    "this key may not listen there (permitlisten in authorized_keys, or rpserver --permit-listen)";

/// The reason for an address that is taken.
const IN_USE: &str = "address in use";

impl Listener {
    fn new(sockets: Listening, place: Place<User>) -> Result<Self, DialFailure> {
        let bound = sockets.local_addr().map_err(|error| io_failure(&error))?;
        Ok(Self {
            sockets,
            bound,
            _place: place,
        })
    }
}

/// Counts what comes to a listener.
pub(super) fn account_of(client: &Peer, at: &ListenAt) -> TargetAccount {
    client.account.request(&Subject::Listener(at.clone()))
}

pub(super) fn listen_access(client: &Peer) -> Result<ListenAccess, DialFailure> {
    client
        .access
        .listen_access()
        .ok_or_else(|| DialFailure::because(FailureKind::Denied, NOT_PERMITTED))
}

/// Listens at the first free port that may be had.
pub(super) fn bind_any<T>(
    access: &ListenAccess,
    host: &Host,
    port: u16,
    listen: impl Fn(u16) -> std::io::Result<T>,
) -> Result<T, DialFailure> {
    let mut failure = DialFailure::because(FailureKind::Denied, NOT_PERMITTED);
    for port in access.ports(host, port).flatten() {
        match listen(port) {
            Ok(sockets) => return Ok(sockets),
            Err(error) => failure = port_failure(&error),
        }
        if !is_in_use(&failure) {
            break;
        }
    }
    Err(failure)
}

/// Why a port cannot be listened at. What the system does not let us do is no refusal of the client.
pub(super) fn port_failure(error: &std::io::Error) -> DialFailure {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => DialFailure::because(
            FailureKind::General,
            "the server lacks CAP_NET_BIND_SERVICE, which a port below 1024 needs",
        ),
        _ => io_failure(error),
    }
}

pub(super) fn io_failure(error: &std::io::Error) -> DialFailure {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => DialFailure::because(FailureKind::General, IN_USE),
        std::io::ErrorKind::AddrNotAvailable => {
            DialFailure::because(FailureKind::General, "not an address of the server")
        }
        _ => DialFailure::because(FailureKind::from_io(error), error.to_string()),
    }
}

fn is_in_use(failure: &DialFailure) -> bool {
    failure.reason == IN_USE
}

/// The address of ours from which `peer` would be reached.
fn towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    // Sends nothing: the kernel only chooses a route.
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Waits until the client ends the stream; what it sends meanwhile means nothing.
pub(super) async fn ended(recv: &mut RecvStream) {
    while let Ok(Some(_)) = recv.read_bytes(256).await {}
}
