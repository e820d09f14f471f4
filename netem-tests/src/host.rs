//! One machine of the virtual world: an engine endpoint, its connections and an application on each.
//! Links, and the order in which machines act, are in `world`.

use std::{net::SocketAddr, time::Instant};

use bytes::{Bytes, BytesMut};
use rp_protocol::{
    config::{ClientConfig, EndpointConfig, ServerConfig},
    congestion::PathMemory,
    engine::{Connection, ConnectionHandle, Datagram, Endpoint, Event, Output, Routed, Transmit},
    error::{ConnectError, ConnectionError},
    stats::Stats,
    units::EcnCodepoint,
};

use crate::bulk::Application;

/// A datagram on its way between two machines.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) payload: Bytes,
}

/// A connection, its application and when it wants to be asked again.
#[derive(Debug)]
struct Slot {
    handle: ConnectionHandle,
    connection: Connection,
    application: Application,
    due: Option<Instant>,
    is_dirty: bool,
}

/// One machine.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    endpoint: Endpoint,
    slots: Vec<Slot>,
    /// Applications of connections that are gone.
    ended: Vec<Application>,
    /// What a connection from outside gets.
    on_accept: Application,
    buffer: Vec<u8>,
}

impl Host {
    pub(crate) fn new(
        address: SocketAddr,
        server: Option<ServerConfig>,
        on_accept: Application,
        seed: [u8; 32],
    ) -> Self {
        Self {
            address,
            endpoint: Endpoint::new(EndpointConfig::default(), server, seed),
            slots: Vec::new(),
            ended: Vec::new(),
            on_accept,
            buffer: Vec::new(),
        }
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The applications of its connections: those of the living, oldest first, then of those that are gone.
    pub fn applications(&self) -> impl Iterator<Item = &Application> {
        let living = self.slots.iter().map(|slot| &slot.application);
        living.chain(&self.ended)
    }

    /// Why one of its connections ended, if one has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.applications().find_map(Application::error)
    }

    /// The numbers of its living connections, oldest first.
    pub fn stats(&self) -> impl Iterator<Item = Stats> {
        self.slots.iter().map(|slot| slot.connection.stats())
    }

    /// What its oldest living connection learnt of the path.
    pub fn path_memory(&self) -> Option<PathMemory> {
        self.slots.first()?.connection.path_memory()
    }

    pub(crate) fn connect(
        &mut self,
        now: Instant,
        to: SocketAddr,
        config: ClientConfig,
        application: Application,
    ) -> Result<(), ConnectError> {
        let (handle, connection) = self.endpoint.connect(now, to, config)?;
        self.enter(handle, connection, application);
        Ok(())
    }

    fn enter(
        &mut self,
        handle: ConnectionHandle,
        connection: Connection,
        application: Application,
    ) {
        self.slots.push(Slot {
            handle,
            connection,
            application,
            due: None,
            is_dirty: true,
        });
    }

    /// Takes a datagram from a link; an answer of the endpoint's own goes to `send`.
    pub(crate) fn receive(&mut self, now: Instant, wire: Wire, send: &mut impl FnMut(Wire)) {
        let datagram = Datagram {
            remote: wire.from,
            local_ip: None,
            ecn: wire.ecn,
            received_at: now,
            payload: BytesMut::from(wire.payload),
        };
        self.buffer.clear();
        match self
            .endpoint
            .handle_datagram(now, datagram, &mut self.buffer)
        {
            Routed::Dropped => {}
            Routed::Connection(handle, datagram) => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.handle == handle) {
                    slot.connection.handle_datagram(now, datagram);
                    slot.is_dirty = true;
                }
            }
            Routed::Incoming(incoming) => {
                // A refusal by TLS settings shows as a connection that never comes up.
                if let Ok((handle, connection)) = self.endpoint.accept(now, incoming) {
                    self.enter(handle, connection, self.on_accept.clone());
                }
            }
            Routed::Response(transmit) => split(self.address, &transmit, &self.buffer, send),
        }
    }

    /// Fires the timers that are due.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.due.is_some_and(|due| due <= now) {
                slot.connection.handle_timeout(now);
                slot.is_dirty = true;
            }
        }
    }

    /// Lets every connection that may have news speak; says when the next wants to.
    pub(crate) fn drain(&mut self, now: Instant, send: &mut impl FnMut(Wire)) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for slot in &mut self.slots {
            if slot.is_dirty {
                slot.is_dirty = false;
                slot.due = slot.drain(
                    now,
                    self.address,
                    &mut self.endpoint,
                    &mut self.buffer,
                    send,
                );
            }
            next = [next, slot.due].into_iter().flatten().min();
        }
        let drained = |slot: &mut Slot| slot.connection.is_drained();
        let gone = self.slots.extract_if(.., drained);
        self.ended.extend(gone.map(|slot| slot.application));
        next
    }
}

impl Slot {
    fn drain(
        &mut self,
        now: Instant,
        from: SocketAddr,
        endpoint: &mut Endpoint,
        buffer: &mut Vec<u8>,
        send: &mut impl FnMut(Wire),
    ) -> Option<Instant> {
        loop {
            buffer.clear();
            match self.connection.poll(now, buffer) {
                Output::Transmit(transmit) => split(from, &transmit, buffer, send),
                Output::Event(event) => {
                    let is_over = matches!(event, Event::Closed(_));
                    self.application
                        .handle_event(now, &mut self.connection, event);
                    if is_over {
                        return None;
                    }
                }
                Output::Endpoint(event) => endpoint.handle_event(self.handle, event),
                Output::Wait(due) => return due,
            }
        }
    }
}

/// Cuts a batch into its datagrams.
fn split(from: SocketAddr, transmit: &Transmit, buffer: &[u8], send: &mut impl FnMut(Wire)) {
    let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
    for datagram in buffer[..transmit.len].chunks(segment) {
        send(Wire {
            from,
            to: transmit.remote,
            ecn: transmit.ecn,
            payload: Bytes::copy_from_slice(datagram),
        });
    }
}
