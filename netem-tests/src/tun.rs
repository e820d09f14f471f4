//! A link between two network namespaces: kernel TCP and UDP and real programs on both sides (root).
//! Each side has one TUN device; a thread reads whole IP packets from one, passes them through a link
//! and writes them to the other. Without root, `udp_relay` carries UDP alone.
//!
//! The devices offer no segmentation offload, so the kernel cuts its large packets to the MTU before
//! they arrive here, and loss is per packet as on a wire.

mod packet;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::io::Errno;
use serde::Deserialize;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::{
    carrier::{Awake, Stop, be_punctual, earlier, rest, wait},
    link::{Link, LinkConfig, LinkCounters, Offer},
    netns::{self, Namespace, join},
};

/// The device's name on either side.
const DEVICE: &str = "link0";

/// Packets the kernel holds while the emulator is not scheduled: 50 ms at 1 Gbit/s.
const DEVICE_QUEUE: &str = "4000";

/// Largest packet the devices carry.
const MTU: u16 = 1500;

/// Packets taken from one device before the other gets a turn.
const MAX_RUN: usize = 64;

/// Address of the side that sends data.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Address of the side that receives data.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// What an emulated pair of namespaces has carried so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct TunReport {
    /// From near to far.
    pub forward: LinkCounters,
    /// From far to near.
    pub back: LinkCounters,
    /// Mean lateness of deliveries against the link's own time.
    pub late_mean: Duration,
    /// 99th percentile of that lateness.
    pub late_p99: Duration,
    /// Largest lateness.
    pub late_max: Duration,
    /// Packets a device did not take.
    pub unwritable: u64,
}

/// IP bytes handed to the far side so far, by the port they were sent to.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// When that was so.
    pub at: Instant,
    /// TCP and UDP together; what has no ports counts as port 0.
    pub bytes: BTreeMap<u16, u64>,
}

/// A longer way back than everybody's for what some ports of the far side send: flows of different round
/// trips over one bottleneck.
#[derive(Clone, Debug)]
struct Detour {
    ports: Range<u16>,
    extra: Duration,
}

/// Whose detour, and the way itself.
type Way = (Range<u16>, Link<Box<[u8]>>);

/// What the link's thread tells the others.
#[derive(Debug)]
struct Published {
    report: TunReport,
    arrivals: Arrivals,
}

/// Two namespaces with a link between them, which last as long as this value.
#[derive(Debug)]
pub struct TunLab {
    near: Namespace,
    far: Namespace,
    stop: Stop,
    published: Arc<Mutex<Published>>,
    detours: mpsc::Sender<Detour>,
    _awake: Option<Awake>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl TunLab {
    /// Makes the namespaces and devices and starts the link. Leftovers of killed runs are removed first.
    pub fn start(forward: LinkConfig, back: LinkConfig, seed: u64) -> io::Result<Self> {
        if let Some(reason) = netns::unavailable() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        netns::clean()?;
        let serial = netns::next_serial();
        let near = Namespace::create(&format!("{serial}-near"))?;
        let far = Namespace::create(&format!("{serial}-far"))?;
        let near_device = make_device(&near, NEAR, FAR)?;
        let far_device = make_device(&far, FAR, NEAR)?;
        let stop = Stop::default();
        let published = Arc::new(Mutex::new(Published {
            report: TunReport::default(),
            arrivals: Arrivals {
                at: Instant::now(),
                bytes: BTreeMap::new(),
            },
        }));
        let (detours, new_detours) = mpsc::channel();
        let worker = Worker {
            near: near_device,
            far: far_device,
            forward: Link::new(forward, seed),
            // Another seed, or both directions would lose the same packets.
            back: Link::new(back, seed ^ 0x5bd1_e995_9d1b_54a5),
            detours: Vec::new(),
            new_detours,
            buffer: vec![0; usize::from(u16::MAX)],
            lateness: Lateness::new(),
            unwritable: 0,
            arrived: BTreeMap::new(),
            stop: stop.clone(),
            published: Arc::clone(&published),
        };
        let thread = std::thread::Builder::new()
            .name("tun-link".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            near,
            far,
            stop,
            published,
            detours,
            _awake: Awake::new(),
            thread: Some(thread),
        })
    }

