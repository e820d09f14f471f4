//! The adversary: the product's own engine, whose datagrams leave from any socket and whose clock may go
//! wrong. What it does with that is each attack's matter.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::BytesMut;
use rp_cli::{identity::load_or_make_host_key, prompt::Terminal};
use rp_protocol::{
    config::{ClientConfig, EndpointConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    engine::{Connection, ConnectionHandle, Datagram, Endpoint, Output, Routed},
};

use super::stage::Stage;

/// Longest wait for a datagram, so that deadlines are looked at.
const TICK: Duration = Duration::from_millis(5);

/// Time for a handshake on loopback.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct AnyServer;

impl PeerVerifier for AnyServer {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// Connections of one endpoint behind one socket.
pub(super) struct Client {
    endpoint: Endpoint,
    identity: Arc<Identity>,
    connections: BTreeMap<ConnectionHandle, Connection>,
    pub(super) socket: UdpSocket,
    server: SocketAddr,
    began: Instant,
    /// What the clock's progress is divided by.
    slowness: u32,
    buffer: Vec<u8>,
}

impl Client {
    /// A client with the stage's user key that sends from `from` to `server`.
    pub(super) fn new(stage: &Stage, from: Ipv4Addr, server: SocketAddr) -> anyhow::Result<Self> {
        let identity = load_or_make_host_key(&stage.keys.user, &Terminal)?.identity;
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self {
            endpoint: Endpoint::new(EndpointConfig::default(), None, [9; 32]),
            identity: Arc::new(identity),
            connections: BTreeMap::new(),
            socket,
            server,
            began: now(),
            slowness: 1,
            buffer: vec![0; 65536],
        })
    }

    /// Divides all times by `divisor`, and with them the arrival times in ACKs.
    pub(super) fn slow_clock(mut self, divisor: u32) -> Self {
        self.slowness = divisor;
        self
    }

    fn now(&self) -> Instant {
        self.began + self.began.elapsed() / self.slowness
    }

    /// Begins a connection; nothing is sent yet.
    pub(super) fn begin(
        &mut self,
        service: &str,
        transport: TransportConfig,
    ) -> anyhow::Result<ConnectionHandle> {
        let config = ClientConfig::new(Arc::clone(&self.identity), Arc::new(AnyServer), service)
            .transport(transport);
        let (handle, connection) = self.endpoint.connect(self.now(), self.server, config)?;
        self.connections.insert(handle, connection);
        Ok(handle)
    }

    /// Begins a connection and waits until it stands.
    pub(super) fn connect(
        &mut self,
        service: &str,
        transport: TransportConfig,
    ) -> anyhow::Result<ConnectionHandle> {
        let handle = self.begin(service, transport)?;
        let began = now();
        while self.connection(handle)?.is_handshaking() {
            ensure!(began.elapsed() < TIMEOUT, "no handshake");
            self.step()?;
        }
        Ok(handle)
    }

    /// A connection that was begun and is not over.
    pub(super) fn connection(
        &mut self,
        handle: ConnectionHandle,
    ) -> anyhow::Result<&mut Connection> {
        self.connections
            .get_mut(&handle)
            .context("the connection is over")
    }

    /// Sends what is due from `via`, or else from the own socket; how many bytes those were.
    pub(super) fn flush(&mut self, via: Option<&UdpSocket>) -> io::Result<u64> {
        let now = self.now();
        let socket = via.unwrap_or(&self.socket);
        let (mut sent, mut out) = (0, Vec::new());
        let mut over = Vec::new();
        for (&handle, connection) in &mut self.connections {
            connection.handle_timeout(now);
            loop {
                out.clear();
                match connection.poll(now, &mut out) {
                    Output::Transmit(transmit) => {
                        let segment = transmit.segment_size.unwrap_or(transmit.len);
                        for payload in out[..transmit.len].chunks(segment) {
                            // What the kernel does not take is lost, like any datagram.
                            sent += socket.send_to(payload, self.server).unwrap_or(0) as u64;
                        }
                    }
                    Output::Endpoint(event) => self.endpoint.handle_event(handle, event),
                    Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
            }
            if connection.is_drained() {
                over.push(handle);
            }
        }
        for handle in over {
            self.connections.remove(&handle);
        }
        Ok(sent)
    }

    /// Sends what is due and takes in what has come, or waits for it a moment; whether anything came.
    pub(super) fn step(&mut self) -> anyhow::Result<bool> {
        self.flush(None)?;
        self.receive(|_| true)
    }

    /// Takes in what has come of what `wanted` says yes to, up to some hundred datagrams.
    pub(super) fn receive(&mut self, wanted: impl Fn(&[u8]) -> bool) -> anyhow::Result<bool> {
        for count in 0..256 {
            self.socket.set_nonblocking(count > 0)?;
            let (len, remote) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if is_empty(&error) => return Ok(count > 0),
                Err(error) => return Err(error.into()),
            };
            if !wanted(&self.buffer[..len]) {
                continue;
            }
            let now = self.now();
            let datagram = Datagram {
                remote,
                local_ip: None,
                ecn: None,
                received_at: now,
                payload: BytesMut::from(&self.buffer[..len]),
            };
            let mut out = Vec::new();
            if let Routed::Connection(handle, datagram) =
                self.endpoint.handle_datagram(now, datagram, &mut out)
                && let Some(connection) = self.connections.get_mut(&handle)
            {
                connection.handle_datagram(now, datagram);
            }
        }
        Ok(true)
    }

    /// Takes in and sends for `span`, with `each` after every step.
    pub(super) fn run(
        &mut self,
        span: Duration,
        mut each: impl FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = now();
        while began.elapsed() < span {
            self.step()?;
            each(self)?;
        }
        Ok(())
    }
}

/// Whether a receive ended as nothing was there, or as an earlier datagram was refused.
pub(super) fn is_empty(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused
    )
}

/// The time.
pub(super) fn now() -> Instant {
    Instant::now()
}
