//! Engine endpoints over links in virtual time: deterministic, and as fast as the engine computes.
//! What a machine does is in `host` and `bulk`; what a link does is in `link`.
//!
//! The world is a dumbbell: near machines reach far machines through one shared link, and are answered
//! through another. Flows of other algorithms may share the way there; their ACKs come back by ways of their own.
//! One step goes to the next thing that happens anywhere:
//! 1. every connection with news is drained, and its datagrams are offered to the links;
//! 2. time jumps to the earliest arrival or deadline;
//! 3. arrivals are handed over, deadlines fire.

mod way;

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
};

use self::way::{Arrival, Way};
use crate::{
    bulk::{Application, Receiving},
    flow::{FlowConfig, Flows, Record},
    host::{Host, Wire},
    link::{LinkConfig, LinkCounters},
};

/// The service all connections of the world ask for.
const SERVICE: &str = "rpp-lab/1";

/// The world's clock, links and machines.
#[derive(Debug)]
pub struct World {
    epoch: Instant,
    now: Instant,
    forward: Way,
    back: Way,
    near: Vec<Host>,
    far: Vec<Host>,
    others: Flows,
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
            forward: Way::new(forward, seed, epoch),
            back: Way::new(back, seed ^ 0x5bd1_e995_9d1b_54a5, epoch),
            near: Vec::new(),
            far: Vec::new(),
            others: Flows::new(epoch, seed),
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
        self.add_sender(Application::send(bytes), transport)
    }

    /// The same with a sender of the caller's.
    ///
    /// # Errors
    /// As [`add_transfer`](Self::add_transfer).
    pub fn add_sender(
        &mut self,
        sender: Application,
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
        near.connect(self.now, far.address(), client, sender)?;
        self.near.push(near);
        self.far.push(far);
        Ok(pair)
    }

    /// Puts a flow of another algorithm on the way there; its number is what [`other`](Self::other) takes.
    pub fn add_other(&mut self, config: FlowConfig) -> usize {
        let delay = self.forward.link().config().delay();
        self.others.add(config, delay)
    }

    /// What such a flow did.
    pub fn other(&self, number: usize) -> &Record {
        self.others.record(number)
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
        (self.forward.link().counters(), self.back.link().counters())
    }

    /// Payload of the datagrams under way, which is in nobody's memory but the world's.
    pub fn carried_bytes(&self) -> u64 {
        self.forward.payload_bytes() + self.back.payload_bytes()
    }

    /// Bytes the near machines have put on their way, whatever others did.
    pub fn offered_bytes(&self) -> u64 {
        self.forward.offered_bytes()
    }

    /// A number that follows from every delivery so far: when, how large, in what state. The same seed
    /// gives the same.
    pub fn digest(&self) -> u64 {
        self.forward.digest() ^ self.back.digest().rotate_left(1)
    }

    /// Goes to the next thing that happens, not beyond `end`; says whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let now = self.now;
        let next = [
            drain(&mut self.near, now, &mut self.forward),
            drain(&mut self.far, now, &mut self.back),
            self.forward.link().next_at(),
            self.back.link().next_at(),
            self.others.next_at(),
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(next) = next.filter(|&next| next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now;
        while let Some(arrival) = self.forward.poll(now) {
            match arrival {
                Arrival::Wire(wire) => hand_over(&mut self.far, now, wire, &mut self.back),
                Arrival::Other(packet, ce) => self.others.on_delivery(now, &packet, ce),
            }
        }
        while let Some(arrival) = self.back.poll(now) {
            if let Arrival::Wire(wire) = arrival {
                hand_over(&mut self.near, now, wire, &mut self.forward);
            }
        }
        for host in self.near.iter_mut().chain(&mut self.far) {
            host.handle_timeouts(now);
        }
        let forward = &mut self.forward;
        self.others.act(now, &mut |offer, packet| {
            forward.send_other(now, offer, packet);
        });
        true
    }
}

/// The address of a machine on a side of a pair.
fn address(side: u8, pair: usize) -> SocketAddr {
    let port = 7377 + u16::try_from(pair).unwrap_or(u16::MAX - 7377);
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, side), port))
}

fn drain(hosts: &mut [Host], now: Instant, way: &mut Way) -> Option<Instant> {
    hosts
        .iter_mut()
        .filter_map(|host| host.drain(now, &mut |wire| way.send(now, wire)))
        .min()
}

/// Gives a datagram to whom it is for; direct answers go out by `answers`.
fn hand_over(hosts: &mut [Host], now: Instant, wire: Wire, answers: &mut Way) {
    if let Some(host) = hosts.iter_mut().find(|host| host.address() == wire.to) {
        host.receive(now, wire, &mut |answer| answers.send(now, answer));
    }
}

#[cfg(test)]
mod tests;
