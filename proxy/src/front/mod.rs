//! Front ends: what unmodified software speaks to us. Opening streams is `client`'s business.
//!
//! A new front end is: one file with a pure parser and a small adapter, one line here, one variant
//! of [`detect::Protocol`], one test.

mod bind;
mod detect;
pub(crate) mod fuzz;
mod http;
mod socks4;
mod socks5;
mod socks5_udp;
pub(crate) mod transparent;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

use crate::{
    auth::Credentials,
    client::{Client, ClientConfig, TargetStream},
    error::OpenError,
    keep_alive::keep_alive,
    places::ClientPlace,
    relay::{Held, Near, Traffic, relay},
    target::Target,
};

/// Time a client has to say what it wants: typing it by hand works, holding us up does not.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest greeting or request of a front end that is not HTTP; SOCKS5 needs 513.
const MAX_HANDSHAKE_BYTES: usize = 1024;

/// Time a refused client has to take its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a parser over a prefix says: a value and how many bytes it took, `None` while more are
/// needed, or that the bytes can never become one.
type Parsed<T, E> = Result<Option<(T, usize)>, E>;

/// Why a client was not served.
#[derive(Debug, Error)]
pub(crate) enum FrontError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the client left without a request")]
    Left,
    #[error("the client took too long to say what it wants")]
    TimedOut,
    #[error("neither SOCKS nor HTTP")]
    UnknownProtocol,
    #[error("TLS to the proxy itself is not spoken here")]
    Tls,
    #[error("no acceptable credentials")]
    Unauthenticated,
    #[error("a malformed greeting or request")]
    TooLong,
    #[error("a SOCKS4 request that is not served")]
    Socks4(socks4::Rejected),
    #[error("a SOCKS5 request that is not served")]
    Socks5(socks5::Invalid),
}

impl From<socks4::Rejected> for FrontError {
    fn from(rejected: socks4::Rejected) -> Self {
        Self::Socks4(rejected)
    }
}

impl From<socks5::Invalid> for FrontError {
    fn from(invalid: socks5::Invalid) -> Self {
        Self::Socks5(invalid)
    }
}

/// What every front end needs: the way out, the users, the limits. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct FrontEndContext {
    client: Client,
    config: Arc<ClientConfig>,
    traffic: Arc<Traffic>,
}

impl FrontEndContext {
    pub(crate) fn new(client: Client, config: Arc<ClientConfig>, traffic: Arc<Traffic>) -> Self {
        Self {
            client,
            config,
            traffic,
        }
    }

    /// The same for a client at `source`.
    pub(crate) fn on_behalf_of(&self, source: SocketAddr) -> Self {
        Self {
            client: self.client.on_behalf_of(source),
            ..self.clone()
        }
    }

    fn credentials(&self) -> &Credentials {
        &self.config.credentials
    }

    /// Opens a stream to `target`, `early` behind the request, without waiting for the dial.
    async fn open(&self, target: &Target, early: Bytes) -> Result<TargetStream, OpenError> {
        self.client.open(target, early).await
    }

    /// Opens a stream to `target` and waits for the dial's outcome: the address the exit dialled from.
    ///
    /// Where the user chose so for the target's port, the outcome is not waited for and no address known.
    //= spec/10-proxy.md#reply
    //# A front end MUST NOT report success to its client before the reply with status 0 has arrived.
    //= spec/10-proxy.md#reply
    //# As the one exception, a front end MAY report success as soon as it has sent the request, where its
    //# user has asked for that for the target's port.
    async fn connect(
        &self,
        target: &Target,
        early: Bytes,
    ) -> Result<(Option<SocketAddr>, TargetStream), OpenError> {
        if self.config.optimistic.contains(target.port()) {
            return Ok((None, self.open(target, early).await?));
        }
        let (bound, stream) = self.client.connect(target, early).await?;
        Ok((Some(bound), stream))
    }

    /// Relays between a client and its target in a task of its own, so that what the handshake
    /// needed is freed; `permit` is what it holds until its end.
    fn relay(&self, near: Near, mut stream: TargetStream, permit: impl Send + Sync + 'static) {
        let (idle, traffic) = (self.config.idle, self.traffic.clone());
        let guard = stream.take_guard();
        let far = stream.into_far();
        let held = Held::new(traffic, self.client.shared_counters(), (guard, permit));
        tokio::spawn(relay(near, far, idle, held));
    }
}

