//! Listening for datagrams for a client: command 5 of `spec/10-proxy.md`. Where it may be done is `listen_access`'s
//! business.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::UdpSocket,
    time::{Instant, interval, timeout},
};
use tracing::{debug, info};

use super::{
    Exit, Peer, User, answer,
    counters::TargetAccount,
    failed,
    listen::{NOT_PERMITTED, Streams, account_of, bind_any, io_failure, listen_access},
    listen_access::LOCALHOST,
    policy::Denial,
};
use crate::{
    datagram::{
        DatagramPorts,
        carrier::{Carrier, StreamEnd, receive},
        message::Datagram,
        socket,
    },
    error::{DialFailure, FailureKind},
    eviction::greediest,
    listening::loopback,
    relay::{abandon, code},
    shares::Place,
    target::{Host, ListenAt, Target},
};

/// Senders of one listener that are remembered at once.
const MAX_SENDERS: usize = 4096;

/// Time after which a sender is forgotten with whom nothing was exchanged, as with a flow of a NAT (RFC 4787, REQ-5).
const SENDER_IDLE: Duration = Duration::from_secs(5 * 60);

/// Time between two questions whether the client may still listen there.
const RECHECK: Duration = Duration::from_secs(5);

/// A listener, and the place it takes among those of its client.
struct Listener {
    ports: DatagramPorts,
    bound: SocketAddr,
    _place: Place<User>,
}

impl Exit {
    /// Listens at `at` and exchanges datagrams with whoever sends some, until the stream that asked ends.
    pub(super) async fn listen_datagrams(
        &self,
        (mut send, mut recv): Streams,
        early: Bytes,
        client: &Arc<Peer>,
        at: ListenAt,
    ) {
        let mut account = account_of(client, &at);
        let listener = match self.datagram_listener(client, &at) {
            Ok(listener) => listener,
            Err(failure) => {
                let failure = failed(&at, client, &account, failure);
                return self.refuse_listener((send, recv), failure).await;
            }
        };
        // Known before the client may send frames that name it.
        let route = self.router(client).register(send.id().index());
        let bound = listener.bound;
        let within = self.shared.config.request_timeout;
        let Ok(Some(())) = timeout(within, answer(&mut send, &Ok(bound))).await else {
            abandon(&mut send, &mut recv, code::CANCELLED);
            return;
        };
        info!(client = client.name, %at, %bound, "listening for datagrams for a client");
        account.connected();
        let serving = Serving {
            exit: self.clone(),
            client: client.clone(),
            at,
            carrier: Carrier::new(route, send, true),
            account,
            senders: Mutex::default(),
        };
        // A task of its own frees what asking needed.
        tokio::spawn(async move {
            let end = tokio::select! {
                //= spec/10-proxy.md#listening
                //# An exit MUST end a listener with the stream that asked for it.
                end = receive(&mut recv, early, serving.carrier.route()) => end,
                () = serving.run(&listener.ports) => StreamEnd::Finished,
            };
            let code = match end {
                StreamEnd::Malformed => code::MALFORMED,
                StreamEnd::Finished | StreamEnd::Failed(_) => code::CANCELLED,
            };
            recv.stop(code);
            serving.carrier.reset(code).await;
            let (client, at) = (&serving.client.name, &serving.at);
            info!(client, %at, "no longer listening for datagrams for a client");
            drop(listener);
        });
    }

    fn datagram_listener(&self, client: &Peer, at: &ListenAt) -> Result<Listener, DialFailure> {
        //= spec/10-proxy.md#listening
        //# An exit MUST NOT listen anywhere that no rule of its owner allows to the client's key.
        let access = listen_access(client)?;
        if !access.allows(at) {
            return Err(DialFailure::because(FailureKind::Denied, NOT_PERMITTED));
        }
        let ListenAt::Tcp(host, port) = at else {
            return Err(DialFailure::new(FailureKind::AddressUnsupported));
        };
        let place = self.count_listener(client)?;
        let ports = bind_any(&access, host, *port, |port| match host {
            Host::Ip(ip) if ip.is_unspecified() && ip.is_ipv6() => DatagramPorts::everywhere(port),
            Host::Ip(ip) => DatagramPorts::at(&[(*ip, port).into()]),
            Host::Name(name) if name.as_str().eq_ignore_ascii_case(LOCALHOST) => {
                DatagramPorts::at(&loopback(port))
            }
            Host::Name(_) => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "the address to listen at is localhost, or an address",
            )),
        })?;
        Ok(Listener {
            bound: ports.local_addr().map_err(|error| io_failure(&error))?,
            ports,
            _place: place,
        })
    }
}

/// A listener at work.
struct Serving {
    exit: Exit,
    client: Arc<Peer>,
    at: ListenAt,
    carrier: Carrier,
    account: TargetAccount,
    senders: Mutex<Senders>,
}

impl Serving {
    /// Exchanges datagrams until the client may not listen any more, or its stream takes nothing.
    async fn run(&self, ports: &DatagramPorts) {
        let sockets = ports.sockets();
        let inward = async {
            match sockets {
                [one, other] => tokio::select! {
                    () = self.inward(one) => {}
                    () = self.inward(other) => {}
                },
                [one] => self.inward(one).await,
                _ => {}
            }
        };
        tokio::select! {
            () = inward => {}
            () = self.outward(sockets) => {}
            () = self.permitted() => {}
        }
    }

