//! Waiting for a socket, for reading and for writing apart: tokio's own sockets always wait for both.
//! Reading and writing themselves are `socket`'s.
//!
//! A UDP socket becomes writable anew with every packet that leaves the machine, and readable with every
//! one that comes. Each such turn wakes a thread of the runtime, whether anybody waits for it or not; where
//! packets leave and come one by one, that costs more than the packets do.

use std::{io, net::UdpSocket, os::fd::AsRawFd, sync::Arc, time::Duration};

use tokio::io::{Interest, unix::AsyncFd};

use super::SLOTS;

/// Wait before another try where the system cannot tell when a socket has room.
const RETRY: Duration = Duration::from_millis(1);

/// Tells when there is something to receive. Costs nothing once dropped.
#[derive(Debug)]
pub(in super::super) struct Watch(AsyncFd<Arc<UdpSocket>>);

impl Watch {
    /// Must be called within a tokio runtime.
    pub(super) fn new(io: Arc<UdpSocket>) -> io::Result<Self> {
        register(io, Interest::READABLE).map(Self)
    }

    /// Completes when there is something to receive.
    ///
    /// # Errors
    /// The runtime goes away.
    pub(in super::super) async fn readable(&self) -> io::Result<()> {
        self.0
            .readable()
            .await
            .map(|mut ready| ready.retain_ready())
    }

    /// Take in one batch by `receive`. One that was not full has emptied the socket: the next packet will
    /// be told anew, and asking the system for the same news costs a call.
    ///
    /// # Errors
    /// Those of `receive`.
    pub(in super::super) fn receive(
        &self,
        receive: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut taken = Ok(0);
        let emptied = self.0.try_io(Interest::READABLE, |_| {
            taken = receive();
            match &taken {
                Ok(count) if *count == SLOTS => Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match (emptied, taken) {
            // Not even asked: nothing was told.
            (Err(error), Ok(0)) => Err(error),
            (_, taken) => taken,
        }
    }
}

fn register<T: AsRawFd>(io: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "the successor is unsafe because not every descriptor stays open while registered; \
                  a socket moved in does"
    )]
    AsyncFd::with_interest(io, interest)
}

/// Completes when a send that would have blocked is worth another try.
pub(super) async fn writable(io: &UdpSocket) {
    // A copy of the descriptor, because the runtime takes each only once.
    let watch = io
        .try_clone()
        .and_then(|copy| register(copy, Interest::WRITABLE));
    match watch {
        Ok(watch) => {
            // An error here means that the runtime is shutting down; the next send reports it.
            let _ = watch.writable().await;
        }
        Err(error) => {
            tracing::debug!(%error, "cannot wait for room in the socket");
            tokio::time::sleep(RETRY).await;
        }
    }
}
