//! What a connection's handles, streams and task share: the engine behind one lock, the inbox, and who
//! waits for what. Driving the engine is `task`'s work.

use std::{
    mem,
    pin::pin,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::{clock, moderation::MaxDelay, rate_limit::RateLimits};
use crate::{
    crypto::identity::PublicKey,
    engine::{self, Datagram, Event, StreamEvent},
    error::ConnectionError,
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

/// Received bytes that may wait for a connection's task. More means that this machine is too slow for
/// what it is sent; dropping here is the loss the peer's controller needs to see. Four full batches.
const INBOX_BYTES: usize = 8 << 20;

/// One connection, shared by its handles, its streams, its task and the endpoint's receive loop.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    /// Known once the handshake is complete, and from then on for ever.
    pub(super) established: OnceLock<Established>,
    pub(super) notify: Notifies,
    /// The minimum RTT in microseconds; 0 before it is known.
    min_rtt_us: AtomicU32,
}

/// Whom the handshake connected us to, for what.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) peer: PublicKey,
    pub(super) service: String,
}

/// Wake-ups that concern the connection and not one stream. Waiters register before they check, so
/// that none is lost.
#[derive(Debug, Default)]
pub(super) struct Notifies {
    pub(super) connected: Notify,
    pub(super) confirmed: Notify,
    pub(super) closed: Notify,
    /// The count of unanswered probe timeouts has changed.
    pub(super) probed: Notify,
    pub(super) opened: [Notify; 2],
    pub(super) available: [Notify; 2],
    pub(super) datagram_received: Notify,
    pub(super) datagrams_unblocked: Notify,
    /// The task has handed the system all that the engine wanted to send for the moment.
    pub(super) sent: Notify,
}

/// The index of `dir`'s part in a pair.
pub(super) const fn slot(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}

/// What the receive loop left for the task.
#[derive(Debug, Default)]
struct Inbox {
    datagrams: Vec<Datagram>,
    bytes: usize,
    dropped: u64,
    task: Option<Waker>,
}

/// How a delivery went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered {
    /// Datagrams that did not fit.
    pub(super) dropped: u64,
    /// The task has not collected the delivery before.
    pub(super) is_behind: bool,
}

/// The part of a connection behind its one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) engine: engine::Connection,
    /// Why the connection is over.
    pub(super) error: Option<ConnectionError>,
    /// Woken by whatever gives the engine something to do.
    task: Option<Waker>,
    /// The task has a batch of the engine's that may not be sent yet.
    pub(super) is_sending: bool,
    receivers: FxHashMap<StreamId, Waker>,
    senders: FxHashMap<StreamId, Sender>,
    /// What its streams keep to.
    pub(super) limits: RateLimits,
}

/// A send stream that the application holds.
#[derive(Debug, Default)]
pub(super) struct Sender {
    waker: Option<Waker>,
    /// Everything sent, its end included, was acknowledged.
    pub(super) acknowledged: bool,
    pub(super) stopped: Option<CloseCode>,
}

/// Wakers to be called once the lock is released.
#[derive(Debug, Default)]
pub(super) struct Wakers(SmallVec<[Waker; 8]>);

