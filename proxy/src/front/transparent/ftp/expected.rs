//! Data connections that are to come, each to another address than its server named.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::eviction::greediest;

/// How long a data connection is expected; a client makes it when it has read where to.
const LIFETIME: Duration = Duration::from_secs(60);

/// Connections expected at once. Of more, some of the client's are forgotten of whom most are expected; they go
/// where he was told.
const MAX_EXPECTED: usize = 4096;

/// The data connections that are expected, by their client and where that was told to connect.
#[derive(Debug, Default)]
pub(in crate::front::transparent) struct Expected {
    connections: Mutex<HashMap<(IpAddr, SocketAddr), Connection>>,
}

#[derive(Debug)]
struct Connection {
    /// What the server had named.
    named: SocketAddr,
    since: Instant,
}

impl Expected {
    /// Expects a connection of `client` to `told`, for which the server had named `named`.
    pub(super) fn insert(&self, client: IpAddr, told: SocketAddr, named: SocketAddr) {
        let mut connections = self.lock();
        if connections.len() >= MAX_EXPECTED {
            connections.retain(|_, one| one.since.elapsed() < LIFETIME);
        }
        if connections.len() >= MAX_EXPECTED {
            let entries = connections
                .iter()
                .map(|(key, one)| (*key, key.0, one.since));
            for key in greediest(entries) {
                connections.remove(&key);
            }
        }
        let since = Instant::now();
        connections.insert((client, told), Connection { named, since });
    }

    /// What the server had named for a connection of `client` to `told`, once.
    pub(in crate::front::transparent) fn take(
        &self,
        client: IpAddr,
        told: SocketAddr,
    ) -> Option<SocketAddr> {
        let known = self.lock().remove(&(client, told));
        let known = known.filter(|one| one.since.elapsed() < LIFETIME);
        known.map(|one| one.named)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(IpAddr, SocketAddr), Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
