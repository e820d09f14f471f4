//! A link between real UDP sockets, without root: clients talk to the relay as if it were the server.
//! All clients share one link each way, as they would share a bottleneck. TCP does not pass here; `tun`
//! carries whole IP packets.
//!
//! One thread: receive what is there, offer it to the links, send what is due, sleep until the next.

mod flow;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use self::flow::{Batch, Flows, Port, Received};
use crate::{
    carrier::{Stop, be_punctual, earlier, wait},
    link::{Class, Link, LinkConfig, LinkCounters, Offer},
};

/// Where a relay stands and what it does to packets.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where clients send to; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the server is.
    pub server: SocketAddr,
    /// From clients to the server.
    pub to_server: LinkConfig,
    /// From the server to clients.
    pub to_client: LinkConfig,
    /// Fixes all chances.
    pub seed: u64,
}

/// What a relay has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayReport {
    /// From clients to the server.
    pub to_server: LinkCounters,
    /// From the server to clients.
    pub to_client: LinkCounters,
    /// Client addresses seen.
    pub clients: u64,
    /// Packets the system did not take or that belonged to a forgotten client.
    pub unsendable: u64,
    /// Largest lateness of a delivery against the link's own time.
    pub max_late: Duration,
}

/// A relay that runs on its own thread until it is stopped or dropped.
#[derive(Debug)]
pub struct UdpRelay {
    address: SocketAddr,
    stop: Stop,
    report: Arc<Mutex<RelayReport>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl UdpRelay {
    /// Binds and starts.
    pub fn start(config: RelayConfig) -> io::Result<Self> {
        let port = Port::bind(config.listen)?;
        let address = port.local_addr()?;
        let stop = Stop::default();
        let report = Arc::new(Mutex::new(RelayReport::default()));
        let worker = Worker {
            front: port,
            batch: Batch::new(),
            flows: Flows::new(config.server),
            to_server: Link::new(config.to_server, config.seed),
            // Another seed, or both directions would lose the same packets.
            to_client: Link::new(config.to_client, config.seed ^ 0x5bd1_e995_9d1b_54a5),
            header_bytes: if config.server.is_ipv4() { 28 } else { 48 },
            stop: stop.clone(),
            published: Arc::clone(&report),
            report: RelayReport::default(),
        };
        let thread = std::thread::Builder::new()
            .name("udp-relay".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            address,
            stop,
            report,
            thread: Some(thread),
        })
    }

    /// Where clients send to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What has happened until some milliseconds ago.
    pub fn report(&self) -> RelayReport {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the relay and says what it did.
    pub fn stop(mut self) -> io::Result<RelayReport> {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| io::Error::other("the relay's thread panicked"))??;
        }
        Ok(self.report())
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            // Nobody is left to tell; `stop` is the way to learn of an error.
            let _ = thread.join();
        }
    }
}

/// A datagram inside the links.
#[derive(Clone, Debug)]
struct Packet {
    flow: u64,
    received: Received,
}

/// How often the report others see is renewed.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

struct Worker {
    front: Port,
    batch: Batch,
    flows: Flows,
    to_server: Link<Packet>,
    to_client: Link<Packet>,
    /// IP and UDP headers, which the link's rate counts too.
    header_bytes: usize,
    stop: Stop,
    published: Arc<Mutex<RelayReport>>,
    report: RelayReport,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        be_punctual();
        let mut ready = Vec::new();
        let mut publish_at = Instant::now();
        while !self.stop.is_requested() {
            let next = earlier(self.to_server.next_at(), self.to_client.next_at());
            {
                let fds: Vec<BorrowedFd<'_>> = std::iter::once(self.front.as_fd())
                    .chain(self.flows.iter().map(|flow| flow.port.as_fd()))
                    .collect();
                wait(&fds, next, &mut ready)?;
            }
            let now = Instant::now();
            // Flow sockets first: taking a new client in would shift the positions in `ready`.
            self.take_from_server(now, &ready[1..]);
            if ready[0] {
                self.take_from_clients(now);
            }
            self.deliver(Instant::now());
            if now >= publish_at {
                self.publish();
                publish_at = now + PUBLISH_INTERVAL;
            }
        }
        self.publish();
        Ok(())
    }

    fn take_from_clients(&mut self, now: Instant) {
        let Self {
            front,
            batch,
            flows,
            to_server,
            header_bytes,
            report,
            ..
        } = self;
        front.receive(batch, |client, received| {
            let Ok(flow) = flows.of_client(client, received.local_ip, now) else {
                report.unsendable += 1;
                return;
            };
            let bytes = received.data.len() + *header_bytes;
            let offer = offer(bytes, &received);
            to_server.send(now, offer, Packet { flow, received });
        });
        report.clients = flows.seen();
    }

    fn take_from_server(&mut self, now: Instant, ready: &[bool]) {
        let Self {
            batch,
            flows,
            to_client,
            header_bytes,
            ..
        } = self;
        for (flow, _) in flows.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            flow.used_at = now;
            let id = flow.id;
            flow.port.receive(batch, |_, received| {
                let bytes = received.data.len() + *header_bytes;
                let offer = offer(bytes, &received);
                let packet = Packet { flow: id, received };
                to_client.send(now, offer, packet);
            });
        }
    }

    fn deliver(&mut self, now: Instant) {
        let server = self.flows.server();
        while let Some(delivery) = self.to_server.poll(now) {
            self.report.max_late = self.report.max_late.max(now - delivery.at);
            let Packet { flow, received } = delivery.payload;
            let received = received.with_marks(delivery.ce, delivery.corrupt);
            let sent = self
                .flows
                .get(flow)
                .is_some_and(|flow| flow.port.send(server, None, &received).is_ok());
            self.report.unsendable += u64::from(!sent);
        }
        while let Some(delivery) = self.to_client.poll(now) {
            self.report.max_late = self.report.max_late.max(now - delivery.at);
            let Packet { flow, received } = delivery.payload;
            let received = received.with_marks(delivery.ce, delivery.corrupt);
            let front = &self.front;
            let sent = self
                .flows
                .get(flow)
                .is_some_and(|flow| front.send(flow.client, flow.local_ip, &received).is_ok());
            self.report.unsendable += u64::from(!sent);
        }
    }

    fn publish(&mut self) {
        self.report.to_server = self.to_server.counters();
        self.report.to_client = self.to_client.counters();
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.report;
    }
}

fn offer(bytes: usize, received: &Received) -> Offer {
    Offer {
        bytes,
        is_ecn_capable: received.ecn.is_some(),
        class: Class::Udp,
    }
}

#[cfg(test)]
mod tests;