    /// The side that sends data; its address is [`NEAR`].
    pub fn near(&self) -> &Namespace {
        &self.near
    }

    /// The side that receives data; its address is [`FAR`].
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// Lengthens the round trip of flows to these ports of the far side, behind the bottleneck; to be
    /// called before they start.
    pub fn lengthen(&self, ports: Range<u16>, extra: Duration) {
        // A link that has ended carries nobody whose way could be lengthened.
        let _ = self.detours.send(Detour { ports, extra });
    }

    /// Sets a kernel variable on both sides.
    pub fn set(&self, variable: &str, value: &str) -> io::Result<()> {
        self.near.set(variable, value)?;
        self.far.set(variable, value)
    }

    /// Packets a kernel dropped before the emulator saw them, because the emulator was not scheduled in
    /// time. Not zero means that the machine was too busy for what was measured.
    pub fn overrun(&self) -> io::Result<u64> {
        Ok(device_drops(&self.near)? + device_drops(&self.far)?)
    }

    /// What has happened until some milliseconds ago.
    pub fn report(&self) -> TunReport {
        self.published().report
    }

    /// What has arrived at the far side, until some milliseconds ago.
    pub fn arrivals(&self) -> Arrivals {
        self.published().arrivals.clone()
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the link, removes the namespaces and says what happened.
    pub fn stop(mut self) -> io::Result<TunReport> {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            join(thread)?;
        }
        Ok(self.report())
    }
}

impl Drop for TunLab {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            // Nobody is left to tell; `stop` is the way to learn of an error.
            let _ = join(thread);
        }
    }
}

/// A device inside `namespace`, with its address and a route to the other side. It vanishes with its
/// descriptor, however this process ends.
fn make_device(namespace: &Namespace, own: Ipv4Addr, peer: Ipv4Addr) -> io::Result<SyncDevice> {
    let device = namespace.run(|| {
        let device = DeviceBuilder::new()
            .name(DEVICE)
            .mtu(MTU)
            .enable(false)
            .build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })?;
    // No router solicitations: only what is measured goes over the link.
    let quiet = ["link", "set", DEVICE, "addrgenmode", "none"];
    namespace.ip(&quiet)?;
    let (own, peer) = (
        IpAddr::from(own).to_string(),
        IpAddr::from(peer).to_string(),
    );
    namespace.ip(&["addr", "add", &own, "peer", &peer, "dev", DEVICE])?;
    namespace.ip(&["link", "set", DEVICE, "txqueuelen", DEVICE_QUEUE, "up"])?;
    Ok(device)
}

/// What `ip -s -j link` says of a device, as far as it is of interest.
#[derive(Deserialize)]
struct DeviceState {
    stats64: Directions,
}

#[derive(Deserialize)]
struct Directions {
    tx: Transmitted,
}

#[derive(Deserialize)]
struct Transmitted {
    dropped: u64,
}

fn device_drops(namespace: &Namespace) -> io::Result<u64> {
    let output = namespace.ip(&["-s", "-j", "link", "show", "dev", DEVICE])?;
    let states: Vec<DeviceState> = serde_json::from_slice(&output.stdout)?;
    Ok(states.iter().map(|state| state.stats64.tx.dropped).sum())
}

/// How late deliveries were.
struct Lateness {
    histogram: Histogram<u64>,
}

/// Longest lateness told apart, in microseconds: 10 s.
const LATEST_US: u64 = 10_000_000;

impl Lateness {
    fn new() -> Self {
        Self {
            histogram: Histogram::new_with_max(LATEST_US, 2)
                .expect("two significant digits up to a fixed maximum are valid bounds"),
        }
    }

    fn record(&mut self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros);
    }
}

/// How often the report others see is renewed.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

