//! Transparent front end: connections that the kernel diverts to us, whose clients know of no proxy.
//! How the kernel is told to divert them is not this crate's business.
//!
//! 1. A listener takes the connection; the kernel tells where its client wanted to go.
//! 2. What would come back to us, or is the way to our server, is refused.
//! 3. The rest is dialled by the exit. The client was told of success by its own kernel, so a dial
//!    that fails is a reset.

mod counters;
mod listener;
mod loops;
mod self_test;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub use self::{
    counters::TransparentCounters,
    listener::{Capture, TransparentListener},
    self_test::{SELF_TEST, self_test_answer},
};
use self::{
    listener::is_local,
    loops::{LoopGuard, canonical},
};
use super::FrontEndContext;
use crate::{
    closing::{close_in_order, reset_on_close},
    keep_alive::keep_alive,
    relay::Near,
    shares::{Place, Shares},
    target::Target,
};

/// Parts of all places that one address of a network may hold, so that it leaves others theirs.
const SHARES_OF_ADDRESS: usize = 8;

/// How long the client's first bytes are waited for, which save a round trip to the target: those of a
/// client that speaks first come with the last packet of the handshake.
const FIRST_BYTES: Duration = Duration::from_millis(1);

/// Places taken per source address, which is this machine's own for all its programs.
type AddressShares = Shares<IpAddr>;

/// What a connection holds until its end.
type Held = (OwnedSemaphorePermit, Place<IpAddr>);

/// Serves every connection that is diverted to `listener`. Ends only if dropped.
pub(crate) async fn serve(
    listener: TransparentListener,
    context: FrontEndContext,
    counters: Arc<TransparentCounters>,
) {
    let max_clients = context.config.max_clients;
    let permits = Arc::new(Semaphore::new(max_clients));
    let shares = AddressShares::new();
    let guard = Arc::new(LoopGuard::new(&listener, counters.clone()));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a diverted connection");
                sleep(crate::client::ACCEPT_PAUSE).await;
                continue;
            }
        };
        reset_on_close(&tcp);
        counters.count_accepted();
        let limit = match is_local(from.ip()) {
            true => max_clients,
            false => (max_clients / SHARES_OF_ADDRESS).max(1),
        };
        let Ok(place) = shares.take([(canonical(from).ip(), limit)]) else {
            counters.count_over_share();
            debug!(%from, "a diverted connection over its address's share");
            continue;
        };
        let Some(target) = guard.target(&tcp, &listener, context.client.server_address()) else {
            continue;
        };
        let context = context.clone();
        tokio::spawn(async move {
            divert(tcp, target, &context, (permit, place)).await;
        });
    }
}

/// Dials where the client wanted to go and relays; a failure is a reset.
async fn divert(mut tcp: TcpStream, target: Target, context: &FrontEndContext, held: Held) {
    let _ = tcp.set_nodelay(true);
    keep_alive(&tcp);
    if let Some(test) = SELF_TEST.into_iter().find(|test| target.is(*test)) {
        // Fits into any send buffer.
        let _ = tcp.write_all(self_test_answer(test).as_bytes()).await;
        close_in_order(&tcp);
        return;
    }
    //= spec/10-proxy.md#request
    //# A client MAY send the target's first bytes directly behind the request.
    let opened = match timeout(FIRST_BYTES, tcp.readable()).await {
        // The relay sends them without waiting for the dial's outcome.
        Ok(_) => context.open(&target, Bytes::new()).await,
        // It is the target that speaks first, and while nothing was sent it can be asked again.
        Err(_) => {
            let connected = context.client.connect(&target, Bytes::new()).await;
            connected.map(|(_bound, stream)| stream)
        }
    };
    match opened {
        Ok(stream) => {
            let near = Near {
                socket: tcp.into(),
                early: Bytes::new(),
                lingers: true,
            };
            context.relay(near, stream, held);
        }
        Err(error) => debug!(%target, %error, "diverted connection failed"),
    }
}
