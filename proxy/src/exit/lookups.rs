//! Who may look names up now: every client has a share of the lookups that run at once.
//! How a name is looked up lives in `resolve`.
//!
//! A name that nobody answers for holds its place for seconds. A client may hold as many places as are free, so
//! that one that asks for nothing but dead names holds half of them, and `n` such clients leave one part in
//! `n + 1` to the others. Who has none yet always finds one among those.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Lookups at once by default; each holds two or more UDP sockets.
pub(super) const DEFAULT_LOOKUPS: usize = 4096;
/// Places every client may hold whatever is free.
const LEAST_SHARE: usize = 16;
/// Requests that may wait for a place, in all and of one client.
const MAX_WAITING: usize = 65_536;
const MAX_WAITING_EACH: usize = 8192;

/// The places of an exit.
#[derive(Debug)]
pub(super) struct Lookups {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    places: usize,
    used: usize,
    clients: HashMap<Arc<str>, Client>,
    /// Clients with requests that wait, each once, in the order in which they get places.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Client {
    held: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place among the lookups at once; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    lookups: Arc<Lookups>,
    client: Arc<str>,
}

impl Lookups {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                places,
                used: 0,
                clients: HashMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
            }),
        })
    }

    /// A place for `client`, as soon as its share and the whole have one; `None` if too many wait already.
    pub(super) async fn acquire(self: &Arc<Self>, client: &str) -> Option<Place> {
        let client: Arc<str> = client.into();
        let turn = {
            let mut state = self.lock();
            if state.take(&client) {
                return Some(self.place(client));
            }
            state.wait(&client)?
        };
        turn.await.ok()
    }

    fn place(self: &Arc<Self>, client: Arc<str>) -> Place {
        Place {
            lookups: self.clone(),
            client,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free places to those whose turn it is. A place whose taker has left meanwhile comes back by its drop.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some((client, taker)) = state.next() else {
                return;
            };
            drop(state);
            let _ = taker.send(self.place(client));
        }
    }
}

impl State {
    //= spec/10-proxy.md#egress
    //# An exit MUST bound how many names it looks up at once.

    //= spec/10-proxy.md#egress
    //# Names of one client that nobody answers for MUST NOT hold up those of another.
    fn may_take(&self, client: &str) -> bool {
        let held = self.clients.get(client).map_or(0, |client| client.held);
        let free = self.places - self.used;
        free > 0 && held < free.max(LEAST_SHARE)
    }

    fn take(&mut self, client: &Arc<str>) -> bool {
        let may = self.may_take(client);
        if may {
            self.used += 1;
            self.clients.entry(client.clone()).or_default().held += 1;
        }
        may
    }

    fn wait(&mut self, client: &Arc<str>) -> Option<oneshot::Receiver<Place>> {
        let known = self.clients.get(client);
        let mine = known.map_or(0, |client| client.waiting.len());
        if self.waiting >= MAX_WAITING || mine >= MAX_WAITING_EACH {
            return None;
        }
        if mine == 0 {
            self.turns.push_back(client.clone());
        }
        let (taker, turn) = oneshot::channel();
        let entry = self.clients.entry(client.clone()).or_default();
        entry.waiting.push_back(taker);
        self.waiting += 1;
        Some(turn)
    }

    /// Takes a place for the first whose turn it is and whose share allows one; the others of its client go behind
    /// those of all other clients.
    fn next(&mut self) -> Option<(Arc<str>, oneshot::Sender<Place>)> {
        for _ in 0..self.turns.len() {
            let client = self.turns.pop_front()?;
            self.forget_those_who_left(&client);
            let may = self.may_take(&client);
            let Some(entry) = self.clients.get_mut(&client) else {
                continue;
            };
            let taker = if may { entry.waiting.pop_front() } else { None };
            if let Some(taker) = taker {
                entry.held += 1;
                self.used += 1;
                self.waiting -= 1;
                if !entry.waiting.is_empty() {
                    self.turns.push_back(client.clone());
                }
                return Some((client, taker));
            }
            if !entry.waiting.is_empty() {
                self.turns.push_back(client);
            }
        }
        None
    }

    /// Drops the requests at the head of `client`'s queue that were given up.
    fn forget_those_who_left(&mut self, client: &Arc<str>) {
        let Some(entry) = self.clients.get_mut(client) else {
            return;
        };
        while entry
            .waiting
            .front()
            .is_some_and(oneshot::Sender::is_closed)
        {
            entry.waiting.pop_front();
            self.waiting -= 1;
        }
        if entry.held == 0 && entry.waiting.is_empty() {
            self.clients.remove(client);
        }
    }

    fn give_back(&mut self, client: &Arc<str>) {
        self.used -= 1;
        if let Some(entry) = self.clients.get_mut(client) {
            entry.held -= 1;
            if entry.held == 0 && entry.waiting.is_empty() {
                self.clients.remove(client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lookups.lock().give_back(&self.client);
        self.lookups.hand_out();
    }
}

#[cfg(test)]
mod tests;
