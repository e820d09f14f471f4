//! A client that was let in: its connection, and what its key's line says of it at present.
//! What the line means for files and targets is decided in the services.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rp_protocol::{Connection, units::Bandwidth};
use tracing::info;

use crate::{
    authorized_keys::{AuthorizedKeys, Grant},
    close_code,
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
    max_rate: Option<Bandwidth>,
    grant: Mutex<Arc<Grant>>,
}

impl Session {
    /// A client whose line said `grant` when it came.
    pub fn new(
        connection: Connection,
        authorized_keys: Arc<AuthorizedKeys>,
        max_rate: Option<Bandwidth>,
        grant: Grant,
    ) -> Self {
        let session = Self {
            connection,
            authorized_keys,
            max_rate,
            grant: Mutex::new(Arc::new(grant)),
        };
        session.apply(&session.held());
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

    /// Keeps `grant`, the same one as long as nothing changed.
    fn hold(&self, grant: Grant) -> Arc<Grant> {
        let mut held = self.held();
        if **held != grant {
            *held = Arc::new(grant);
            self.apply(&held);
        }
        Arc::clone(&held)
    }

    fn apply(&self, grant: &Grant) {
        let max_rate = [self.max_rate, grant.rate].into_iter().flatten().min();
        self.connection.set_rate(max_rate);
    }

    fn held(&self) -> MutexGuard<'_, Arc<Grant>> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
