//! Which destinations refuse segmented sends. Retrying and counting is the socket's part.

use std::{
    io,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

/// How long a refusal is believed. Interfaces and routes change; one refused batch in ten minutes
/// costs nothing.
const BELIEVED: Duration = Duration::from_secs(600);

/// Destinations remembered; beyond that the whole table is forgotten and learnt again.
const MAX_DESTINATIONS: usize = 4096;

/// Destinations behind interfaces that do not segment (EIO without checksum offload, EINVAL on some
/// virtual ones). Per destination, because another route of the same socket may well do it.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Spares the usual case the lock.
    any: AtomicBool,
    since: Mutex<FxHashMap<IpAddr, Instant>>,
}

impl Refusals {
    /// Whether no destination has refused lately.
    pub(super) fn is_empty(&self) -> bool {
        !self.any.load(Relaxed)
    }

    /// Whether `destination` refused lately.
    pub(super) fn has(&self, destination: IpAddr, now: Instant) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match since.get(&destination) {
            Some(&at) if now.saturating_duration_since(at) < BELIEVED => true,
            Some(_) => {
                since.remove(&destination);
                self.any.store(!since.is_empty(), Relaxed);
                false
            }
            None => false,
        }
    }

    /// `destination` refused.
    pub(super) fn insert(&self, destination: IpAddr, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= MAX_DESTINATIONS {
            since.clear();
        }
        since.insert(destination, now);
        self.any.store(true, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Whether `error` is how Linux says that an interface does not segment.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(error),
            Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE)
        )
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = error;
        false
    }
}
