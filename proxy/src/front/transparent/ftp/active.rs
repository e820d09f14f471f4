//! Active FTP: the exit waits for the server in the client's place, and what comes there is brought to
//! the client.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tracing::{debug, info};

use super::FrontEndContext;
use crate::{
    client::PendingBind,
    keep_alive::keep_alive,
    relay::Near,
    target::{Host, Target},
};

/// Data connections waited for at once, for one control connection; a client has one.
const MAX_WAITING: usize = 4;

/// Longest wait for the exit to listen; the control connection stands still meanwhile.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The data connections of one control connection that are still to come.
#[derive(Debug, Default)]
pub(super) struct Active {
    waiting: JoinSet<()>,
}

impl Active {
    /// Has the exit wait for `server`, to be connected to `named`, where its `client` waits: the address
    /// to tell the server. `None` where that cannot be; then the server has to find its own way.
    pub(super) async fn wait(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        named: SocketAddr,
        context: &FrontEndContext,
    ) -> Option<SocketAddr> {
        while self.waiting.try_join_next().is_some() {}
        // A client may not have us connect to others (RFC 2577 section 3).
        if named.ip() != client.ip() || named.port() == 0 || self.waiting.len() >= MAX_WAITING {
            debug!(%client, %named, "FTP: not brought to this address");
            return None;
        }
        let from = Target::new(Host::Ip(server.ip()), server.port()).ok()?;
        let pending = match timeout(LISTEN_TIMEOUT, context.client.bind(&from)).await {
            Ok(Ok(pending)) => pending,
            Ok(Err(error)) => {
                info!(%client, %server, %error, "FTP: active mode is not possible; rpserver's \
                    --permit-listen allows it");
                return None;
            }
            Err(_) => return None,
        };
        let bound = pending.bound();
        let context = context.clone();
        self.waiting.spawn(bring(pending, named, context));
        Some(bound)
    }
}

/// Brings the connection that the exit waits for to `client`. A failure is a reset.
async fn bring(pending: PendingBind, client: SocketAddr, context: FrontEndContext) {
    let stream = match pending.accepted().await {
        Ok((_server, stream)) => stream,
        Err(error) => return debug!(%client, %error, "FTP: no data connection came"),
    };
    match TcpStream::connect(client).await {
        Ok(tcp) => {
            let _ = tcp.set_nodelay(true);
            keep_alive(&tcp);
            let near = Near {
                socket: tcp.into(),
                early: Bytes::new(),
                lingers: true,
            };
            context.relay(near, stream, ());
        }
        Err(error) => debug!(%client, %error, "FTP: the client does not wait"),
    }
}
