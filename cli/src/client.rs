//! `rpclient`: the proxy port, and `connect` for ssh. What the port speaks lives in `rp_proxy`.

mod commands;
mod reload;
mod standard;
mod through;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::Parser as _;
use rp_proxy::{
    Client, ClientConfig, Link,
    link::LinkStatus,
    target::{Host, Target},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::warn;

use self::{commands::Commands, reload::Service};
use crate::{
    address::{self, ListenAddress},
    admin::{Admin, serve as serve_admin},
    args::client::{ClientArgs, ClientCommand, ClientOptions},
    control::{ControlSocket, Place, Route, find, serve as serve_control},
    doctor,
    exit_code::{ExitCode, Failure},
    forwards,
    logging::{self, Format, Level},
    reach::{NoContact, Reach},
    reload::Source,
    run, service_manager,
    settings::ClientSettings,
    signals::{Draining, Signals},
    status, tproxy,
    trace_files::TraceFiles,
    transparent::TransparentListeners,
    trim,
};

/// Bytes taken from standard input at once; a pipe holds as many by default.
const READ_BYTES: usize = 64 << 10;

/// How long a service waits for its server before it listens: long enough for one that is there, so
/// that mistakes end the program before anybody relies on it.
const FIRST_CONTACT: Duration = Duration::from_secs(2);

/// Pause before a preferred server is asked whether it is there again, and the longest, of one that comes and goes.
const FIRST_RETURN: Duration = Duration::from_secs(10);
const LAST_RETURN: Duration = Duration::from_secs(10 * 60);

/// How long such a question may take.
const RETURN_ATTEMPT: Duration = Duration::from_secs(10);

/// Runs `rpclient` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub fn main() -> Result<(), Failure> {
    let args = ClientArgs::parse();
    if let Some(ClientCommand::TproxyTeardown(teardown)) = args.command {
        return tproxy::tear_down(teardown);
    }
    let mut source = Source::new(args.options.clone(), args.common.config, "rpclient.toml");
    if let Some(ClientCommand::Status(how)) = args.command {
        let options = source.options(ClientOptions::or)?;
        let place = Place::from_option(options.control.as_deref());
        let path = find(&place, "rpclient", options.listen.as_deref())?;
        return run::block_on(status::show(&path, &how));
    }
    if let Some(ClientCommand::Doctor) = args.command {
        logging::start(Level::ERROR, args.common.verbose, Format::Text);
        let read = source.read(ClientOptions::or, ClientSettings::new);
        return run::block_on(doctor::run(read.map(|(settings, _)| settings)));
    }
    if let Some(ClientCommand::TproxySetup(setup)) = args.command {
        let options = source.options(ClientOptions::or)?;
        return run::block_on(tproxy::set_up(options, setup));
    }
    let options = source.options(ClientOptions::or)?;
    if let Some(ClientCommand::Forward { what }) = &args.command {
        let place = Place::from_option(options.control.as_deref());
        let path = find(&place, "rpclient", options.listen.as_deref())?;
        return run::block_on(forwards::command(&path, what, &args.options));
    }
    let target = match &args.command {
        Some(ClientCommand::Connect { host, port }) => Some(target(host, *port)?),
        _ => None,
    };
    if let Some(target) = &target
        && options.server.is_empty()
        && !args.common.check
    {
        logging::start(Level::WARN, args.common.verbose, Format::Text);
        return run::block_on(connect_by_running(&options, target));
    }
    let running = Running::of(&options);
    let (mut settings, effective) = source.read(ClientOptions::or, ClientSettings::new)?;
    if args.common.check {
        return run::print_settings(&effective);
    }
    source.hold(&effective);
    let traces = TraceFiles::start(settings.trace.as_deref(), "rpclient")?;
    settings.transport = settings
        .transport
        .tracer(traces.as_ref().map(TraceFiles::tracer));
    let result = match target {
        None => {
            let level = settings.log_level.unwrap_or(Level::INFO);
            logging::start(level, args.common.verbose, settings.log_format);
            run::raise_descriptor_limit();
            run::block_on(serve(settings, source))
        }
        Some(target) => {
            let level = settings.log_level.unwrap_or(Level::WARN);
            logging::start(level, args.common.verbose, settings.log_format);
            run::block_on(connect(settings, &running, &target))
        }
    };
    TraceFiles::end(traces);
    result
}

fn target(host: &str, port: u16) -> Result<Target, Failure> {
    let target = Host::parse(host).and_then(|host| Target::new(host, port));
    target.map_err(|error| Failure::usage(format!("{host} {port}: {error}")))
}

