//! Loop detection: diverted traffic that leads to ourselves or to our server would go round for ever.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};
use tracing::{debug, warn};

use super::{TransparentCounters, TransparentListener, listener::is_local};
use crate::target::Target;

/// Least time between two log lines about loops: wrong rules make thousands a second.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// `addr` with an IPv4-mapped address as the IPv4 address it is.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Why a destination would come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// It is the listener itself.
    Listener,
    /// It is where our own connection to the server goes.
    Server,
}

/// Tells loops from other destinations, counts them and says so.
#[derive(Debug)]
pub(super) struct LoopGuard {
    listener: Option<SocketAddr>,
    counters: Arc<TransparentCounters>,
    said: Mutex<Option<Instant>>,
}

impl LoopGuard {
    pub(super) fn new(listener: &TransparentListener, counters: Arc<TransparentCounters>) -> Self {
        Self::at(listener.local_addr().ok(), counters)
    }

    pub(super) fn at(listener: Option<SocketAddr>, counters: Arc<TransparentCounters>) -> Self {
        Self {
            listener: listener.map(canonical),
            counters,
            said: Mutex::default(),
        }
    }

    /// Where `tcp` should go, unless that is a loop or no place at all.
    pub(super) fn target(
        &self,
        tcp: &TcpStream,
        listener: &TransparentListener,
        server: Option<SocketAddr>,
    ) -> Option<(SocketAddr, Target)> {
        match listener.original_destination(tcp) {
            Ok(original) => Some((original, self.permit(original, server)?)),
            Err(error) => {
                debug!(%error, "the destination of a diverted connection is not known");
                None
            }
        }
    }

    /// `original` as a target, unless it is a loop, which is counted and logged.
    //= spec/10-proxy.md#transparent
    //# A transparent front end MUST refuse what was to go to one of its own listeners or to the server
    //# it is connected to.
    pub(super) fn permit(
        &self,
        original: SocketAddr,
        server: Option<SocketAddr>,
    ) -> Option<Target> {
        if let Some(found) = find_loop(original, self.listener, server, is_local) {
            self.counters.count_loop();
            self.say(original, found);
            return None;
        }
        Target::try_from(original).ok()
    }

    fn say(&self, original: SocketAddr, found: Loop) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *said = Some(Instant::now());
            let refused = self.counters.loops();
            match found {
                Loop::Listener => warn!(%original, refused,
                    "refused a connection to the transparent listener itself, or a loop"),
                Loop::Server => warn!(%original, refused,
                    "refused a loop: traffic to the server is diverted; see rpclient tproxy-setup"),
            }
        }
    }
}

/// The loop that going to `original` would be.
pub(super) fn find_loop(
    original: SocketAddr,
    listener: Option<SocketAddr>,
    server: Option<SocketAddr>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Option<Loop> {
    if server.map(canonical) == Some(original) {
        return Some(Loop::Server);
    }
    let listener = listener.filter(|listener| listener.port() == original.port())?;
    let is_listener = listener == original
        // Whatever address of ours a connection was to go to, REDIRECT brings it to the listener's.
        || original.ip().is_unspecified()
        || is_local(original.ip());
    is_listener.then_some(Loop::Listener)
}

#[cfg(test)]
mod tests;
