//! The names an association sends to: each is looked up once, and meanwhile what is for it waits. Whether its
//! address may be sent to is asked for each datagram.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    net::SocketAddr,
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    datagram::{message::Datagram, queue::Queue},
    error::DialFailure,
    target::Target,
};

/// Names one association may use at once; of those it used least lately one is forgotten for the next.
const MAX_NAMES: usize = 64;

/// Names of one association looked up at once; what is for others is discarded.
const MAX_LOOKUPS: usize = 16;

#[derive(Debug)]
enum Name {
    /// It is being looked up.
    Asked,
    /// Its address, and when it was used last.
    Known(SocketAddr, Instant),
}

/// Names and ports, with their addresses.
#[derive(Debug)]
pub(super) struct Names {
    names: HashMap<Target, Name>,
    lookups: JoinSet<(Target, Result<SocketAddr, DialFailure>)>,
    /// What is for names that are being looked up.
    waiting: Queue,
}

impl Names {
    pub(super) fn new(waiting: Queue) -> Self {
        Self {
            names: HashMap::new(),
            lookups: JoinSet::new(),
            waiting,
        }
    }

    //= spec/10-proxy.md#udp
    //# An exit SHOULD send to a name's first allowed address for as long as the association uses the name.
    /// The address of `target`, if it is known.
    pub(super) fn get(&mut self, target: &Target) -> Option<SocketAddr> {
        match self.names.get_mut(target)? {
            Name::Asked => None,
            Name::Known(addr, used) => {
                *used = Instant::now();
                Some(*addr)
            }
        }
    }

    //= spec/10-proxy.md#udp
    //# A name that is being looked up MUST NOT hold up datagrams to other addresses.
    /// Keeps `datagram` until its name is known, which `look_up` finds out unless it is asked already; too many
    /// names and datagrams are discarded.
    pub(super) fn look_up<F>(&mut self, datagram: Datagram, look_up: impl FnOnce(Target) -> F)
    where
        F: Future<Output = Result<SocketAddr, DialFailure>> + Send + 'static,
    {
        let target = datagram.address.clone();
        if !self.names.contains_key(&target) && !self.make_room() {
            self.waiting.on_discarded();
            return;
        }
        self.waiting.push(datagram);
        if let Entry::Vacant(entry) = self.names.entry(target.clone()) {
            entry.insert(Name::Asked);
            let lookup = look_up(target.clone());
            self.lookups.spawn(async move { (target, lookup.await) });
        }
    }

    /// Whether there may be another name, one that is not used at present forgotten for it.
    fn make_room(&mut self) -> bool {
        if self.lookups.len() >= MAX_LOOKUPS {
            return false;
        }
        if self.names.len() < MAX_NAMES {
            return true;
        }
        let known = self.names.iter().filter_map(|(target, name)| match name {
            Name::Asked => None,
            Name::Known(_, used) => Some((used, target)),
        });
        let oldest = known.min_by_key(|(used, _)| **used);
        match oldest.map(|(_, target)| target.clone()) {
            Some(oldest) => self.names.remove(&oldest).is_some(),
            None => false,
        }
    }

    /// Waits for the end of a lookup; `None` where there is none. A name without an address is asked for anew
    /// by the next datagram.
    pub(super) async fn found(&mut self) -> Option<(Target, Result<SocketAddr, DialFailure>)> {
        let (target, found) = loop {
            // One that panicked leaves its name as it is, for which nothing can be sent.
            if let Ok(found) = self.lookups.join_next().await? {
                break found;
            }
        };
        match &found {
            Ok(addr) => {
                let known = Name::Known(*addr, Instant::now());
                self.names.insert(target.clone(), known);
            }
            Err(_) => drop(self.names.remove(&target)),
        }
        Some((target, found))
    }

    /// What need not wait any longer: what is for names that are known. What is for none goes.
    pub(super) fn released(&self) -> Vec<Datagram> {
        let mut released = Vec::new();
        for datagram in self.waiting.take_all() {
            match self.names.get(&datagram.address) {
                Some(Name::Known(..)) => released.push(datagram),
                Some(Name::Asked) => self.waiting.push(datagram),
                None => self.waiting.on_discarded(),
            }
        }
        released
    }
}

#[cfg(test)]
mod tests;
