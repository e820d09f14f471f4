//! The near side: starts `ssh`, greets the far side, and connects to it. What is then copied is not known here.

use std::{io, process::Stdio, time::Duration};

use rp_protocol::config::TransportConfig;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    command::SshOptions,
    error::SshError,
    greeting::{GreetingError, Hello, Lines, Welcome},
    reach::{Configured, candidates},
};
use crate::{
    address,
    connect::{ConnectFailure, Connected, Server, connect_pinned},
    copy::{CopyError, location::SshHost, service},
    host_key::HostKeyPolicy,
    identity,
    known_hosts::HostName,
};

/// How often something is said over an ssh session that carries nothing else: a NAT forgets a connection that is
/// silent for five minutes or less.
const ALIVE: Duration = Duration::from_secs(30);

/// How long the far side may take to end when it has been told to.
const END: Duration = Duration::from_secs(2);

/// How long ssh may take to say how it ended, when its output has.
const STATUS: Duration = Duration::from_secs(5);

/// The ssh session that a copy lives as long as.
#[derive(Debug)]
pub(in crate::copy) struct Session {
    child: Child,
    /// Says something from time to time; drops what ends the far side when it is aborted.
    alive: AbortHandle,
    /// Held open, so that nothing that is said there ends ssh.
    _stdout: ChildStdout,
}

impl Session {
    /// Has the far side end, and waits until it has.
    pub(in crate::copy) async fn end(mut self) {
        self.alive.abort();
        if timeout(END, self.child.wait()).await.is_err() {
            tracing::debug!("ssh did not end by itself");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.alive.abort();
        terminate(&self.child);
    }
}

/// Ends ssh in a way that leaves a terminal on which it asks for a password as it was.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// What a connection over ssh came to.
pub(in crate::copy) struct Opened {
    pub(in crate::copy) session: Session,
    pub(in crate::copy) connected: Connected,
    /// What requests call the places.
    pub(in crate::copy) paths: Vec<Vec<u8>>,
    /// For what is remembered of the path.
    pub(in crate::copy) server: Server,
}

/// Starts the far side at `host` and connects to it; `hello` is what it is told, with a key that is made here.
///
/// # Errors
/// See [`SshError`] and [`ConnectFailure`].
pub(in crate::copy) async fn connect(
    host: &SshHost,
    options: &SshOptions,
    make_hello: impl FnOnce(rp_protocol::crypto::identity::PublicKey) -> Hello,
    transport: TransportConfig,
) -> Result<Opened, CopyError> {
    //= spec/20-copy.md#over-ssh
    //# Each side MUST make a key for this one copy and MUST NOT keep it.
    let identity = identity::ephemeral();
    let hello = make_hello(identity.public_key());
    let places = hello.places.len();
    let (started, resolved) = tokio::join!(start(host, options, &hello), resolve(host, options));
    let (session, welcome) = started?;
    if welcome.paths.len() != places {
        let why = GreetingError::Missing("paths");
        return Err(SshError::explain(host, why, None, "").into());
    }
    let addresses = candidates(&resolved, welcome.address, welcome.port, options.family);
    if addresses.is_empty() {
        return Err(SshError::NoAddress(host.clone()).into());
    }
    let server = Server {
        host: host.host.clone(),
        port: options.port.unwrap_or(22),
    };
    let name = HostName::new(&host.host, welcome.port);
    //= spec/20-copy.md#over-ssh
    //# The client MUST accept no key but the one that the far side said.
    let policy = HostKeyPolicy::key(name, &welcome.key);
    tracing::debug!(?addresses, "the far side listens");
    let connecting = connect_pinned(
        &server,
        &addresses,
        (identity, policy),
        service::SERVICE,
        transport,
    );
    let connected = connecting.await.map_err(|failure| match failure {
        ConnectFailure::Silence(_) => {
            let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            CopyError::from(SshError::Blocked {
                host: host.clone(),
                addresses: shown.join(", "),
            })
        }
        failure => failure.into(),
    })?;
    Ok(Opened {
        session,
        connected,
        paths: welcome.paths,
        server,
    })
}

/// Starts ssh and greets the far side.
async fn start(
    host: &SshHost,
    options: &SshOptions,
    hello: &Hello,
) -> Result<(Session, Welcome), SshError> {
    let mut child = Command::new("ssh")
        .args(options.start(host))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(SshError::NoSsh)?;
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SshError::NoSsh(io::ErrorKind::BrokenPipe.into()));
    };
    let mut child = Unfinished(Some(child));
    let text = hello.format();
    let saying = async {
        // Whether it was heard shows in the answer.
        let _ = stdin.write_all(text.as_bytes()).await;
        let _ = stdin.flush().await;
    };
    let ((), heard) = tokio::join!(saying, listen(&mut stdout, host));
    let heard = heard?;
    let has_ended = matches!(heard, Heard::End(_));
    let lines = match heard {
        Heard::Lines(lines) => lines,
        Heard::End(why) => Err(why),
    };
    let why = match lines.and_then(|lines| Welcome::parse(&lines)) {
        Ok(welcome) => {
            let child = child.0.take().expect("taken once");
            let session = Session {
                child,
                alive: tokio::spawn(keep_alive(stdin)).abort_handle(),
                _stdout: stdout,
            };
            return Ok((session, welcome));
        }
        Err(why) => why,
    };
    drop(stdin);
    let status = match has_ended {
        true => child.status().await,
        false => None,
    };
    let program = std::env::current_exe().unwrap_or_else(|_| "rpcp".into());
    let program = quoted(&program.to_string_lossy());
    Err(SshError::explain(host, why, status, &program))
}

/// ssh, until the far side has answered.
struct Unfinished(Option<Child>);

impl Unfinished {
    /// How it ended, if it did.
    async fn status(&mut self) -> Option<std::process::ExitStatus> {
        let child = self.0.as_mut()?;
        timeout(STATUS, child.wait()).await.ok()?.ok()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            terminate(child);
        }
    }
}

/// What came for an answer.
enum Heard {
    Lines(Result<Vec<String>, GreetingError>),
    /// The end, before it was whole.
    End(GreetingError),
}

async fn listen(stdout: &mut ChildStdout, host: &SshHost) -> Result<Heard, SshError> {
    let mut lines = Lines::default();
    let mut piece = [0; 4096];
    loop {
        let read = stdout.read(&mut piece).await;
        let read = read.map_err(|source| SshError::Pipe {
            host: host.clone(),
            source,
        })?;
        if read == 0 {
            return Ok(Heard::End(lines.ended()));
        }
        for &byte in &piece[..read] {
            match lines.push(byte).transpose() {
                None => {}
                Some(whole) => return Ok(Heard::Lines(whole)),
            }
        }
    }
}

/// Says something from time to time; the far side ends when this does.
async fn keep_alive(mut stdin: ChildStdin) {
    loop {
        sleep(ALIVE).await;
        if stdin.write_all(b"\n").await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The addresses that ssh's configuration gives `host`; none where only a machine between knows them.
async fn resolve(host: &SshHost, options: &SshOptions) -> Vec<std::net::SocketAddr> {
    let printed = Command::new("ssh")
        .args(options.print_configuration(host))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .await;
    let printed = printed.map(|output| output.stdout).unwrap_or_default();
    let configured = Configured::parse(&String::from_utf8_lossy(&printed), host);
    tracing::debug!(?configured, "what ssh is configured to");
    match address::resolve(&configured.hostname, 0).await {
        Ok(addresses) => addresses,
        Err(error) => {
            tracing::debug!(%error, "the name has no address here");
            Vec::new()
        }
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