struct Worker {
    near: SyncDevice,
    far: SyncDevice,
    forward: Link<Box<[u8]>>,
    back: Link<Box<[u8]>>,
    /// Where packets from some ports go when they have come over `back`.
    detours: Vec<Way>,
    new_detours: mpsc::Receiver<Detour>,
    buffer: Vec<u8>,
    lateness: Lateness,
    unwritable: u64,
    /// IP bytes by the far port.
    arrived: BTreeMap<u16, u64>,
    stop: Stop,
    published: Arc<Mutex<Published>>,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        be_punctual();
        let mut ready = Vec::new();
        let mut publish_at = Instant::now();
        while !self.stop.is_requested() {
            while let Ok(Detour { ports, extra }) = self.new_detours.try_recv() {
                let link = Link::new(LinkConfig::unlimited(extra), 0);
                self.detours.push((ports, link));
            }
            let next = self
                .detours
                .iter()
                .map(|(_, link)| link.next_at())
                .fold(self.forward.next_at(), earlier);
            let next = earlier(next, self.back.next_at());
            wait(&[self.near.as_fd(), self.far.as_fd()], next, &mut ready)?;
            let woke_at = Instant::now();
            if ready[0] {
                take(&self.near, &mut self.buffer, &mut self.forward)?;
            }
            if ready[1] {
                take(&self.far, &mut self.buffer, &mut self.back)?;
            }
            let now = Instant::now();
            let arrived = &mut self.arrived;
            let count = |packet: Box<[u8]>| {
                *arrived
                    .entry(packet::destination_port(&packet))
                    .or_default() += packet.len() as u64;
                Some(packet)
            };
            self.unwritable += give(&self.far, &mut self.forward, &mut self.lateness, now, count);
            let late = &mut self.lateness;
            let detours = &mut self.detours;
            self.unwritable += give(&self.near, &mut self.back, late, now, |packet| {
                detour(detours, now, packet)
            });
            for (_, link) in &mut self.detours {
                self.unwritable += give(&self.near, link, late, now, Some);
            }
            if now >= publish_at {
                self.publish();
                publish_at = now + PUBLISH_INTERVAL;
            }
            rest(woke_at);
        }
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let late = &self.lateness.histogram;
        let report = TunReport {
            forward: self.forward.counters(),
            back: self.back.counters(),
            late_mean: Duration::from_secs_f64(late.mean() / 1e6),
            late_p99: Duration::from_micros(late.value_at_quantile(0.99)),
            late_max: Duration::from_micros(late.max()),
            unwritable: self.unwritable,
        };
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        published.report = report;
        published.arrivals.at = Instant::now();
        published.arrivals.bytes.clone_from(&self.arrived);
    }
}

/// Offers to `link` what the kernel sent on `device`.
fn take(device: &SyncDevice, buffer: &mut [u8], link: &mut Link<Box<[u8]>>) -> io::Result<()> {
    for _ in 0..MAX_RUN {
        match rustix::io::read(device, &mut *buffer) {
            Ok(len) => {
                let packet: Box<[u8]> = buffer[..len].into();
                link.send(Instant::now(), packet::offer(&packet), packet);
            }
            Err(Errno::AGAIN | Errno::INTR) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends a packet on over the detour that is its own; hands it back if it has none.
fn detour(detours: &mut [Way], now: Instant, packet: Box<[u8]>) -> Option<Box<[u8]>> {
    if detours.is_empty() {
        return Some(packet);
    }
    let port = packet::source_port(&packet);
    match detours.iter_mut().find(|(ports, _)| ports.contains(&port)) {
        Some((_, link)) => {
            link.send(now, Offer::plain(packet.len()), packet);
            None
        }
        None => Some(packet),
    }
}

/// Hands what has arrived by `now` to the kernel behind `device`, unless `pass` keeps it; says how much
/// the kernel did not take.
fn give(
    device: &SyncDevice,
    link: &mut Link<Box<[u8]>>,
    lateness: &mut Lateness,
    now: Instant,
    mut pass: impl FnMut(Box<[u8]>) -> Option<Box<[u8]>>,
) -> u64 {
    let mut refused = 0;
    while let Some(delivery) = link.poll(now) {
        lateness.record(now - delivery.at);
        let mut packet = delivery.payload;
        if delivery.ce {
            packet::mark_ce(&mut packet);
        }
        if delivery.corrupt {
            packet::damage(&mut packet);
        }
        let Some(packet) = pass(packet) else { continue };
        // The far kernel's queue is full or the packet is no longer one: on a wire it would be gone too.
        refused += u64::from(rustix::io::write(device, &packet).is_err());
    }
    refused
}

#[cfg(test)]
mod tests;
