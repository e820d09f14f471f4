//! The servers a client may use: which of them is asked first, who takes over, and how each fares.
//! Connecting to one of them lives in `connect`.
//!
//! 1. They are asked in their order, each a moment after the one before, so that one that is there and quick is
//!    used although a later one would answer too.
//! 2. The first that answers is the one in use, until its connection is lost or silent.
//! 3. Then they are asked again from the first on. What runs over a connection is never moved.
//! 4. One before the one in use is asked from time to time, and used again once it answers ([`Servers::better`]).

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{task::JoinSet, time::timeout};

use crate::connect::{Connector, Server};

/// How long a server has for its answer before the next is asked beside it: a handshake over half the globe, so that
/// the order holds as long as its first server is well.
const HEAD_START: Duration = Duration::from_millis(500);

/// Which of several servers is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerOrder {
    /// As they were given.
    #[default]
    Given,
    /// Whichever answers first.
    Fastest,
    /// Drawn at the start, so that many clients spread over the servers.
    Random,
}

/// Text that is no order.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it is given, fastest or random")]
pub struct ServerOrderError;

impl FromStr for ServerOrder {
    type Err = ServerOrderError;

    fn from_str(text: &str) -> Result<Self, ServerOrderError> {
        match text {
            "given" => Ok(Self::Given),
            "fastest" => Ok(Self::Fastest),
            "random" => Ok(Self::Random),
            _ => Err(ServerOrderError),
        }
    }
}

/// How a server fares, as far as we have seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerHealth {
    /// The server, as it was named.
    pub server: String,
    /// Our connection is to it.
    pub is_used: bool,
    /// Why the latest attempt to reach it failed; `None` where it succeeded, or none was made.
    pub error: Option<String>,
}

/// Servers in the order in which they are asked. Clones share what is known of them.
#[derive(Clone, Debug)]
pub struct Servers {
    list: Arc<[Arc<Entry>]>,
    head_start: Duration,
}

/// One of the servers.
#[derive(Debug)]
pub struct Entry {
    connector: Connector,
    /// It has let us in once.
    was_let_in: AtomicBool,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    is_used: bool,
    error: Option<String>,
}

impl Servers {
    /// The servers behind `connectors`, of which there is at least one.
    pub fn new(connectors: Vec<Connector>, order: ServerOrder) -> Self {
        let mut list: Vec<_> = connectors.into_iter().map(Entry::new).collect();
        if order == ServerOrder::Random {
            // The standard library's hasher keys are random enough for it.
            let random = RandomState::new();
            list.sort_by_cached_key(|entry| random.hash_one(entry.server().to_string()));
        }
        let head_start = match order {
            ServerOrder::Fastest => Duration::ZERO,
            ServerOrder::Given | ServerOrder::Random => HEAD_START,
        };
        Self {
            list: list.into(),
            head_start,
        }
    }

    /// How each of them fares.
    pub fn health(&self) -> Vec<ServerHealth> {
        let health = |entry: &Arc<Entry>| {
            let health = entry.health();
            ServerHealth {
                server: entry.server().to_string(),
                is_used: health.is_used,
                error: health.error.clone(),
            }
        };
        self.list.iter().map(health).collect()
    }

    /// Has `connect` try the servers, and gives what the first success led to, with the server it is of.
    ///
    /// # Errors
    /// The failures of all of them, in their order.
    pub async fn first<T, E, F>(
        &self,
        connect: impl Fn(Arc<Entry>) -> F,
    ) -> Result<(Arc<Entry>, T), Vec<E>>
    where
        T: Send + 'static,
        E: fmt::Display + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let attempt = |at: usize| {
            let entry = self.list[at].clone();
            let connecting = connect(entry.clone());
            async move {
                let outcome = connecting.await;
                entry.health().error = outcome.as_ref().err().map(ToString::to_string);
                outcome
            }
        };
        let (at, outcome) = race(self.list.len(), self.head_start, attempt).await?;
        self.note_used(at);
        Ok((self.list[at].clone(), outcome))
    }
}

impl Servers {
    /// Whether a server is in use although others are preferred to it.
    pub fn has_better(&self) -> bool {
        self.preferred() > 0
    }

    /// How many are preferred to the one in use.
    fn preferred(&self) -> usize {
        // Of those of which the fastest is wanted none is preferred.
        match self.head_start.is_zero() {
            true => 0,
            false => self
                .list
                .iter()
                .position(|entry| entry.health().is_used)
                .unwrap_or(0),
        }
    }

    /// Has `connect` try those that are preferred to the one in use, one after the other, and gives what the first
    /// success led to, with the server it is of, which is the one in use then.
    pub async fn better<T, E, F>(
        &self,
        connect: impl Fn(Arc<Entry>) -> F,
    ) -> Option<(Arc<Entry>, T)>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        for at in 0..self.preferred() {
            let entry = &self.list[at];
            let outcome = connect(entry.clone()).await;
            entry.health().error = outcome.as_ref().err().map(ToString::to_string);
            if let Ok(success) = outcome {
                self.note_used(at);
                return Some((entry.clone(), success));
            }
        }
        None
    }

    fn note_used(&self, used: usize) {
        for (at, entry) in self.list.iter().enumerate() {
            entry.health().is_used = at == used;
        }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.list.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", entry.server())?;
        }
        Ok(())
    }
}

impl Entry {
    fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            was_let_in: AtomicBool::new(false),
            health: Mutex::default(),
        })
    }

    /// How it is reached.
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The server.
    pub fn server(&self) -> &Server {
        self.connector.server()
    }

    /// Whether it has let us in once.
    pub fn was_let_in(&self) -> bool {
        self.was_let_in.load(Ordering::Relaxed)
    }

    /// It has let us in.
    pub fn lets_in(&self) {
        self.was_let_in.store(true, Ordering::Relaxed);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts `count` attempts, each `head_start` after the one before or as soon as that failed, and gives the first
/// success; if there is none, the failures in the attempts' order.
async fn race<T, E, F>(
    count: usize,
    head_start: Duration,
    attempt: impl Fn(usize) -> F,
) -> Result<(usize, T), Vec<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut waiting = 0..count;
    let mut failures: Vec<(usize, E)> = Vec::new();
    loop {
        let next = waiting.next();
        if let Some(at) = next {
            let attempt = attempt(at);
            running.spawn(async move { (at, attempt.await) });
        }
        let patience = match next {
            Some(_) if !waiting.is_empty() => head_start,
            _ => Duration::MAX,
        };
        match timeout(patience, running.join_next()).await {
            Ok(Some(Ok((at, Ok(success))))) => return Ok((at, success)),
            Ok(Some(Ok((at, Err(failure))))) => failures.push((at, failure)),
            // Neither ends before it has an outcome.
            Ok(Some(Err(panic))) => std::panic::resume_unwind(panic.into_panic()),
            Ok(None) => break,
            Err(_elapsed) => {}
        }
    }
    failures.sort_by_key(|(at, _)| *at);
    Err(failures.into_iter().map(|(_, failure)| failure).collect())
}

#[cfg(test)]
mod tests;
