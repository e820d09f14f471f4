//! Two engine endpoints on a virtual clock and the wire between them, for scripts.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::handshake::Anyone;
use crate::{
    config::{ClientConfig, EndpointConfig, ServerConfig},
    crypto::identity::Identity,
    engine::{Connection, ConnectionHandle, Datagram, Endpoint, Event, Output, Routed},
    units::EcnCodepoint,
};

const SERVICE: &str = "rpp-fuzz/1";

/// More outputs than any one moment can need: beyond it an engine talks to itself.
const MAX_OUTPUTS: usize = 100_000;

/// Steps without the clock moving: beyond it a deadline in the past is never met.
const MAX_STEPS_AT_ONCE: usize = 10_000;

/// Datagrams kept for replay.
const MAX_KEPT: usize = 64;

/// What the wire does with one datagram.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Drop,
    Double,
    Delay(Duration),
    Flip(usize),
    Cut(usize),
    Congest,
}

/// One end; at most one connection each.
pub(super) struct Host {
    endpoint: Endpoint,
    pub(super) address: SocketAddr,
    pub(super) connection: Option<(ConnectionHandle, Connection)>,
    connected: bool,
    closed: bool,
    due: Option<Instant>,
    sent: Vec<Parcel>,
}

/// A datagram on its way.
#[derive(Clone)]
pub(super) struct Parcel {
    from: SocketAddr,
    pub(super) to_server: bool,
    ecn: Option<EcnCodepoint>,
    pub(super) payload: Vec<u8>,
}

/// Client, server, wire and clock.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) client: Host,
    pub(super) server: Host,
    wire: BTreeMap<(Instant, u64), Parcel>,
    order: u64,
    steps_at_once: usize,
    /// Fates of the next datagrams.
    pub(super) fates: Vec<Fate>,
    pub(super) kept: Vec<Parcel>,
}

impl Host {
    fn new(endpoint: Endpoint, address: SocketAddr) -> Self {
        Self {
            endpoint,
            address,
            connection: None,
            connected: false,
            closed: false,
            due: None,
            sent: Vec::new(),
        }
    }

    /// The connection, if there is one and it lives.
    pub(super) fn engine(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut().map(|(_, connection)| connection)
    }

    /// Whether it was connected and neither end has closed it.
    pub(super) const fn is_live(&self) -> bool {
        self.connected && !self.closed && self.connection.is_some()
    }

    /// Takes all outputs of this moment.
    fn poll(&mut self, now: Instant, to_server: bool) {
        self.due = None;
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        let mut outputs = 0;
        loop {
            outputs += 1;
            assert!(outputs < MAX_OUTPUTS, "an engine that never waits");
            let mut buffer = Vec::new();
            match connection.poll(now, &mut buffer) {
                Output::Transmit(transmit) => {
                    let size = transmit.segment_size.unwrap_or(transmit.len);
                    for payload in buffer[..transmit.len].chunks(size) {
                        self.sent.push(Parcel {
                            from: self.address,
                            to_server,
                            ecn: transmit.ecn,
                            payload: payload.to_vec(),
                        });
                    }
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed(_)) => self.closed = true,
                Output::Event(_) => {}
                Output::Endpoint(event) => self.endpoint.handle_event(*handle, event),
                Output::Wait(due) => {
                    self.due = due;
                    break;
                }
            }
        }
        if connection.is_drained() {
            self.connection = None;
        }
    }

    fn receive(&mut self, now: Instant, parcel: Parcel) {
        let datagram = Datagram {
            remote: parcel.from,
            local_ip: None,
            ecn: parcel.ecn,
            received_at: now,
            payload: BytesMut::from(&parcel.payload[..]),
        };
        let mut out = Vec::new();
        match self.endpoint.handle_datagram(now, datagram, &mut out) {
            Routed::Connection(handle, datagram) => match &mut self.connection {
                Some((known, connection)) if *known == handle => {
                    connection.handle_datagram(now, datagram);
                }
                _ => {}
            },
            Routed::Incoming(incoming) if self.connection.is_none() => {
                self.connection = self.endpoint.accept(now, incoming).ok();
            }
            Routed::Incoming(incoming) => {
                self.endpoint.refuse(incoming, &mut out);
            }
            Routed::Response(transmit) => {
                assert!(transmit.len <= 3 * parcel.payload.len().max(1), "amplified");
                self.sent.push(Parcel {
                    from: self.address,
                    to_server: !parcel.to_server,
                    ecn: None,
                    payload: out[..transmit.len].to_vec(),
                });
            }
            Routed::Dropped => {}
        }
    }
}

