//! Connecting with a key of our own and trust in one key, both told by other means than files.

use std::{net::SocketAddr, sync::Arc};

use rp_protocol::{config::TransportConfig, crypto::identity::Identity};

use super::{Attempt, ConnectFailure, Connected, Failure, Server, race};
use crate::{host_key::HostKeyPolicy, memory::MemoryBudget};

/// Connects to the first of `addresses` that answers, as `identity`, if its key is what the policy wants; `server` is
/// its name in errors.
///
/// # Errors
/// See [`ConnectFailure`].
pub async fn connect_pinned(
    server: &Server,
    addresses: &[SocketAddr],
    (identity, policy): (Identity, HostKeyPolicy),
    service: &str,
    transport: TransportConfig,
) -> Result<Connected, ConnectFailure> {
    let attempt = Attempt {
        identity: Arc::new(identity),
        policy: Arc::new(policy),
        service: service.to_owned(),
        transport,
        memory: MemoryBudget::of_machine(),
    };
    race(addresses, &attempt)
        .await
        .map_err(|failure| match failure {
            Failure::Socket(error) => ConnectFailure::Socket(error),
            Failure::Connect(source) => ConnectFailure::explain(source, server, service),
        })
}
