//! The connections a server holds: how many there may be for one key, for one network and in all.
//! What a client may do is in `authorized_keys`; what its connection does, in the services.

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;
use rp_protocol::crypto::identity::PublicKey;
use rp_proxy::shares::{Place, Shares};

/// How many connections a server holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// All together. Default 8192: at some 50 kB for one that is idle, 400 MB.
    pub total: usize,
    /// Of one listed key. Default 256: a machine that runs a hundred copies side by side has as many
    /// again to spare, and it takes 32 such keys to use up the total.
    pub per_key: usize,
    /// From one network, a /24 of IPv4 or a /64 of IPv6. Default 1024: whole offices sit behind one address.
    pub per_network: usize,
    /// Of clients whose key is not listed, all together. Default 256: they may never crowd out the others.
    pub anonymous: usize,
    /// Of clients whose key is not listed, from one network. Default 16.
    pub anonymous_per_network: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 8192,
            per_key: 256,
            per_network: 1024,
            anonymous: 256,
            anonymous_per_network: 16,
        }
    }
}

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum User {
    Everybody,
    Key(PublicKey),
    Network(IpNet),
    Anonymous,
    AnonymousNetwork(IpNet),
}

/// Why a further connection is not taken; its text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The server has all it can hold.
    Total,
    /// This key has its share.
    Key,
    /// This network has its share.
    Network,
    /// Clients without a listed key have their share.
    Anonymous,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "too many connections to this server",
            Self::Key => "too many connections with this key",
            Self::Network => "too many connections from this network",
            Self::Anonymous => "too many connections of anonymous clients",
        })
    }
}

/// Counts connections and refuses those beyond a limit.
#[derive(Debug, Default)]
pub struct Clients {
    limits: Mutex<ConnectionLimits>,
    shares: Shares<User>,
}

/// An admitted connection, counted until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    _place: Place<User>,
}

impl Clients {
    /// Nobody yet, and at most so many.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits: Mutex::new(limits),
            shares: Shares::new(),
        }
    }

    /// Counts one more connection of the listed `key` from `source`.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn admit(&self, key: PublicKey, source: IpAddr) -> Result<Admitted, TooMany> {
        let limits = self.limits();
        self.take([
            (User::Key(key), limits.per_key),
            (User::Network(network(source)), limits.per_network),
            (User::Everybody, limits.total),
        ])
    }

    /// Counts one more connection of a client whose key means nothing: it may have any number of them.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn admit_anonymous(&self, source: IpAddr) -> Result<Admitted, TooMany> {
        let limits = self.limits();
        let network = network(source);
        self.take([
            (
                User::AnonymousNetwork(network),
                limits.anonymous_per_network,
            ),
            (User::Network(network), limits.per_network),
            (User::Anonymous, limits.anonymous),
            (User::Everybody, limits.total),
        ])
    }

    /// Admits by these limits from here on. Who is there already stays.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> ConnectionLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<const N: usize>(&self, users: [(User, usize); N]) -> Result<Admitted, TooMany> {
        match self.shares.take(users) {
            Ok(place) => Ok(Admitted { _place: place }),
            Err(User::Everybody) => Err(TooMany::Total),
            Err(User::Key(_)) => Err(TooMany::Key),
            Err(User::Network(_) | User::AnonymousNetwork(_)) => Err(TooMany::Network),
            Err(User::Anonymous) => Err(TooMany::Anonymous),
        }
    }
}

/// The network that `address` is counted with: what one subscriber is given as a rule.
fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

#[cfg(test)]
mod tests;
