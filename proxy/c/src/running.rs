//! A client or server in a thread of its own. Whose thread it is beside is not known here.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use rp_protocol::{
    Endpoint,
    config::{ClientConfig as TransportClient, EndpointConfig, ServerConfig},
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
    units::CloseCode,
};
use rp_proxy::{
    Client, ClientConfig, Exit, ExitConfig, Link, SERVICE, TargetAccess, link::LinkStatus,
};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use tracing::Level;

use crate::{
    log::LogTarget,
    settings::{Client as ClientSettings, Server as ServerSettings},
};

/// How long it may take to tell the other sides that we leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why nothing was started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The settings make no sense.
    #[error("{0}")]
    Settings(String),
    /// The port cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The system gives no thread or no sockets.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    /// A fault of ours.
    #[error("a fault in this library, please report it")]
    Panic,
}

/// What a status is made of.
#[derive(Clone, Debug)]
enum Side {
    Client(Client),
    Server(Exit),
}

/// A client or server that runs.
#[derive(Debug)]
pub(crate) struct Running {
    side: Side,
    key: PublicKey,
    listen: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Starts a client.
    pub(crate) fn client(
        settings: ClientSettings,
        log: Option<LogTarget>,
    ) -> Result<Self, StartError> {
        let (key, level) = (settings.identity.public_key(), settings.log);
        Self::start(key, level, log, async move || {
            let cannot = |error| StartError::Listen(settings.listen, error);
            let listener = TcpListener::bind(settings.listen).await.map_err(cannot)?;
            let listen = listener.local_addr()?;
            let any = match settings.server {
                SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
                SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
            };
            let endpoint = Endpoint::bind(any, EndpointConfig::default(), None)?;
            let verifier = Arc::new(Known([settings.host_key].into()));
            let config = TransportClient::new(Arc::new(settings.identity), verifier, SERVICE);
            let link = Link::connecting({
                let endpoint = endpoint.clone();
                move || {
                    let (endpoint, config) = (endpoint.clone(), config.clone());
                    async move { endpoint.connect(settings.server, config).await }
                }
            });
            let client = Client::new(link, ClientConfig::default());
            let serving = {
                let client = client.clone();
                async move { client.serve(listener).await }
            };
            Ok(Started {
                side: Side::Client(client),
                listen,
                endpoint,
                serving: Box::pin(serving),
            })
        })
    }

    /// Starts a server.
    pub(crate) fn server(
        settings: ServerSettings,
        log: Option<LogTarget>,
    ) -> Result<Self, StartError> {
        let (key, level) = (settings.identity.public_key(), settings.log);
        Self::start(key, level, log, async move || {
            let keys = Arc::new(Known(settings.authorized_keys));
            let config = ServerConfig::new(Arc::new(settings.identity), keys, &[SERVICE]);
            let cannot = |error| StartError::Listen(settings.listen, error);
            let endpoint = Endpoint::bind(settings.listen, EndpointConfig::default(), Some(config));
            let endpoint = endpoint.map_err(cannot)?;
            let listen = endpoint.local_addr()?;
            let policy = settings.policy.listener(listen);
            let exit = Exit::new(ExitConfig::default().policy(policy));
            let serving = serve(endpoint.clone(), exit.clone());
            Ok(Started {
                side: Side::Server(exit),
                listen,
                endpoint,
                serving: Box::pin(serving),
            })
        })
    }

    fn start<F>(
        key: PublicKey,
        level: Level,
        log: Option<LogTarget>,
        start: F,
    ) -> Result<Self, StartError>
    where
        F: AsyncFnOnce() -> Result<Started, StartError> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let (sender, started) = mpsc::channel();
        let thread = std::thread::Builder::new().name("rpproxy".to_owned());
        let thread = thread.spawn(move || {
            let _log = log.map(|log| tracing::dispatcher::set_default(&log.dispatch(level)));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = sender.send(Err(error.into()));
                    return;
                }
            };
            runtime.block_on(run(start, &sender, stopped));
        })?;
        // The thread ends without a word only by a panic.
        let (side, listen) = started.recv().unwrap_or(Err(StartError::Panic))?;
        Ok(Self {
            side,
            key,
            listen,
            stop,
            thread,
        })
    }

    /// The numbers at this moment.
    pub(crate) fn status(&self) -> Value {
        let state = match &self.side {
            _ if self.thread.is_finished() => "ended",
            Side::Server(_) => "serving",
            Side::Client(client) => match client.link().status() {
                LinkStatus::Up(_) => "up",
                _ => "connecting",
            },
        };
        let usage = match &self.side {
            Side::Server(exit) => exit.counters().usage(),
            Side::Client(client) => rp_proxy::exit::counters::Usage {
                sent: client.traffic().sent.load(Ordering::Relaxed),
                received: client.traffic().received.load(Ordering::Relaxed),
                ..Default::default()
            },
        };
        json!({
            "state": state,
            "listen": self.listen.to_string(),
            "key": self.key.fingerprint(),
            "sent": usage.sent,
            "received": usage.received,
            "connected": usage.connected,
            "denied": usage.denied,
            "failed": usage.failed,
            "active": usage.active,
        })
    }

    /// Ends it, and waits for that.
    pub(crate) fn stop(self) {
        // It may have ended already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What a thread has brought up.
struct Started {
    side: Side,
    listen: SocketAddr,
    endpoint: Endpoint,
    serving: Pin<Box<dyn Future<Output = ()>>>,
}

type Up = Result<(Side, SocketAddr), StartError>;

/// The life of a thread: starts, says so, serves until it is stopped, says goodbye.
async fn run(
    start: impl AsyncFnOnce() -> Result<Started, StartError>,
    sender: &mpsc::Sender<Up>,
    stopped: oneshot::Receiver<()>,
) {
    let Started {
        side,
        listen,
        endpoint,
        serving,
    } = match start().await {
        Ok(started) => started,
        Err(error) => {
            let _ = sender.send(Err(error));
            return;
        }
    };
    let _ = sender.send(Ok((side, listen)));
    tokio::select! {
        () = serving => {}
        _ = stopped => {}
    }
    endpoint.close(CloseCode::default(), b"done");
    let _ = timeout(GOODBYE, endpoint.flushed()).await;
}

/// Serves every client that is let in.
async fn serve(endpoint: Endpoint, exit: Exit) {
    while let Some(incoming) = endpoint.accept().await {
        let exit = exit.clone();
        tokio::spawn(async move {
            match incoming.accept().await {
                Ok(connection) => exit.serve(connection, TargetAccess::All).await,
                Err(error) => tracing::info!(%error, "client not let in"),
            }
        });
    }
}

/// The keys that are let in or trusted, by their fingerprints.
#[derive(Debug)]
struct Known(HashSet<String>);

impl PeerVerifier for Known {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        match self.0.contains(&key.fingerprint()) {
            true => Ok(()),
            false => Err(PeerRejected(format!("{key} is not a key we know"))),
        }
    }
}
