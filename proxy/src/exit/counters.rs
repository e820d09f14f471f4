//! What was asked of an exit and what went through it: in all, by key, and by the targets of each key.
//! Who may ask what is decided in the exit, how the numbers are shown by whoever runs it.
//!
//! Whatever is connected is counted by name. Of what is over, the busiest are remembered: [`ENDED_TARGETS`] of each
//! key and [`ENDED_KEYS`] keys, so that no client can fill the memory, nor push another's targets out of it.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rp_protocol::crypto::identity::PublicKey;

use crate::{
    error::FailureKind,
    relay::Traffic,
    target::{Destination, ListenAt},
};

/// Targets of one key that are remembered when nothing is connected to them any more.
pub const ENDED_TARGETS: usize = 64;

/// Keys that are remembered when none of their connections is left.
pub const ENDED_KEYS: usize = 256;

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// What is dialled.
    Target(Destination),
    /// Where is listened, and what comes there.
    Listener(ListenAt),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(destination) => destination.fmt(f),
            Self::Listener(at) => write!(f, "listener {at}"),
        }
    }
}

/// Counters of requests, for statistics; all but `active` only grow. What is counted here is counted in the
/// whole it belongs to as well.
#[derive(Debug, Default)]
pub struct Counters {
    /// Targets connected.
    pub connected: AtomicU64,
    /// Requests refused by policy or by the key's options.
    pub denied: AtomicU64,
    /// Requests that failed otherwise.
    pub failed: AtomicU64,
    /// Targets connected at the moment.
    pub active: AtomicU64,
    traffic: Arc<Traffic>,
    whole: Option<Arc<Self>>,
}

impl Counters {
    fn part_of(whole: Arc<Self>) -> Self {
        Self {
            traffic: Arc::new(Traffic::part_of(whole.traffic.clone())),
            whole: Some(whole),
            ..Self::default()
        }
    }

    /// Bytes relayed.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The numbers at this moment.
    pub fn usage(&self) -> Usage {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            connected: get(&self.connected),
            denied: get(&self.denied),
            failed: get(&self.failed),
            active: get(&self.active),
            sent: get(&self.traffic.sent),
            received: get(&self.traffic.received),
        }
    }

    fn fail(&self, kind: FailureKind) {
        let counter = match kind {
            FailureKind::Denied => &self.denied,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn each(&self, change: impl Fn(&Self)) {
        let mut counters = Some(self);
        while let Some(part) = counters {
            change(part);
            counters = part.whole.as_deref();
        }
    }
}

/// What somebody or something used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Targets connected.
    pub connected: u64,
    /// Requests refused by policy or by the key's options.
    pub denied: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Targets connected at the moment.
    pub active: u64,
    /// Bytes from targets to clients.
    pub sent: u64,
    /// Bytes from clients to targets.
    pub received: u64,
}

impl Usage {
    /// Orders the busiest last: by bytes, then by requests.
    fn rank(&self) -> (u64, u64) {
        let bytes = self.sent.saturating_add(self.received);
        (bytes, self.connected + self.denied + self.failed)
    }