impl World {
    pub(super) fn new(now: Instant, retry: bool) -> Self {
        let address = |last, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port));
        let identity = |seed| Arc::new(Identity::from_seed(&[seed; 32]));
        let config = EndpointConfig::default().retry_above(if retry { 0 } else { 256 });
        let server = ServerConfig::new(identity(2), Arc::new(Anyone), &[SERVICE]);
        let server = Endpoint::new(config.clone(), Some(server), [3; 32]);
        let mut client = Endpoint::new(config, None, [4; 32]);
        let settings = ClientConfig::new(identity(1), Arc::new(Anyone), SERVICE);
        let connection = client.connect(now, address(1, 7377), settings).ok();
        let mut client = Host::new(client, address(2, 40000));
        client.connection = connection;
        Self {
            now,
            client,
            server: Host::new(server, address(1, 7377)),
            wire: BTreeMap::new(),
            order: 0,
            steps_at_once: 0,
            fates: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn host(&mut self, server: bool) -> &mut Host {
        if server {
            &mut self.server
        } else {
            &mut self.client
        }
    }

    /// Puts on the wire what both ends have to say.
    pub(super) fn flush(&mut self) {
        for to_server in [true, false] {
            let now = self.now;
            let host = self.host(!to_server);
            host.poll(now, to_server);
            for parcel in std::mem::take(&mut host.sent) {
                if self.kept.len() < MAX_KEPT {
                    self.kept.push(parcel.clone());
                }
                let fate = self.fates.pop();
                self.send(parcel, fate);
            }
        }
    }

    fn send(&mut self, mut parcel: Parcel, fate: Option<Fate>) {
        let mut at = self.now + Duration::from_millis(20);
        match fate {
            None => {}
            Some(Fate::Drop) => return,
            Some(Fate::Double) => self.put(at, parcel.clone()),
            Some(Fate::Delay(extra)) => at += extra,
            Some(Fate::Flip(bit)) => {
                let byte = bit / 8 % parcel.payload.len();
                parcel.payload[byte] ^= 1 << (bit % 8);
            }
            Some(Fate::Cut(len)) => parcel.payload.truncate(len.max(1)),
            Some(Fate::Congest) => parcel.ecn = parcel.ecn.map(|_| EcnCodepoint::Ce),
        }
        self.put(at, parcel);
    }

    fn put(&mut self, at: Instant, parcel: Parcel) {
        self.order += 1;
        self.wire.insert((at, self.order), parcel);
    }

    /// Sends a datagram neither end made, in the name of the client or the server.
    pub(super) fn forge(&mut self, to_server: bool, payload: &[u8]) {
        let from = self.host(!to_server).address;
        let parcel = Parcel {
            from,
            to_server,
            ecn: None,
            payload: payload.to_vec(),
        };
        self.put(self.now, parcel);
    }

    /// Sends a datagram again that was sent before.
    pub(super) fn replay(&mut self, index: usize) {
        if let Some(parcel) = self.kept.get(index).cloned() {
            self.put(self.now, parcel);
        }
    }

    /// Goes on to the next thing that happens, not beyond `until`; whether anything did.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        self.flush();
        let arrival = self.wire.keys().next().map(|&(at, _)| at);
        let next = [arrival, self.client.due, self.server.due]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|&next| next <= until) else {
            self.now = until;
            return false;
        };
        self.steps_at_once = if next > self.now {
            0
        } else {
            self.steps_at_once + 1
        };
        assert!(
            self.steps_at_once < MAX_STEPS_AT_ONCE,
            "a deadline that is never met"
        );
        self.now = self.now.max(next);
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let parcel = entry.remove();
            let now = self.now;
            self.host(parcel.to_server).receive(now, parcel);
        }
        let now = self.now;
        for server in [false, true] {
            if let Some(connection) = self.host(server).engine() {
                connection.handle_timeout(now);
            }
        }
        true
    }
}
