//! Data connections that are to come, each to another address than its server named.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long a data connection is expected; a client makes it when it has read where to.
const LIFETIME: Duration = Duration::from_secs(60);

/// Connections expected at once of one client; of more the oldest are forgotten, which then go where
/// their client was told.
const MAX_OF_CLIENT: usize = 64;

/// Clients whose connections are expected at once.
const MAX_CLIENTS: usize = 1024;

/// The data connections that are expected.
#[derive(Debug, Default)]
pub(in crate::front::transparent) struct Expected {
    clients: Mutex<HashMap<IpAddr, Vec<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    /// Where the client was told to connect.
    told: SocketAddr,
    /// What the server had named.
    named: SocketAddr,
    since: Instant,
}

impl Expected {
    /// Expects a connection of `client` to `told`, for which the server had named `named`.
    pub(super) fn insert(&self, client: IpAddr, told: SocketAddr, named: SocketAddr) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, expected| {
            expected.retain(|one| one.since.elapsed() < LIFETIME);
            !expected.is_empty()
        });
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            return;
        }
        let expected = clients.entry(client).or_default();
        expected.retain(|one| one.told != told);
        if expected.len() >= MAX_OF_CLIENT {
            expected.remove(0);
        }
        let since = Instant::now();
        expected.push(Connection { told, named, since });
    }

    /// What the server had named for a connection of `client` to `told`, once.
    pub(in crate::front::transparent) fn take(
        &self,
        client: IpAddr,
        told: SocketAddr,
    ) -> Option<SocketAddr> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = clients.get_mut(&client)?;
        let is_it = |one: &Connection| one.told == told && one.since.elapsed() < LIFETIME;
        let at = expected.iter().position(is_it)?;
        let named = expected.remove(at).named;
        if expected.is_empty() {
            clients.remove(&client);
        }
        Some(named)
    }
}

#[cfg(test)]
mod tests;
