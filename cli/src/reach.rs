//! How `rpclient` reaches its servers, and the connection in use. What runs over it is the caller's, which server is
//! asked first in `servers`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rp_protocol::{
    Connection,
    config::{Policy, TransportConfig},
    error::ConnectionError,
    units::{Bandwidth, CloseCode},
};
use rp_proxy::{Client, error::OpenError};
use tokio::sync::mpsc;

use crate::{
    connect::{ConnectFailure, Connected, Connector, Family, Server},
    exit_code::{ExitCode, Failure},
    path_memory::PathFile,
    prompt::Terminal,
    run,
    servers::{Entry, Servers},
    settings::ClientSettings,
};

/// How the servers are reached, and the connection in use, whose endpoint is closed at the end.
#[derive(Clone, Debug)]
pub struct Reach {
    servers: Servers,
    transport: Arc<Mutex<TransportConfig>>,
    paths: Option<PathFile>,
    current: Arc<Mutex<Option<Current>>>,
}

/// The connection in use.
#[derive(Debug)]
struct Current {
    server: Server,
    connected: Connected,
}

/// Why a server did not let us in at the first contact.
#[derive(Clone, Debug)]
pub struct NoContact {
    /// What is told to the user.
    pub failure: Failure,
    /// See [`ConnectFailure::is_final`].
    pub is_final: bool,
}

impl std::fmt::Display for NoContact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl From<ConnectFailure> for NoContact {
    fn from(failure: ConnectFailure) -> Self {
        Self {
            is_final: failure.is_final(),
            failure: failure.into(),
        }
    }
}

impl Reach {
    /// The servers of `settings`, with our key loaded.
    ///
    /// # Errors
    /// We have no usable key, or no place for known hosts.
    pub fn new(settings: &ClientSettings) -> Result<Self, Failure> {
        let connectors = settings.servers.iter().map(|(server, trust)| {
            let connector = Connector::new(server.clone(), Family::Any, trust, &Terminal)?;
            Ok(connector.memory(settings.memory))
        });
        let connectors = connectors.collect::<Result<_, ConnectFailure>>()?;
        Ok(Self {
            servers: Servers::new(connectors, settings.server_order),
            transport: Arc::new(Mutex::new(settings.transport.clone())),
            paths: PathFile::open(settings.remembers_paths),
            current: Arc::default(),
        })
    }

    /// The servers, and how they fare.
    pub const fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A connection to the first server that lets us in.
    ///
    /// # Errors
    /// None does.
    pub async fn first(&self) -> Result<Connection, NoContact> {
        let is_service = self.current().is_some();
        let connect = |server: Arc<Entry>| enter(server, self.transport(), is_service);
        let found = self.servers.first(connect).await;
        let (server, connected) = found.map_err(all)?;
        if !is_service {
            run::say(&format!("connected to {}", server.server()));
        }
        Ok(self.keep(server.server(), connected))
    }

    /// The next connection of a service: the first one that is let in, or a new one after a loss. A refusal that
    /// only the user can lift goes to `refused`; once let in, we try on whatever happens.
    ///
    /// # Errors
    /// No server lets us in.
    pub async fn next(&self, refused: &mpsc::Sender<Failure>) -> Result<Connection, Failure> {
        let is_service = self.current().is_some();
        self.first().await.map_err(|no_contact| {
            if no_contact.is_final && !is_service {
                // One is enough to end the program.
                let _ = refused.try_send(no_contact.failure.clone());
            }
            no_contact.failure
        })
    }

    /// A connection to a server that is preferred to the one in use and lets us in.
    pub async fn better(&self) -> Option<Connection> {
        let connect = |server: Arc<Entry>| enter(server, self.transport(), true);
        let (server, connected) = self.servers.better(connect).await?;
        Some(self.keep(server.server(), connected))
    }

    /// A connection to the first server that answers, without waiting for whether it lets us in.
    ///
    /// # Errors
    /// None answers.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let connect = |server: Arc<Entry>| {
            let transport = self.transport();
            async move {
                let connector = server.connector();
                let connecting = connector.connect(rp_proxy::SERVICE, transport, &Terminal);
                connecting.await.map_err(NoContact::from)
            }
        };
        let found = self.servers.first(connect).await;
        let (server, connected) = found.map_err(|failures| all(failures).failure)?;
        Ok(self.keep(server.server(), connected))
    }

    /// Has this connection and later ones send by `policy`, and at most at `rate`.
    pub fn set_rate(&self, policy: Policy, rate: Option<Bandwidth>) {
        let mut transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *transport = transport.clone().policy(policy).max_rate(rate);
        if let Some(current) = &*self.current() {
            let connection = &current.connected.connection;
            connection.set_policy(policy);
            connection.set_rate(rate);
        }
    }

    fn transport(&self) -> TransportConfig {
        let transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        transport.clone()
    }

    fn keep(&self, server: &Server, connected: Connected) -> Connection {
        let connection = connected.connection.clone();
        let before = self.current().replace(Current {
            server: server.clone(),
            connected,
        });
        if let Some(paths) = &self.paths {
            if let Some(before) = before {
                paths.keep(&before.server, &before.connected.connection);
            }
            paths.recall(server, &connection);
        }
        connection
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the loss of the connection means, for the user.
    pub fn explain(&self, lost: ConnectionError) -> Failure {
        match &*self.current() {
            Some(current) => explain(lost, &current.server).into(),
            None => Failure::new(ExitCode::Connect, lost.to_string()),
        }
    }

    /// Ends the connection in order.
    pub async fn shut_down(&self) {
        let current = self.current().take();
        if let Some(Current { server, connected }) = current {
            if let Some(paths) = &self.paths {
                paths.keep(&server, &connected.connection);
            }
            connected.close(CloseCode::default(), b"done").await;
        }
    }
}

/// Connects to `server` and waits until it has let us in, unless it is known to.
async fn enter(
    server: Arc<Entry>,
    transport: TransportConfig,
    is_service: bool,
) -> Result<Connected, NoContact> {
    let connector = server.connector();
    let connected = match is_service {
        // Nobody is asked, for nobody may be there.
        true => connector.again(rp_proxy::SERVICE, transport).await,
        false => {
            connector
                .connect(rp_proxy::SERVICE, transport, &Terminal)
                .await
        }
    }?;
    if !server.was_let_in() {
        confirm_access(&connected, server.server()).await?;
        server.lets_in();
    }
    Ok(connected)
}

/// Waits until the server has let us in. A client's side of the handshake ends before its key is judged, so an answer
/// is waited for.
async fn confirm_access(connected: &Connected, server: &Server) -> Result<(), NoContact> {
    match Client::confirm_access(&connected.connection).await {
        Ok(()) => Ok(()),
        Err(OpenError::ConnectionLost(lost)) => Err(explain(lost, server).into()),
        Err(error) => Err(NoContact {
            failure: Failure::new(ExitCode::Connect, error.to_string()),
            is_final: false,
        }),
    }
}

/// What it means that no server lets us in: waiting helps as long as one of them may be late.
fn all(failures: Vec<NoContact>) -> NoContact {
    let code = failures
        .first()
        .map_or(ExitCode::Connect, |first| first.failure.code);
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    NoContact {
        failure: Failure::new(code, texts.join("; ")),
        is_final: failures.iter().all(|no_contact| no_contact.is_final),
    }
}

fn explain(lost: ConnectionError, server: &Server) -> ConnectFailure {
    ConnectFailure::explain(lost.into(), server, rp_proxy::SERVICE)
}
