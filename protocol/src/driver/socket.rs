//! One UDP socket: batches in and out with GSO, GRO and ECN, and honest buffers.
//! What is in the datagrams is the engine's business; buffers come from `buffer_pool`.

mod segmentation;
mod setup;
mod watch;

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use quinn_udp::{RecvMeta, UdpSocketState};

use self::segmentation::Refusals;
pub(super) use self::watch::Watch;
use super::{
    buffer_pool::{BufferPool, SLOT_BYTES},
    clock,
};
use crate::{engine::Transmit, units::EcnCodepoint};

/// Slots offered to the kernel per receive call (`recvmmsg`).
pub(super) const SLOTS: usize = quinn_udp::BATCH_SIZE;

/// What the socket did since it was bound.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) send_calls: AtomicU64,
    pub(super) sent_datagrams: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) send_errors: AtomicU64,
    pub(super) segmentation_refusals: AtomicU64,
    pub(super) receive_calls: AtomicU64,
    pub(super) receive_batches: AtomicU64,
    pub(super) received_datagrams: AtomicU64,
    pub(super) received_bytes: AtomicU64,
}

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub(super) struct Socket {
    io: Arc<UdpSocket>,
    /// Sends single datagrams, and receives.
    plain: UdpSocketState,
    /// Sends batches. Kept apart because a refusal makes quinn-udp give up ECN on the state it
    /// happened with, and only segmentation is at fault.
    segmented: UdpSocketState,
    /// Whether the system segments at all; quinn-udp's own answer changes with the first refusal.
    can_segment: bool,
    refusals: Refusals,
    /// An IPv6 socket names IPv4 peers by mapped addresses; nobody else should see those.
    is_ipv6: bool,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    pub(super) counters: Counters,
}

/// The contents of one receive slot: datagrams of `stride` bytes from one sender, the last maybe shorter.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) stride: usize,
    /// When the kernel got them, as time since the Unix epoch.
    pub(super) timestamp: Option<Duration>,
    pub(super) payload: BytesMut,
}

/// The slots of one receiving task, reused from call to call.
#[derive(Debug)]
pub(super) struct ReceiveSlots {
    pool: BufferPool,
    slots: Vec<BytesMut>,
    meta: [RecvMeta; SLOTS],
}

impl ReceiveSlots {
    pub(super) fn new() -> Self {
        let mut pool = BufferPool::default();
        Self {
            slots: (0..SLOTS).map(|_| pool.slot()).collect(),
            pool,
            meta: [RecvMeta::default(); SLOTS],
        }
    }
}