impl Wakers {
    fn push(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(super) fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Shared {
    pub(super) fn new(engine: engine::Connection) -> Self {
        Self {
            state: Mutex::new(State {
                engine,
                error: None,
                task: None,
                is_sending: false,
                receivers: FxHashMap::default(),
                senders: FxHashMap::default(),
                limits: RateLimits::default(),
            }),
            inbox: Mutex::default(),
            established: OnceLock::new(),
            notify: Notifies::default(),
            min_rtt_us: AtomicU32::new(0),
        }
    }

    /// How long the receive loop may leave this connection's datagrams in the socket for others to come.
    pub(super) fn max_delay(&self) -> MaxDelay {
        let min_rtt_us = self.min_rtt_us.load(Relaxed);
        MaxDelay::for_rtt((min_rtt_us > 0).then(|| Duration::from_micros(min_rtt_us.into())))
    }

    /// The round trip is known, or has changed.
    pub(super) fn set_min_rtt(&self, min_rtt: Option<Duration>) {
        let micros = min_rtt.map_or(0, |rtt| rtt.as_micros());
        self.min_rtt_us
            .store(u32::try_from(micros).unwrap_or(u32::MAX), Relaxed);
    }

    /// The connection's one lock. Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in another thread while it held the lock has been reported there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave `datagrams` for the task and wake it.
    pub(super) fn deliver(&self, datagrams: &mut Vec<Datagram>) -> Delivered {
        let mut inbox = self.inbox();
        let mut dropped = 0;
        let is_behind = !inbox.datagrams.is_empty();
        if inbox.datagrams.is_empty() && inbox.bytes == 0 {
            inbox.bytes = datagrams.iter().map(|one| one.payload.len()).sum();
            mem::swap(&mut inbox.datagrams, datagrams);
        } else {
            for datagram in datagrams.drain(..) {
                if inbox.bytes + datagram.payload.len() > INBOX_BYTES {
                    dropped += 1;
                } else {
                    inbox.bytes += datagram.payload.len();
                    inbox.datagrams.push(datagram);
                }
            }
        }
        inbox.dropped += dropped;
        let task = inbox.task.take();
        drop(inbox);
        if let Some(task) = task {
            task.wake();
        }
        Delivered { dropped, is_behind }
    }

    /// Swap what was delivered into `datagrams`, which must be empty; the task of `cx` is woken by
    /// whatever comes next.
    pub(super) fn collect(&self, cx: &Context<'_>, datagrams: &mut Vec<Datagram>) {
        let mut inbox = self.inbox();
        mem::swap(&mut inbox.datagrams, datagrams);
        inbox.bytes = 0;
        inbox.task = Some(cx.waker().clone());
    }

    /// Make room for another client, if the handshake is not complete.
    pub(super) fn evict(&self) {
        let mut state = self.lock();
        state.engine.evict(clock::now());
        state.wake_task();
    }

    /// Close from our side; later calls change nothing.
    pub(super) fn close(&self, code: CloseCode, reason: &[u8]) {
        let mut state = self.lock();
        if state.error.is_some() {
            return;
        }
        state
            .engine
            .close(clock::now(), code, Bytes::copy_from_slice(reason));
        let mut wakers = Wakers::default();
        state.over(ConnectionError::LocallyClosed, &mut wakers);
        state.wake_task();
        drop(state);
        self.notify.all();
        wakers.wake();
    }

    /// Waits until the task has sent all that was written, and the end if there is one.
    pub(super) async fn flushed(&self) {
        loop {
            let mut sent = pin!(self.notify.sent.notified());
            // Registered before the check, so that news in between is not missed.
            sent.as_mut().enable();
            {
                let state = self.lock();
                let is_waiting = state.engine.has_unsent() || state.is_sending;
                if state.engine.is_drained() || !is_waiting {
                    return;
                }
            }
            sent.await;
        }
    }

    /// Pass on what the engine reports. `wakers` is called by the caller, without the lock.
    pub(super) fn handle_event(&self, state: &mut State, event: Event, wakers: &mut Wakers) {
        match event {
            Event::Connected => {
                if let (Some(peer), Some(service)) = (state.engine.peer(), state.engine.service()) {
                    let service = service.to_owned();
                    // Set once: the handshake completes once.
                    let _ = self.established.set(Established { peer, service });
                }
                self.notify.connected.notify_waiters();
            }
            Event::Confirmed => self.notify.confirmed.notify_waiters(),
            Event::Stream(event) => self.handle_stream_event(state, event, wakers),
            Event::DatagramReceived => self.notify.datagram_received.notify_waiters(),
            Event::DatagramsUnblocked => self.notify.datagrams_unblocked.notify_waiters(),
            Event::Closed(error) => {
                state.over(error, wakers);
                self.notify.all();
            }
        }
    }

    fn handle_stream_event(&self, state: &mut State, event: StreamEvent, wakers: &mut Wakers) {
        match event {
            StreamEvent::Opened(dir) => self.notify.opened[slot(dir)].notify_waiters(),
            StreamEvent::Available(dir) => self.notify.available[slot(dir)].notify_waiters(),
            StreamEvent::Readable(id) => wakers.push(state.receivers.remove(&id)),
            StreamEvent::Writable(id) => {
                if let Some(sender) = state.senders.get_mut(&id) {
                    wakers.push(sender.waker.take());
                }
            }
            StreamEvent::Finished(id) => {
                if let Some(sender) = state.senders.get_mut(&id) {
                    sender.acknowledged = true;
                    wakers.push(sender.waker.take());
                }
            }
            StreamEvent::Stopped { id, code } => {
                if let Some(sender) = state.senders.get_mut(&id) {
                    sender.stopped = Some(code);
                    wakers.push(sender.waker.take());
                }
            }
        }
    }
}

impl Notifies {
    pub(super) fn all(&self) {
        self.connected.notify_waiters();
        self.confirmed.notify_waiters();
        self.closed.notify_waiters();
        self.probed.notify_waiters();
        for notify in self.opened.iter().chain(&self.available) {
            notify.notify_waiters();
        }
        self.datagram_received.notify_waiters();
        self.datagrams_unblocked.notify_waiters();
        self.sent.notify_waiters();
    }
}

impl State {
    /// The connection is over; everybody who waits finds out. The first reason stands.
    pub(super) fn over(&mut self, error: ConnectionError, wakers: &mut Wakers) {
        self.error.get_or_insert(error);
        self.receivers
            .drain()
            .for_each(|(_, waker)| wakers.push(Some(waker)));
        for sender in self.senders.values_mut() {
            wakers.push(sender.waker.take());
        }
    }

    /// An error if the connection is over.
    pub(super) fn alive(&self) -> Result<(), ConnectionError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Have the task poll the engine: there is something to send, or a credit to give.
    pub(super) fn wake_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The task of `cx` is about to poll.
    pub(super) fn register_task(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Wake the task of `cx` when stream `id` has something to read.
    pub(super) fn register_receiver(&mut self, id: StreamId, cx: &Context<'_>) {
        self.receivers.insert(id, cx.waker().clone());
    }

    /// Nobody reads stream `id` any more.
    pub(super) fn forget_receiver(&mut self, id: StreamId) {
        self.receivers.remove(&id);
    }

    /// The application holds the sending side of stream `id` from here on.
    pub(super) fn track_sender(&mut self, id: StreamId) {
        self.senders.insert(id, Sender::default());
    }

    /// What is known of the sending side of stream `id`.
    pub(super) fn sender(&self, id: StreamId) -> Option<&Sender> {
        self.senders.get(&id)
    }

    /// Wake the task of `cx` when stream `id` has room, is stopped, or is acknowledged whole.
    pub(super) fn register_sender(&mut self, id: StreamId, cx: &Context<'_>) {
        if let Some(sender) = self.senders.get_mut(&id) {
            sender.waker = Some(cx.waker().clone());
        }
    }

    /// The application let go of the sending side of stream `id`.
    pub(super) fn forget_sender(&mut self, id: StreamId) {
        self.senders.remove(&id);
    }
}