async fn serve(settings: ClientSettings, source: Source<ClientOptions>) -> Result<(), Failure> {
    // Before the server is asked for anything: a taken port is the commonest mistake.
    let listen = listen(&settings.listen).await;
    let (listener, local) = listen
        .map_err(|error| address::cannot_listen(format_args!("tcp {}", settings.listen), &error))?;
    let transparent = TransparentListeners::bind(&settings.transparent).await?;
    let admin = Admin::open(settings.admin.as_ref()).await?;
    warn_if_open(local, settings.credentials.is_required());
    let socket = ControlSocket::open(&settings.control, "rpclient", local)?;
    let mut signals = Signals::new()?;
    let forwards = forwards::listen(&settings.forwards).await?;
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
        () = signals.ended() => return Ok(()),
        () = sleep(FIRST_CONTACT) => {
            warn!(server = %reach.servers(), "no answer from the server, trying on");
            Link::connecting(connect)
        }
    };
    let route = Route::of(&settings);
    let config = ClientConfig::default()
        .pace(settings.memory.pace())
        .credentials(settings.credentials.clone())
        .optimistic(settings.optimistic)
        .tells_source(settings.tells_source)
        .udp_reply_address(settings.udp_reply_address)
        .ftp_ports(settings.ftp_ports);
    run::say(&format!("listening on {local}"));
    transparent.say();
    service_manager::ready(&format!("listening on {local}"));
    let client = Client::new(link, config);
    let forwards = forwards::start(&client, forwards)?;
    let draining = Draining::default();
    let servers = reach.servers().clone();
    if let Some(admin) = &admin {
        run::say(&format!("status page on http://{}/", admin.local()));
    }
    let handler = Commands::new(&client, local, route, servers, draining.clone());
    let handler = handler.forwards(forwards.clone());
    let service = Service {
        client: client.clone(),
        reach: reach.clone(),
        credentials: settings.credentials,
        source,
        drain: settings.drain,
        draining: draining.clone(),
    };
    tokio::select! {
        () = draining.clone().stops(client.serve(listener)) => {}
        () = serve_admin(admin, handler.clone()) => {}
        () = serve_control(socket, handler) => {}
        () = draining.clone().stops(transparent.serve(&client)) => {}
        () = forwards.end_with(&draining) => {}
        Some(failure) = refusals.recv() => return Err(failure),
        () = return_to_preferred(&reach, client.link()) => {}
        () = logging::report_floods() => {}
        () = service_manager::keep_watchdog() => {}
        () = trim::keep_small() => {}
        () = service.heed(signals) => {}
    }
    reach.shut_down().await;
    Ok(())
}

/// Moves to a server that is preferred to the one in use once it is there again. Ends only if dropped.
async fn return_to_preferred(reach: &Reach, link: &Link) {
    let mut pause = FIRST_RETURN;
    loop {
        sleep(pause).await;
        let is_up = matches!(link.status(), LinkStatus::Up(_));
        if !is_up || !reach.servers().has_better() {
            continue;
        }
        let better = timeout(RETURN_ATTEMPT, reach.better()).await;
        if let Ok(Some(connection)) = better {
            link.use_instead(connection);
            // One that comes and goes is returned to ever more seldom.
            pause = (pause * 2).min(LAST_RETURN);
        }
    }
}

async fn listen(address: &ListenAddress) -> io::Result<(TcpListener, SocketAddr)> {
    let addresses = address.resolve(Ipv4Addr::LOCALHOST.into()).await?;
    let listener = TcpListener::bind(&addresses[..]).await?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

fn warn_if_open(local: SocketAddr, has_users: bool) {
    if !local.ip().is_loopback() && !has_users {
        warn!(%local, "the proxy is open to everybody who can reach it; --proxy-users closes it");
    }
}

/// Where an `rpclient` that runs already is looked for.
struct Running {
    place: Place,
    listen: Option<String>,
}

impl Running {
    fn of(options: &ClientOptions) -> Self {
        Self {
            // Who asks for a trace asks for a connection of his own.
            place: match options.trace {
                None => Place::from_option(options.control.as_deref()),
                Some(_) => Place::Off,
            },
            listen: options.listen.clone(),
        }
    }
}

/// Connects standard input and output to `target`, over the connection of a running `rpclient` if one goes the same way.
async fn connect(
    settings: ClientSettings,
    running: &Running,
    target: &Target,
) -> Result<(), Failure> {
    let route = Route::of(&settings);
    if let Some(result) = unless_stopped(over_running(running, Some(&route), target)).await? {
        return result;
    }
    let reach = Reach::new(&settings)?;
    let result = unless_stopped(standard::over_own(&reach, target)).await;
    reach.shut_down().await;
    result?
}

/// The same where no server is named: whichever the running `rpclient` has.
async fn connect_by_running(options: &ClientOptions, target: &Target) -> Result<(), Failure> {
    let running = Running::of(options);
    let result = unless_stopped(over_running(&running, None, target)).await?;
    result.unwrap_or_else(|| {
        Err(Failure::usage(
            "no server: give --server HOST, RPCLIENT_SERVER, or a settings file, or start rpclient",
        ))
    })
}

async fn over_running(
    running: &Running,
    route: Option<&Route>,
    target: &Target,
) -> Option<Result<(), Failure>> {
    standard::over_running(&running.place, running.listen.as_deref(), route, target).await
}

/// What `work` leads to, unless a signal comes first.
async fn unless_stopped<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        done = work => Ok(done),
        stopped = run::stopped() => {
            stopped?;
            Err(Failure::new(ExitCode::Interrupted, "interrupted"))
        }
    }
}
