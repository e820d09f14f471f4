//! Engine endpoints over links in virtual time: deterministic, and as fast as the engine computes.
//! What a machine does is in `host` and `bulk`; what a link does is in `link`.
//!
//! The world is a dumbbell: near machines reach far machines through one shared link, and are answered
//! through another. One step goes to the next thing that happens anywhere:
//! 1. every connection with news is drained, and its datagrams are offered to the links;
//! 2. time jumps to the earliest arrival or deadline;
//! 3. arrivals are handed over, deadlines fire.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rp_protocol::{
    config::{ClientConfig, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    error::ConnectError,
    stats::Stats,
    units::EcnCodepoint,
};

use crate::{
    bulk::{Application, Receiving},
    host::{Host, Wire},
    link::{Class, Link, LinkConfig, LinkCounters, Offer},
};

/// IPv4 and UDP headers: links count whole packets.
const HEADER_BYTES: usize = 28;

/// The service all connections of the world ask for.
const SERVICE: &str = "rpp-lab/1";

/// The world's clock, links and machines.
#[derive(Debug)]
pub struct World {
    epoch: Instant,
    now: Instant,
    forward: Link<Wire>,
    back: Link<Wire>,
    near: Vec<Host>,
    far: Vec<Host>,
    seed: u64,
}

/// Trusts everybody: the world's machines have nothing to lose.
#[derive(Debug)]
struct AnyPeer;

impl PeerVerifier for AnyPeer {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

impl World {
    /// A world whose near side reaches the far side by `forward` and is answered by `back`.
    pub fn new(forward: LinkConfig, back: LinkConfig, seed: u64) -> Self {
        // The origin of virtual time may be any instant: only differences are ever used.
        let epoch = Instant::now();
        Self {
            epoch,
            now: epoch,
            forward: Link::new(forward, seed).epoch(epoch),
            back: Link::new(back, seed ^ 0x5bd1_e995_9d1b_54a5).epoch(epoch),
            near: Vec::new(),
            far: Vec::new(),
            seed,
        }
    }

    /// Adds a near machine and a far one, and lets the near one send `bytes` to the far one from now on.
    /// Returns the position of the pair.
    ///
    /// # Errors
    /// The engine refuses the address or the service name, which are fixed here.
    pub fn add_transfer(
        &mut self,
        bytes: u64,
        transport: TransportConfig,
    ) -> Result<usize, ConnectError> {
        let pair = self.near.len();
        let verifier: Arc<dyn PeerVerifier> = Arc::new(AnyPeer);
        let server = ServerConfig::new(
            Arc::new(Identity::from_seed(&[1; 32])),
            Arc::clone(&verifier),
            &[SERVICE],
        )
        .transport(transport.clone());
        let client = ClientConfig::new(Arc::new(Identity::from_seed(&[2; 32])), verifier, SERVICE)
            .transport(transport);
        let far = Host::new(
            address(2, pair),
            Some(server),
            Application::receive(),
            self.host_seed(pair, 2),
        );
        let mut near = Host::new(
            address(1, pair),
            None,
            Application::receive(),
            self.host_seed(pair, 1),
        );
        near.connect(self.now, far.address(), client, Application::send(bytes))?;
        self.near.push(near);
        self.far.push(far);
        Ok(pair)
    }

    fn host_seed(&self, pair: usize, side: u8) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&(pair as u64).to_le_bytes());
        hasher.update(&[side]);
        *hasher.finalize().as_bytes()
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - self.epoch
    }

    /// Runs until `until` says so, nothing is left to do, or `limit` of virtual time has passed.
    pub fn run(&mut self, limit: Duration, mut until: impl FnMut(&Self) -> bool) {
        let end = self.epoch + limit;
        while !until(self) && self.step(end) {}
    }

    /// How far the transfer of a pair has come at the receiver; `None` before its handshake.
    pub fn receiving(&self, pair: usize) -> Option<&Receiving> {
        match self.far[pair].applications().next()? {
            Application::Receive(receiving) => Some(receiving),
            Application::Send(_) => None,
        }
    }

    /// How long after the world's beginning a pair's transfer was complete and right.
    pub fn completed_after(&self, pair: usize) -> Option<Duration> {
        let at = self.receiving(pair)?.completed_at()?;
        Some(at - self.epoch)
    }

    /// The numbers of a pair's sending connection while it lives.
    pub fn sender_stats(&self, pair: usize) -> Option<Stats> {
        self.near[pair].stats().next()
    }

    /// The numbers of a pair's receiving connection while it lives.
    pub fn receiver_stats(&self, pair: usize) -> Option<Stats> {
        self.far[pair].stats().next()
    }

    /// The near machine of a pair.
    pub fn near(&self, pair: usize) -> &Host {
        &self.near[pair]
    }

    /// The far machine of a pair.
    pub fn far(&self, pair: usize) -> &Host {
        &self.far[pair]
    }

    /// What happened on the way there and on the way back.
    pub fn links(&self) -> (LinkCounters, LinkCounters) {
        (self.forward.counters(), self.back.counters())
    }

    /// Goes to the next thing that happens, not beyond `end`; says whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let now = self.now;
        let near_due = drain(&mut self.near, now, &mut self.forward);
        let far_due = drain(&mut self.far, now, &mut self.back);
        let next = [
            near_due,
            far_due,
            self.forward.next_at(),
            self.back.next_at(),
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(next) = next.filter(|&next| next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        deliver(&mut self.forward, self.now, &mut self.far, &mut self.back);
        deliver(&mut self.back, self.now, &mut self.near, &mut self.forward);
        for host in self.near.iter_mut().chain(&mut self.far) {
            host.handle_timeouts(self.now);
        }
        true
    }
}

/// The address of a machine on a side of a pair.
fn address(side: u8, pair: usize) -> SocketAddr {
    let port = 7377 + u16::try_from(pair).unwrap_or(u16::MAX - 7377);
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, side), port))
}

fn offer(link: &mut Link<Wire>, now: Instant, wire: Wire) {
    let bytes = wire.payload.len() + HEADER_BYTES;
    let offer = Offer {
        bytes,
        is_ecn_capable: wire.ecn.is_some(),
        class: Class::Udp,
    };
    link.send(now, offer, wire);
}

fn drain(hosts: &mut [Host], now: Instant, link: &mut Link<Wire>) -> Option<Instant> {
    hosts
        .iter_mut()
        .filter_map(|host| host.drain(now, &mut |wire| offer(link, now, wire)))
        .min()
}

/// Hands over what has arrived by `now`; direct answers go out by `answers`.
fn deliver(link: &mut Link<Wire>, now: Instant, hosts: &mut [Host], answers: &mut Link<Wire>) {
    while let Some(delivery) = link.poll(now) {
        let mut wire = delivery.payload;
        if delivery.ce {
            wire.ecn = Some(EcnCodepoint::Ce);
        }
        if delivery.corrupt {
            let mut damaged = wire.payload.to_vec();
            let middle = damaged.len() / 2;
            if let Some(byte) = damaged.get_mut(middle) {
                *byte ^= 0x10;
            }
            wire.payload = damaged.into();
        }
        if let Some(host) = hosts.iter_mut().find(|host| host.address() == wire.to) {
            host.receive(now, wire, &mut |answer| offer(answers, now, answer));
        }
    }
}

#[cfg(test)]
mod tests;
