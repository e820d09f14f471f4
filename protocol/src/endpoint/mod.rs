//! Routing of datagrams to connections by connection id, and limits on half-open ones. What a packet says
//! beyond its header is not read here.
//!
//! A datagram is, in this order: for a known connection; a client's first; a stray that deserves a stateless
//! reset; nothing.

mod answer;
mod half_open;
mod incoming;
mod reset;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustc_hash::FxHashMap;
use slab::Slab;

pub use self::incoming::Incoming;
use self::{
    answer::write_refusal,
    half_open::HalfOpen,
    incoming::{Attempt, Greeting, Key},
    reset::ResetLimiter,
};
use crate::{
    config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig},
    connection::{Connection, Datagram, EndpointEvent, Handshake, Opening, Transmit, parameters},
    crypto::{
        handshake::{ClientCrypto, ServerCrypto, Session},
        token::{ResetKey, RetryTokens},
    },
    error::{ConnectError, ConnectionError},
    stream::{Budgets, Streams, StreamsConfig, credit::Budget},
    units::Side,
    wire::{
        header::{MIN_INITIAL_DATAGRAM, PacketKind, PartialHeader},
        id::ConnectionId,
    },
};

/// Names a connection inside its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionHandle(pub usize);

/// Where a datagram belongs.
#[derive(Debug)]
pub enum Routed {
    /// Nowhere; counted in [`EndpointStats`].
    Dropped,
    /// To this connection.
    Connection(ConnectionHandle, Datagram),
    /// A client asks to connect.
    Incoming(Incoming),
    /// Answered by the endpoint itself; the bytes are in the buffer.
    Response(Transmit),
}

/// What an endpoint counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams that do not parse, or open no connection.
    pub dropped: u64,
    /// Clients asked to prove their address.
    pub retries: u64,
    /// Clients turned away because too many were half-open, or by the application.
    pub refused: u64,
    /// Stateless resets sent.
    pub resets: u64,
    /// Connections not yet established.
    pub half_open: u64,
    /// Connections not established that made room for others.
    pub evicted: u64,
}

#[derive(Debug)]
struct Entry {
    ids: Vec<ConnectionId>,
    reset_token: Option<[u8; 16]>,
    attempt: Option<Key>,
}

#[derive(Debug)]
struct Server {
    config: ServerConfig,
    crypto: ServerCrypto,
}

