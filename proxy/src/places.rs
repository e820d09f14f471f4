//! Places for the clients of a listener: so many at once, and no host takes them all. What a client does with
//! its place is the listener's business.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    network::network,
    shares::{Place, Shares},
};

/// Part of all places that one other host may hold.
const HOST_PART: usize = 4;

/// Places of which this many are kept from this machine's own programs, which share one address and are
/// all there is where nobody else can connect.
const KEPT_PART: usize = 8;

/// Who is served at the moment. Clones count together.
#[derive(Clone, Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    total: usize,
    hosts: Shares<IpAddr>,
}

/// A place that may be taken by anybody, until it is known by whom.
#[derive(Debug)]
pub struct FreePlace {
    permit: OwnedSemaphorePermit,
}

/// A client's place, given back when dropped.
#[derive(Debug)]
pub struct ClientPlace {
    _permit: OwnedSemaphorePermit,
    _share: Place<IpAddr>,
}

impl Places {
    /// `total` places, all of them free.
    pub fn new(total: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(total)),
            total,
            hosts: Shares::new(),
        }
    }

    /// Waits for a free place.
    pub async fn free(&self) -> FreePlace {
        let permit = self.all.clone().acquire_owned().await;
        FreePlace {
            permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// Gives `place` to a client at `host`; `None` if that host has its share.
    pub fn take(&self, place: FreePlace, host: IpAddr) -> Option<ClientPlace> {
        let host = counted(host);
        let share = if host.is_loopback() {
            self.total - self.total / KEPT_PART
        } else {
            self.total / HOST_PART
        };
        let share = self.hosts.take([(host, share.max(1))]).ok()?;
        Some(ClientPlace {
            _permit: place.permit,
            _share: share,
        })
    }
}

/// The address a host is counted by: its network where it may have any number of addresses.
fn counted(host: IpAddr) -> IpAddr {
    match host.to_canonical().is_loopback() {
        // All of 127.0.0.0/8 is this machine.
        true => Ipv6Addr::LOCALHOST.into(),
        false => network(host),
    }
}

#[cfg(test)]
mod tests;
