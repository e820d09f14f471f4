//! One association for each local source of datagrams, as a NAT has one mapping (RFC 4787): for forwards and for
//! datagrams that are redirected to us. How they get here, and how answers get back, is the caller's business.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use super::{
    lasting::{LastingAssociation, is_refusal},
    message::Datagram,
    queue::{Queue, QueueBudget, QueueShare},
};
use crate::{
    client::{Client, ClientCounters},
    eviction::greediest,
    network::network,
    target::{Host, Target},
};

/// Time without a datagram after which a flow is given up by default (RFC 4787, REQ-5).
pub const DEFAULT_FLOW_IDLE: Duration = Duration::from_secs(5 * 60);

/// The same for flows that have only asked name servers, which may be shorter (RFC 4787, REQ-5 b): each question
/// commonly has a source port of its own.
const NAME_SERVER_IDLE: Duration = Duration::from_secs(10);

/// The port of name servers.
const NAME_SERVER_PORT: u16 = 53;

/// Flows at once by default. An exit takes some 3500 associations of one connection.
pub const DEFAULT_MAX_FLOWS: usize = 2048;

/// What the datagrams of all flows may take while they wait, beside a least share of each party.
const QUEUE_BYTES: usize = 16 << 20;

/// Addresses of which a flow remembers that it has sent to them; one that sends to more takes answers from all.
const MAX_ASKED: usize = 1024;

/// How long a flow that the exit has refused is not asked for again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Carries the datagrams of a flow, both ways, until it is over: those from its source come by the queue, and
/// what passes is noted.
type Carry = dyn Fn(SocketAddr, Arc<Queue>, Arc<Activity>) -> Pin<Box<dyn Future<Output = ()> + Send>>
    + Send
    + Sync;

/// The flows of one local socket, or of what else brings datagrams with a source. Dropping the last clone ends
/// them.
#[derive(Clone)]
pub struct Flows {
    shared: Arc<Shared>,
}

struct Shared {
    counters: Arc<ClientCounters>,
    budget: Arc<QueueBudget>,
    max_flows: usize,
    carry: Box<Carry>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flows: HashMap<SocketAddr, Flow>,
    /// What the flows of one party share of the budget.
    shares: HashMap<IpAddr, Weak<QueueShare>>,
}

