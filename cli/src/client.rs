//! `rpclient`: the proxy port, and `connect` for ssh. What the port speaks lives in `rp_proxy`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser as _;
use rp_protocol::{
    Connection, RecvStream, SendStream,
    config::TransportConfig,
    error::{ConnectionError, ReadError},
    units::CloseCode,
};
use rp_proxy::{
    Client, ClientConfig, Link,
    error::OpenError,
    relay::{abandon, code},
    target::{Host, Target},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, stdin, stdout},
    net::TcpListener,
    sync::mpsc,
    time::sleep,
};
use tracing::warn;

use crate::{
    address::ListenAddress,
    args::client::{ClientArgs, ClientCommand},
    connect::{ConnectFailure, Connected, Connector, Family},
    exit_code::{ExitCode, Failure},
    logging,
    path_memory::PathFile,
    prompt::Terminal,
    run,
    settings::{self, ClientSettings},
    trace_files::TraceFiles,
};

/// Bytes taken from standard input at once; a pipe holds as many by default.
const READ_BYTES: usize = 64 << 10;

/// How long a service waits for its server before it listens: long enough for one that is there, so
/// that mistakes end the program before anybody relies on it.
const FIRST_CONTACT: Duration = Duration::from_secs(2);

/// Runs `rpclient` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub fn main() -> Result<(), Failure> {
    let args = ClientArgs::parse();
    let file = settings::read_file(args.common.config.as_deref(), "rpclient.toml")?;
    let (mut settings, effective) = ClientSettings::new(args.options.or(file))?;
    if args.common.check {
        return run::print_settings(&effective);
    }
    let traces = TraceFiles::start(settings.trace.as_deref(), "rpclient")?;
    settings.transport = settings
        .transport
        .tracer(traces.as_ref().map(TraceFiles::tracer));
    let result = match args.command {
        None => {
            logging::start("info", args.common.verbose);
            run::raise_descriptor_limit();
            run::block_on(serve(settings))
        }
        Some(ClientCommand::Connect { host, port }) => {
            let target = Host::parse(&host).and_then(|host| Target::new(host, port));
            let target =
                target.map_err(|error| Failure::usage(format!("{host} {port}: {error}")))?;
            logging::start("warn", args.common.verbose);
            run::block_on(connect(settings, target))
        }
    };
    TraceFiles::end(traces);
    result
}

async fn serve(settings: ClientSettings) -> Result<(), Failure> {
    // Before the server is asked for anything: a taken port is the commonest mistake.
    let (listener, local) = listen(&settings.listen).await.map_err(|error| {
        Failure::other(format!("cannot listen on tcp {}: {error}", settings.listen))
    })?;
    warn_if_open(local, settings.credentials.is_required());
    let reach = Reach::new(&settings)?;
    let (refused, mut refusals) = mpsc::channel(1);
    let connect = {
        let reach = reach.clone();
        move || {
            let (reach, refused) = (reach.clone(), refused.clone());
            async move { reach.next(&refused).await }
        }
    };
    let link = tokio::select! {
        // A question about the server's key is asked in here and takes its time.
        biased;
        first = reach.first() => match first {
            Ok(connection) => Link::new(connection, connect),
            Err(NoContact { failure, is_final: true }) => return Err(failure),
            Err(NoContact { failure, .. }) => {
                warn!(%failure, "cannot reach the server, trying on");
                Link::connecting(connect)
            }
        },
        stopped = run::stopped() => return stopped,
        () = sleep(FIRST_CONTACT) => {
            warn!(server = %reach.connector.server(), "no answer from the server, trying on");
            Link::connecting(connect)
        }
    };
    let config = ClientConfig::default().credentials(settings.credentials);
    run::say(&format!("listening on {local}"));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let client = Client::new(link, config);
    tokio::select! {
        () = client.serve(listener) => {}
        Some(failure) = refusals.recv() => return Err(failure),
        stopped = run::stopped() => stopped?,
    }
    reach.shut_down().await;
    Ok(())
}

