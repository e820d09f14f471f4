//! One association for each local source of datagrams, as a NAT has one mapping (RFC 4787): for forwards and for
//! datagrams that are redirected to us. How they get here, and how answers get back, is the caller's business.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    lasting::{LastingAssociation, is_refusal},
    message::Datagram,
    queue::{Queue, QueueShare},
};
use crate::{client::Client, network::network, target::Target};

/// Time without a datagram after which a flow is given up by default (RFC 4787, REQ-5).
pub const DEFAULT_FLOW_IDLE: Duration = Duration::from_secs(5 * 60);

/// The same for flows that have only asked name servers, which may be shorter (RFC 4787, REQ-5 b): each question
/// commonly has a source port of its own.
const NAME_SERVER_IDLE: Duration = Duration::from_secs(30);

/// The port of name servers.
const NAME_SERVER_PORT: u16 = 53;

/// Flows at once by default. An exit takes some 3500 associations of one connection.
pub const DEFAULT_MAX_FLOWS: usize = 2048;

/// Takes an answer to its source: the source, whom the answer is from, and the payload.
type Deliver =
    dyn Fn(SocketAddr, SocketAddr, Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The flows of one local socket, or of what else brings datagrams with a source. Dropping the last clone ends
/// them.
#[derive(Clone)]
pub struct Flows {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    share: Arc<QueueShare>,
    idle: Duration,
    max_flows: usize,
    deliver: Arc<Deliver>,
    flows: Mutex<HashMap<SocketAddr, Flow>>,
}

struct Flow {
    queue: Arc<Queue>,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// When a flow was used last, and for what.
#[derive(Debug)]
struct Activity(Mutex<(Instant, bool)>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new((Instant::now(), true)))
    }

    fn lock(&self) -> MutexGuard<'_, (Instant, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A datagram goes to `port`.
    fn note_sent(&self, port: u16) {
        let (used, asks_only) = &mut *self.lock();
        *used = Instant::now();
        *asks_only &= port == NAME_SERVER_PORT;
    }

    fn note_received(&self) {
        self.lock().0 = Instant::now();
    }

    fn used(&self) -> Instant {
        self.lock().0
    }

    fn ends_at(&self, idle: Duration) -> Instant {
        let (used, asks_only) = *self.lock();
        used + if asks_only {
            idle.min(NAME_SERVER_IDLE)
        } else {
            idle
        }
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flows({} of {})", self.len(), self.shared.max_flows)
    }
}

impl Flows {
    /// No flows yet. Their datagrams go out through `client`; answers are handed to `deliver` with their source
    /// and their sender.
    pub fn new<D, F>(client: Client, deliver: D) -> Self
    where
        D: Fn(SocketAddr, SocketAddr, Bytes) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_limits(client, DEFAULT_FLOW_IDLE, DEFAULT_MAX_FLOWS, deliver)
    }

    /// As [`new`](Self::new), with another idle time and another number of flows at once.
    pub fn with_limits<D, F>(client: Client, idle: Duration, max_flows: usize, deliver: D) -> Self
    where
        D: Fn(SocketAddr, SocketAddr, Bytes) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let share = client.associations().share();
        let deliver = move |source, sender, payload| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(deliver(source, sender, payload))
        };
        Self {
            shared: Arc::new(Shared {
                client,
                share,
                idle,
                max_flows: max_flows.max(1),
                deliver: Arc::new(deliver),
                flows: Mutex::default(),
            }),
        }
    }

    /// Flows there are at the moment.
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `payload` go from `source` to `target`. Never waits: what finds no room pushes out what waits longest.
    pub fn send(&self, source: SocketAddr, target: Target, payload: Bytes) {
        let mut flows = self.shared.lock();
        if !flows.contains_key(&source) {
            while flows.len() >= self.shared.max_flows {
                end_one(&mut flows);
            }
            flows.insert(source, self.shared.start(source));
        }
        if let Some(flow) = flows.get(&source) {
            flow.activity.note_sent(target.port());
            flow.queue.push(Datagram {
                address: target,
                payload,
            });
        }
    }
}

/// Ends one flow, to make room.
fn end_one(flows: &mut HashMap<SocketAddr, Flow>) {
    let used: Vec<_> = flows
        .iter()
        .map(|(source, flow)| (*source, flow.activity.used()))
        .collect();
    if let Some(flow) = one_too_many(&used).and_then(|source| flows.remove(&source)) {
        flow.task.abort();
    }
}

/// The source, of those with the times of their last use, that was not used for the longest time, of the party
/// that has most: whoever opens many takes places from himself.
fn one_too_many(used: &[(SocketAddr, Instant)]) -> Option<SocketAddr> {
    let mut counts = HashMap::<IpAddr, usize>::new();
    for (source, _) in used {
        *counts.entry(network(source.ip())).or_default() += 1;
    }
    let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let of_most = used
        .iter()
        .filter(|(source, _)| network(source.ip()) == most);
    let (oldest, _) = of_most.min_by_key(|(_, used)| *used)?;
    Some(*oldest)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>, source: SocketAddr) -> Flow {
        let queue = Arc::new(Queue::new(self.share.clone()));
        let activity = Arc::new(Activity::new());
        let carrying = carry(
            LastingAssociation::new(self.client.clone()),
            queue.clone(),
            activity.clone(),
            self.idle,
            (source, self.deliver.clone()),
        );
        // The flows end with their last handle, not the other way round.
        let shared = Arc::downgrade(self);
        let own = activity.clone();
        let task = tokio::spawn(async move {
            carrying.await;
            if let Some(shared) = shared.upgrade() {
                let mut flows = shared.lock();
                // Another one may have taken the place of one that was pushed out.
                if let Some(flow) = flows.get(&source)
                    && Arc::ptr_eq(&flow.activity, &own)
                {
                    flows.remove(&source);
                }
            }
        });
        Flow {
            queue,
            activity,
            task: task.abort_handle(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for flow in self.lock().values() {
            flow.task.abort();
        }
    }
}

/// Carries a flow's datagrams until it was idle for long, or the exit refuses it.
async fn carry(
    association: LastingAssociation,
    queue: Arc<Queue>,
    activity: Arc<Activity>,
    idle: Duration,
    (source, deliver): (SocketAddr, Arc<Deliver>),
) {
    let outward = async {
        while let Some(datagram) = queue.pop().await {
            match association.send(&datagram.address, datagram.payload).await {
                Err(end) if is_refusal(&end) => return debug!(%source, %end, "datagrams refused"),
                // Lost with the connection, as any may be.
                Ok(()) | Err(_) => {}
            }
        }
    };
    let inward = async {
        loop {
            match association.recv().await {
                Ok((sender, payload)) => {
                    activity.note_received();
                    deliver(source, sender, payload).await;
                }
                Err(end) => return debug!(%source, %end, "datagrams refused"),
            }
        }
    };
    let idling = async {
        loop {
            let ends_at = activity.ends_at(idle);
            if Instant::now() >= ends_at {
                return;
            }
            sleep_until(ends_at).await;
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
        () = idling => {}
    }
}

#[cfg(test)]
mod tests;
