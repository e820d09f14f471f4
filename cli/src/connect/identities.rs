//! The keys we may show a server, and which of them it takes. Where they come from is `identity`'s.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rp_protocol::{
    crypto::identity::Identity,
    error::{ConnectError, ConnectionError},
};

use super::{ACCESS_DENIED, Attempt, Connected, Failure, race};

/// No key was taken yet.
const NONE: usize = usize::MAX;

/// Keys in the order in which a server is asked to take them.
#[derive(Debug)]
pub(super) struct Identities {
    all: Vec<Arc<Identity>>,
    /// Index of the key that was taken last.
    taken: AtomicUsize,
}

impl Identities {
    /// `all` must not be empty.
    pub(super) fn new(all: Vec<Identity>) -> Self {
        Self {
            all: all.into_iter().map(Arc::new).collect(),
            taken: AtomicUsize::new(NONE),
        }
    }

    /// The key to begin with: the one that was taken before, if any was.
    pub(super) fn first(&self) -> Arc<Identity> {
        let taken = self.all.get(self.taken.load(Ordering::Relaxed));
        taken.unwrap_or(&self.all[0]).clone()
    }

    /// Makes `attempt` with one key after the other until the server takes one.
    ///
    /// Whether a key is taken shows a round trip after the handshake. It is waited for only while there
    /// is a choice.
    pub(super) async fn try_each(
        &self,
        addresses: &[SocketAddr],
        attempt: &Attempt,
    ) -> Result<Connected, Failure> {
        if self.all.len() == 1 || self.taken.load(Ordering::Relaxed) != NONE {
            return race(addresses, attempt).await;
        }
        let mut refused = None;
        for (index, identity) in self.all.iter().enumerate() {
            let key = identity.public_key();
            let attempt = Attempt {
                identity: identity.clone(),
                ..attempt.clone()
            };
            let failure = match race(addresses, &attempt).await {
                Ok(connected) => match connected.connection.confirmed().await {
                    Ok(()) => {
                        tracing::debug!(%key, "let in with this key");
                        self.taken.store(index, Ordering::Relaxed);
                        return Ok(connected);
                    }
                    Err(error) => Failure::Connect(error.into()),
                },
                Err(failure) => failure,
            };
            if !is_refusal(&failure) {
                return Err(failure);
            }
            tracing::info!(%key, "not let in with this key of ssh-agent");
            refused = Some(failure);
        }
        Err(refused.expect("there is a key"))
    }
}

/// Whether the server refused the key.
fn is_refusal(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Connect(ConnectError::Connection(ConnectionError::PeerTransport { code, .. }))
            if *code == ACCESS_DENIED
    )
}
