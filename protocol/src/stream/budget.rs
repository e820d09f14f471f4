//! The memory all connections of an endpoint may promise their peers or hold for them, and who may have how
//! much of it. What a connection does with its part lives in `credit` and `buffering`.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Most one request may take of what is free, as a divisor, and most a connection may have of all:
/// whoever comes later finds something too.
const PART: u64 = 8;

/// Most all connections of one network may have, as a divisor.
const NETWORK_PART: u64 = 4;

/// Bytes that any connection may hold to send, however much others hold: enough to go on.
const LEAST_SEND_BYTES: u64 = 64 << 10;

/// Networks kept at least before those without connections are swept out.
const SPARE_NETWORKS: usize = 64;

/// Memory a connection may take its promises and its send buffer from: a part of the endpoint's, and of its
/// network's.
///
/// A promise is counted from the moment it is announced until it is consumed, so that the sum of all
/// that peers may send never exceeds the budget by more than each connection's least window.
#[derive(Clone, Debug)]
pub struct Budget {
    all: Arc<Account>,
    network: Option<Arc<Account>>,
    /// What is held to be sent.
    sending: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    reserved: AtomicU64,
    limit: u64,
}

impl Account {
    fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            reserved: AtomicU64::new(0),
            limit,
        })
    }

    fn free(&self) -> u64 {
        // Relaxed, here and below: the number guards no other memory.
        let reserved = self.reserved.load(Ordering::Relaxed);
        self.limit.saturating_sub(reserved)
    }

    /// Takes as much of `wanted` as may be had; how much that was.
    fn take(&self, wanted: u64) -> u64 {
        let mut taken = 0;
        let _ = self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                let free = self.limit.saturating_sub(reserved);
                taken = wanted.min(free / PART);
                Some(reserved + taken)
            });
        taken
    }

    fn add(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `limit` bytes, all for one network, and as many to send.
    pub fn new(limit: u64) -> Self {
        Self::with_sending(limit, limit)
    }

    fn with_sending(limit: u64, sending: u64) -> Self {
        Self {
            all: Account::new(limit),
            network: None,
            sending: Account::new(sending),
        }
    }

    /// Bytes held to be sent at the moment, by all connections.
    pub fn sending(&self) -> u64 {
        self.sending.reserved.load(Ordering::Relaxed)
    }

    /// Most that a connection may hold to send which holds `own` bytes: as much as all leave free, which is the
    /// dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998). One that takes all it can has a half,
    /// and of several each as much as is left for the next.
    pub(super) fn send_ceiling(&self, own: u64) -> u64 {
        // What it takes is free no longer.
        ((own + self.sending.free()) / 2).max(LEAST_SEND_BYTES)
    }

    /// Bytes promised at the moment, by all connections.
    pub fn reserved(&self) -> u64 {
        self.all.reserved.load(Ordering::Relaxed)
    }

    /// Bytes not promised.
    pub(super) fn free(&self) -> u64 {
        self.all.free()
    }

    /// Counts a promise that is made whether there is anything left or not.
    pub(super) fn insist(&self, bytes: u64) {
        self.all.add(bytes);
        if let Some(network) = &self.network {
            network.add(bytes);
        }
    }

    /// Takes as much of `wanted` as one that has `own` bytes may have; how much that was.
    pub(super) fn take(&self, wanted: u64, own: u64) -> u64 {
        let most = (self.all.limit / PART).saturating_sub(own);
        let mut wanted = wanted.min(most);
        if let Some(network) = &self.network {
            wanted = wanted.min(network.free());
        }
        let taken = self.all.take(wanted);
        if let Some(network) = &self.network {
            network.add(taken);
        }
        taken
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.all.give_back(bytes);
        if let Some(network) = &self.network {
            network.give_back(bytes);
        }
    }
}

impl Default for Budget {
    /// 1 GiB: a connection at the default most, and 64 KiB for each of 14,000 others.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

/// What one connection holds to send, counted in its budget.
#[derive(Debug)]
pub(super) struct Sending {
    bytes: u64,
    budget: Budget,
}

impl Sending {
    /// Nothing yet.
    pub(super) const fn new(budget: Budget) -> Self {
        Self { bytes: 0, budget }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Most it may come to.
    pub(super) fn ceiling(&self) -> u64 {
        self.budget.send_ceiling(self.bytes)
    }

    /// A stream holds `now` instead of `before`.
    pub(super) fn change(&mut self, before: u64, now: u64) {
        if now > before {
            self.budget.sending.add(now - before);
        } else if now < before {
            self.budget.sending.give_back(before - now);
        }
        self.bytes = self.bytes - before + now;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.budget.sending.give_back(self.bytes);
    }
}

/// An endpoint's budget, and which network has what of it.
#[derive(Debug)]
pub(crate) struct Budgets {
    all: Budget,
    /// Addresses are the peers' choice: under a keyed hash.
    networks: HashMap<IpAddr, Weak<Account>>,
    /// Networks at which to sweep.
    sweep_at: usize,
}

impl Budgets {
    /// A budget of `limit` bytes for what is received, and of `sending` for what is sent.
    pub(crate) fn new(limit: u64, sending: u64) -> Self {
        Self {
            all: Budget::with_sending(limit, sending),
            networks: HashMap::new(),
            sweep_at: SPARE_NETWORKS,
        }
    }

    /// What connections may use that this side begins.
    pub(crate) fn own(&self) -> Budget {
        self.all.clone()
    }

    /// What a connection from `address` may use.
    pub(crate) fn of(&mut self, address: IpAddr) -> Budget {
        if self.networks.len() >= self.sweep_at {
            self.networks
                .retain(|_, account| account.strong_count() > 0);
            self.sweep_at = (self.networks.len() * 2).max(SPARE_NETWORKS);
        }
        let all = &self.all.all;
        let known = self.networks.entry(network(address)).or_default();
        let account = known.upgrade().unwrap_or_else(|| {
            let account = Account::new(all.limit / NETWORK_PART);
            *known = Arc::downgrade(&account);
            account
        });
        Budget {
            all: Arc::clone(all),
            network: Some(account),
            sending: Arc::clone(&self.all.sending),
        }
    }
}

/// The network of an address: a /24 of IPv4 or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !0xff).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}
