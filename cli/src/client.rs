//! `rpclient`: the proxy port, and `connect` for ssh. What the port speaks lives in `rp_proxy`.

mod commands;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::Parser as _;
use rp_protocol::{RecvStream, SendStream, error::ReadError};
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

use self::commands::Commands;
use crate::{
    address::ListenAddress,
    args::client::{ClientArgs, ClientCommand, ClientOptions},
    control::{ControlSocket, Place, find, serve as serve_control},
    exit_code::{ExitCode, Failure},
    logging,
    reach::{NoContact, Reach},
    run,
    settings::{ClientSettings, SettingsFile},
    status, tproxy,
    trace_files::TraceFiles,
    transparent::TransparentListeners,
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
    if let Some(ClientCommand::TproxyTeardown(teardown)) = args.command {
        return tproxy::tear_down(teardown);
    }
    let config = args.common.config.as_deref();
    let file = SettingsFile::<ClientOptions>::read(config, "rpclient.toml")?;
    let options = args.options.clone().or(file.options.clone());
    if let Some(ClientCommand::Status(how)) = args.command {
        let place = Place::from_option(options.control.as_deref());
        let path = find(&place, "rpclient", options.listen.as_deref())?;
        return run::block_on(status::show(&path, &how));
    }
    if let Some(ClientCommand::TproxySetup(setup)) = args.command {
        return run::block_on(tproxy::set_up(options, setup));
    }
    let (mut settings, effective) =
        ClientSettings::new(options).map_err(|failure| file.blame(failure, &args.options))?;
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
        Some(ClientCommand::Status(_)) => Ok(()),
        Some(ClientCommand::Connect { host, port }) => {
            let target = Host::parse(&host).and_then(|host| Target::new(host, port));
            let target =
                target.map_err(|error| Failure::usage(format!("{host} {port}: {error}")))?;
            logging::start("warn", args.common.verbose);
            run::block_on(connect(settings, target))
        }
        Some(ClientCommand::TproxySetup(_) | ClientCommand::TproxyTeardown(_)) => Ok(()),
    };
    TraceFiles::end(traces);
    result
}

async fn serve(settings: ClientSettings) -> Result<(), Failure> {
    // Before the server is asked for anything: a taken port is the commonest mistake.
    let (listener, local) = listen(&settings.listen).await.map_err(|error| {
        Failure::other(format!("cannot listen on tcp {}: {error}", settings.listen))
    })?;
    let transparent = TransparentListeners::bind(&settings.transparent).await?;
    warn_if_open(local, settings.credentials.is_required());
    let socket = ControlSocket::open(&settings.control, "rpclient", local)?;
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
            warn!(server = %reach.servers(), "no answer from the server, trying on");
            Link::connecting(connect)
        }
    };
    let config = ClientConfig::default()
        .credentials(settings.credentials)
        .optimistic(settings.optimistic);
    run::say(&format!("listening on {local}"));
    transparent.say();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let client = Client::new(link, config);
    let handler = Commands::new(client.clone(), local);
    tokio::select! {
        () = client.serve(listener) => {}
        () = serve_control(socket, handler) => {}
        () = transparent.serve(&client) => {}
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
        OpenError::ConnectionLost(lost) => reach.explain(lost),
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
