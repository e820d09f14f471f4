//! Asking a server again that has no place for another handshake at the moment. Why else a connection fails is
//! the parent's.

use std::{net::SocketAddr, time::Duration};

use rp_protocol::{
    Connection, Endpoint,
    config::ClientConfig,
    error::{ConnectError, ConnectionError, TransportCode},
};

/// Pauses before the server is asked again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(3200);

/// Connect to `address`, if need be at the seventh attempt, which is 6.3 s after the first.
pub(super) async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Connection, ConnectError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match endpoint.connect(address, config.clone()).await {
            //= spec/02-handshake.md#half-open-connections
            //# A client that is refused with CONNECTION_REFUSED SHOULD try again several times, each time after twice
            //# the wait.
            Err(error) if is_refusal(&error) && pause <= LONGEST_PAUSE => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
}

/// Whether the server has no place for another client that connects.
fn is_refusal(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Connection(ConnectionError::PeerTransport { code, .. })
            if *code == TransportCode::CONNECTION_REFUSED
    )
}
