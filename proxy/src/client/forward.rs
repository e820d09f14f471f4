//! Forwards: what comes to one place on one side goes to one place on the other. How they are
//! written is the programs' business.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{ACCEPT_PAUSE, Arrived, Client, RemoteListener, TargetStream};
use crate::{
    keep_alive::keep_alive,
    listening::{Listening, NO_ADDRESS},
    places::{ClientPlace, Places},
    relay::{Held, Near, relay},
    socket::Socket,
    target::{Destination, ListenAt},
};

/// Connections of one forward at once; each costs two descriptors at most.
const MAX_CONNECTIONS: usize = 4096;

/// Time to connect to where a remote forward leads.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// First pause before a listener that was refused is asked for again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest such pause. An exit that still holds the listener of a lost connection lets go of it within
/// half a minute.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// How a remote forward is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteState {
    /// The exit has not answered yet.
    Asking,
    /// The exit listens there; `0.0.0.0:0` for a Unix socket.
    Listening(SocketAddr),
    /// The exit does not listen, and why; it is asked again.
    Refused(String),
}

impl fmt::Display for RemoteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking => f.write_str("asking"),
            Self::Listening(bound) if bound.port() == 0 => f.write_str("listening"),
            Self::Listening(bound) => write!(f, "listening on {bound}"),
            Self::Refused(why) => write!(f, "not listening: {why}"),
        }
    }
}

impl Client {
    /// Takes what comes to `listening` to `destination`, seen from the exit. Ends only if dropped; what
    /// is relayed then goes on.
    pub async fn forward(&self, listening: &Listening, destination: &Destination) {
        let places = Places::new(MAX_CONNECTIONS);
        loop {
            let place = places.free().await;
            let (socket, from) = match listening.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, %destination, "cannot accept for a forward");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let host = match from {
                NO_ADDRESS => Ipv4Addr::LOCALHOST.into(),
                from => from.ip(),
            };
            let Some(place) = places.take(place, host) else {
                warn!(%from, %destination, "forward refused: the host has its share of connections");
                crate::closing::reset_on_close(&socket);
                continue;
            };
            let (client, destination) = (self.clone(), destination.clone());
            tokio::spawn(async move {
                client
                    .forward_one((socket, from), &destination, place)
                    .await;
            });
        }
    }

    async fn forward_one(
        &self,
        (socket, from): (Socket, SocketAddr),
        destination: &Destination,
        place: ClientPlace,
    ) {
        crate::closing::reset_on_close(&socket);
        match self.connect(destination, Bytes::new()).await {
            Ok((_bound, stream)) => {
                let near = Near {
                    socket,
                    early: Bytes::new(),
                    lingers: true,
                };
                self.relay_held(near, stream, place);
            }
            // The one way to say so is the reset.
            Err(error) => info!(%from, %destination, %error, "forward failed"),
        }
    }

    /// Relays in a task of its own, so that what dialling needed is freed.
    fn relay_held(&self, near: Near, mut stream: TargetStream, place: ClientPlace) {
        let (idle, traffic) = (self.config.idle, Arc::clone(&self.traffic));
        let guard = stream.take_guard();
        let far = stream.into_far();
        let held = Held::new(traffic, self.shared_counters(), (guard, place));
        tokio::spawn(relay(near, far, idle, held));
    }

    /// Has the exit listen at `at`, again after each loss, and takes what comes there to `destination`,
    /// seen from here. Says in `state` how it is. Ends only if dropped; what is relayed then goes on.
    pub async fn forward_remote(
        &self,
        at: &ListenAt,
        destination: &Destination,
        state: &watch::Sender<RemoteState>,
    ) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut failed = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen_after(at, failed).await {
                Ok(listener) => {
                    pause = FIRST_PAUSE;
                    failed = Some(listener.generation());
                    let bound = listener.bound();
                    info!(%at, %bound, %destination, "the server listens for us");
                    state.send_replace(RemoteState::Listening(bound));
                    //= spec/10-proxy.md#listening
                    //# A client whose connection is lost SHOULD ask for its listeners again over the
                    //# next one.
                    self.take_arrivals(listener, destination, &permits).await;
                    warn!(%at, "the server does not listen for us any more, asking again");
                    state.send_replace(RemoteState::Asking);
                }
                Err(error) => {
                    let why = error.to_string();
                    if *state.borrow() != RemoteState::Refused(why.clone()) {
                        warn!(%at, error = why, "the server does not listen for us, asking again");
                    }
                    state.send_replace(RemoteState::Refused(why));
                    failed = None;
                    let _guard = self.link.acquire();
                    sleep(pause).await;
                    pause = MAX_PAUSE.min(pause * 2);
                }
            }
        }
    }

    async fn take_arrivals(
        &self,
        mut listener: RemoteListener,
        destination: &Destination,
        permits: &Arc<Semaphore>,
    ) {
        while let Some(arrived) = listener.accept().await {
            let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
                debug!(%destination, "too many connections of a forward");
                arrived.refuse();
                continue;
            };
            let (client, destination) = (self.clone(), destination.clone());
            let guard = listener.guard();
            tokio::spawn(async move {
                client.take_arrival(arrived, &destination).await;
                drop((permit, guard));
            });
        }
    }

    async fn take_arrival(&self, arrived: Arrived, destination: &Destination) {
        match dial_here(destination).await {
            Ok(socket) => {
                let near = Near {
                    socket,
                    early: Bytes::new(),
                    // Whoever came has gone then and reads no answer.
                    lingers: false,
                };
                relay(near, arrived.far, self.config.idle, self.traffic.clone()).await;
            }
            Err(error) => {
                info!(from = %arrived.peer, %destination, %error, "forward failed");
                arrived.refuse();
            }
        }
    }
}

/// Connects to `destination`, seen from here.
async fn dial_here(destination: &Destination) -> io::Result<Socket> {
    let dialled = timeout(DIAL_TIMEOUT, async {
        match destination {
            Destination::Tcp(target) => {
                let host = target.host().to_string();
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let tcp = TcpStream::connect((host, target.port())).await?;
                tcp.set_nodelay(true)?;
                keep_alive(&tcp);
                Ok(tcp.into())
            }
            Destination::Unix(path) => Ok(UnixStream::connect(path.as_path()).await?.into()),
        }
    });
    dialled
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}
