//! How many bytes went through. Who moves them is `relay`'s business.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes relayed in each direction, for statistics.
///
/// ```
/// use std::sync::{Arc, atomic::Ordering};
///
/// use rp_proxy::relay::Traffic;
///
/// let all = Arc::new(Traffic::default());
/// Traffic::part_of(all.clone()).count_sent(7);
/// assert_eq!(all.sent.load(Ordering::Relaxed), 7);
/// ```
#[derive(Debug, Default)]
pub struct Traffic {
    /// From TCP connections into streams.
    pub sent: AtomicU64,
    /// From streams to TCP connections.
    pub received: AtomicU64,
    whole: Option<Arc<Self>>,
}

impl Traffic {
    /// Counts what is counted in `whole` as well.
    pub fn part_of(whole: Arc<Self>) -> Self {
        Self {
            whole: Some(whole),
            ..Self::default()
        }
    }

    /// Counts bytes from a TCP connection into a stream.
    pub fn count_sent(&self, bytes: u64) {
        self.each(|traffic| &traffic.sent, bytes);
    }

    /// Counts bytes from a stream to a TCP connection.
    pub fn count_received(&self, bytes: u64) {
        self.each(|traffic| &traffic.received, bytes);
    }

    fn each(&self, counter: impl Fn(&Self) -> &AtomicU64, bytes: u64) {
        let mut traffic = Some(self);
        while let Some(part) = traffic {
            counter(part).fetch_add(bytes, Ordering::Relaxed);
            traffic = part.whole.as_deref();
        }
    }
}
