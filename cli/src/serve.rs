//! `rpserver`: lets clients in by their keys and hands each connection to its service.
//! The services live in `rp_proxy` and `copy`.

mod commands;
mod descriptors;
mod once;
mod present;
mod reload;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use clap::Parser as _;
use rp_protocol::{
    Connection, Endpoint, Incoming,
    config::{ServerConfig, TransportConfig},
    crypto::identity::PublicKey,
    trace::Tracer,
};
use rp_proxy::{
    Exit, ExitConfig, TargetAccess,
    exit::{ListenAccess, policy::Policy},
    pace::Pace,
};
use tracing::{debug, info, warn};

use self::{
    commands::Commands,
    descriptors::{Divided, most_of},
    once::{Once, authorized_keys, host_key},
    present::Present,
    reload::reload,
};
use crate::{
    address,
    admin::{Admin, serve as serve_admin},
    args::server::{ServerArgs, ServerCommand, ServerOptions},
    authorized_keys::{AuthorizedKeys, Forwarding, Grant},
    clients::{Admitted, Clients, TooMany},
    close_code,
    control::{ControlSocket, Place, find, serve as serve_control},
    copy::{
        self,
        service::{Access, AccessCheck, CopyLimits, CopyService},
    },
    exit_code::Failure,
    key_rates::{KeyRates, MaxRate},
    logging::{self, Level},
    path_memory::KnownClients,
    reload::Source,
    run, service_manager,
    session::Session,
    settings::ServerSettings,
    signals::{Draining, Signals, Told},
    status,
    trace_files::TraceFiles,
    trim,
};

/// How long it may take to send our goodbye to all clients at the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs `rpserver` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub fn main() -> Result<(), Failure> {
    let args = ServerArgs::parse();
    let mut source = Source::new(args.options, args.common.config, "rpserver.toml");
    if let Some(ServerCommand::Status(how)) = args.command {
        let options = source.options(ServerOptions::or)?;
        let place = Place::from_option(options.control.as_deref());
        let path = find(&place, "rpserver", options.listen.as_deref())?;
        return run::block_on(status::show(&path, &how));
    }
    let (settings, effective) = source.read(ServerOptions::or, ServerSettings::new)?;
    if args.common.check {
        return run::print_settings(&effective);
    }
    source.hold(&effective);
    let level = settings.log_level.unwrap_or(Level::INFO);
    logging::start(level, args.common.verbose, settings.log_format);
    let descriptors = run::raise_descriptor_limit();
    let traces = TraceFiles::start(settings.trace.as_deref(), "rpserver")?;
    let tracer = traces.as_ref().map(TraceFiles::tracer);
    let result = run::block_on(serve(settings, source, descriptors, tracer));
    TraceFiles::end(traces);
    result
}

/// What every connection needs.
#[derive(Debug)]
struct Server {
    authorized_keys: Arc<AuthorizedKeys>,
    clients: Clients,
    exit: Exit,
    pace: Pace,
    copies: CopyService,
    listen_access: Arc<RwLock<ListenAccess>>,
    root: Option<PathBuf>,
    is_read_only: bool,
    once: Option<Once>,
    policy: Policy,
    rate: MaxRate,
    key_rates: Arc<KeyRates>,
    known: KnownClients,
    present: Present,
    draining: Draining,
    drain: Mutex<Duration>,
    admin: Option<SocketAddr>,
}

async fn serve(
    settings: ServerSettings,
    source: Source<ServerOptions>,
    descriptors: usize,
    tracer: Option<Arc<dyn Tracer>>,
) -> Result<(), Failure> {
    let (host_key, once) = host_key(&settings)?;
    let authorized_keys = Arc::new(authorized_keys(&settings, once.as_ref()));
    let fingerprint = host_key.identity.public_key().fingerprint();
    let config = ServerConfig::new(
        Arc::new(host_key.identity),
        authorized_keys.clone(),
        &services(&settings),
    )
    .transport(
        TransportConfig::default()
            .max_rate(settings.rate)
            .tracer(tracer)
            .send_buffer(copy::WINDOW)
            .max_stream_credit(copy::WINDOW),
    );
    let listening = listen(&settings, config).await;
    let (endpoint, local) = listening
        .map_err(|error| address::cannot_listen(format_args!("udp {}", settings.listen), &error))?;
    let socket = ControlSocket::open(&settings.control, "rpserver", local)?;
    let admin = Admin::open(settings.admin.as_ref()).await?;
    // Whoever hears that we are ready may send one.
    let signals = Signals::new()?;
    once::introduce(once.as_ref(), &fingerprint, host_key.is_new, local);
    if let Some(admin) = &admin {
        run::say(&format!("status page on http://{}/", admin.local()));
    }
    service_manager::ready(&format!("listening on {local}"));

    // Nobody is to reach the status page as a target.
    let policy = own_listeners(&settings.policy, local, admin.as_ref().map(Admin::local));
    let (targets, copies) = limits(&settings, descriptors);
    let pace = settings.memory.pace();
    let server = Arc::new(Server {
        authorized_keys,
        clients: Clients::new(settings.connections),
        exit: Exit::new(targets.policy(policy.clone()).pace(pace.clone())),
        pace,
        policy,
        copies: CopyService::new(copies),
        listen_access: Arc::new(RwLock::new(settings.listen_access)),
        root: settings.root,
        is_read_only: settings.read_only,
        once,
        rate: MaxRate::new(settings.rate),
        key_rates: Arc::default(),
        known: KnownClients::default(),
        present: Present::default(),
        draining: Draining::default(),
        drain: Mutex::new(settings.drain),
        admin: admin.as_ref().map(Admin::local),
    });
    let commands = Commands::new(Arc::clone(&server), local);
    tokio::select! {
        () = accept(&endpoint, &server) => {}
        () = serve_admin(admin, commands.clone()) => {}
        () = serve_control(socket, commands) => {}
        () = logging::report_floods() => {}
        () = service_manager::keep_watchdog() => {}
        () = trim::keep_small() => {}
        () = once::used(server.once.as_ref()) => info!("everything was fetched, and the key is used up"),
        () = heed(signals, &server, source, local) => {}
    }
    info!("shutting down");
    endpoint.close(close_code::DONE, b"the server is shutting down");
    let _ = tokio::time::timeout(GOODBYE, endpoint.flushed()).await;
    Ok(())
}

