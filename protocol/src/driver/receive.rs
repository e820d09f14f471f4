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
    endpoint_state,
    moderation::{Found, MaxDelay, Moderation},
    shared::Shared,
    socket::{ReceiveSlots, Received, SLOTS, Watch},
};
use crate::engine::{ConnectionHandle, Datagram, Routed};

/// Receives for one endpoint until nobody wants it any more.
pub(super) struct Receiver {
    endpoint: Arc<endpoint_state::Shared>,
    slots: ReceiveSlots,
    received: Vec<Received>,
    /// Datagrams of this batch by connection; a batch is rarely for more than a few.
    deliveries: Vec<(ConnectionHandle, Arc<Shared>, Vec<Datagram>)>,
    /// Connections that have to make room for others.
    evicted: Vec<Arc<Shared>>,
    /// Emptied vectors for the next deliveries.
    spare: Vec<Vec<Datagram>>,
    out: Vec<u8>,
    /// A connection has not taken its last delivery.
    is_behind: bool,
    /// Longest delay the connections of this batch allow before the next.
    max_delay: MaxDelay,
    moderation: Moderation,
    /// Signals packets; dropped while they are coalesced, or each would wake a thread.
    watch: Option<Watch>,
    /// When to poll the socket without a signal.
    again_at: Option<Instant>,
    timer: Timer,
}

/// Time between two polls where the system cannot signal packets.
const UNWATCHED: Duration = Duration::from_millis(1);

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

async fn sleep_until(timer: &mut Timer, at: Instant) {
    poll_fn(|cx| {
        let now = clock::now();
        if now >= at {
            return Poll::Ready(());
        }
        timer.arm(cx, at, now);
        Poll::Pending
    })
    .await;
}

/// Why the loop goes on.
enum Wake {
    Readable,
    /// Handles or connections are gone.
    Recheck,
    /// The runtime goes away.
    Shutdown,
}

impl Receiver {
    pub(super) fn new(endpoint: Arc<endpoint_state::Shared>) -> Self {
        Self {
            endpoint,
            slots: ReceiveSlots::new(),
            received: Vec::new(),
            deliveries: Vec::new(),
            evicted: Vec::new(),
            spare: Vec::new(),
            out: Vec::new(),
            is_behind: false,
            max_delay: MaxDelay::LONGEST,
            moderation: Moderation::new(clock::now()),
            watch: None,
            again_at: None,
            timer: Timer::new(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.endpoint.is_wanted() {
            match self.wait().await {
                Wake::Readable => {}
                Wake::Recheck => continue,
                Wake::Shutdown => return,
            }
            // After a batch that was not full the socket is empty. Asking for another turn then would wake
            // a sleeping thread of the runtime to take it, for every packet of a link that delivers them
            // one by one.
            if self.receive() {
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
    async fn wait(&mut self) -> Wake {
        if self.again_at.is_none() && self.watch.is_none() {
            match self.endpoint.socket.watch() {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    tracing::debug!(%error, "polling for packets on a timer");
                    self.again_at = Some(clock::now() + UNWATCHED);
                }
            }
        }
        let Self {
            endpoint,
            watch,
            again_at,
            timer,
            ..
        } = self;
        let mut readable = pin!(async {
            match (again_at.take(), watch) {
                (None, Some(watch)) => watch.readable().await,
                (at, _) => {
                    sleep_until(timer, at.unwrap_or_else(clock::now)).await;
                    Ok(())
                }
            }
        });
        let mut stop = pin!(endpoint.stop.notified());
        poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Recheck);
            }
            readable.as_mut().poll(cx).map(|ready| match ready {
                Ok(()) => Wake::Readable,
                Err(_) => Wake::Shutdown,
            })
        })
        .await
    }

    /// Take in one batch; whether more is likely to wait.
    fn receive(&mut self) -> bool {
        let Self {
            endpoint,
            slots,
            received,
            watch,
            ..
        } = self;
        let mut take = || endpoint.socket.try_receive(slots, |one| received.push(one));
        let taken = match watch {
            Some(watch) => watch.receive(take),
            None => take(),
        };
        let is_full = match taken {
            Ok(count) => count == SLOTS,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                // An ICMP error or the like of some peer; the socket itself does not break.
                tracing::debug!(%error, "receive");
                return true;
            }
        };
        let datagrams = received
            .iter()
            .map(|one| one.payload.len().div_ceil(one.stride.max(1)))
            .sum();
        let bytes = received.iter().map(|one| one.payload.len()).sum();
        let now = clock::now();
        self.max_delay = MaxDelay::LONGEST;
        self.route(now);
        self.deliver();
        let again_at = self.moderation.on_poll(
            now,
            Found {
                datagrams,
                bytes,
                max_delay: self.max_delay,
            },
        );
        let is_full = is_full || self.is_behind;
        if is_full {
            // What is there is not waited for.
            self.again_at = self.watch.is_none().then_some(now);
        } else {
            self.again_at = again_at;
            if again_at.is_some() {
                self.watch = None;
            }
        }
        is_full
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
                        while let Some(handle) = state.engine.poll_evicted() {
                            let connection = state.connections.get(&handle);
                            self.evicted.extend(connection.cloned());
                        }
                        endpoint.arrived(&mut state, incoming, &mut self.out);
                    }
                    Routed::Response(transmit) => endpoint.send(&transmit, &self.out),
                }
            }
        }
        self.received = received;
    }

    fn sort(
        &mut self,
        state: &endpoint_state::State,
        handle: ConnectionHandle,
        datagram: Datagram,
    ) {
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
        // Not under the endpoint's lock.
        for connection in self.evicted.drain(..) {
            connection.evict();
        }
        for (_, connection, mut datagrams) in self.deliveries.drain(..) {
            self.max_delay = self.max_delay.min(connection.max_delay());
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
