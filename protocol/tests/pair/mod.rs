//! Two engine endpoints on a virtual clock, with a scripted wire between them: a fixed delay, and
//! datagrams that are dropped, copied or held back by count. No randomness: a seed fixes the engines.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rp_protocol::{
    config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    engine::{Connection, ConnectionHandle, Datagram, Endpoint, Event, Output, Routed},
    units::EcnCodepoint,
};

pub(crate) mod transfer;

pub(crate) const SERVICE: &str = "rpp-test/1";

/// Trusts everybody.
#[derive(Debug)]
pub(crate) struct AnyPeer;

impl PeerVerifier for AnyPeer {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// What the wire does with one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Deliver,
    Drop,
    /// Deliver twice.
    Double,
    /// Deliver later by this much.
    Delay(Duration),
    /// Deliver with a bit flipped, counted from the end.
    Flip(usize),
    /// Deliver only so many bytes.
    Cut(usize),
}

/// Decides a datagram's fate by the direction's count from 0 and its bytes.
pub(crate) type Script = Box<dyn FnMut(usize, &[u8]) -> Fate>;

/// One end.
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) connections: BTreeMap<ConnectionHandle, Connection>,
    pub(crate) events: VecDeque<(ConnectionHandle, Event)>,
    pub(crate) script: Script,
    pub(crate) sent_datagrams: usize,
    pub(crate) sent_bytes: u64,
    pub(crate) marked_datagrams: usize,
    /// Datagrams sent, if they are to be kept.
    pub(crate) captured: Option<Vec<Vec<u8>>>,
}

struct InFlight {
    to_server: bool,
    from: SocketAddr,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    payload: Vec<u8>,
}

/// Copies of a client's datagram, by the count from 0 and its bytes: where from, and how long after it left.
pub(crate) type Copies = Box<dyn FnMut(usize, &[u8]) -> Vec<(SocketAddr, Duration)>>;

/// What an engine wants sent.
struct Outgoing {
    payload: Vec<u8>,
    ecn: Option<EcnCodepoint>,
    to: SocketAddr,
}

/// Client, server and the wire.
pub(crate) struct Pair {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) client_handle: ConnectionHandle,
    pub(crate) server_handle: Option<ConnectionHandle>,
    wire: BTreeMap<(Instant, u64), InFlight>,
    order: u64,
    /// Refuse datagrams larger than this.
    pub(crate) mtu: usize,
    /// Mark everything CE.
    pub(crate) congested: bool,
    /// Take all marks away.
    pub(crate) bleaches: bool,
    /// What an attacker sends on, in other addresses' names.
    pub(crate) copies: Option<Copies>,
    /// Bytes that came to the server from each address.
    pub(crate) bytes_from: BTreeMap<SocketAddr, u64>,
    /// Bytes that the server sent to each address.
    pub(crate) bytes_to: BTreeMap<SocketAddr, u64>,
}

pub(crate) struct Setup {
    pub(crate) delay: Duration,
    pub(crate) client: TransportConfig,
    pub(crate) server: TransportConfig,
    pub(crate) endpoint: EndpointConfig,
    pub(crate) client_verifier: Arc<dyn PeerVerifier>,
    pub(crate) server_verifier: Arc<dyn PeerVerifier>,
    pub(crate) service: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(25),
            client: TransportConfig::default(),
            server: TransportConfig::default(),
            endpoint: EndpointConfig::default(),
            client_verifier: Arc::new(AnyPeer),
            server_verifier: Arc::new(AnyPeer),
            service: SERVICE,
        }
    }
}

impl Setup {
    #[expect(
        clippy::disallowed_methods,
        reason = "virtual time has to begin somewhere"
    )]
    pub(crate) fn build(self) -> Pair {
        let start = Instant::now();
        let address = |last, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port));
        let server_config = ServerConfig::new(
            Arc::new(Identity::from_seed(&[1; 32])),
            self.server_verifier,
            &[SERVICE],
        )
        .transport(self.server);
        let client_config = ClientConfig::new(
            Arc::new(Identity::from_seed(&[2; 32])),
            self.client_verifier,
            self.service,
        )
        .transport(self.client);
        let server = Endpoint::new(self.endpoint.clone(), Some(server_config), [3; 32]);
        let mut client = Endpoint::new(self.endpoint, None, [4; 32]);
        let server_address = address(1, 7377);
        let (client_handle, connection) = client
            .connect(start, server_address, client_config)
            .expect("address and service are valid");
        let mut client = Host::new(client, address(2, 40000));
        client.connections.insert(client_handle, connection);
        Pair {
            start,
            now: start,
            delay: self.delay,
            client,
            server: Host::new(server, server_address),
            client_handle,
            server_handle: None,
            wire: BTreeMap::new(),
            order: 0,
            mtu: 1500,
            congested: false,
            bleaches: false,
            copies: None,
            bytes_from: BTreeMap::new(),
            bytes_to: BTreeMap::new(),
        }
    }
}