    fn add(&mut self, other: Self) {
        self.connected += other.connected;
        self.denied += other.denied;
        self.failed += other.failed;
        self.active += other.active;
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// Something whose usage is counted, and may be forgotten once nobody uses it.
trait Counted {
    fn counters(&self) -> &Counters;
}

/// Names with their counters: all that are in use, and some that were.
#[derive(Debug)]
struct Ledger<N, C> {
    live: HashMap<N, (Arc<C>, usize)>,
    ended: HashMap<N, Arc<C>>,
    max_ended: usize,
}

impl<N: Clone + Eq + Hash, C: Counted> Ledger<N, C> {
    fn new(max_ended: usize) -> Self {
        Self {
            live: HashMap::new(),
            ended: HashMap::new(),
            max_ended,
        }
    }

    fn enter(&mut self, name: &N, new: impl FnOnce() -> C) -> Arc<C> {
        if let Some((counted, users)) = self.live.get_mut(name) {
            *users += 1;
            return counted.clone();
        }
        let known = self.ended.remove(name);
        let counted = known.unwrap_or_else(|| Arc::new(new()));
        self.live.insert(name.clone(), (counted.clone(), 1));
        counted
    }

    fn leave(&mut self, name: &N) {
        let Some((_, users)) = self.live.get_mut(name) else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        if let Some((name, (counted, _))) = self.live.remove_entry(name) {
            self.ended.insert(name, counted);
        }
        if self.ended.len() > self.max_ended {
            let rank = |counted: &Arc<C>| counted.counters().usage().rank();
            let least = self.ended.iter().min_by_key(|(_, counted)| rank(counted));
            if let Some(least) = least.map(|(name, _)| name.clone()) {
                self.ended.remove(&least);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&N, &Arc<C>)> {
        let live = self.live.iter().map(|(name, (counted, _))| (name, counted));
        live.chain(&self.ended)
    }
}

/// What went to one target of a key.
#[derive(Debug)]
struct TargetCounters {
    counters: Counters,
    target: Subject,
    key: Weak<KeyCounters>,
}

impl Counted for TargetCounters {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// What one key used, in all and by target.
#[derive(Debug)]
struct KeyCounters {
    counters: Arc<Counters>,
    targets: Mutex<Ledger<Subject, TargetCounters>>,
}

impl Counted for KeyCounters {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The counters of an exit. Clones share them.
///
/// ```
/// use rp_proxy::{Exit, ExitConfig};
///
/// let exit = Exit::new(ExitConfig::default());
/// for (target, usage) in exit.accounts().targets().into_iter().take(10) {
///     println!("{target}: {} bytes", usage.sent + usage.received);
/// }
/// assert_eq!(exit.counters().usage().connected, 0);
/// ```
#[derive(Clone, Debug)]
pub struct Accounts {
    total: Arc<Counters>,
    keys: Arc<Mutex<Ledger<PublicKey, KeyCounters>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            total: Arc::default(),
            keys: Arc::new(Mutex::new(Ledger::new(ENDED_KEYS))),
        }
    }
}

impl Accounts {
    /// Everything together.
    pub fn total(&self) -> &Counters {
        &self.total
    }

    /// What each key used, the busiest first.
    pub fn keys(&self) -> Vec<(PublicKey, Usage)> {
        let keys = lock(&self.keys);
        let usage = keys.iter().map(|(key, of)| (*key, of.counters.usage()));
        busiest_first(usage.collect())
    }

    /// What went to each target, over all keys, the busiest first.
    pub fn targets(&self) -> Vec<(Subject, Usage)> {
        let mut sums = HashMap::<Subject, Usage>::new();
        for (_, key) in lock(&self.keys).iter() {
            for (target, of) in lock(&key.targets).iter() {
                let usage = of.counters.usage();
                match sums.get_mut(target) {
                    Some(sum) => sum.add(usage),
                    None => {
                        sums.insert(target.clone(), usage);
                    }
                }
            }
        }
        busiest_first(sums.into_iter().collect())
    }

    /// What went to each target of `key`, the busiest first.
    pub fn targets_of(&self, key: &PublicKey) -> Vec<(Subject, Usage)> {
        let keys = lock(&self.keys);
        let of = keys.iter().find(|(known, _)| *known == key);
        let targets = of.map(|(_, of)| {
            let targets = lock(&of.targets);
            let usage = targets
                .iter()
                .map(|(target, of)| (target.clone(), of.counters.usage()));
            usage.collect()
        });
        busiest_first(targets.unwrap_or_default())
    }

    /// Counts what a connection of `key` does.
    pub(crate) fn open(&self, key: PublicKey) -> KeyAccount {
        let new = || KeyCounters {
            counters: Arc::new(Counters::part_of(self.total.clone())),
            targets: Mutex::new(Ledger::new(ENDED_TARGETS)),
        };
        KeyAccount {
            of: lock(&self.keys).enter(&key, new),
            key,
            accounts: self.clone(),
        }
    }
}

fn busiest_first<N>(mut usage: Vec<(N, Usage)>) -> Vec<(N, Usage)> {
    usage.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.rank()));
    usage
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counters of a key, held by one of its connections.
#[derive(Debug)]
pub(crate) struct KeyAccount {
    of: Arc<KeyCounters>,
    key: PublicKey,
    accounts: Accounts,
}

impl KeyAccount {
    /// A request failed with `kind` that was for no target of its own.
    pub(crate) fn failed(&self, kind: FailureKind) {
        self.of.counters.each(|counters| counters.fail(kind));
    }

    /// Where bytes are counted that are for no target of their own.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.of.counters.traffic()
    }

    /// Counts what becomes of a request for `target`.
    pub(crate) fn request(&self, target: &Subject) -> TargetAccount {
        let new = || TargetCounters {
            counters: Counters::part_of(self.of.counters.clone()),
            target: target.clone(),
            key: Arc::downgrade(&self.of),
        };
        TargetAccount {
            of: lock(&self.of.targets).enter(target, new),
            is_connected: false,
        }
    }
}

impl Drop for KeyAccount {
    fn drop(&mut self) {
        lock(&self.accounts.keys).leave(&self.key);
    }
}

/// The counters of a target, held by one request for it until its connection is over.
#[derive(Debug)]
pub(crate) struct TargetAccount {
    of: Arc<TargetCounters>,
    is_connected: bool,
}

impl TargetAccount {
    /// The target is connected, until this is dropped.
    pub(crate) fn connected(&mut self) {
        self.is_connected = true;
        self.of.counters.each(|counters| {
            counters.connected.fetch_add(1, Ordering::Relaxed);
            counters.active.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// The request failed with `kind`.
    pub(crate) fn failed(&self, kind: FailureKind) {
        self.of.counters.each(|counters| counters.fail(kind));
    }

    /// Where the bytes of the connection are counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.of.counters.traffic()
    }
}

impl Drop for TargetAccount {
    fn drop(&mut self) {
        if self.is_connected {
            self.of.counters.each(|counters| {
                counters.active.fetch_sub(1, Ordering::Relaxed);
            });
        }
        if let Some(key) = self.of.key.upgrade() {
            lock(&key.targets).leave(&self.of.target);
        }
    }
}

#[cfg(test)]
mod tests;