impl Socket {
    /// Bind `local`, ask for large buffers, and say so where the kernel grants small ones.
    pub(super) fn bind(local: SocketAddr) -> io::Result<Self> {
        let setup = setup::bind(local)?;
        //= spec/07-paths.md#packet-size
        //# A packet MUST NOT be fragmented by IP.
        let segmented = UdpSocketState::new((&setup.io).into())?;
        Ok(Self {
            plain: UdpSocketState::new((&setup.io).into())?,
            can_segment: segmented.max_gso_segments() > 1,
            segmented,
            io: Arc::new(setup.io),
            refusals: Refusals::default(),
            is_ipv6: local.is_ipv6(),
            receive_buffer: setup.receive_buffer,
            send_buffer: setup.send_buffer,
            counters: Counters::default(),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Completes when a send that would have blocked is worth another try.
    pub(super) async fn writable(&self) {
        watch::writable(&self.io).await;
    }

    /// Be told when there is something to receive, for as long as the value lives.
    ///
    /// # Errors
    /// The system has no room for another watch.
    pub(super) fn watch(&self) -> io::Result<Watch> {
        Watch::new(Arc::clone(&self.io))
    }

    /// Receive one batch into `out`; says how many of the slots it took. Fewer than all means that there
    /// is no more.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; anything else is transient too for a UDP socket.
    pub(super) fn try_receive(
        &self,
        slots: &mut ReceiveSlots,
        mut out: impl FnMut(Received),
    ) -> io::Result<usize> {
        let ReceiveSlots { pool, slots, meta } = slots;
        let count = {
            let mut buffers = slots.iter_mut().map(|slot| IoSliceMut::new(slot));
            // Every slot exists; the fallback only satisfies the array's constructor.
            let mut buffers: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            self.plain.recv((&*self.io).into(), &mut buffers, meta)?
        };
        let mut datagrams = 0;
        let mut bytes = 0;
        for (meta, slot) in meta.iter().zip(slots).take(count) {
            // A stride of zero would never end; an empty datagram has nothing for us.
            if meta.stride == 0 || meta.len == 0 || meta.len > SLOT_BYTES {
                continue;
            }
            datagrams += meta.len.div_ceil(meta.stride) as u64;
            bytes += meta.len as u64;
            out(Received {
                remote: canonical(meta.addr),
                local_ip: meta.dst_ip.map(|ip| ip.to_canonical()),
                ecn: meta.ecn.map(ecn_from_udp),
                stride: meta.stride,
                timestamp: meta.timestamp,
                payload: pool.take(slot, meta.len),
            });
        }
        self.counters.receive_calls.fetch_add(1, Relaxed);
        self.counters
            .receive_batches
            .fetch_add(count as u64, Relaxed);
        self.counters
            .received_datagrams
            .fetch_add(datagrams, Relaxed);
        self.counters.received_bytes.fetch_add(bytes, Relaxed);
        Ok(count)
    }

    /// Send the batch that `transmit` describes.
    ///
    /// # Errors
    /// Only `WouldBlock`, in which case nothing was sent. Every other failure is counted and taken for
    /// loss: routes and interfaces come back, and the engine sends again what matters.
    pub(super) fn try_send(&self, transmit: &Transmit, contents: &[u8]) -> io::Result<()> {
        let packet = quinn_udp::Transmit {
            destination: self.addressed(transmit.remote),
            ecn: transmit.ecn.map(ecn_to_udp),
            contents,
            segment_size: None,
            src_ip: transmit.local_ip.map(|ip| self.addressed_ip(ip)),
        };
        match transmit.segment_size {
            Some(size) if size > 0 && size < contents.len() => self.send_batch(packet, size),
            _ => self.send_single(&packet),
        }
    }

    fn send_batch(&self, packet: quinn_udp::Transmit<'_>, size: usize) -> io::Result<()> {
        let to = packet.destination.ip();
        let now = clock::now();
        if !self.can_segment || self.refusals.has(to, now) {
            return self.send_each(&packet, size).map(drop);
        }
        let batch = quinn_udp::Transmit {
            segment_size: Some(size),
            ..packet.clone()
        };
        match self.send_from_anywhere(&self.segmented, &batch) {
            Ok(()) => {
                self.count_sent(packet.contents.len().div_ceil(size), packet.contents.len());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) if segmentation::is_refusal(&error) => {
                // Again in single datagrams; only if those get through was it segmentation.
                if self.send_each(&packet, size)? {
                    self.counters.segmentation_refusals.fetch_add(1, Relaxed);
                    self.refusals.insert(to, now);
                    tracing::debug!(%error, %to, "segmentation offload refused, sending singly");
                }
                Ok(())
            }
            Err(error) => {
                self.count_error(&error, to);
                Ok(())
            }
        }
    }

    /// Send a batch datagram by datagram; whether the first, of full size, got out. Would-block after
    /// the first is loss.
    fn send_each(&self, packet: &quinn_udp::Transmit<'_>, size: usize) -> io::Result<bool> {
        let mut first = false;
        for (index, contents) in packet.contents.chunks(size).enumerate() {
            let single = quinn_udp::Transmit {
                contents,
                ..packet.clone()
            };
            match self.send_from_anywhere(&self.plain, &single) {
                Ok(()) => {
                    self.count_sent(1, contents.len());
                    first |= index == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if index == 0 {
                        return Err(error);
                    }
                    self.count_error(&error, packet.destination.ip());
                    break;
                }
                Err(error) => self.count_error(&error, packet.destination.ip()),
            }
        }
        Ok(first)
    }

    fn send_single(&self, packet: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        match self.send_from_anywhere(&self.plain, packet) {
            Ok(()) => {
                self.count_sent(1, packet.contents.len());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                self.count_error(&error, packet.destination.ip());
                Ok(())
            }
        }
    }

    /// Send one packet or batch; from any address where the one it should come from is no longer this host's.
    fn send_from_anywhere(
        &self,
        state: &UdpSocketState,
        packet: &quinn_udp::Transmit<'_>,
    ) -> io::Result<()> {
        match state.try_send((&*self.io).into(), packet) {
            // The engine learns the new address from the answer.
            Err(error) if packet.src_ip.is_some() && is_source_gone(&error) => {
                let unpinned = quinn_udp::Transmit {
                    src_ip: None,
                    ..packet.clone()
                };
                state.try_send((&*self.io).into(), &unpinned)
            }
            result => result,
        }
    }

    fn count_sent(&self, datagrams: usize, bytes: usize) {
        self.counters.send_calls.fetch_add(1, Relaxed);
        self.counters
            .sent_datagrams
            .fetch_add(datagrams as u64, Relaxed);
        self.counters.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn count_error(&self, error: &io::Error, to: IpAddr) {
        self.counters.send_errors.fetch_add(1, Relaxed);
        // The search for a larger MTU runs into this by design.
        if !quinn_udp::is_msg_size_err(error) {
            tracing::debug!(%error, %to, "datagram not sent");
        }
    }

    /// `address` as this socket must name it.
    fn addressed(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is_ipv6 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            other => other,
        }
    }

    fn addressed_ip(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) if self.is_ipv6 => v4.to_ipv6_mapped().into(),
            other => other,
        }
    }

    /// Whether this socket can name `remote` at all.
    pub(super) fn can_reach(&self, remote: SocketAddr) -> bool {
        remote.port() != 0 && (self.is_ipv6 || remote.is_ipv4())
    }
}

/// `address` with a mapped IPv4 address unwrapped; scope and flow of a real IPv6 one are kept.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether `error` is how systems say that a source address is not, or no longer, theirs.
fn is_source_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::InvalidInput
    )
}

fn ecn_from_udp(ecn: quinn_udp::EcnCodepoint) -> EcnCodepoint {
    match ecn {
        quinn_udp::EcnCodepoint::Ect0 => EcnCodepoint::Ect0,
        quinn_udp::EcnCodepoint::Ect1 => EcnCodepoint::Ect1,
        quinn_udp::EcnCodepoint::Ce => EcnCodepoint::Ce,
    }
}

fn ecn_to_udp(ecn: EcnCodepoint) -> quinn_udp::EcnCodepoint {
    match ecn {
        EcnCodepoint::Ect0 => quinn_udp::EcnCodepoint::Ect0,
        EcnCodepoint::Ect1 => quinn_udp::EcnCodepoint::Ect1,
        EcnCodepoint::Ce => quinn_udp::EcnCodepoint::Ce,
    }
}

#[cfg(test)]
mod tests;
