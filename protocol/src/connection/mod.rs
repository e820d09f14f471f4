//! One connection as a pure state machine: input by `handle_*`, output by `poll`.
//! Sockets, tasks and clocks live in `driver`; what depends on the way packets go, in `path`.
//!
//! - `receive.rs`: datagram -> packets -> opened -> frames
//! - `frames.rs`: what each frame means
//! - `establish.rs`: driving TLS, and what a finished handshake settles
//! - `paths.rs`: the one table of paths; everything else names a path or is given one
//! - `transmit.rs`: what may leave now, in which order; `contents.rs`: what data packets hold, behind what
//!   `reports.rs` says of arrivals; `packet_builder.rs` lays it out; `handshake_packets.rs`, `probe.rs`, `close.rs`:
//!   packets that are sent alone
//! - `migration.rs`: the peer at another address
//! - `application.rs`: streams and datagrams as the application uses them
//! - `timers.rs`: the one deadline, and what is done then
//! - `state.rs`: lifecycle and silence; `handshake.rs`, `ids.rs`, `datagrams.rs`: parts with their own state

mod application;
mod close;
mod contents;
mod datagrams;
mod establish;
mod event;
mod frames;
mod handshake;
mod handshake_packets;
mod ids;
mod migration;
mod packet_builder;
mod paths;
mod probe;
mod receive;
mod redundancy;
mod reports;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) use self::establish::{Handshake, Opening, parameters};
pub use self::event::{Datagram, EndpointEvent, Event, Output, Transmit};
use self::{
    datagrams::Datagrams,
    ids::Ids,
    paths::Paths,
    receive::Origin,
    redundancy::Redundancy,
    state::{Closing, Idle, State},
};
use crate::{
    config::{Policy, TransportConfig},
    congestion::PathMemory,
    crypto::{identity::PublicKey, keys::DataKeys},
    error::{ConnectionError, TransportCode, TransportError},
    path::{Feedback, Path},
    stats::{Dropped, Stats},
    stream::Streams,
    trace::{self, Start, Trace},
    units::{Bandwidth, CloseCode, Side},
    wire::{frame::Close, id::PathId},
};

/// Probe intervals a closed connection lingers, so that late packets find somebody
/// (spec/06-lifecycle.md#closing).
const LINGER: u32 = 3;
/// Bytes of a close reason that are sent; a packet must hold it.
const MAX_REASON: usize = 512;

/// A connection, from either end.
///
/// After any input, call [`poll`](Self::poll) until it answers [`Output::Wait`].
pub struct Connection {
    side: Side,
    config: TransportConfig,
    state: State,
    error: Option<ConnectionError>,
    rng: StdRng,
    handshake: Handshake,
    keys: Option<DataKeys>,
    ids: Ids,
    paths: Paths,
    streams: Streams,
    datagrams: Datagrams,
    idle: Idle,
    /// The server owes HANDSHAKE_DONE.
    announce_done: bool,
    /// An answer to a PATH_CHALLENGE: the bytes, and where they came from.
    path_response: Option<([u8; 8], Origin)>,
    /// A sign of life is wanted.
    ping: bool,
    events: VecDeque<Event>,
    endpoint_events: VecDeque<EndpointEvent>,
    feedback: Feedback,
    redundancy: Redundancy,
    dropped: Dropped,
}

impl Connection {
    pub(crate) fn new(now: Instant, opening: Opening) -> Self {
        let Opening {
            side,
            config,
            remote,
            validated,
            local_id,
            remote_id,
            handshake,
            reset_key,
            seed,
            streams,
        } = opening;
        let mut rng = StdRng::from_seed(seed);
        let mut path = Path::new(
            PathId::INITIAL,
            now,
            remote,
            validated,
            &config,
            rng.random(),
        );
        let start = Start {
            now,
            side,
            remote,
            connection: handshake.original_id(),
        };
        path.trace = Trace::begin(config.tracer.as_deref(), &start);
        let mut connection = Self {
            side,
            state: State::Handshaking,
            error: None,
            rng,
            handshake,
            keys: None,
            ids: Ids::new(PathId::INITIAL, local_id, remote_id, reset_key),
            paths: Paths::new(path),
            streams,
            datagrams: Datagrams::new(config.datagram_buffer),
            idle: Idle::new(now, config.idle_timeout, config.keep_alive),
            announce_done: false,
            path_response: None,
            ping: false,
            events: VecDeque::new(),
            endpoint_events: VecDeque::new(),
            feedback: Feedback::default(),
            redundancy: Redundancy::default(),
            dropped: Dropped::default(),
            config,
        };
        if side == Side::Client {
            connection.drive_handshake(now);
        }
        connection
    }