    /// Waits until the client may not listen any more.
    async fn permitted(&self) {
        let mut looks = interval(RECHECK);
        loop {
            looks.tick().await;
            let access = self.client.access.listen_access();
            if !access.is_some_and(|access| access.allows(&self.at)) {
                return;
            }
            self.senders().forget_idle();
        }
    }

    /// Carries what arrives at `socket` to the client.
    async fn inward(&self, socket: &UdpSocket) {
        let counters = self.exit.datagrams();
        loop {
            let Ok((payload, sender)) = socket::receive(socket).await else {
                // As for an answer by ICMP: it is about one datagram, not about the socket.
                continue;
            };
            let address = Target::try_from(sender).ok();
            let Some(address) = address.filter(|_| self.may_answer(sender)) else {
                counters.discarded.fetch_add(1, Relaxed);
                continue;
            };
            self.senders().note(sender);
            counters.received.fetch_add(1, Relaxed);
            self.account.traffic().count_sent(payload.len() as u64);
            if !self.carrier.send(&Datagram { address, payload }).await {
                return;
            }
        }
    }

    //= spec/10-proxy.md#listening
    //# An exit MUST discard what comes to such a listener from an address that it could not dial whatever the rules say, or that a
    //# rule denies: the sender of a datagram may be anybody, and the answer would be the client's choice.
    fn may_answer(&self, sender: SocketAddr) -> bool {
        let judged = self.exit.shared.config.policy.check(sender);
        !matches!(
            judged,
            Err(Denial::Metadata | Denial::OwnListener | Denial::Rule)
        )
    }

    /// Sends what the client sends to those who have sent something.
    async fn outward(&self, sockets: &[UdpSocket]) {
        let counters = self.exit.datagrams();
        while let Some(datagram) = self.carrier.route().queue().pop().await {
            let to = match datagram.address.host() {
                Host::Ip(ip) => SocketAddr::new(*ip, datagram.address.port()),
                Host::Name(_) => {
                    counters.discarded.fetch_add(1, Relaxed);
                    continue;
                }
            };
            //= spec/10-proxy.md#listening
            //# An exit MUST send from such a listener only to addresses and ports from which a datagram came to it.
            let sender = self.senders().answer(to);
            let socket = sockets.iter().find(|socket| {
                let local = socket.local_addr();
                local.is_ok_and(|local| local.is_ipv4() == to.is_ipv4())
            });
            let sent = match (sender, socket) {
                (Some(to), Some(socket)) => socket.send_to(&datagram.payload, to).await.ok(),
                _ => None,
            };
            match sent {
                Some(bytes) => {
                    counters.sent.fetch_add(1, Relaxed);
                    self.account.traffic().count_received(bytes as u64);
                }
                None => {
                    counters.discarded.fetch_add(1, Relaxed);
                    debug!(client = self.client.name, %to, "datagram of a listener not sent");
                }
            }
        }
    }

    fn senders(&self) -> MutexGuard<'_, Senders> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has sent something to a listener, as the system names it, and when something passed last.
#[derive(Debug, Default)]
struct Senders(HashMap<SocketAddr, (SocketAddr, Instant)>);

impl Senders {
    //= spec/10-proxy.md#listening
    //# An exit MAY forget a sender to which and from which nothing was carried for 5 minutes, and one of the senders of the network
    //# that has most when there are 4096.
    fn note(&mut self, sender: SocketAddr) {
        let key = without_interface(sender);
        if self.0.len() >= MAX_SENDERS && !self.0.contains_key(&key) {
            let entries = self.0.iter();
            let entries = entries.map(|(key, (_, used))| (*key, key.ip(), *used));
            for key in greediest(entries) {
                self.0.remove(&key);
            }
        }
        self.0.insert(key, (sender, Instant::now()));
    }

    /// Where an answer to `sender` goes; `None` to somebody who has sent nothing lately.
    fn answer(&mut self, sender: SocketAddr) -> Option<SocketAddr> {
        let (sender, used) = self.0.get_mut(&sender)?;
        *used = Instant::now();
        Some(*sender)
    }

    fn forget_idle(&mut self) {
        self.0.retain(|_, (_, used)| used.elapsed() < SENDER_IDLE);
    }
}

/// `address` as it is carried: the interface of a link-local one is not.
fn without_interface(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(network: u16, port: u16) -> SocketAddr {
        ([0xfd00, 0, 0, network, 0, 0, 0, 1], port).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_sends_from_everywhere_makes_only_its_own_be_forgotten() {
        //= spec/10-proxy.md#listening
        //= type=test
        //# An exit MAY forget a sender to which and from which nothing was carried for 5 minutes, and one of the senders of the network
        //# that has most when there are 4096.
        let mut senders = Senders::default();
        senders.note(sender(1, 53));
        for port in 1..=60_000 {
            senders.note(sender(2, port));
            assert!(senders.0.len() <= MAX_SENDERS);
            assert_eq!(senders.answer(sender(2, port)), Some(sender(2, port)));
        }
        assert_eq!(senders.answer(sender(1, 53)), Some(sender(1, 53)));
        assert_eq!(senders.answer(sender(1, 54)), None);
        tokio::time::advance(SENDER_IDLE - Duration::from_secs(1)).await;
        senders.forget_idle();
        assert!(senders.answer(sender(1, 53)).is_some());
        tokio::time::advance(SENDER_IDLE).await;
        senders.forget_idle();
        assert!(senders.0.is_empty());
    }
}