struct Flow {
    queue: Arc<Queue>,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// What a flow has done so far.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Done>);

#[derive(Debug)]
struct Done {
    /// When a datagram passed last.
    used: Instant,
    asks_name_servers_only: bool,
    /// Whom it has sent to; `None` once it may hear from anybody.
    asked: Option<HashSet<IpAddr>>,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(Done {
            used: Instant::now(),
            asks_name_servers_only: true,
            asked: Some(HashSet::new()),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A datagram goes to `target`.
    fn note_sent(&self, target: &Target) {
        let done = &mut *self.lock();
        done.used = Instant::now();
        done.asks_name_servers_only &= target.port() == NAME_SERVER_PORT;
        let is_bounded = match (target.host(), &mut done.asked) {
            (Host::Ip(ip), Some(asked)) => {
                asked.insert(ip.to_canonical());
                asked.len() <= MAX_ASKED
            }
            // The exit alone knows the address of a name.
            (Host::Name(_), Some(_)) => false,
            (_, None) => return,
        };
        if !is_bounded {
            done.asked = None;
        }
    }

    /// A datagram came from `sender`; `false` if it was not asked, and the datagram is not passed on: the exit
    /// filters as well, but who speaks in whose name to a local program is not left to it.
    pub(super) fn note_received(&self, sender: IpAddr) -> bool {
        let mut done = self.lock();
        let asked = done.asked.as_ref();
        let was_asked = asked.is_none_or(|asked| asked.contains(&sender.to_canonical()));
        if was_asked {
            done.used = Instant::now();
        }
        was_asked
    }

    /// A datagram came from whom the flow's own socket takes any from.
    pub(super) fn note_answer(&self) {
        self.lock().used = Instant::now();
    }

    fn used(&self) -> Instant {
        self.lock().used
    }

    /// Waits until nothing has passed for `idle`.
    pub(super) async fn idle(&self, idle: Duration) {
        loop {
            let ends_at = self.ends_at(idle);
            if Instant::now() >= ends_at {
                return;
            }
            sleep_until(ends_at).await;
        }
    }

    fn ends_at(&self, idle: Duration) -> Instant {
        let done = self.lock();
        done.used
            + if done.asks_name_servers_only {
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
        let counters = client.shared_counters();
        let deliver = Arc::new(deliver);
        Self::carried(counters, max_flows, move |source, queue, activity| {
            let association = LastingAssociation::new(client.clone());
            let deliver = deliver.clone();
            async move {
                let carrying = carry(&association, &queue, &activity, (source, &*deliver));
                tokio::select! {
                    () = carrying => {}
                    () = activity.idle(idle) => return,
                }
                // Refused: what the source sends meanwhile is not worth asking again.
                sleep(REFUSED_PAUSE).await;
            }
        })
    }

    /// Flows that `carry` carries.
    pub(super) fn carried<C, F>(counters: Arc<ClientCounters>, max_flows: usize, carry: C) -> Self
    where
        C: Fn(SocketAddr, Arc<Queue>, Arc<Activity>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let budget = QueueBudget::new(QUEUE_BYTES, counters.discarded.clone());
        let carry = move |source, queue, activity| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(carry(source, queue, activity))
        };
        Self {
            shared: Arc::new(Shared {
                counters,
                budget,
                max_flows: max_flows.max(1),
                carry: Box::new(carry),
                state: Mutex::default(),
            }),
        }
    }

    /// Flows there are at the moment.
    pub fn len(&self) -> usize {
        self.shared.lock().flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `payload` go from `source` to `target`. Never waits: what finds no room pushes out what waits longest.
    pub fn send(&self, source: SocketAddr, target: Target, payload: Bytes) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if !state.flows.contains_key(&source) {
            if state.flows.len() >= shared.max_flows {
                let ended = end_some(&mut state.flows);
                let counter = &shared.counters.pushed_out;
                counter.fetch_add(ended, Ordering::Relaxed);
            }
            let share = shared.share(&mut state.shares, source);
            let flow = shared.start(source, share);
            state.flows.insert(source, flow);
        }
        if let Some(flow) = state.flows.get(&source) {
            flow.activity.note_sent(&target);
            flow.queue.push(Datagram {
                address: target,
                payload,
            });
        }
    }
}

/// Ends flows to make room; how many.
fn end_some(flows: &mut HashMap<SocketAddr, Flow>) -> u64 {
    let used = |(source, flow): (&SocketAddr, &Flow)| (*source, source.ip(), flow.activity.used());
    let mut ended = 0;
    for source in greediest(flows.iter().map(used)) {
        if let Some(flow) = flows.remove(&source) {
            flow.task.abort();
            ended += 1;
        }
    }
    ended
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the flows of the party of `source` share of the budget.
    fn share(
        &self,
        shares: &mut HashMap<IpAddr, Weak<QueueShare>>,
        source: SocketAddr,
    ) -> Arc<QueueShare> {
        let party = network(source.ip());
        if let Some(share) = shares.get(&party).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= self.max_flows {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = self.budget.share();
        shares.insert(party, Arc::downgrade(&share));
        share
    }

    fn start(self: &Arc<Self>, source: SocketAddr, share: Arc<QueueShare>) -> Flow {
        let queue = Arc::new(Queue::new(share));
        let activity = Arc::new(Activity::new());
        let carrying = (self.carry)(source, queue.clone(), activity.clone());
        // The flows end with their last handle, not the other way round.
        let shared = Arc::downgrade(self);
        let own = activity.clone();
        let task = tokio::spawn(async move {
            carrying.await;
            if let Some(shared) = shared.upgrade() {
                let flows = &mut shared.lock().flows;
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
        for flow in self.lock().flows.values() {
            flow.task.abort();
        }
    }
}

/// Carries a flow's datagrams over `association` until the exit refuses it.
async fn carry<F: Future<Output = ()>>(
    association: &LastingAssociation,
    queue: &Queue,
    activity: &Activity,
    (source, deliver): (SocketAddr, &impl Fn(SocketAddr, SocketAddr, Bytes) -> F),
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
                    if activity.note_received(sender.ip()) {
                        deliver(source, sender, payload).await;
                    }
                }
                Err(end) => return debug!(%source, %end, "datagrams refused"),
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}

#[cfg(test)]
mod tests;