/// The connections behind one socket.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    server: Option<Server>,
    rng: StdRng,
    connections: Slab<Entry>,
    /// Ids we chose at random: no peer can make them collide.
    routes: FxHashMap<ConnectionId, ConnectionHandle>,
    /// What a peer's stateless reset ends with. Peers chose these: under a keyed hash.
    expected_resets: HashMap<[u8; 16], ConnectionHandle>,
    /// Ids that unauthenticated clients chose: under a keyed hash.
    attempts: HashMap<Key, Attempt>,
    half_open: HalfOpen,
    /// Half-open connections that have to make room.
    evicted: VecDeque<ConnectionHandle>,
    tokens: RetryTokens,
    reset_key: ResetKey,
    resets: ResetLimiter,
    budgets: Budgets,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint that accepts connections if `server` is given. `seed` feeds everything random:
    /// take it from the operating system, or fix it to replay a run.
    pub fn new(config: EndpointConfig, server: Option<ServerConfig>, seed: [u8; 32]) -> Self {
        let reset_key = match &server {
            Some(server) => server.identity.reset_key(&config.instance),
            None => ResetKey::from_seed(&seed),
        };
        let tokens = RetryTokens::from_seed(&seed);
        let budgets = Budgets::new(config.receive_budget, config.send_budget);
        Self {
            server: server.map(|config| Server {
                crypto: ServerCrypto::new(&config),
                config,
            }),
            rng: StdRng::from_seed(seed),
            connections: Slab::new(),
            routes: FxHashMap::default(),
            expected_resets: HashMap::new(),
            attempts: HashMap::new(),
            half_open: HalfOpen::new(config.max_half_open),
            evicted: VecDeque::new(),
            tokens,
            reset_key,
            resets: ResetLimiter::default(),
            budgets,
            stats: EndpointStats::default(),
            config,
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> EndpointStats {
        EndpointStats {
            half_open: self.half_open.len() as u64,
            ..self.stats
        }
    }

    /// A half-open connection that has to make room for another client: have it
    /// [`evict`](Connection::evict)ed. To be asked after each [`Routed::Incoming`].
    pub fn poll_evicted(&mut self) -> Option<ConnectionHandle> {
        self.evicted.pop_front()
    }

    /// Connections not yet forgotten.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Begin a connection to `remote`.
    ///
    /// # Errors
    /// [`ConnectError::InvalidAddress`]; a service name TLS cannot carry.
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        config: ClientConfig,
    ) -> Result<(ConnectionHandle, Connection), ConnectError> {
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(ConnectError::InvalidAddress(remote));
        }
        let local_id = self.random_id();
        let remote_id = self.random_id();
        let crypto = ClientCrypto::new(&config);
        let budget = self.budgets.own();
        let streams = Streams::new(StreamsConfig::new(Side::Client, &config.transport, budget));
        let params = parameters(&config.transport, &self.config, local_id, &streams);
        let handshake = Handshake::client(now, crypto, &config.transport, &params, remote_id)?;
        let opening = Opening {
            side: Side::Client,
            config: config.transport,
            remote,
            validated: true,
            local_id,
            remote_id,
            handshake,
            reset_key: self.reset_key.clone(),
            seed: self.rng.random(),
            streams,
        };
        let handle = self.enter(local_id, None);
        Ok((handle, Connection::new(now, opening)))
    }

    /// Where `datagram` belongs; an answer of the endpoint's own is written to `out`, which must be empty.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: Datagram,
        out: &mut Vec<u8>,
    ) -> Routed {
        let Ok(header) = PartialHeader::decode(&datagram.payload) else {
            self.stats.dropped += 1;
            return Routed::Dropped;
        };
        if let Some(&handle) = self.routes.get(&header.dcid) {
            return Routed::Connection(handle, datagram);
        }
        let key = Key {
            remote: datagram.remote,
            id: header.dcid,
        };
        match self.attempts.get_mut(&key) {
            Some(Attempt::Accepted(handle)) => return Routed::Connection(*handle, datagram),
            Some(Attempt::Waiting(waiting)) => {
                Attempt::keep(waiting, datagram);
                return Routed::Dropped;
            }
            None => {}
        }
        match header.kind {
            PacketKind::Initial {
                scid, ref token, ..
            } => {
                let greeting = Greeting {
                    key,
                    client_id: scid,
                    token: Bytes::copy_from_slice(&datagram.payload[token.clone()]),
                };
                self.handle_initial(now, datagram, &greeting, out)
            }
            PacketKind::UnknownVersion { scid, .. } => {
                self.negotiate_version(&datagram, header.dcid, scid, out)
            }
            PacketKind::Short { .. } => match self.reset_for(&datagram) {
                Some(handle) => Routed::Connection(handle, datagram),
                None => self.reset(now, &datagram, header.dcid, out),
            },
            _ => {
                self.stats.dropped += 1;
                Routed::Dropped
            }
        }
    }

    fn handle_initial(
        &mut self,
        now: Instant,
        datagram: Datagram,
        greeting: &Greeting,
        out: &mut Vec<u8>,
    ) -> Routed {
        let &Greeting { key, client_id, .. } = greeting;
        //= spec/02-handshake.md#amplification
        //# A server MUST drop a client's first datagram that is shorter than 1200 bytes.
        if self.server.is_none() || datagram.payload.len() < MIN_INITIAL_DATAGRAM {
            self.stats.dropped += 1;
            return Routed::Dropped;
        }
        //= spec/02-handshake.md#retry
        //# A server MUST treat a packet whose token is not valid as if it carried none.
        // A token that does not verify is as good as none: the client may have kept it too long.
        let proven = self
            .tokens
            .open(now, key.remote, &key.id, &greeting.token)
            .ok();
        if self.half_open.is_closed() {
            self.stats.refused += 1;
            return Routed::Response(write_refusal(key, client_id, datagram.local_ip, out));
        }
        //= spec/02-handshake.md#retry
        //# A server SHOULD answer with a Retry while more handshakes are in progress than its threshold, unless
        //# the packet has a valid token.
        //= spec/02-handshake.md#half-open-connections
        //# A client that has not proven its address MUST NOT end another's handshake; it gets a Retry.
        let is_loaded = self.half_open.len() >= self.config.retry_above
            || self.half_open.is_full_for(key.remote);
        if proven.is_none() && is_loaded {
            self.stats.retries += 1;
            return Routed::Response(self.write_retry(now, &datagram, key.id, client_id, out));
        }
        let (place, evicted) = self.half_open.insert(key);
        if let Some(evicted) = evicted {
            self.stats.evicted += 1;
            match self.attempts.get(&evicted) {
                Some(Attempt::Accepted(handle)) => self.evicted.push_back(*handle),
                _ => drop(self.attempts.remove(&evicted)),
            }
        }
        let incoming = Incoming {
            key,
            place,
            validated: proven.is_some(),
            original_id: proven.unwrap_or(key.id),
            client_id,
            local_ip: datagram.local_ip,
        };
        self.attempts.insert(key, Attempt::Waiting(vec![datagram]));
        Routed::Incoming(incoming)
    }

    /// Make a connection of an attempt. Poll it before anything else.
    ///
    /// # Errors
    /// The attempt has made room for another; or the server's settings do not work with TLS, and the attempt is
    /// forgotten.
    pub fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
    ) -> Result<(ConnectionHandle, Connection), ConnectionError> {
        let Incoming {
            key,
            place,
            validated,
            original_id,
            client_id,
            ..
        } = incoming;
        if !self.half_open.holds(&key, place) {
            return Err(ConnectionError::LocallyClosed);
        }
        let waiting = match self.attempts.remove(&key) {
            Some(Attempt::Waiting(waiting)) => waiting,
            _ => Vec::new(),
        };
        let local_id = self.random_id();
        let budget = self.budgets.of(key.remote.ip());
        let retry_id = validated.then_some(key.id);
        let made = self.make_server(now, local_id, original_id, retry_id, budget);
        let (config, handshake, streams) = match made {
            Ok(made) => made,
            Err(error) => {
                self.half_open.remove(&key);
                return Err(error);
            }
        };
        let opening = Opening {
            side: Side::Server,
            config,
            remote: key.remote,
            validated,
            local_id,
            remote_id: client_id,
            handshake,
            reset_key: self.reset_key.clone(),
            seed: self.rng.random(),
            streams,
        };
        let handle = self.enter(local_id, Some(key));
        let mut connection = Connection::new(now, opening);
        for datagram in waiting {
            connection.handle_datagram(now, datagram);
        }
        Ok((handle, connection))
    }

    fn make_server(
        &self,
        now: Instant,
        local_id: ConnectionId,
        original_id: ConnectionId,
        retry_id: Option<ConnectionId>,
        budget: Budget,
    ) -> Result<(TransportConfig, Handshake, Streams), ConnectionError> {
        let server = self.server.as_ref().ok_or(ConnectionError::LocallyClosed)?;
        let config = &server.config.transport;
        let streams = Streams::new(StreamsConfig::new(Side::Server, config, budget));
        let mut params = parameters(config, &self.config, local_id, &streams);
        //= spec/02-handshake.md#retry
        //# A server MUST be able to learn the original destination connection id from the token
        //# alone, and MUST send it back in its transport parameters.
        params.original_destination_id = Some(original_id);
        params.retry_source_id = retry_id;
        params.stateless_reset_token = Some(*self.reset_key.token(&local_id).as_bytes());
        let mut encoded = Vec::new();
        params.encode(&mut encoded);
        let session = Session::server(&server.crypto, encoded)?;
        let handshake = Handshake::server(now, session, config, original_id, retry_id);
        Ok((config.clone(), handshake, streams))
    }

    /// Turn an attempt away, with a packet that says so in `out`, which must be empty.
    pub fn refuse(&mut self, incoming: Incoming, out: &mut Vec<u8>) -> Transmit {
        let Incoming {
            key,
            place,
            client_id,
            local_ip,
            ..
        } = incoming;
        self.stats.refused += 1;
        if self.half_open.holds(&key, place) {
            self.half_open.remove(&key);
            self.attempts.remove(&key);
        }
        write_refusal(key, client_id, local_ip, out)
    }

    /// News from a connection.
    pub fn handle_event(&mut self, handle: ConnectionHandle, event: EndpointEvent) {
        let Some(entry) = self.connections.get_mut(handle.0) else {
            return;
        };
        match event {
            EndpointEvent::AddId(id) => {
                entry.ids.push(id);
                self.routes.insert(id, handle);
            }
            EndpointEvent::RetireId(id) => {
                entry.ids.retain(|known| *known != id);
                self.routes.remove(&id);
            }
            EndpointEvent::ExpectReset(token) => {
                entry.reset_token = Some(token);
                self.expected_resets.insert(token, handle);
            }
            EndpointEvent::ForgetReset(token) => {
                self.expected_resets.remove(&token);
            }
            EndpointEvent::Established => self.settle(handle),
            EndpointEvent::Drained => {
                self.settle(handle);
                let entry = self.connections.remove(handle.0);
                for id in entry.ids {
                    self.routes.remove(&id);
                }
                if let Some(token) = entry.reset_token {
                    self.expected_resets.remove(&token);
                }
                if let Some(key) = entry.attempt {
                    self.attempts.remove(&key);
                }
            }
        }
    }

    /// A handshake is over, one way or the other.
    fn settle(&mut self, handle: ConnectionHandle) {
        if let Some(key) = self
            .connections
            .get(handle.0)
            .and_then(|entry| entry.attempt)
        {
            self.half_open.remove(&key);
        }
    }

    fn enter(&mut self, id: ConnectionId, attempt: Option<Key>) -> ConnectionHandle {
        let handle = ConnectionHandle(self.connections.insert(Entry {
            ids: vec![id],
            reset_token: None,
            attempt,
        }));
        self.routes.insert(id, handle);
        if let Some(key) = attempt {
            self.attempts.insert(key, Attempt::Accepted(handle));
        }
        handle
    }

    fn random_id(&mut self) -> ConnectionId {
        ConnectionId::new(self.rng.random())
    }
}