/// The rules, with our own listeners as what nobody may be led to.
fn own_listeners(policy: &Policy, local: SocketAddr, admin: Option<SocketAddr>) -> Policy {
    let policy = policy.clone().listener(local);
    match admin {
        Some(admin) => policy.listener(admin),
        None => policy,
    }
}

async fn listen(
    settings: &ServerSettings,
    config: ServerConfig,
) -> io::Result<(Endpoint, SocketAddr)> {
    let mut failed = None;
    let mut addresses = settings
        .listen
        .resolve(Ipv4Addr::UNSPECIFIED.into())
        .await?;
    if settings.any_port {
        addresses.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
    }
    for address in addresses {
        let memory = settings.memory.server();
        match Endpoint::bind(address, memory, Some(config.clone())) {
            Ok(endpoint) => {
                let local = endpoint.local_addr()?;
                return Ok((endpoint, local));
            }
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// What proxied connections and copies may take of the process's descriptors.
fn limits(settings: &ServerSettings, descriptors: usize) -> (ExitConfig, CopyLimits) {
    let divided = Divided::of(descriptors, settings.root.is_some());
    let targets = settings.max_targets.min(divided.targets);
    let exit = ExitConfig::default()
        .max_targets(targets)
        .max_targets_per_key(settings.max_targets_per_key.min(most_of(targets)))
        .proxy_protocol(settings.proxy_protocol.clone());
    let default = CopyLimits::default();
    let copies = default.copies.min(divided.copies);
    let copies = CopyLimits {
        copies,
        copies_per_user: default.copies_per_user.min(most_of(copies)),
        working: settings.working_timeout,
        ..default
    };
    (exit, copies)
}

/// What is offered: files only where there is a folder to serve.
fn services(settings: &ServerSettings) -> Vec<&'static str> {
    let mut services = Vec::new();
    if !settings.once_key {
        services.push(rp_proxy::SERVICE);
    }
    if settings.root.is_some() {
        services.push(copy::service::SERVICE);
    }
    services
}

/// Does what signals say, until it is time to end.
async fn heed(
    mut signals: Signals,
    server: &Arc<Server>,
    mut source: Source<ServerOptions>,
    local: SocketAddr,
) {
    loop {
        match signals.next().await {
            Told::Reload => service_manager::reload(|| reload(server, &mut source, local)),
            Told::End => return,
            Told::Drain => break,
        }
    }
    let drain = *server.drain.lock().unwrap_or_else(PoisonError::into_inner);
    service_manager::stopping(drain);
    // Clients that are here may go on asking: they would only be refused what others, a moment later, get of
    // the next server.
    server.draining.start();
    server.exit.drain();
    signals.drain(drain, || server.under_way()).await;
}

async fn accept(endpoint: &Endpoint, server: &Arc<Server>) {
    while let Some(incoming) = endpoint.accept().await {
        if server.draining.is_on() {
            incoming.refuse();
            continue;
        }
        server.pace.turn().await;
        tokio::spawn(welcome(incoming, server.clone()));
    }
}

/// Takes one client on: its key decides what it may do.
async fn welcome(incoming: Incoming, server: Arc<Server>) {
    let from = incoming.remote_address();
    let connection = match incoming.accept().await {
        Ok(connection) => connection,
        Err(error) => {
            server.present.not_let_in();
            info!(%from, %error, "client not let in");
            return;
        }
    };
    let key = connection.peer();
    match server.authorized_keys.grant_for(&key, from.ip()) {
        Ok(grant) => match server.admit(key, from.ip(), &grant) {
            Ok(_admitted) => {
                info!(%from, %key, comment = grant.comment, service = connection.service(), "client");
                server.route(connection, from, grant).await;
            }
            Err(refusal) => {
                server.present.too_many();
                info!(%from, %key, comment = grant.comment, %refusal, "client not let in");
                connection.close(close_code::TOO_MANY, refusal.to_string().as_bytes());
            }
        },
        Err(refusal) => {
            server.present.not_let_in();
            info!(%from, %key, %refusal, "client not let in");
            connection.close(
                close_code::NOT_PERMITTED,
                b"this key may not be used from here",
            );
        }
    }
}

impl Server {
    /// Proxied connections and copies at present.
    fn under_way(&self) -> u64 {
        self.exit.counters().usage().active + self.copies.running() as u64
    }

    /// Where a key whose line does not say may have us listen from here on.
    fn set_listen_access(&self, access: ListenAccess) {
        *self
            .listen_access
            .write()
            .unwrap_or_else(PoisonError::into_inner) = access;
    }

    fn set_drain(&self, drain: Duration) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = drain;
    }

    /// Counts the connection, or says which limit it would exceed.
    fn admit(&self, key: PublicKey, from: IpAddr, grant: &Grant) -> Result<Admitted, TooMany> {
        if grant.is_anonymous {
            self.clients.admit_anonymous(from)
        } else {
            self.clients.admit(key, from)
        }
    }

    async fn route(&self, connection: Connection, from: SocketAddr, grant: Grant) {
        self.known.recall(&connection);
        let is_proxy = connection.service() == rp_proxy::SERVICE;
        let keys = Arc::clone(&self.authorized_keys);
        let rates = Arc::clone(&self.key_rates);
        let session = Session::new(connection.clone(), keys, rates, self.rate.clone(), grant);
        let session = Arc::new(session);
        let _listed = self.present.enter(Arc::clone(&session));
        let serving = async {
            if is_proxy {
                let access = Targets {
                    session: Arc::clone(&session),
                    listen_access: Arc::clone(&self.listen_access),
                };
                self.exit.serve(connection.clone(), access).await;
            } else {
                let access = Files {
                    session: Arc::clone(&session),
                    root: self.root.clone(),
                    is_read_only: self.is_read_only,
                    opened: Mutex::default(),
                };
                self.copies.serve(connection.clone(), access).await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = session.watch() => {}
        }
        self.known.keep(&connection);
        if let Some(once) = &self.once {
            once.on_left(&connection).await;
        }
        debug!(%from, stats = ?connection.stats(), "client left");
    }
}

/// Which targets the client of a session may dial, and where it may have us listen.
struct Targets {
    session: Arc<Session>,
    /// For a key whose line does not say where.
    listen_access: Arc<RwLock<ListenAccess>>,
}

impl rp_proxy::AccessCheck for Targets {
    fn target_access(&self) -> Option<TargetAccess> {
        self.session.grant().map(|grant| target_access(&grant))
    }

    fn listen_access(&self) -> Option<ListenAccess> {
        let grant = self.session.grant()?;
        let default = self.listen_access.read();
        Some(grant.listen_access(&default.unwrap_or_else(PoisonError::into_inner)))
    }

    fn may_name_source(&self, source: IpAddr) -> bool {
        let grant = self.session.grant();
        grant.is_some_and(|grant| grant.permits_source(source))
    }
}

/// Which files the client of a session may touch.
struct Files {
    session: Arc<Session>,
    /// The server's folder.
    root: Option<PathBuf>,
    /// Nobody changes anything.
    is_read_only: bool,
    /// What was opened for the line as it was last.
    opened: Mutex<Option<(Arc<Grant>, Access)>>,
}

impl Files {
    /// Beneath the key's own folder if its line names one.
    fn open(&self, grant: &Grant) -> Access {
        let Some(root) = grant.root.as_ref().or(self.root.as_ref()) else {
            return Access::none();
        };
        let access = Access::beneath(root, grant.is_read_only || self.is_read_only).unwrap_or_else(
            |error| {
                warn!(root = %root.display(), %error, "the folder to serve cannot be opened");
                Access::none()
            },
        );
        access.anonymous(grant.is_anonymous)
    }
}

impl AccessCheck for Files {
    fn access(&self) -> Option<Access> {
        let grant = self.session.grant()?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, access)) = &*opened
            && Arc::ptr_eq(of, &grant)
        {
            return Some(access.clone());
        }
        let access = self.open(&grant);
        *opened = Some((grant, access.clone()));
        Some(access)
    }
}

/// What a key may dial, as the exit asks it.
fn target_access(grant: &Grant) -> TargetAccess {
    match &grant.forwarding {
        Forwarding::Any => TargetAccess::All,
        Forwarding::None => TargetAccess::Nothing,
        Forwarding::Only(targets) => TargetAccess::Only(
            targets
                .iter()
                .map(|target| (target.host.clone(), target.port))
                .collect(),
        ),
    }
}