async fn listen(address: &ListenAddress) -> io::Result<(TcpListener, SocketAddr)> {
    let addresses = address.resolve(Ipv4Addr::LOCALHOST.into()).await?;
    let listener = TcpListener::bind(&addresses[..]).await?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// How the server is reached, and the connection in use, whose endpoint is closed at the end.
#[derive(Clone, Debug)]
struct Reach {
    connector: Connector,
    transport: TransportConfig,
    paths: Option<PathFile>,
    connected: Arc<Mutex<Option<Connected>>>,
    /// The server has let us in once.
    was_let_in: Arc<AtomicBool>,
}

impl Reach {
    fn new(settings: &ClientSettings) -> Result<Self, Failure> {
        let server = settings.server.clone();
        Ok(Self {
            connector: Connector::new(server, Family::Any, &settings.trust, &Terminal)?,
            transport: settings.transport.clone(),
            paths: PathFile::open(settings.remembers_paths),
            connected: Arc::default(),
            was_let_in: Arc::default(),
        })
    }

    /// A connection of a server that has let us in. A client's side of the handshake ends before its
    /// key is judged, so an answer is waited for.
    async fn first(&self) -> Result<Connection, NoContact> {
        let transport = self.transport.clone();
        let connected = self
            .connector
            .connect(rp_proxy::SERVICE, transport, &Terminal);
        let connection = self.keep(connected.await?);
        match Client::confirm_access(&connection).await {
            Ok(()) => {
                self.was_let_in.store(true, Ordering::Relaxed);
                run::say(&format!("connected to {}", self.connector.server()));
                Ok(connection)
            }
            Err(OpenError::ConnectionLost(lost)) => Err(self.explain(lost).into()),
            Err(error) => Err(NoContact {
                failure: Failure::new(ExitCode::Connect, error.to_string()),
                is_final: false,
            }),
        }
    }

    /// The next connection of a service: the first one that is let in, or a new one after a loss. A
    /// refusal that only the user can lift goes to `refused`; once let in, we try on whatever happens.
    async fn next(&self, refused: &mpsc::Sender<Failure>) -> Result<Connection, Failure> {
        if self.was_let_in.load(Ordering::Relaxed) {
            return self.again().await.map_err(Into::into);
        }
        self.first().await.map_err(|no_contact| {
            if no_contact.is_final {
                // One is enough to end the program.
                let _ = refused.try_send(no_contact.failure.clone());
            }
            no_contact.failure
        })
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let transport = self.transport.clone();
        let connected = self
            .connector
            .connect(rp_proxy::SERVICE, transport, &Terminal);
        Ok(self.keep(connected.await?))
    }

    /// A connection after a loss: nobody is asked, for nobody may be there.
    async fn again(&self) -> Result<Connection, ConnectFailure> {
        let transport = self.transport.clone();
        let connected = self.connector.again(rp_proxy::SERVICE, transport);
        Ok(self.keep(connected.await?))
    }

    fn keep(&self, connected: Connected) -> Connection {
        let connection = connected.connection.clone();
        let before = self.connected().replace(connected);
        if let Some(paths) = &self.paths {
            if let Some(before) = before {
                paths.keep(self.connector.server(), &before.connection);
            }
            paths.recall(self.connector.server(), &connection);
        }
        connection
    }

    fn connected(&self) -> MutexGuard<'_, Option<Connected>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn explain(&self, lost: ConnectionError) -> ConnectFailure {
        let server = self.connector.server();
        ConnectFailure::explain(lost.into(), server, rp_proxy::SERVICE)
    }

    async fn shut_down(&self) {
        let connected = self.connected().take();
        if let Some(connected) = connected {
            if let Some(paths) = &self.paths {
                paths.keep(self.connector.server(), &connected.connection);
            }
            connected.close(CloseCode::default(), b"done").await;
        }
    }
}

/// Why a server did not let us in at the first contact.
struct NoContact {
    failure: Failure,
    /// See [`ConnectFailure::is_final`].
    is_final: bool,
}

impl From<ConnectFailure> for NoContact {
    fn from(failure: ConnectFailure) -> Self {
        Self {
            is_final: failure.is_final(),
            failure: failure.into(),
        }
    }
}

fn warn_if_open(local: SocketAddr, has_users: bool) {
    if !local.ip().is_loopback() && !has_users {
        warn!(%local, "the proxy is open to everybody who can reach it; --proxy-users closes it");
    }
}

/// Connects standard input and output to `target`.
async fn connect(settings: ClientSettings, target: Target) -> Result<(), Failure> {
    let reach = Reach::new(&settings)?;
    let result = tokio::select! {
        result = relay_standard(&reach, &target) => result,
        stopped = run::stopped() => match stopped {
            Ok(()) => Err(Failure::new(ExitCode::Interrupted, "interrupted")),
            error => error,
        },
    };
    reach.shut_down().await;
    result
}

async fn relay_standard(reach: &Reach, target: &Target) -> Result<(), Failure> {
    let connection = reach.connect().await?;
    let failed = |error| match error {
        OpenError::ConnectionLost(lost) => reach.explain(lost).into(),
        error => Failure::other(format!("{target}: {error}")),
    };
    let mut stream = Client::open_on(&connection, target).await.map_err(failed)?;
    stream.connected().await.map_err(failed)?;
    let mut far = stream.into_far();
    let result = {
        let down = downward(&mut far.recv, &far.early);
        let up = upward(&mut far.send);
        tokio::pin!(down, up);
        // The target's end is ours, as with nc; our input's end is only passed on.
        tokio::select! {
            ended = &mut down => ended,
            ended = &mut up => match ended {
                // Also where the target takes no more: what it still says tells how it ended.
                Ok(()) => down.await,
                error => error,
            },
        }
    };
    if result.is_err() {
        abandon(&mut far.send, &mut far.recv, code::RESET);
    }
    result
}

/// Passes standard input on, to its end or until the target takes no more.
async fn upward(send: &mut SendStream) -> Result<(), Failure> {
    let mut input = stdin();
    let mut buffer = bytes::BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let read = input.read_buf(&mut buffer).await;
        match read {
            Ok(0) => break,
            Ok(_) => {
                if send.write_bytes(buffer.split().freeze()).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => return Err(Failure::other(format!("standard input: {error}"))),
        }
    }
    let _ = send.finish();
    Ok(())
}

/// Passes what the target sends to standard output, to its end; fails if the target was cut off.
async fn downward(recv: &mut RecvStream, early: &[u8]) -> Result<(), Failure> {
    let mut output = stdout();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::broken_pipe(),
        _ => Failure::other(format!("standard output: {error}")),
    };
    output.write_all(early).await.map_err(failed)?;
    output.flush().await.map_err(failed)?;
    loop {
        match recv.read_bytes(READ_BYTES).await {
            Ok(Some(data)) => {
                output.write_all(&data).await.map_err(failed)?;
                output.flush().await.map_err(failed)?;
            }
            Ok(None) => return Ok(()),
            Err(ReadError::Reset(_)) => {
                return Err(Failure::other("the target's connection was reset"));
            }
            Err(error) => return Err(Failure::other(error.to_string())),
        }
    }
}
