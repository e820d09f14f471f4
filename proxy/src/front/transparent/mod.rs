//! Transparent front end: connections that the kernel diverts to us, whose clients know of no proxy.
//! How the kernel is told to divert them is not this crate's business.
//!
//! 1. A listener takes the connection; the kernel tells where its client wanted to go.
//! 2. What would come back to us, or is the way to our server, is refused.
//! 3. The rest is dialled by the exit. The client was told of success by its own kernel, so a dial
//!    that fails is a reset.

mod counters;
mod ftp;
pub(crate) mod fuzz {
    //! What is checked on any bytes.
    pub use super::ftp::fuzz::ftp_follower;
}
mod listener;
mod loops;
mod self_test;
mod udp;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub use self::{
    counters::TransparentCounters,
    listener::{Capture, TransparentListener},
    self_test::{SELF_TEST, self_test_answer},
};
use self::{
    ftp::Expected,
    listener::is_local,
    loops::{LoopGuard, canonical},
};
use super::FrontEndContext;
use crate::{
    client::{ACCEPT_PAUSE, TargetStream},
    closing::{close_in_order, reset_on_close},
    error::OpenError,
    keep_alive::keep_alive,
    places::{ClientPlace, Places},
    relay::Near,
    target::Target,
};

/// How long the client's first bytes are waited for, which save a round trip to the target: those of a
/// client that speaks first come with the last packet of the handshake.
const FIRST_BYTES: Duration = Duration::from_millis(1);

/// Serves everything that is diverted to `listener`. Ends only if dropped.
pub(crate) async fn serve(
    mut listener: TransparentListener,
    context: FrontEndContext,
    counters: Arc<TransparentCounters>,
) {
    let udp = listener.take_udp();
    let datagrams = async {
        match udp {
            Some(socket) => udp::serve(socket, &context.client, counters.clone()).await,
            None => std::future::pending().await,
        }
    };
    tokio::join!(datagrams, serve_tcp(listener, &context, counters.clone()));
}

async fn serve_tcp(
    listener: TransparentListener,
    context: &FrontEndContext,
    counters: Arc<TransparentCounters>,
) {
    let places = Places::new(context.config.max_clients);
    let guard = LoopGuard::new(&listener, counters.clone());
    let expected = Arc::<Expected>::default();
    loop {
        let place = places.free().await;
        context.config.pace.turn().await;
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a diverted connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        reset_on_close(&tcp);
        counters.count_accepted();
        // All programs of this machine count together, whichever of its addresses they have.
        let host = match is_local(from.ip()) {
            true => Ipv4Addr::LOCALHOST.into(),
            false => from.ip(),
        };
        let Some(place) = places.take(place, host) else {
            counters.count_over_share();
            context.client.counters().on_refused();
            debug!(%from, "a diverted connection over its host's share");
            continue;
        };
        let server = context.client.server_address();
        let Some((original, target)) = guard.target(&tcp, &listener, server) else {
            context.client.counters().on_refused();
            continue;
        };
        let diverted = Diverted {
            tcp,
            client: canonical(from),
            original,
            target,
            place,
        };
        let (context, expected) = (context.on_behalf_of(diverted.client), expected.clone());
        tokio::spawn(async move { diverted.serve(&context, &expected).await });
    }
}

/// A connection that was diverted to us.
struct Diverted {
    tcp: TcpStream,
    client: SocketAddr,
    /// Where its client wanted to go.
    original: SocketAddr,
    target: Target,
    place: ClientPlace,
}

impl Diverted {
    /// Dials where the client wanted to go and relays; a failure is a reset.
    async fn serve(mut self, context: &FrontEndContext, expected: &Expected) {
        let _ = self.tcp.set_nodelay(true);
        keep_alive(&self.tcp);
        if SELF_TEST.contains(&self.original) {
            let answer = self_test_answer(self.original);
            // Fits into any send buffer.
            let _ = self.tcp.write_all(answer.as_bytes()).await;
            return close_in_order(&self.tcp);
        }
        let stream = match self.open(context, expected).await {
            Ok(stream) => stream,
            Err(error) => {
                debug!(target = %self.target, %error, "diverted connection failed");
                return;
            }
        };
        if context.config.ftp_ports.contains(self.original.port()) {
            return ftp::serve(self, stream, context, expected).await;
        }
        let near = Near {
            socket: self.tcp.into(),
            early: Bytes::new(),
            lingers: true,
        };
        context.relay(near, stream, self.place);
    }

    async fn open(
        &self,
        context: &FrontEndContext,
        expected: &Expected,
    ) -> Result<TargetStream, OpenError> {
        let connect = async |target: &Target| {
            let connected = context.client.connect(target, Bytes::new()).await;
            connected.map(|(_bound, stream)| stream)
        };
        if let Some(named) = expected.take(self.client.ip(), self.original)
            && let Ok(named) = Target::try_from(named)
        {
            // Where the exit may not or cannot go there, the server is where its client thinks.
            match connect(&named).await {
                Err(OpenError::Dial(_)) => {}
                outcome => return outcome,
            }
        }
        let is_ftp = context.config.ftp_ports.contains(self.original.port());
        //= spec/10-proxy.md#request
        //# A client MAY send the target's first bytes directly behind the request.
        let speaks_first = !is_ftp && timeout(FIRST_BYTES, self.tcp.readable()).await.is_ok();
        match speaks_first {
            // The relay sends them without waiting for the dial's outcome.
            true => context.open(&self.target, Bytes::new()).await,
            // While nothing was sent, the target can be asked for again over another connection.
            false => connect(&self.target).await,
        }
    }
}

#[cfg(test)]
mod tests;
