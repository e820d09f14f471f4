//! The receive loop of an endpoint: batches in, routed, into the inboxes of their connections.
//! What a datagram means is the engine's business.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    clock::{self, Timer},
    endpoint,
    shared::Shared,
    socket::{ReceiveSlots, Received, SLOTS},
};
use crate::engine::{ConnectionHandle, Datagram, Routed};

/// Receives for one endpoint until nobody wants it any more.
pub(super) struct Receiver {
    endpoint: Arc<endpoint::Shared>,
    slots: ReceiveSlots,
    received: Vec<Received>,
    /// Datagrams of this batch by connection; a batch is rarely for more than a few.
    deliveries: Vec<(ConnectionHandle, Arc<Shared>, Vec<Datagram>)>,
    /// Emptied vectors for the next deliveries.
    spare: Vec<Vec<Datagram>>,
    out: Vec<u8>,
    /// A connection has not taken its last delivery.
    is_behind: bool,
    moderation: Moderation,
    timer: Timer,
}

/// Time between two looks at a socket that packets pour into one by one.
const MODERATED: Duration = Duration::from_micros(400);
/// Datagrams in one look from which waiting would gather no more.
const GATHERED: usize = 32;
/// Datagrams per [`COUNTED`] from which packets pour.
const POURING: usize = 50;
const COUNTED: Duration = Duration::from_millis(10);

/// Whether to let packets gather before the next look, as network cards do with interrupts: each look at
/// a packet costs several changes of threads, and the kernel's timestamps keep what waiting hides.
#[derive(Debug)]
struct Moderation {
    since: Instant,
    count: usize,
    pours: bool,
}

impl Moderation {
    /// A look at `now` found `datagrams`; when to look again, if not at once.
    fn on_look(&mut self, now: Instant, datagrams: usize) -> Option<Instant> {
        self.count += datagrams;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= COUNTED {
            self.pours = self.count >= POURING && elapsed < 2 * COUNTED;
            self.since = now;
            self.count = 0;
        }
        (self.pours && datagrams < GATHERED).then_some(now + MODERATED)
    }
}

/// Go to the end of the queue. Tokio's own yield waits until the thread has nothing else to do, which
/// under load may be long after ACKs are due.
async fn next_turn() {
    let mut is_next = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_next, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Why the loop goes on.
enum Wake {
    Readable,
    /// Handles or connections are gone.
    Look,
    /// The runtime goes away.
    Shutdown,
}

impl Receiver {
    pub(super) fn new(endpoint: Arc<endpoint::Shared>) -> Self {
        Self {
            endpoint,
            slots: ReceiveSlots::new(),
            received: Vec::new(),
            deliveries: Vec::new(),
            spare: Vec::new(),
            out: Vec::new(),
            is_behind: false,
            moderation: Moderation {
                since: clock::now(),
                count: 0,
                pours: false,
            },
            timer: Timer::new(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.endpoint.is_wanted() {
            match self.wait().await {
                Wake::Readable => {}
                Wake::Look => continue,
                Wake::Shutdown => return,
            }
            // After a batch that was not full the socket is empty, and the next look at it ends this turn.
            // Asking for another turn instead would wake a sleeping thread of the runtime to take it, for
            // every packet of a link that delivers them one by one.
            let (is_full, again_at) = self.receive();
            if let Some(at) = again_at {
                self.sleep_until(at).await;
            }
            if is_full {
                // The connections' tasks work on what is still in the cache.
                if std::mem::take(&mut self.is_behind) {
                    // The kernel's buffer waits more cheaply than an inbox does.
                    tokio::task::yield_now().await;
                } else {
                    next_turn().await;
                }
            }
        }
    }

    /// Wait for something to receive, or for a change in who wants it.
    async fn wait(&self) -> Wake {
        let mut readable = pin!(self.endpoint.socket.readable());
        let mut stop = pin!(self.endpoint.stop.notified());
        poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Look);
            }
            readable.as_mut().poll(cx).map(|ready| match ready {
                Ok(()) => Wake::Readable,
                Err(_) => Wake::Shutdown,
            })
        })
        .await
    }

    async fn sleep_until(&mut self, at: Instant) {
        poll_fn(|cx| {
            let now = clock::now();
            if now >= at {
                return Poll::Ready(());
            }
            self.timer.arm(cx, at, now);
            Poll::Pending
        })
        .await;
    }

    /// Take in one batch; whether it was full, so that more is likely to wait, and when to look again if
    /// not at once.
    fn receive(&mut self) -> (bool, Option<Instant>) {
        let Self {
            endpoint,
            slots,
            received,
            ..
        } = self;
        let is_full = match endpoint.socket.try_receive(slots, |one| received.push(one)) {
            Ok(count) => count == SLOTS,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (false, None),
            Err(error) => {
                // An ICMP error or the like of some peer; the socket itself does not break.
                tracing::debug!(%error, "receive");
                return (true, None);
            }
        };
        let datagrams = received
            .iter()
            .map(|one| one.payload.len().div_ceil(one.stride.max(1)))
            .sum();
        let now = clock::now();
        self.route(now);
        self.deliver();
        (
            is_full || self.is_behind,
            self.moderation.on_look(now, datagrams),
        )
    }

    fn route(&mut self, now: Instant) {
        let arrivals = clock::Arrivals::at(now);
        let endpoint = Arc::clone(&self.endpoint);
        let mut state = endpoint.lock();
        let mut received = std::mem::take(&mut self.received);
        for mut batch in received.drain(..) {
            let received_at = arrivals.instant(batch.timestamp);
            while !batch.payload.is_empty() {
                let len = batch.stride.min(batch.payload.len());
                let datagram = Datagram {
                    remote: batch.remote,
                    local_ip: batch.local_ip,
                    ecn: batch.ecn,
                    received_at,
                    payload: batch.payload.split_to(len),
                };
                self.out.clear();
                match state.engine.handle_datagram(now, datagram, &mut self.out) {
                    Routed::Dropped => {}
                    Routed::Connection(handle, datagram) => self.sort(&state, handle, datagram),
                    Routed::Incoming(incoming) => {
                        endpoint.arrived(&mut state, incoming, &mut self.out);
                    }
                    Routed::Response(transmit) => endpoint.send(&transmit, &self.out),
                }
            }
        }
        self.received = received;
    }

    fn sort(&mut self, state: &endpoint::State, handle: ConnectionHandle, datagram: Datagram) {
        // Neighbours usually belong together.
        let known = self
            .deliveries
            .iter_mut()
            .rev()
            .find(|(to, ..)| *to == handle);
        if let Some((_, _, datagrams)) = known {
            datagrams.push(datagram);
        } else if let Some(connection) = state.connections.get(&handle) {
            let mut datagrams = self.spare.pop().unwrap_or_default();
            datagrams.push(datagram);
            self.deliveries
                .push((handle, Arc::clone(connection), datagrams));
        }
    }

    fn deliver(&mut self) {
        for (_, connection, mut datagrams) in self.deliveries.drain(..) {
            let delivered = connection.deliver(&mut datagrams);
            self.is_behind |= delivered.is_behind;
            self.endpoint
                .inbox_drops
                .fetch_add(delivered.dropped, Relaxed);
            // Swapped with what the task had emptied, or emptied itself.
            self.spare.push(datagrams);
        }
        // One batch is for as many connections at most as it has datagrams; keep no more than usual.
        self.spare.truncate(16);
    }
}

#[cfg(test)]
mod tests;
