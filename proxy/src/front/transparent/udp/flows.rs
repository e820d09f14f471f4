//! The associations of the sources of diverted datagrams: one for each, while it is used.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::{super::TransparentCounters, replies::ReplySockets};
use crate::{
    client::Client,
    datagram::{
        Datagram, LastingAssociation,
        lasting::is_refusal,
        queue::{Queue, QueueBudget, QueueShare},
    },
    front::transparent::listener::is_local,
    network::network,
    shares::{Place, Shares},
    target::Host,
};

/// Sources served at once.
const MAX_FLOWS: usize = 4096;

/// How many of them may have one address, this machine's own excepted.
const MAX_FLOWS_OF_ADDRESS: usize = MAX_FLOWS / 8;

/// What their datagrams may take while they wait.
const QUEUE_BYTES: usize = 16 << 20;

/// Silence after which a source's association ends: the least RFC 4787 (REQ-5) grants.
const IDLE: Duration = Duration::from_secs(120);

/// The same for a source that only asks name servers, whose every question may have a port of its own.
/// RFC 4787 lets well-known ports have less.
const IDLE_DNS: Duration = Duration::from_secs(10);

/// The port of name servers.
const DNS: u16 = 53;

/// Targets of a source that may answer; beyond it, all may.
const MAX_ASKED: usize = 1024;

/// How long a source whose association was refused is not served.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// The sources that are served.
#[derive(Debug)]
pub(super) struct Flows(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    replies: Arc<ReplySockets>,
    counters: Arc<TransparentCounters>,
    budget: Arc<QueueBudget>,
    places: Shares<Holder>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<SocketAddr, Arc<Queue>>,
    /// What those of one address share.
    shares: HashMap<IpAddr, Weak<QueueShare>>,
}

/// Who holds places for flows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    All,
    Address(IpAddr),
}

impl Flows {
    pub(super) fn new(
        client: Client,
        replies: Arc<ReplySockets>,
        counters: Arc<TransparentCounters>,
    ) -> Self {
        let budget = QueueBudget::new(QUEUE_BYTES, counters.discarded().clone());
        Self(Arc::new(Shared {
            client,
            replies,
            counters,
            budget,
            places: Shares::new(),
            state: Mutex::default(),
        }))
    }

    /// Sends `datagram` in the name of `source` when it is its turn.
    pub(super) fn push(&self, source: SocketAddr, datagram: Datagram) {
        let known = self.0.state().queues.get(&source).cloned();
        let queue = match known {
            Some(queue) => queue,
            None => match self.0.place(source) {
                Some(place) => self.start(source, place),
                None => return self.0.counters.count_over_share(),
            },
        };
        queue.push(datagram);
    }

    fn start(&self, source: SocketAddr, place: Place<Holder>) -> Arc<Queue> {
        let shared = self.0.clone();
        let queue = Arc::new(Queue::new(shared.share(source)));
        shared.state().queues.insert(source, queue.clone());
        let flow = Flow {
            source,
            queue: queue.clone(),
            association: LastingAssociation::new(shared.client.clone()),
            asked: Mutex::default(),
            moved: AtomicBool::new(false),
            only_dns: AtomicBool::new(true),
        };
        tokio::spawn(async move {
            flow.run(&shared.replies).await;
            shared.state().queues.remove(&source);
            flow.queue.close();
            drop(place);
        });
        queue
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for another flow of `source`, if its address and all together have one left.
    fn place(&self, source: SocketAddr) -> Option<Place<Holder>> {
        let of_address = match is_local(source.ip()) {
            true => MAX_FLOWS,
            false => MAX_FLOWS_OF_ADDRESS,
        };
        let address = Holder::Address(network(source.ip()));
        let users = [(Holder::All, MAX_FLOWS), (address, of_address)];
        self.places.take(users).ok()
    }

    /// What the flows of this address share of the budget.
    fn share(&self, source: SocketAddr) -> Arc<QueueShare> {
        let mut state = self.state();
        let address = network(source.ip());
        if let Some(share) = state.shares.get(&address).and_then(Weak::upgrade) {
            return share;
        }
        state.shares.retain(|_, share| share.strong_count() > 0);
        let share = self.budget.share();
        state.shares.insert(address, Arc::downgrade(&share));
        share
    }
}

/// One source and its association.
#[derive(Debug)]
struct Flow {
    source: SocketAddr,
    queue: Arc<Queue>,
    association: LastingAssociation,
    /// Whom it has sent to.
    asked: Mutex<HashSet<IpAddr>>,
    /// Something moved since the last look.
    moved: AtomicBool,
    only_dns: AtomicBool,
}

impl Flow {
    /// Carries datagrams both ways until nothing moves, or the exit refuses to.
    async fn run(&self, replies: &ReplySockets) {
        tokio::select! {
            () = self.upward() => {}
            () = self.downward(replies) => {}
            () = self.idle() => return,
        }
        // Refused: what the source sends meanwhile is not worth asking again.
        sleep(REFUSED_PAUSE).await;
    }

    async fn upward(&self) {
        while let Some(Datagram { address, payload }) = self.queue.pop().await {
            self.moved.store(true, Ordering::Relaxed);
            if address.port() != DNS {
                self.only_dns.store(false, Ordering::Relaxed);
            }
            if let Host::Ip(ip) = address.host() {
                let mut asked = self.asked();
                if asked.len() < MAX_ASKED {
                    asked.insert(*ip);
                }
            }
            match self.association.send(&address, payload).await {
                Err(end) if is_refusal(&end) => {
                    debug!(source = %self.source, %end, "UDP refused");
                    return;
                }
                // It is lost as any datagram may be.
                Err(_) | Ok(()) => {}
            }
        }
    }

    /// Takes answers only from those that were asked: RFC 4787's address-dependent filtering.
    async fn downward(&self, replies: &ReplySockets) {
        loop {
            let (sender, payload) = match self.association.recv().await {
                Ok(received) => received,
                Err(end) => {
                    debug!(source = %self.source, %end, "UDP refused");
                    return;
                }
            };
            let was_asked = {
                let asked = self.asked();
                asked.len() >= MAX_ASKED || asked.contains(&sender.ip().to_canonical())
            };
            if !was_asked {
                continue;
            }
            self.moved.store(true, Ordering::Relaxed);
            if let Err(error) = replies.send(sender, self.source, &payload) {
                debug!(%sender, %error, "an answer could not be sent");
            }
        }
    }

    /// Waits until nothing has moved for long.
    async fn idle(&self) {
        loop {
            let limit = match self.only_dns.load(Ordering::Relaxed) {
                true => IDLE_DNS,
                false => IDLE,
            };
            sleep_until(Instant::now() + limit).await;
            if !self.moved.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashSet<IpAddr>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
