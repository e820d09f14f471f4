//! Datagrams that TPROXY diverts to us, and the answers to them.
//!
//! 1. `socket` receives a datagram with its source and where it was to go.
//! 2. Each source has an association of its own, as a NAT would give it a port; `flows` has them.
//! 3. An answer goes to the source from a socket that has the answering target's address; `replies`
//!    has those.

mod flows;
mod replies;
mod socket;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::{debug, warn};

pub(super) use self::socket::DivertedSocket;
use self::{flows::Flows, replies::ReplySockets};
use super::{
    SELF_TEST, TransparentCounters,
    loops::{LoopGuard, canonical},
    self_test_answer,
};
use crate::{
    client::{ACCEPT_PAUSE, Client},
    datagram::Datagram,
};

/// Serves every datagram that is diverted to `socket`. Ends only if dropped.
pub(super) async fn serve(
    socket: DivertedSocket,
    client: &Client,
    counters: Arc<TransparentCounters>,
) {
    let guard = LoopGuard::at(socket.local_addr().ok(), counters.clone());
    let replies = Arc::new(ReplySockets::default());
    let flows = Flows::new(client.clone(), replies.clone(), counters);
    loop {
        let received = match socket.receive().await {
            Ok(received) => received,
            Err(error) => {
                warn!(%error, "cannot receive diverted datagrams");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let source = canonical(received.source);
        let destination = canonical(received.destination);
        let Some(address) = guard.permit(destination, client.server_address()) else {
            continue;
        };
        if SELF_TEST.contains(&destination) {
            let answer = Bytes::from(self_test_answer(destination));
            if let Err(error) = replies.send(destination, source, &answer) {
                debug!(%error, "the test's answer could not be sent");
            }
            continue;
        }
        let payload = received.payload;
        flows.push(source, Datagram { address, payload });
    }
}
