//! Datagrams that wait for one association, within what it, its connection and the process may keep.
//! Who puts them in and takes them out is `router`'s and the associations' business.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::message::Datagram;

/// Bytes that may wait for one association: some 40 full packets.
const ASSOCIATION_BYTES: usize = 64 << 10;

/// Bytes that may wait for one connection whatever others have taken.
const LEAST_SHARE: usize = 64 << 10;

/// What a datagram costs beside its payload.
const OVERHEAD: usize = 128;

/// What the datagrams that wait may take in all.
#[derive(Debug)]
pub(crate) struct QueueBudget {
    total: usize,
    used: AtomicUsize,
    discarded: Arc<AtomicU64>,
}

impl QueueBudget {
    /// `total` bytes, and beside them the least share of each connection. What is discarded is counted in
    /// `discarded`.
    pub(crate) fn new(total: usize, discarded: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            total,
            used: AtomicUsize::new(0),
            discarded,
        })
    }

    /// The share of one connection: half of what is free, so that one that takes all it can leaves half, and the
    /// next one half of that.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<QueueShare> {
        Arc::new(QueueShare {
            budget: self.clone(),
            used: AtomicUsize::new(0),
        })
    }
}

/// What the datagrams of one connection take of a budget.
#[derive(Debug)]
pub(crate) struct QueueShare {
    budget: Arc<QueueBudget>,
    used: AtomicUsize,
}

impl QueueShare {
    //= spec/10-proxy.md#udp
    //# Each side MUST bound the datagrams that wait, for each association, for each connection and in all.
    /// Takes `bytes` if the share allows it. Connections that ask at the same moment may exceed theirs by as much.
    fn take(&self, bytes: usize) -> bool {
        let budget = &self.budget;
        let free = budget
            .total
            .saturating_sub(budget.used.load(Ordering::Relaxed));
        let most = (free / 2).max(LEAST_SHARE);
        let may = self.used.load(Ordering::Relaxed) + bytes <= most;
        if may {
            self.used.fetch_add(bytes, Ordering::Relaxed);
            budget.used.fetch_add(bytes, Ordering::Relaxed);
        }
        may
    }

    /// Counts a datagram that goes nowhere.
    pub(crate) fn on_discarded(&self) {
        self.budget.discarded.fetch_add(1, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Datagrams in the order they came, for one reader.
#[derive(Debug)]
pub(crate) struct Queue {
    share: Arc<QueueShare>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Datagram>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    pub(crate) fn new(share: Arc<QueueShare>) -> Self {
        Self {
            share,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Puts `datagram` last; the oldest make room where there is none.
    //= spec/10-proxy.md#udp
    //# Where a bound is reached, the oldest datagrams of the association SHOULD be discarded.
    pub(crate) fn push(&self, datagram: Datagram) {
        let cost = cost(&datagram);
        let mut state = self.lock();
        if state.is_closed {
            return self.share.on_discarded();
        }
        while state.bytes + cost > ASSOCIATION_BYTES && !state.waiting.is_empty()
            || !self.share.take(cost)
        {
            self.share.on_discarded();
            let Some(oldest) = state.waiting.pop_front() else {
                // Others have taken all, and it is the new one that goes.
                return;
            };
            self.give_back(&mut state, &oldest);
        }
        state.bytes += cost;
        state.waiting.push_back(datagram);
        drop(state);
        self.changed.notify_one();
    }

    /// The oldest datagram; `None` when the queue was closed and is empty. For one reader at a time.
    pub(crate) async fn pop(&self) -> Option<Datagram> {
        loop {
            {
                let mut state = self.lock();
                if let Some(oldest) = state.waiting.pop_front() {
                    self.give_back(&mut state, &oldest);
                    return Some(oldest);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Everything that waits, oldest first.
    pub(crate) fn take_all(&self) -> VecDeque<Datagram> {
        let mut state = self.lock();
        self.share.give_back(std::mem::take(&mut state.bytes));
        std::mem::take(&mut state.waiting)
    }

    /// Counts a datagram that was to wait here and goes nowhere.
    pub(crate) fn on_discarded(&self) {
        self.share.on_discarded();
    }

    /// Takes nothing more; the reader still gets what waits.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    fn give_back(&self, state: &mut State, datagram: &Datagram) {
        let cost = cost(datagram);
        state.bytes -= cost;
        self.share.give_back(cost);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.share.give_back(bytes);
    }
}

fn cost(datagram: &Datagram) -> usize {
    datagram.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests;
