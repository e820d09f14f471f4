//! The relay's sockets: one facing clients, one per client facing the server.
//! What happens to the packets between them is decided in the parent module.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Clients remembered at once; the one longest silent makes room.
const MAX_CLIENTS: usize = 1024;

/// Wished-for socket buffers: 100 ms at 300 Mbit/s, counting the kernel's bookkeeping.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// Largest run of datagrams the kernel hands over as one.
const RECEIVE_BYTES: usize = 1 << 16;

/// Batches taken from one socket before the others get a turn.
const MAX_BATCHES: usize = 4;

/// A datagram as it came in.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) data: Box<[u8]>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) local_ip: Option<IpAddr>,
}

impl Received {
    /// The datagram as the link leaves it; a corrupt one has its middle bit turned.
    pub(super) fn with_marks(mut self, ce: bool, corrupt: bool) -> Self {
        if ce {
            self.ecn = Some(EcnCodepoint::Ce);
        }
        let middle = self.data.len() / 2;
        if corrupt && let Some(byte) = self.data.get_mut(middle) {
            *byte ^= 0x10;
        }
        self
    }
}

/// Room for one batch, shared by all sockets.
pub(super) struct Batch(Vec<u8>);

impl Batch {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH_SIZE * RECEIVE_BYTES])
    }
}

/// A socket with batched reception.
pub(super) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Port {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        enlarge_buffers(&socket);
        Ok(Self { socket, state })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes what is there, up to a bound. Errors mean an answer from the network that some packet
    /// did not arrive; a link that loses packets has no use for it.
    pub(super) fn receive(&self, batch: &mut Batch, mut take: impl FnMut(SocketAddr, Received)) {
        for _ in 0..MAX_BATCHES {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut slices: Vec<IoSliceMut<'_>> = batch
                .0
                .chunks_exact_mut(RECEIVE_BYTES)
                .map(IoSliceMut::new)
                .collect();
            let socket = UdpSockRef::from(&self.socket);
            let Ok(count) = self.state.recv(socket, &mut slices, &mut metas) else {
                return;
            };
            for (slice, meta) in slices.iter().zip(&metas).take(count) {
                for datagram in slice[..meta.len].chunks(meta.stride.max(1)) {
                    let received = Received {
                        data: datagram.into(),
                        ecn: meta.ecn,
                        local_ip: meta.dst_ip,
                    };
                    take(meta.addr, received);
                }
            }
            if count < BATCH_SIZE {
                return;
            }
        }
    }

    pub(super) fn send(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        datagram: &Received,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: datagram.ecn,
            contents: &datagram.data,
            segment_size: None,
            src_ip: from,
        };
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Port").field(&self.socket).finish()
    }
}

/// As large as root may, else as large as anybody may.
fn enlarge_buffers(socket: &UdpSocket) {
    use rustix::net::sockopt::{
        set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_send_buffer_size,
    };
    if set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES).is_err() {
        // Refused sizes are clamped by the kernel, so there is nothing to do about an error.
        let _ = set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES);
    }
    let _ = set_socket_send_buffer_size(socket, SOCKET_BUFFER_BYTES);
}

/// One client and its own socket towards the server.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: u64,
    pub(super) client: SocketAddr,
    /// The relay's address that the client knows.
    pub(super) local_ip: Option<IpAddr>,
    pub(super) port: Port,
    pub(super) used_at: Instant,
}

/// All clients; few, so that looking through them is cheap.
#[derive(Debug)]
pub(super) struct Flows {
    server: SocketAddr,
    flows: Vec<Flow>,
    next_id: u64,
}

impl Flows {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            flows: Vec::new(),
            next_id: 0,
        }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn seen(&self) -> u64 {
        self.next_id
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.flows.iter_mut()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.id == id)
    }

    /// The flow of a client's address, made on first sight.
    pub(super) fn of_client(
        &mut self,
        client: SocketAddr,
        local_ip: Option<IpAddr>,
        now: Instant,
    ) -> io::Result<u64> {
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.client == client) {
            flow.used_at = now;
            return Ok(flow.id);
        }
        let port = Port::bind(facing(self.server))?;
        port.socket.connect(self.server)?;
        if self.flows.len() >= MAX_CLIENTS {
            let silent = (0..self.flows.len()).min_by_key(|&i| self.flows[i].used_at);
            if let Some(silent) = silent {
                self.flows.swap_remove(silent);
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        self.flows.push(Flow {
            id,
            client,
            local_ip,
            port,
            used_at: now,
        });
        Ok(id)
    }
}

/// Any local address from which `server` can be reached.
fn facing(server: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(ip, 0)
}
