//! The task of one connection: moves the inbox into the engine, the engine's batches to the socket, its
//! events to whoever waits. It decides nothing; waiting streams are in `shared`.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    clock::{self, Timer},
    endpoint_state,
    shared::{Shared, Wakers},
};
use crate::engine::{ConnectionHandle, Datagram, Output, Transmit};

/// Batches sent before other tasks of this thread get their turn: about 1 MB, a few hundred
/// microseconds.
const BATCHES_PER_TURN: usize = 16;

/// A connection with nothing due for this long gives its buffers back: there may be ten thousand.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Drives one connection until its engine is drained.
pub(super) struct Task {
    shared: Arc<Shared>,
    endpoint: Arc<endpoint_state::Shared>,
    handle: ConnectionHandle,
    timer: Timer,
    deadline: Option<Instant>,
    /// Swapped with the inbox, so that neither side allocates.
    datagrams: Vec<Datagram>,
    batch: Vec<u8>,
    /// A batch the socket had no room for, and the wait for room.
    blocked: Option<(Transmit, Writable)>,
    wakers: Wakers,
}

type Writable = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a poll of the engine came to.
enum Step {
    Send(Transmit),
    Sleep,
    Finished,
}

impl Task {
    /// Must be called within a tokio runtime.
    pub(super) fn new(
        shared: Arc<Shared>,
        endpoint: Arc<endpoint_state::Shared>,
        handle: ConnectionHandle,
    ) -> Self {
        Self {
            shared,
            endpoint,
            handle,
            timer: Timer::new(),
            deadline: None,
            datagrams: Vec::new(),
            batch: Vec::new(),
            blocked: None,
            wakers: Wakers::default(),
        }
    }

    /// Hand in what arrived and what fell due.
    fn feed(&mut self, cx: &Context<'_>, now: Instant) {
        self.shared.collect(cx, &mut self.datagrams);
        let mut state = self.shared.lock();
        state.register_task(cx);
        let unanswered = state.engine.unanswered_probes();
        for datagram in self.datagrams.drain(..) {
            state.engine.handle_datagram(now, datagram);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            state.engine.handle_timeout(now);
        }
        self.shared.set_min_rtt(state.engine.min_rtt());
        if state.engine.unanswered_probes() != unanswered {
            self.shared.notify.probed.notify_waiters();
        }
    }

    /// Ask the engine until it wants to send or has nothing more to say.
    fn poll_engine(&mut self, now: Instant) -> Step {
        let mut state = self.shared.lock();
        state.is_sending = false;
        loop {
            self.batch.clear();
            match state.engine.poll(now, &mut self.batch) {
                Output::Transmit(transmit) => {
                    state.is_sending = true;
                    return Step::Send(transmit);
                }
                Output::Event(event) => {
                    self.shared
                        .handle_event(&mut state, event, &mut self.wakers);
                }
                Output::Endpoint(event) => self.endpoint.handle_event(self.handle, event),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return if state.engine.is_drained() {
                        Step::Finished
                    } else {
                        Step::Sleep
                    };
                }
            }
        }
    }

    /// Send the batch, or note that it has to wait.
    fn send(&mut self, transmit: Transmit) {
        let contents = self.batch.get(..transmit.len).unwrap_or(&self.batch);
        if self.endpoint.socket.try_send(&transmit, contents).is_err() {
            let endpoint = Arc::clone(&self.endpoint);
            let writable = Box::pin(async move { endpoint.socket.writable().await });
            self.blocked = Some((transmit, writable));
        }
    }

    /// Have the task of `cx` woken when something falls due.
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(deadline) = self.deadline else {
            return;
        };
        self.timer.arm(cx, deadline, now);
        if deadline.saturating_duration_since(now) >= IDLE_AFTER {
            self.batch = Vec::new();
            self.datagrams = Vec::new();
        }
    }

    /// Whether the socket can send; if not, the task of `cx` is woken when it can.
    fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some((transmit, writable)) = &mut self.blocked {
            if writable.as_mut().poll(cx).is_pending() {
                return false;
            }
            let transmit = *transmit;
            self.blocked = None;
            self.send(transmit);
        }
        true
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut now = clock::now();
        this.feed(cx, now);
        for _ in 0..BATCHES_PER_TURN {
            if !this.poll_unblocked(cx) {
                this.wakers.wake();
                return Poll::Pending;
            }
            let step = this.poll_engine(now);
            this.wakers.wake();
            match step {
                Step::Send(transmit) => this.send(transmit),
                Step::Finished => return Poll::Ready(()),
                Step::Sleep => {
                    this.shared.notify.sent.notify_waiters();
                    this.sleep(cx, now);
                    return Poll::Pending;
                }
            }
            now = clock::now();
        }
        // More to send: let the receive loop and the application in between.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    /// Also reached when the runtime shuts down under a live connection.
    fn drop(&mut self) {
        self.endpoint.forget(self.handle, &self.shared);
        let mut state = self.shared.lock();
        state.over(
            crate::error::ConnectionError::LocallyClosed,
            &mut self.wakers,
        );
        drop(state);
        self.shared.notify.all();
        self.wakers.wake();
    }
}