    /// What to do next. `out` must be empty; for [`Output::Transmit`] it holds the bytes.
    ///
    /// Events first, so that an application reacts before more is sent on its behalf.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u8>) -> Output {
        debug_assert!(out.is_empty(), "the caller clears the buffer");
        if let Some(event) = self.endpoint_events.pop_front() {
            return Output::Endpoint(event);
        }
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        // Reads carry no time, yet how fast they are decides the credit about to be written.
        self.streams.advance(now);
        if let Some(transmit) = self.transmit(now, out) {
            return Output::Transmit(transmit);
        }
        Output::Wait(self.due_at())
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if !self.state.is_open() {
            return None;
        }
        self.streams.poll_event().map(Event::Stream)
    }

    /// Close with `code` and `reason`; everything not yet acknowledged is abandoned.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: Bytes) {
        if !self.state.is_open() {
            return;
        }
        let reason = reason.slice(..reason.len().min(MAX_REASON));
        let frame = Close::Application { code, reason };
        self.start_closing(now, frame, ConnectionError::LocallyClosed);
    }

    /// Make room for another client, if the handshake is not complete: the peer is told once, and nobody lingers.
    pub fn evict(&mut self, now: Instant) {
        if !self.is_handshaking() {
            return;
        }
        let code = TransportCode::CONNECTION_REFUSED;
        self.fail_with(now, code, ConnectionError::LocallyClosed);
        if let State::Closing(closing) = &mut self.state {
            closing.until = now;
        }
    }

    /// Close because the peer broke a rule.
    fn fail(&mut self, now: Instant, error: TransportError) {
        self.fail_with(now, error.code, ConnectionError::Transport(error));
    }

    fn fail_with(&mut self, now: Instant, code: TransportCode, error: ConnectionError) {
        if self.state.is_open() {
            let frame = Close::Transport {
                code,
                frame_type: 0,
                reason: Bytes::new(),
            };
            self.start_closing(now, frame, error);
        }
    }

    fn start_closing(&mut self, now: Instant, frame: Close, error: ConnectionError) {
        let until = now + self.linger();
        self.leave_open(now, error);
        self.state = State::Closing(Closing::new(frame, until));
    }

    /// The peer closed.
    fn start_draining(&mut self, now: Instant, error: ConnectionError) {
        if self.state.is_open() {
            self.leave_open(now, error);
        }
        if !matches!(self.state, State::Drained) {
            self.state = State::Draining {
                until: now + self.linger(),
            };
        }
    }

    /// End at once and tell nobody: nobody is there.
    fn fail_silently(&mut self, now: Instant, error: ConnectionError) {
        if self.state.is_open() {
            self.leave_open(now, error);
        }
        self.drain();
    }

    fn leave_open(&mut self, now: Instant, error: ConnectionError) {
        let close = || trace::Event::Closed((&error).into());
        self.paths.active_mut().trace.emit(now, close);
        if matches!(self.state, State::Handshaking) {
            self.endpoint_events.push_back(EndpointEvent::Established);
        }
        self.error = Some(error.clone());
        self.events.push_back(Event::Closed(error));
    }

    fn drain(&mut self) {
        self.state = State::Drained;
        self.endpoint_events.push_back(EndpointEvent::Drained);
    }

    fn linger(&self) -> Duration {
        self.paths.probe_interval() * LINGER
    }

    /// Hand the fate of frames to their owners.
    fn settle(&mut self) {
        let mut feedback = std::mem::take(&mut self.feedback);
        for frame in feedback.acked.drain(..) {
            self.on_frame_acked(frame);
        }
        for frame in feedback.lost.drain(..) {
            self.on_frame_lost(frame);
        }
        self.feedback = feedback;
    }

    /// Whether stream bytes that may be sent, or the end of the connection, wait to be sent.
    pub fn has_unsent(&self) -> bool {
        match &self.state {
            State::Handshaking | State::Established => self.streams.interest().any(),
            State::Closing(closing) => closing.pending,
            State::Draining { .. } | State::Drained => false,
        }
    }

    /// Whether nothing more will come out of this connection.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Drained)
    }

    /// Whether the handshake is still to finish.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking)
    }

    /// Whether the peer has let us in. A client's handshake is complete before its own key was judged.
    pub fn is_confirmed(&self) -> bool {
        self.handshake.confirmed
    }

    /// The peer's key, once the handshake is complete.
    pub fn peer(&self) -> Option<PublicKey> {
        self.handshake.session().peer()
    }

    /// The service agreed on, once the handshake is complete.
    pub fn service(&self) -> Option<&str> {
        self.handshake.session().service()
    }

    /// Where packets with data go.
    pub fn remote_address(&self) -> SocketAddr {
        self.paths.active().remote
    }

    /// Smallest round trip of any path so far, once the handshake is complete.
    pub fn min_rtt(&self) -> Option<Duration> {
        if self.is_handshaking() {
            return None;
        }
        self.paths.iter().filter_map(Path::min_rtt).min()
    }

    /// Probe timeouts since something was last acknowledged, of the path on which there are fewest.
    pub fn unanswered_probes(&self) -> u32 {
        let counts = self.paths.iter().map(Path::unanswered_probes);
        counts.min().unwrap_or(0)
    }

    /// Numbers at this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            paths: self.paths.iter().map(Path::stats).collect(),
            dropped: self.dropped,
            key_updates: self.keys.as_ref().map_or(0, DataKeys::updates),
            streams: self.streams.counters(),
        }
    }

    /// Set or lift the maximum rate, on all paths.
    pub fn set_max_rate(&mut self, max_rate: Option<Bandwidth>) {
        self.config.max_rate = max_rate;
        for path in self.paths.iter_mut() {
            path.set_max_rate(max_rate);
        }
    }

    /// Decide the rate by `policy` from here on.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.config.policy = policy;
        for path in self.paths.iter_mut() {
            path.set_policy(now, &self.config);
        }
    }

    /// The path of the data may be one known from before: to be said before the first data is sent.
    pub fn recall(&mut self, memory: &PathMemory) {
        self.paths.active_mut().recall(memory);
    }

    /// What was learnt of the path of the data, to be kept for [`recall`](Self::recall) on a later connection;
    /// `None` as long as it has carried too little to tell.
    pub fn path_memory(&self) -> Option<PathMemory> {
        self.paths.active().memory()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("state", &self.state)
            .field("remote", &self.remote_address())
            .finish_non_exhaustive()
    }
}
