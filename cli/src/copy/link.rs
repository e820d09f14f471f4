//! The connection of a copy, however it came about, and what has to end with it.

use std::sync::Arc;

use rp_protocol::{config::TransportConfig, units::CloseCode};
use rp_transfer::error::Error;
use tokio::sync::watch;

use super::{
    CopyError, Sending,
    location::{Host, Remote, SshHost},
    requests::{Requests, Stop},
    service,
    ssh::{self, Hello, Opened, Place, Purpose, Session, SshOptions},
};
use crate::{
    args::copy::ConnectionArgs,
    connect::{Connected, Server, connect, connect_pinned, resolve},
    host_key::HostKeyPolicy,
    known_hosts::HostName,
    once_key::OnceKey,
    path_memory::PathFile,
    prompt::Terminal,
};

/// A connection to another machine, and what is known of the path to it.
pub(super) struct Link {
    pub(super) connected: Connected,
    pub(super) requests: Arc<Requests>,
    server: Server,
    /// What started the other side.
    session: Option<Session>,
    paths: Option<PathFile>,
}

impl Link {
    /// Connects to where the places are, all of them on one machine, as far as the user does not want an end before,
    /// and has requests name them as that machine does.
    pub(super) async fn open(
        mut places: Vec<(Purpose, &mut Remote)>,
        args: &ConnectionArgs,
        (transport, how): (TransportConfig, Sending),
        stop: watch::Receiver<Stop>,
    ) -> Result<Self, CopyError> {
        let Some((_, first)) = places.first() else {
            return Err(CopyError::Usage("name what is to be copied, and where to"));
        };
        let host = first.host.clone();
        let connecting = async {
            match &host {
                Host::Server(server) => dial(server, args, transport).await,
                Host::Ssh(host) => bootstrap(host, &mut places, args, (transport, how)).await,
            }
        };
        let mut stopped = stop.clone();
        let (connected, server, session) = tokio::select! {
            connected = connecting => connected?,
            stopped = stopped.wait_for(|stop| !matches!(stop, Stop::No)) => {
                return Err(match stopped.as_deref() {
                    Ok(Stop::Unknown(failure)) => CopyError::Signals(failure.clone()),
                    _ => Error::Interrupted.into(),
                });
            }
        };
        let paths = PathFile::open(!args.no_path_memory);
        if let Some(paths) = &paths {
            paths.recall(&server, &connected.connection);
        }
        Ok(Self {
            requests: Requests::new(&connected.connection, args.silence(), stop),
            connected,
            server,
            session,
            paths,
        })
    }

    /// Says how it went and ends the connection.
    pub(super) async fn close<T>(self, result: Result<T, CopyError>) -> Result<T, CopyError> {
        let result = result.map_err(|error| error.explained(&self.server));
        if let Some(paths) = &self.paths {
            paths.keep(&self.server, &self.connected.connection);
        }
        let (code, reason): (u32, &[u8]) = match &result {
            Ok(_) => (0, b"done"),
            Err(error) => (error.exit_code().number().into(), b"failed"),
        };
        self.connected
            .close(CloseCode::from_u32(code), reason)
            .await;
        if let Some(session) = self.session {
            session.end().await;
        }
        result
    }
}

type Parts = (Connected, Server, Option<Session>);

/// Connects to an rpserver.
async fn dial(
    server: &Server,
    args: &ConnectionArgs,
    transport: TransportConfig,
) -> Result<Parts, CopyError> {
    let trust = args.trust();
    // What is typed says whom to trust, and as whom to come.
    let is_typed = trust.identity.is_some() || trust.host_key.is_some();
    let once = OnceKey::from_environment()?.filter(|_| !is_typed);
    let (family, name) = (args.family(), service::SERVICE);
    let connected = match once {
        Some(once) => {
            let host = HostName::new(&server.host, server.port);
            let policy = HostKeyPolicy::key(host, &once.server());
            let addresses = resolve(server, family).await?;
            let who = (once.identity(), policy);
            connect_pinned(server, &addresses, who, name, transport).await?
        }
        None => connect(server, family, &trust, name, transport, &Terminal).await?,
    };
    Ok((connected, server.clone(), None))
}

/// Has ssh start the other side, and connects to it.
async fn bootstrap(
    host: &SshHost,
    places: &mut [(Purpose, &mut Remote)],
    args: &ConnectionArgs,
    (transport, how): (TransportConfig, Sending),
) -> Result<Parts, CopyError> {
    if places.len() > ssh::MAX_PLACES {
        return Err(CopyError::Usage(
            "more sources than one copy over ssh takes: 1000",
        ));
    }
    let asked = places.iter().map(|(purpose, remote)| Place {
        purpose: *purpose,
        path: remote.typed().to_vec(),
    });
    let asked = asked.collect();
    let make_hello = |key| Hello {
        key,
        ports: args.udp_ports.clone(),
        policy: how.policy,
        rate: how.max_rate,
        verbose: args.verbose,
        places: asked,
    };
    let options = SshOptions {
        port: args.ssh_port,
        identity: args.identity.clone(),
        config: args.ssh_config.clone(),
        jump: args.jump.clone(),
        options: args.ssh_options.clone(),
        family: args.family(),
        quiet: args.quiet,
        verbose: args.verbose,
    };
    let Opened {
        session,
        connected,
        paths,
        server,
    } = ssh::connect(host, &options, make_hello, transport).await?;
    for ((_, remote), path) in places.iter_mut().zip(paths) {
        remote.call(path);
    }
    Ok((connected, server, Some(session)))
}
