//! Driving the TLS handshake, and what its end settles: parameters, keys, ids.
//! The packets it travels in live in `handshake.rs`.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Connection, Datagram,
    event::{EndpointEvent, Event},
    handshake::{Space, Spaces},
    state::State,
};
use crate::{
    config::{EndpointConfig, TransportConfig},
    congestion::Rtt,
    crypto::{
        handshake::{ClientCrypto, KeyChange, Level, Session, SessionError},
        keys::initial_keys,
        token::ResetKey,
    },
    error::{ConnectionError, TransportCode, TransportError},
    stream::Streams,
    units::Side,
    wire::{
        id::{ConnectionId, PathId},
        params::TransportParameters,
    },
};

/// Datagrams kept that arrived before their keys: the peer's first flight may overtake the last
/// handshake packet.
const MAX_EARLY: usize = 32;

/// What an endpoint knows when a connection begins.
pub(crate) struct Opening {
    pub(crate) side: Side,
    pub(crate) config: TransportConfig,
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) validated: bool,
    pub(crate) local_id: ConnectionId,
    pub(crate) remote_id: ConnectionId,
    pub(crate) handshake: Handshake,
    pub(crate) reset_key: ResetKey,
    pub(crate) seed: [u8; 32],
    pub(crate) streams: Streams,
}

/// The handshake's state; the session outlives it for the peer's name.
#[derive(Debug)]
pub(crate) struct Handshake {
    session: Session,
    pub(super) spaces: Spaces,
    /// Level at which TLS writes.
    writing: Level,
    /// The client's first destination id, which keys and parameters refer to.
    original_id: ConnectionId,
    /// The id the server's Retry named.
    retry_id: Option<ConnectionId>,
    /// The id the peer's first packet came from.
    pub(super) peer_id: Option<ConnectionId>,
    /// To be repeated in Initial packets.
    pub(super) token: Bytes,
    /// Datagrams that came before their keys.
    early: Vec<Datagram>,
    deadline: Instant,
    /// Both ends are known to have finished.
    pub(super) confirmed: bool,
    /// What a client needs to begin anew after a Retry.
    restart: Option<(ClientCrypto, Vec<u8>)>,
}

impl Handshake {
    /// A client's handshake that reaches the server first as `original_id`.
    pub(crate) fn client(
        now: Instant,
        crypto: ClientCrypto,
        config: &TransportConfig,
        params: &TransportParameters,
        original_id: ConnectionId,
    ) -> Result<Self, ConnectionError> {
        let mut encoded = Vec::new();
        params.encode(&mut encoded);
        let session = Session::client(&crypto, encoded.clone())?;
        let restart = Some((crypto, encoded));
        Ok(Self {
            restart,
            ..Self::new(now, config, session, original_id, Side::Client)
        })
    }

    /// A server's handshake with a client that reached it first as `original_id`, and after a
    /// Retry as `retry_id`.
    pub(crate) fn server(
        now: Instant,
        session: Session,
        config: &TransportConfig,
        original_id: ConnectionId,
        retry_id: Option<ConnectionId>,
    ) -> Self {
        let keyed = retry_id.unwrap_or(original_id);
        let mut handshake = Self::new(now, config, session, keyed, Side::Server);
        handshake.original_id = original_id;
        handshake.retry_id = retry_id;
        handshake
    }

    fn new(
        now: Instant,
        config: &TransportConfig,
        session: Session,
        keyed: ConnectionId,
        side: Side,
    ) -> Self {
        let mut spaces = Spaces::default();
        spaces.install(Level::Initial, Space::new(initial_keys(&keyed, side)));
        Self {
            session,
            spaces,
            writing: Level::Initial,
            original_id: keyed,
            retry_id: None,
            peer_id: None,
            token: Bytes::new(),
            early: Vec::new(),
            deadline: now + config.handshake_timeout,
            confirmed: false,
            restart: None,
        }
    }

    /// What both ends know the connection by from its first packet on.
    pub(super) fn original_id(&self) -> ConnectionId {
        self.original_id
    }

    /// The TLS session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// When the handshake must be complete.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When handshake packets are sent again.
    pub(super) fn due_at(&self, rtt: &Rtt) -> Option<Instant> {
        let insistent = self.restart.is_some() && !self.confirmed;
        self.spaces.due_at(rtt, insistent)
    }

    /// That time came.
    pub(super) fn on_timeout(&mut self) {
        self.spaces.on_timeout();
    }

    /// Keep a datagram for when its keys have come.
    pub(super) fn keep_early(&mut self, datagram: Datagram) -> bool {
        let keep = self.early.len() < MAX_EARLY;
        if keep {
            self.early.push(datagram);
        }
        keep
    }
}

/// The parameters an endpoint announces, but for those only a server adds.
pub(crate) fn parameters(
    config: &TransportConfig,
    endpoint: &EndpointConfig,
    local_id: ConnectionId,
    streams: &Streams,
) -> TransportParameters {
    let mut params = TransportParameters {
        idle_timeout_ms: u64::try_from(config.idle_timeout.as_millis()).unwrap_or(0),
        max_udp_payload: u64::from(endpoint.max_udp_payload),
        max_datagram: config.max_datagram(),
        initial_source_id: Some(local_id),
        ..TransportParameters::default()
    };
    streams.describe(&mut params);
    params
}

impl Connection {
    /// Feed TLS what arrived and send what it says, until it has nothing more.
    pub(super) fn drive_handshake(&mut self, now: Instant) {
        if let Err(error) = self.advance_handshake() {
            self.fail_with(now, error.code(), error.into());
            return;
        }
        //= spec/02-handshake.md#parameters
        //# An endpoint MUST NOT act on the peer's parameters before the handshake is complete.
        let done = !self.handshake.session.is_handshaking();
        if done && matches!(self.state, State::Handshaking) && self.keys.is_some() {
            match self.adopt_parameters() {
                Ok(()) => self.establish(now),
                Err(error) => self.fail(now, error),
            }
        }
    }