/// Where a client is; unspecified for one that has left already.
fn peer_ip(tcp: &TcpStream) -> IpAddr {
    tcp.peer_addr()
        .map_or_else(|_| Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}

/// One client's place among the clients served at once.
type SemaphorePermit = Arc<ClientPlace>;

/// A client that has not yet said what it wants: its connection and the bytes read ahead.
#[derive(Debug)]
struct Handshake {
    tcp: TcpStream,
    ahead: BytesMut,
    permit: SemaphorePermit,
}

impl Handshake {
    /// Reads until `parse` finds its value, and takes that off the front.
    async fn parse<T, E>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T, E>) -> Result<T, FrontError>
    where
        FrontError: From<E>,
    {
        loop {
            if let Some((value, len)) = parse(&self.ahead)? {
                let _ = self.ahead.split_to(len);
                return Ok(value);
            }
            if self.ahead.len() >= MAX_HANDSHAKE_BYTES {
                return Err(FrontError::TooLong);
            }
            self.ahead.reserve(MAX_HANDSHAKE_BYTES);
            if self.tcp.read_buf(&mut self.ahead).await? == 0 {
                return Err(FrontError::Left);
            }
        }
    }

    /// Takes what was read behind the request: the target's first bytes.
    fn early(&mut self) -> Bytes {
        Bytes::copy_from_slice(&std::mem::take(&mut self.ahead))
    }

    /// The connection, everything read ahead taken.
    fn into_near(self) -> Near {
        Near {
            socket: self.tcp.into(),
            early: self.ahead.freeze(),
            lingers: true,
        }
    }

    /// Sends `reply` and closes so that it arrives: closing with unread bytes in the receive
    /// buffer would send a reset, which may destroy the reply at the client.
    async fn refuse(&mut self, reply: &[u8]) {
        let _ = timeout(REFUSAL_TIMEOUT, async {
            self.tcp.write_all(reply).await?;
            self.tcp.shutdown().await?;
            let mut rest = [0; 512];
            while self.tcp.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }
}

/// Serves one client: finds out what it speaks, then speaks it.
pub(crate) async fn serve(
    tcp: TcpStream,
    context: &FrontEndContext,
    permit: ClientPlace,
) -> Result<(), FrontError> {
    tcp.set_nodelay(true)?;
    keep_alive(&tcp);
    let permit = Arc::new(permit);
    let mut first = [0];
    let peeked = timeout(HANDSHAKE_TIMEOUT, tcp.peek(&mut first)).await;
    if peeked.map_err(|_| FrontError::TimedOut)?? == 0 {
        return Err(FrontError::Left);
    }
    let protocol = detect::detect(first[0]);
    debug!(?protocol, "client");
    let handshake = Handshake {
        tcp,
        ahead: BytesMut::new(),
        permit,
    };
    let socks = async |handshake| match protocol {
        detect::Protocol::Socks4 => socks4::serve(handshake, context).await,
        _ => socks5::serve(handshake, context).await,
    };
    // Boxed: thousands of clients may never come as far, and would have the room for it all the same.
    match protocol {
        detect::Protocol::Socks4 | detect::Protocol::Socks5 => {
            timeout(HANDSHAKE_TIMEOUT, Box::pin(socks(handshake)))
                .await
                .unwrap_or(Err(FrontError::TimedOut))
        }
        detect::Protocol::Http => {
            Box::pin(http::serve(handshake.tcp, handshake.permit, context)).await
        }
        detect::Protocol::Tls => Err(FrontError::Tls),
        detect::Protocol::Unknown => Err(FrontError::UnknownProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_result<R>(
        _: impl FnOnce(TcpStream, &'static FrontEndContext, ClientPlace) -> R,
    ) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_client_that_has_said_nothing_has_no_room_for_what_is_to_come() {
        let size = size_of_result(serve);
        assert!(size <= 700, "{size} bytes");
    }
}