impl Host {
    fn new(endpoint: Endpoint, address: SocketAddr) -> Self {
        Self {
            endpoint,
            address,
            connections: BTreeMap::new(),
            events: VecDeque::new(),
            script: Box::new(|_, _| Fate::Deliver),
            sent_datagrams: 0,
            sent_bytes: 0,
            marked_datagrams: 0,
            captured: None,
        }
    }

    fn next_timeout(&mut self, now: Instant, out: &mut Vec<Outgoing>) -> Option<Instant> {
        let mut due: Option<Instant> = None;
        let mut drained = Vec::new();
        for (&handle, connection) in &mut self.connections {
            loop {
                let mut buffer = Vec::new();
                match connection.poll(now, &mut buffer) {
                    Output::Transmit(transmit) => {
                        let segment = transmit.segment_size.unwrap_or(transmit.len);
                        for payload in buffer[..transmit.len].chunks(segment) {
                            out.push(Outgoing {
                                payload: payload.to_vec(),
                                ecn: transmit.ecn,
                                to: transmit.remote,
                            });
                        }
                    }
                    Output::Event(event) => self.events.push_back((handle, event)),
                    Output::Endpoint(event) => self.endpoint.handle_event(handle, event),
                    Output::Wait(at) => {
                        due = [due, at].into_iter().flatten().min();
                        break;
                    }
                }
            }
            if connection.is_drained() {
                drained.push(handle);
            }
        }
        for handle in drained {
            self.connections.remove(&handle);
        }
        due
    }
}

impl Pair {
    pub(crate) fn new() -> Self {
        Setup::default().build()
    }

    pub(crate) fn client(&mut self) -> &mut Connection {
        self.client
            .connections
            .get_mut(&self.client_handle)
            .expect("the client lives")
    }

    pub(crate) fn server(&mut self) -> &mut Connection {
        let handle = self.server_handle.expect("the server has accepted");
        self.server
            .connections
            .get_mut(&handle)
            .expect("the server lives")
    }

    /// Run until nothing is in flight or due within `limit` of virtual time; idle and keep-alive clocks
    /// do not count.
    pub(crate) fn drive(&mut self) {
        self.drive_while(|_| true);
    }

    /// Run for `span`.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Run until quiet, or until `go_on` says no.
    pub(crate) fn drive_while(&mut self, mut go_on: impl FnMut(&mut Self) -> bool) {
        let horizon = Duration::from_secs(4);
        loop {
            let until = self.now + horizon;
            if !go_on(self) || !self.step(until) {
                return;
            }
        }
    }

