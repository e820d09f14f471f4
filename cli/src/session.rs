//! A client that was let in: its connection, and what its key's line says of it at present.
//! What the line means for files and targets is decided in the services.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rp_protocol::Connection;
use tracing::info;

use crate::{
    authorized_keys::{AuthorizedKeys, Grant},
    close_code,
    key_rates::{KeyRate, KeyRates, MaxRate},
};

/// How often the line is looked at while the client asks for nothing: a tunnel that runs for days
/// ends with the permission to have it.
const RECHECK: Duration = Duration::from_secs(10);

/// One client's connection. The list of keys is asked again for each of its requests, and from time
/// to time; when the client may not be here any more its connection is closed.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    authorized_keys: Arc<AuthorizedKeys>,
    /// The most that any connection may send.
    max_rate: MaxRate,
    rates: Arc<KeyRates>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    grant: Arc<Grant>,
    /// Shared with the other connections of the key.
    rate: Option<Arc<KeyRate>>,
}

impl Session {
    /// A client whose line said `grant` when it came.
    pub fn new(
        connection: Connection,
        authorized_keys: Arc<AuthorizedKeys>,
        rates: Arc<KeyRates>,
        max_rate: MaxRate,
        grant: Grant,
    ) -> Self {
        let state = State {
            grant: Arc::new(grant),
            rate: None,
        };
        let session = Self {
            connection,
            authorized_keys,
            max_rate,
            rates,
            state: Mutex::new(state),
        };
        session.apply(&mut session.state());
        session
    }

    /// Its connection.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What the client may do at present. `None` if it may not be here any more: its connection is
    /// closed then.
    pub fn grant(&self) -> Option<Arc<Grant>> {
        let key = self.connection.peer();
        let from: SocketAddr = self.connection.remote_address();
        match self.authorized_keys.grant_for(&key, from.ip()) {
            Ok(grant) => Some(self.hold(grant)),
            Err(refusal) => {
                info!(%from, %key, %refusal, "client is let in no more");
                let reason = b"this key may not be used from here any more";
                self.connection.close(close_code::NOT_PERMITTED, reason);
                None
            }
        }
    }

    /// Looks at the line from time to time, until the client may not be here any more.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(RECHECK).await;
            if self.grant().is_none() {
                return;
            }
        }
    }

    /// Has the connection keep to the rates as they are at present.
    pub fn refresh(&self) {
        self.apply(&mut self.state());
    }

    /// What stands behind its key in the list.
    pub fn comment(&self) -> String {
        self.state().grant.comment.clone()
    }

    /// Keeps `grant`, the same one as long as nothing changed.
    fn hold(&self, grant: Grant) -> Arc<Grant> {
        let mut state = self.state();
        if *state.grant != grant {
            state.grant = Arc::new(grant);
            self.apply(&mut state);
        }
        Arc::clone(&state.grant)
    }

    /// Has the connection keep to the rates: its own, and the one its key's connections have together.
    fn apply(&self, state: &mut State) {
        let own = state.grant.rate;
        let rate = own.map(|rate| self.rates.get(self.connection.peer(), rate));
        let limits = rate.as_ref().map(|rate| rate.limits().clone());
        self.connection.set_limits(limits.unwrap_or_default());
        self.connection
            .set_rate([self.max_rate.get(), own].into_iter().flatten().min());
        state.rate = rate;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
