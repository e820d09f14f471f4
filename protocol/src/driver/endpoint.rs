//! A UDP socket with its connections: connecting, accepting, closing.
//! Receiving is `receive`'s work, routing the engine's.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::{runtime, sync::Notify};

use super::{
    clock,
    connection::Connection,
    endpoint_state::{Shared, State},
    instance,
    receive::Receiver,
    shared,
    socket::Socket,
    task::Task,
};
use crate::{
    config::{ClientConfig, EndpointConfig, ServerConfig},
    engine::{self, ConnectionHandle},
    error::{ConnectError, ConnectionError},
    units::CloseCode,
};

/// One UDP socket and the connections over it.
///
/// Cloning gives another handle to the same endpoint. Without handles an endpoint takes no new
/// connections, and ends with the last one it has.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    _handle: Arc<StopOnDrop>,
}

/// Lives as long as any handle.
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.lock();
            state.abandoned = true;
            std::mem::take(&mut state.incoming)
        };
        for incoming in waiting {
            self.0.refuse(incoming);
        }
        self.0.stop.notify_one();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("local", &self.shared.socket.local_addr().ok())
            .finish_non_exhaustive()
    }
}

/// What an endpoint's socket did since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Connections that are open or closing.
    pub connections: usize,
    /// What was turned away, answered and dropped before it reached a connection.
    pub routing: engine::EndpointStats,
    /// Send system calls that succeeded.
    pub send_calls: u64,
    /// Datagrams sent; per call, this is the size of GSO batches.
    pub sent_datagrams: u64,
    /// UDP payload sent.
    pub sent_bytes: u64,
    /// Datagrams the system would not take, MTU probes among them.
    pub send_errors: u64,
    /// Batches sent again singly because an interface does not segment.
    pub segmentation_refusals: u64,
    /// Receive system calls that brought something.
    pub receive_calls: u64,
    /// Buffers those calls filled.
    pub receive_batches: u64,
    /// Datagrams received; per buffer, this is the size of GRO batches.
    pub received_datagrams: u64,
    /// UDP payload received.
    pub received_bytes: u64,
    /// Datagrams dropped because their connection was too far behind.
    pub inbox_drops: u64,
    /// Receive buffer the kernel granted, in bytes.
    pub receive_buffer: usize,
    /// Send buffer the kernel granted, in bytes.
    pub send_buffer: usize,
}

impl Endpoint {
    /// Bind a UDP socket on `local` (port 0: any free port; `[::]`: IPv4 too). With `server`, attempts to
    /// connect arrive at [`accept`](Self::accept).
    ///
    /// # Errors
    /// The address cannot be bound, the system gives no randomness, or this is not a tokio runtime with
    /// I/O and time.
    pub fn bind(
        local: SocketAddr,
        config: EndpointConfig,
        server: Option<ServerConfig>,
    ) -> io::Result<Self> {
        let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let socket = Socket::bind(local)?;
        // Where nothing tells instances apart, nobody else has this seed; resets then do not outlive the process.
        let name = instance::name(socket.local_addr()?).unwrap_or_else(|| seed.to_vec());
        let instance = [config.instance.as_slice(), &name].concat();
        let config = config.instance(&instance);
        let shared = Arc::new(Shared {
            socket,
            runtime,
            state: Mutex::new(State {
                engine: engine::Endpoint::new(config, server, seed),
                connections: FxHashMap::default(),
                incoming: VecDeque::new(),
                closed: None,
                abandoned: false,
            }),
            arrived: Notify::new(),
            idle: Notify::new(),
            stop: Notify::new(),
            inbox_drops: AtomicU64::new(0),
        });
        shared
            .runtime
            .spawn(Receiver::new(Arc::clone(&shared)).run());
        Ok(Self {
            _handle: Arc::new(StopOnDrop(Arc::clone(&shared))),
            shared,
        })
    }

    /// Connect to the server at `remote`; waits for the handshake. Dropping the future gives up.
    ///
    /// # Errors
    /// The endpoint is closed, the address is of no use, or the handshake failed.
    pub async fn connect(
        &self,
        remote: SocketAddr,
        config: ClientConfig,
    ) -> Result<Connection, ConnectError> {
        if !self.shared.socket.can_reach(remote) {
            return Err(ConnectError::InvalidAddress(remote));
        }
        let connection = {
            let mut state = self.shared.lock();
            if state.closed.is_some() {
                return Err(ConnectError::EndpointClosed);
            }
            let (handle, connection) = state.engine.connect(clock::now(), remote, config)?;
            spawn(&self.shared, &mut state, handle, connection)
        };
        Ok(Connection::established(connection).await?)
    }

