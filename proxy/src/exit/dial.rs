//! Connecting to one of several addresses, a later one starting while an earlier one is slow
//! (RFC 8305). Which addresses are allowed is `policy`'s business.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpSocket, TcpStream, UnixStream},
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::policy::Policy;
use crate::{
    error::{DialFailure, FailureKind},
    socket_path::SocketPath,
};

/// Head start of each address before the next is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of `addrs` that answers within `within`; the attempts beside it are closed.
pub(crate) async fn dial(addrs: &[SocketAddr], within: Duration) -> Result<TcpStream, DialFailure> {
    race(addrs, within, connect).await
}

/// Has `connect` try the addresses, and gives the first success.
async fn race<T, F>(
    addrs: &[SocketAddr],
    within: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, DialFailure>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let deadline = Instant::now() + within;
    let mut attempts = JoinSet::new();
    let mut failure = None;
    let mut next_at = Instant::now();
    let mut waiting = addrs.iter().copied();
    let mut next = waiting.next();
    loop {
        tokio::select! {
            () = sleep_until(next_at), if next.is_some() => {
                if let Some(addr) = next.take() {
                    attempts.spawn(timeout_at(deadline, connect(addr)));
                }
                next = waiting.next();
                next_at = Instant::now() + ATTEMPT_DELAY;
            }
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                match ended {
                    Ok(Ok(Ok(stream))) => return Ok(stream),
                    Ok(Ok(Err(error))) => note(&mut failure, FailureKind::from_io(&error)),
                    Ok(Err(_elapsed)) => note(&mut failure, FailureKind::TimedOut),
                    Err(_cancelled) => note(&mut failure, FailureKind::General),
                }
                // A failure frees the next address at once.
                next_at = Instant::now();
            }
            () = sleep_until(deadline) => note(&mut failure, FailureKind::TimedOut),
        }
        let over = Instant::now() >= deadline;
        if over || (attempts.is_empty() && next.is_none()) {
            let kind = failure.unwrap_or(FailureKind::TimedOut);
            return Err(DialFailure::new(kind));
        }
    }
}

/// Connects to a Unix socket of this machine, if policy allows it.
pub(super) async fn dial_path(
    path: &SocketPath,
    policy: &Policy,
    within: Duration,
) -> Result<UnixStream, DialFailure> {
    let denied = |denial: super::policy::Denial| {
        DialFailure::because(FailureKind::Denied, denial.to_string())
    };
    policy.check_path(path).map_err(denied)?;
    match timeout(within, UnixStream::connect(path.as_path())).await {
        Ok(Ok(unix)) => Ok(unix),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(DialFailure::because(
            FailureKind::Refused,
            "there is no such socket",
        )),
        Ok(Err(error)) => Err(DialFailure::new(FailureKind::from_io(&error))),
        Err(_elapsed) => Err(DialFailure::new(FailureKind::TimedOut)),
    }
}

/// Keeps the failure that says most: an answer says more than silence, silence more than no route.
fn note(kept: &mut Option<FailureKind>, kind: FailureKind) {
    let weight = |kind: FailureKind| match kind {
        FailureKind::Refused => 3,
        FailureKind::TimedOut => 2,
        FailureKind::General => 0,
        _ => 1,
    };
    if kept.is_none_or(|kept| weight(kind) > weight(kept)) {
        *kept = Some(kind);
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.connect(addr).await
}

#[cfg(test)]
mod tests;
