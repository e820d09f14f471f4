//! SOCKS5 UDP ASSOCIATE (RFC 1928 section 7): the parser of the datagrams, and the adapter between a client's
//! datagrams and an association. The request that asks for it is `socks5`'s.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tracing::{debug, trace};

use super::{
    FrontEndContext, FrontError, Handshake,
    socks5::{self, SUCCEEDED},
};
use crate::{
    client::ClientCounters,
    datagram::{AssociationEnd, LastingAssociation, lasting::is_refusal, socket},
    error::FailureKind,
    target::Target,
};

/// Longest head of a datagram we send: reserved, fragment, type, IPv6 address, port.
const MAX_HEAD_BYTES: usize = 3 + 1 + 16 + 2;

/// Why a client's datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is shorter than its head says, or names no target.
    Malformed,
    /// It is part of a larger one.
    Fragment,
}

/// Reads a client's datagram: where it goes, and where its payload begins.
pub(super) fn parse_datagram(bytes: &[u8]) -> Result<(Target, usize), Unfit> {
    let &[_, _, fragment, ref rest @ ..] = bytes else {
        return Err(Unfit::Malformed);
    };
    //= spec/10-proxy.md#socks5-udp
    //# A front end MUST discard a datagram of a SOCKS5 client whose FRAG is not 0.
    if fragment != 0 {
        return Err(Unfit::Fragment);
    }
    match socks5::parse_address(rest) {
        Ok(Some((address, len))) => match address.into_target() {
            Some(target) => Ok((target, 3 + len)),
            None => Err(Unfit::Malformed),
        },
        Ok(None) | Err(_) => Err(Unfit::Malformed),
    }
}

/// A datagram for a client: whom it comes from, and its payload.
fn encode_datagram(sender: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_HEAD_BYTES + payload.len());
    out.extend_from_slice(&[0, 0, 0]);
    socks5::put_address(sender, &mut out);
    out.extend_from_slice(payload);
    out
}

/// The client's end of an association: whose datagrams are taken, and where answers go.
#[derive(Debug)]
struct Source {
    /// Of the client's TCP connection.
    tcp: SocketAddr,
    /// The port its datagrams come from, once it is known.
    port: Option<u16>,
}

impl Source {
    /// The source of the client of a TCP connection from `tcp` that expects to send from `expected`. Behind a NAT
    /// it is wrong about both address and port.
    fn new(tcp: SocketAddr, expected: SocketAddr) -> Self {
        let is_seen = expected.ip().to_canonical() == tcp.ip() && expected.port() != 0;
        Self {
            tcp,
            port: is_seen.then_some(expected.port()),
        }
    }

    /// Whether a datagram from `sender` is the client's. The first one decides where the port is not known.
    fn admits(&mut self, sender: SocketAddr) -> bool {
        //= spec/10-proxy.md#socks5-udp
        //# A front end MUST discard datagrams to an association's port that do not come from the IP address
        //# of the client's TCP connection.
        if sender.ip().to_canonical() != self.tcp.ip() {
            return false;
        }
        //= spec/10-proxy.md#socks5-udp
        //# A front end MUST discard those from another port than the first datagram, or than the client has
        //# named in its request together with the IP address it is seen to have.
        *self.port.get_or_insert_with(|| sender.port()) == sender.port()
    }

    fn address(&self) -> Option<SocketAddr> {
        // With the interface of a link-local one.
        let mut address = self.tcp;
        address.set_port(self.port?);
        Some(address)
    }
}

/// `address`, an IPv4-mapped one as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Answers a request for an association, and carries its datagrams in a task of its own.
pub(super) async fn serve(
    mut handshake: Handshake,
    context: &FrontEndContext,
    expected: SocketAddr,
) -> Result<(), FrontError> {
    let association = LastingAssociation::new(context.client.clone());
    if let Err(end) = association.opened().await {
        debug!(%end, "socks5 udp associate failed");
        let kind = match end {
            AssociationEnd::Failed(error) => error.kind(),
            AssociationEnd::Idle | AssociationEnd::Closed => FailureKind::General,
        };
        handshake
            .refuse(&socks5::reply(socks5::reply_code(kind), None))
            .await;
        return Ok(());
    }
    let tcp = &handshake.tcp;
    // Where the client has reached us it reaches us again.
    let mut local = canonical(tcp.local_addr()?);
    local.set_port(0);
    let carried = Carried {
        counters: context.client.shared_counters(),
        association,
        socket: socket::open(local)?,
        source: Mutex::new(Source::new(canonical(tcp.peer_addr()?), expected)),
    };
    let mut told = carried.socket.local_addr()?;
    if let Some(address) = context.config.udp_reply_address {
        told.set_ip(address);
    }
    let reply = socks5::reply(SUCCEEDED, Some(told));
    handshake.tcp.write_all(&reply).await?;
    tokio::spawn(async move {
        carried.carry(&mut handshake.tcp).await;
        // Closing in order: the client reads the end and not a reset.
        let _ = timeout(super::REFUSAL_TIMEOUT, handshake.tcp.shutdown()).await;
        drop(handshake.permit);
    });
    Ok(())
}

/// A client's datagrams on their way.
struct Carried {
    counters: Arc<ClientCounters>,
    association: LastingAssociation,
    socket: UdpSocket,
    source: Mutex<Source>,
}

impl Carried {
    /// Carries datagrams until the client's TCP connection ends, or the exit takes none.
    async fn carry(&self, tcp: &mut TcpStream) {
        //= spec/10-proxy.md#socks5-udp
        //# A front end MUST end an association when the TCP connection on which it was asked for ends.
        //= spec/10-proxy.md#socks5-udp
        //# A front end MUST end that TCP connection when it can carry no more datagrams of the association.
        tokio::select! {
            () = ended(tcp) => trace!("the client has ended its UDP association"),
            end = self.outward() => debug!(%end, "UDP association refused"),
            end = self.inward() => debug!(%end, "UDP association refused"),
        }
    }

    /// Passes on what the client sends. A failure is about one datagram, unless the exit has refused.
    async fn outward(&self) -> AssociationEnd {
        loop {
            let Ok((datagram, sender)) = socket::receive(&self.socket).await else {
                continue;
            };
            if !self.source().admits(sender) {
                trace!(%sender, "datagram from somebody else");
                continue;
            }
            let sent = match parse_datagram(&datagram) {
                Ok((target, head)) => self.association.send(&target, datagram.slice(head..)).await,
                Err(unfit) => {
                    self.counters.on_refused();
                    trace!(?unfit, "datagram dropped");
                    continue;
                }
            };
            match sent {
                Err(end) if is_refusal(&end) => return end,
                Err(end) => trace!(%end, "datagram lost"),
                Ok(()) => {}
            }
        }
    }

    async fn inward(&self) -> AssociationEnd {
        loop {
            let (sender, payload) = match self.association.recv().await {
                Ok(received) => received,
                Err(end) => return end,
            };
            let to = self.source().address();
            if let Some(to) = to {
                let datagram = encode_datagram(sender, &payload);
                // One that the client's network cannot take is lost, as any.
                let _ = self.socket.send_to(&datagram, to).await;
            }
        }
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of `tcp`, on which nothing more should come.
async fn ended(tcp: &mut TcpStream) {
    let mut rest = [0; 64];
    while matches!(tcp.read(&mut rest).await, Ok(read) if read > 0) {}
}

#[cfg(test)]
mod tests;
