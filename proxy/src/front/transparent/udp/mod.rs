//! Datagrams that TPROXY diverts to us, and the answers to them.
//!
//! 1. `socket` receives a datagram with its source and where it was to go.
//! 2. Each source has an association of its own, as a NAT would give it a port (`datagram::flows`).
//! 3. An answer goes to the source from a socket that has the answering target's address; `replies`
//!    has those.

mod replies;
mod socket;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::{debug, warn};

use self::replies::ReplySockets;
pub(super) use self::socket::DivertedSocket;
use super::{
    SELF_TEST, TransparentCounters,
    loops::{LoopGuard, canonical},
    self_test_answer,
};
use crate::{
    client::{ACCEPT_PAUSE, Client},
    datagram::Flows,
};

/// Serves every datagram that is diverted to `socket`. Ends only if dropped.
pub(super) async fn serve(
    socket: DivertedSocket,
    client: &Client,
    counters: Arc<TransparentCounters>,
) {
    let guard = LoopGuard::at(socket.local_addr().ok(), counters);
    let replies = Arc::new(ReplySockets::default());
    let answering = replies.clone();
    let flows = Flows::new(client.clone(), move |source, sender, payload| {
        if let Err(error) = answering.send(sender, source, &payload) {
            debug!(%sender, %error, "an answer could not be sent");
        }
        std::future::ready(())
    });
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
        flows.send(source, address, received.payload);
    }
}
