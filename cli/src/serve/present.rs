//! The clients that are connected at present, and how many were turned away: what a server tells of
//! them. Whether a client is let in is decided elsewhere.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    session::Session,
    status::{ConnectionStatus, MAX_ROWS, Refusals},
};

/// Who is connected. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Present(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    clients: Mutex<Clients>,
    not_let_in: AtomicU64,
    too_many: AtomicU64,
}

#[derive(Debug, Default)]
struct Clients {
    next: u64,
    /// As many as the server admits.
    listed: HashMap<u64, Arc<Session>>,
}

/// A client is listed as long as this lives.
#[derive(Debug)]
pub(super) struct Listed {
    present: Present,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.present.clients().listed.remove(&self.number);
    }
}

impl Present {
    /// Lists the client of `session`.
    pub(super) fn enter(&self, session: Arc<Session>) -> Listed {
        let mut clients = self.clients();
        let number = clients.next;
        clients.next += 1;
        clients.listed.insert(number, session);
        Listed {
            present: self.clone(),
            number,
        }
    }

    /// Counts a client whose key, address, version or handshake was not accepted.
    pub(super) fn not_let_in(&self) {
        self.0.not_let_in.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client beyond a limit.
    pub(super) fn too_many(&self) {
        self.0.too_many.fetch_add(1, Ordering::Relaxed);
    }

    /// Those turned away so far.
    pub(super) fn refusals(&self) -> Refusals {
        Refusals {
            clients: self.0.not_let_in.load(Ordering::Relaxed),
            too_many: self.0.too_many.load(Ordering::Relaxed),
            ..Refusals::default()
        }
    }

    /// How many there are, and the numbers of those that moved most.
    pub(super) fn list(&self) -> (u64, Vec<ConnectionStatus>) {
        let listed = self.sessions();
        let count = listed.len() as u64;
        let numbers = listed.iter().map(|session| ConnectionStatus {
            comment: Some(session.comment()).filter(|comment| !comment.is_empty()),
            ..ConnectionStatus::of(session.connection())
        });
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_by_key(|of| std::cmp::Reverse(of.sent_bytes + of.received_bytes));
        numbers.truncate(MAX_ROWS);
        (count, numbers)
    }

    /// Does `what` with each.
    pub(super) fn each(&self, what: impl Fn(&Session)) {
        self.sessions().iter().for_each(|session| what(session));
    }

    /// Their own locks are taken when that of the list is free again.
    fn sessions(&self) -> Vec<Arc<Session>> {
        self.clients().listed.values().cloned().collect()
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