    /// The next client that wants to connect; `None` once the endpoint is closed, and for ever on one
    /// without a server's configuration.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if state.closed.is_some() {
                    return None;
                }
                if let Some(incoming) = state.incoming.pop_front() {
                    return Some(Incoming {
                        shared: Arc::clone(&self.shared),
                        remote: incoming.remote_address(),
                        incoming: Some(incoming),
                    });
                }
            }
            arrived.await;
        }
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Close every connection with `code` and `reason` and take no more. Use
    /// [`flushed`](Self::flushed) to have the peers told before the process ends, and
    /// [`wait_idle`](Self::wait_idle) to have them told again should that be lost.
    pub fn close(&self, code: CloseCode, reason: &[u8]) {
        let (connections, waiting) = {
            let mut state = self.shared.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some((code, Bytes::copy_from_slice(reason)));
            let connections: Vec<_> = state.connections.values().cloned().collect();
            (connections, std::mem::take(&mut state.incoming))
        };
        for incoming in waiting {
            self.shared.refuse(incoming);
        }
        for connection in connections {
            connection.close(code, reason);
        }
        self.shared.arrived.notify_waiters();
    }

    /// Waits until every connection has sent what was written, and its end if it is closed, but not until
    /// that arrives. After [`close`](Self::close) a program may end; put it under a timeout.
    pub async fn flushed(&self) {
        let connections: Vec<_> = self.shared.lock().connections.values().cloned().collect();
        for connection in connections {
            connection.flushed().await;
        }
    }

    /// Waits until no connection is left, closing ones included.
    pub async fn wait_idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.shared.idle.notified());
            idle.as_mut().enable();
            if self.shared.lock().connections.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// What the socket did so far.
    pub fn stats(&self) -> EndpointStats {
        let socket = &self.shared.socket;
        let counters = &socket.counters;
        let (connections, routing) = {
            let state = self.shared.lock();
            (state.connections.len(), state.engine.stats())
        };
        EndpointStats {
            connections,
            routing,
            send_calls: counters.send_calls.load(Relaxed),
            sent_datagrams: counters.sent_datagrams.load(Relaxed),
            sent_bytes: counters.sent_bytes.load(Relaxed),
            send_errors: counters.send_errors.load(Relaxed),
            segmentation_refusals: counters.segmentation_refusals.load(Relaxed),
            receive_calls: counters.receive_calls.load(Relaxed),
            receive_batches: counters.receive_batches.load(Relaxed),
            received_datagrams: counters.received_datagrams.load(Relaxed),
            received_bytes: counters.received_bytes.load(Relaxed),
            inbox_drops: self.shared.inbox_drops.load(Relaxed),
            receive_buffer: socket.receive_buffer,
            send_buffer: socket.send_buffer,
        }
    }
}

/// Gives `connection` a task of its own.
fn spawn(
    endpoint: &Arc<Shared>,
    state: &mut State,
    handle: ConnectionHandle,
    connection: engine::Connection,
) -> Arc<shared::Shared> {
    let shared = Arc::new(shared::Shared::new(connection));
    state.connections.insert(handle, Arc::clone(&shared));
    let _runtime = endpoint.runtime.enter();
    let task = Task::new(Arc::clone(&shared), Arc::clone(endpoint), handle);
    endpoint.runtime.spawn(task);
    shared
}

/// A client that wants to connect. Nothing is known of it but its address; dropped, it is refused.
pub struct Incoming {
    shared: Arc<Shared>,
    remote: SocketAddr,
    incoming: Option<engine::Incoming>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// Where the attempt came from.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Take the client on; waits for the handshake. Dropping the future closes the attempt.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn accept(mut self) -> Result<Connection, ConnectionError> {
        let Some(incoming) = self.incoming.take() else {
            return Err(ConnectionError::LocallyClosed);
        };
        let connection = {
            let mut out = Vec::new();
            let mut state = self.shared.lock();
            if state.closed.is_some() {
                let transmit = state.engine.refuse(incoming, &mut out);
                self.shared.send(&transmit, &out);
                return Err(ConnectionError::LocallyClosed);
            }
            let (handle, connection) = state.engine.accept(clock::now(), incoming)?;
            spawn(&self.shared, &mut state, handle, connection)
        };
        Connection::established(connection).await
    }

    /// Tell the client that it is not taken.
    pub fn refuse(self) {
        drop(self);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            self.shared.refuse(incoming);
        }
    }
}