    fn advance_handshake(&mut self) -> Result<(), SessionError> {
        let handshake = &mut self.handshake;
        loop {
            let level = handshake.session.reading();
            let bytes = handshake.spaces.get_mut(level).and_then(Space::read);
            let idle = bytes.is_none();
            if let Some(bytes) = bytes {
                handshake.session.read(level, &bytes)?;
            }
            let mut wrote = false;
            loop {
                let mut out = Vec::new();
                let change = handshake.session.write(&mut out);
                if !out.is_empty()
                    && let Some(space) = handshake.spaces.get_mut(handshake.writing)
                {
                    space.send(&out);
                }
                match change {
                    Some(KeyChange::Handshake(keys)) => {
                        handshake.spaces.install(Level::Handshake, Space::new(keys));
                        handshake.writing = Level::Handshake;
                    }
                    Some(KeyChange::Data(keys)) => {
                        self.keys = Some(keys);
                        handshake.writing = Level::Data;
                    }
                    None if out.is_empty() => break,
                    None => {}
                }
                wrote = true;
            }
            if idle && !wrote {
                return Ok(());
            }
        }
    }

    /// Check the peer's parameters against the packets they came in, and live by them.
    fn adopt_parameters(&mut self) -> Result<(), TransportError> {
        let missing = || {
            TransportError::new(
                TransportCode::TRANSPORT_PARAMETER_ERROR,
                "transport parameters missing",
            )
        };
        let bytes = self
            .handshake
            .session
            .peer_parameters()
            .ok_or_else(missing)?;
        let params = TransportParameters::decode(bytes, self.side.peer())?;
        //= spec/02-handshake.md#parameters
        //# An endpoint MUST close the connection with TRANSPORT_PARAMETER_ERROR when the connection ids in the
        //# peer's parameters are not those the handshake used.
        let genuine = params.initial_source_id == self.handshake.peer_id
            && (self.side == Side::Server
                || (params.original_destination_id == Some(self.handshake.original_id)
                    && params.retry_source_id == self.handshake.retry_id));
        if !genuine {
            return Err(TransportError::new(
                TransportCode::TRANSPORT_PARAMETER_ERROR,
                "connection ids differ from those of the handshake",
            ));
        }
        if let Some(token) = params.stateless_reset_token {
            self.ids.set_reset_token(token, &mut self.endpoint_events);
        }
        self.idle
            .set_peer_timeout(Duration::from_millis(params.idle_timeout_ms));
        self.datagrams.set_peer_max(params.max_datagram);
        self.streams.set_peer_parameters(&params);
        //= spec/07-paths.md#packet-size
        //# An endpoint MUST NOT send a packet larger than the peer's max_udp_payload.
        for path in self.paths.iter_mut() {
            path.mtu
                .limit(u16::try_from(params.max_udp_payload).unwrap_or(u16::MAX));
        }
        Ok(())
    }

    /// The handshake is complete on this side.
    fn establish(&mut self, now: Instant) {
        self.state = State::Established;
        self.paths[PathId::INITIAL].on_established(now);
        self.idle.on_received(now);
        self.endpoint_events.push_back(EndpointEvent::Established);
        self.events.push_back(Event::Connected);
        self.ids
            .offer_spares(&mut self.rng, &mut self.endpoint_events);
        if self.side == Side::Server {
            // The client's Finished proves both its key and its address.
            self.paths[PathId::INITIAL].validation.set_validated();
            self.announce_done = true;
            self.confirm_handshake();
        }
        for datagram in std::mem::take(&mut self.handshake.early) {
            self.handle_packets(now, datagram);
        }
    }

    /// Both sides are known to be done: handshake keys have served.
    pub(super) fn confirm_handshake(&mut self) {
        //= spec/02-handshake.md#levels
        //# An endpoint MUST discard its Handshake keys when the handshake is confirmed: for a server when it
        //# is complete, for a client when HANDSHAKE_DONE arrives.
        if !std::mem::replace(&mut self.handshake.confirmed, true) {
            self.events.push_back(Event::Confirmed);
        }
        self.handshake.restart = None;
        self.handshake.spaces.discard(Level::Initial);
        self.handshake.spaces.discard(Level::Handshake);
    }

    /// The server wants proof of our address: begin anew with its token.
    pub(super) fn on_retry(
        &mut self,
        now: Instant,
        packet: &[u8],
        server_id: ConnectionId,
        token: Bytes,
    ) {
        //= spec/02-handshake.md#retry
        //# A client MUST drop a Retry that is not its first, that follows any other packet of the server, or
        //# whose token is empty.
        let first = self.handshake.retry_id.is_none() && self.handshake.peer_id.is_none();
        if !first || token.is_empty() || self.side == Side::Server {
            self.dropped.unexpected += 1;
            return;
        }
        if !crate::crypto::token::is_retry_for(&self.handshake.original_id, packet) {
            self.dropped.unauthentic += 1;
            return;
        }
        let Some((crypto, params)) = self.handshake.restart.clone() else {
            return;
        };
        let session = match Session::client(&crypto, params) {
            Ok(session) => session,
            Err(error) => return self.fail_with(now, error.code(), error.into()),
        };
        let handshake = &mut self.handshake;
        handshake.session = session;
        handshake.writing = Level::Initial;
        handshake.retry_id = Some(server_id);
        handshake.token = token;
        let keys = initial_keys(&server_id, Side::Client);
        handshake.spaces.install(Level::Initial, Space::new(keys));
        self.ids.set_remote(server_id);
        self.drive_handshake(now);
    }
}