    /// Advance to the next thing that happens, not beyond `until`. Returns whether anything did.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        let client_due = self.flush(false);
        let server_due = self.flush(true);
        let arrival = self.wire.keys().next().map(|&(at, _)| at);
        let next = [client_due, server_due, arrival]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|&next| next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self
            .wire
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let packet = entry.remove();
            self.deliver(packet);
        }
        for host in [&mut self.client, &mut self.server] {
            for connection in host.connections.values_mut() {
                connection.handle_timeout(self.now);
            }
        }
        true
    }

    fn flush(&mut self, from_server: bool) -> Option<Instant> {
        let mut out = Vec::new();
        let host = if from_server {
            &mut self.server
        } else {
            &mut self.client
        };
        let due = host.next_timeout(self.now, &mut out);
        for outgoing in out {
            self.send(from_server, outgoing);
        }
        due
    }

    fn send(&mut self, from_server: bool, outgoing: Outgoing) {
        let Outgoing { payload, ecn, to } = outgoing;
        let (now, delay, mtu, congested) = (self.now, self.delay, self.mtu, self.congested);
        let bleaches = self.bleaches;
        let host = if from_server {
            &mut self.server
        } else {
            &mut self.client
        };
        let count = host.sent_datagrams;
        host.sent_datagrams += 1;
        host.sent_bytes += payload.len() as u64;
        host.marked_datagrams += usize::from(ecn.is_some());
        if let Some(captured) = &mut host.captured {
            captured.push(payload.clone());
        }
        let from = host.address;
        if from_server {
            *self.bytes_to.entry(to).or_default() += payload.len() as u64;
        }
        if payload.len() > mtu {
            return;
        }
        let copies = match &mut self.copies {
            Some(copies) if !from_server => copies(count, &payload),
            _ => Vec::new(),
        };
        for (from, after) in copies {
            self.order += 1;
            let copy = InFlight {
                to_server: true,
                from,
                to,
                ecn: None,
                payload: payload.clone(),
            };
            self.wire.insert((now + after, self.order), copy);
        }
        let fate = (host.script)(count, &payload);
        let ecn = ecn.filter(|_| !bleaches);
        let ecn = if congested {
            ecn.map(|_| EcnCodepoint::Ce)
        } else {
            ecn
        };
        let mut put = |at, payload| {
            self.order += 1;
            let packet = InFlight {
                to_server: !from_server,
                from,
                to,
                ecn,
                payload,
            };
            self.wire.insert((at, self.order), packet);
        };
        match fate {
            Fate::Deliver => put(now + delay, payload),
            Fate::Drop => {}
            Fate::Double => {
                put(now + delay, payload.clone());
                put(now + delay, payload);
            }
            Fate::Delay(extra) => put(now + delay + extra, payload),
            Fate::Flip(at) => {
                let mut payload = payload;
                let bits = payload.len() * 8;
                let at = bits - 1 - at % bits;
                payload[at / 8] ^= 1 << (at % 8);
                put(now + delay, payload);
            }
            Fate::Cut(len) => put(now + delay, payload[..len.min(payload.len())].to_vec()),
        }
    }

    fn deliver(&mut self, packet: InFlight) {
        if packet.to_server {
            *self.bytes_from.entry(packet.from).or_default() += packet.payload.len() as u64;
        } else if packet.to != self.client.address {
            // Nobody is there who would answer.
            return;
        }
        let host = if packet.to_server {
            &mut self.server
        } else {
            &mut self.client
        };
        let datagram = Datagram {
            remote: packet.from,
            local_ip: None,
            ecn: packet.ecn,
            received_at: self.now,
            payload: BytesMut::from(&packet.payload[..]),
        };
        let mut out = Vec::new();
        match host.endpoint.handle_datagram(self.now, datagram, &mut out) {
            Routed::Dropped => {}
            Routed::Connection(handle, datagram) => {
                if let Some(connection) = host.connections.get_mut(&handle) {
                    connection.handle_datagram(self.now, datagram);
                }
            }
            Routed::Incoming(incoming) => {
                while let Some(handle) = host.endpoint.poll_evicted() {
                    if let Some(connection) = host.connections.get_mut(&handle) {
                        connection.evict(self.now);
                    }
                }
                let (handle, connection) = host
                    .endpoint
                    .accept(self.now, incoming)
                    .expect("its settings are valid");
                host.connections.insert(handle, connection);
                self.server_handle.get_or_insert(handle);
            }
            Routed::Response(transmit) => {
                let outgoing = Outgoing {
                    payload: out,
                    ecn: None,
                    to: transmit.remote,
                };
                self.send(packet.to_server, outgoing);
            }
        }
    }

    /// Inject bytes as if `to_server` (or the client) had received them from the other end.
    pub(crate) fn inject(&mut self, to_server: bool, payload: Vec<u8>) {
        let from = if to_server {
            self.client.address
        } else {
            self.server.address
        };
        self.inject_from(from, to_server, payload);
    }

    /// Inject bytes as if they had come from `from`.
    pub(crate) fn inject_from(&mut self, from: SocketAddr, to_server: bool, payload: Vec<u8>) {
        let to = if to_server {
            self.server.address
        } else {
            self.client.address
        };
        self.deliver(InFlight {
            to_server,
            from,
            to,
            ecn: None,
            payload,
        });
    }

    /// Both ways.
    pub(crate) fn lose_what_is_on_the_wire(&mut self) {
        self.wire.clear();
    }

    /// Handshake to the end.
    pub(crate) fn connect(&mut self) {
        self.drive_while(|pair| {
            pair.client().is_handshaking()
                || pair.server_handle.is_none()
                || pair.server().is_handshaking()
        });
        assert!(
            !self.client().is_handshaking(),
            "the client's handshake finished"
        );
        assert!(
            !self.server().is_handshaking(),
            "the server's handshake finished"
        );
    }

    /// Whether an event of this kind was seen at the client or server.
    pub(crate) fn saw(&self, server: bool, wanted: impl Fn(&Event) -> bool) -> bool {
        let host = if server { &self.server } else { &self.client };
        host.events.iter().any(|(_, event)| wanted(event))
    }
}
