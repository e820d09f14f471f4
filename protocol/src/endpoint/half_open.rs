//! The places of clients whose handshake is not complete, and who has to go when they are taken: each range of
//! addresses has a share. Which packets ask for a place is decided in `mod.rs`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use super::incoming::Key;

#[cfg(test)]
mod tests;

/// The part of all places that one range of addresses may have.
const SHARE: usize = 16;

/// Addresses that one party is likely to have all of: a /24 or a /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Range {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Range {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// Who holds a place, by range and age.
#[derive(Debug)]
pub(super) struct HalfOpen {
    limit: usize,
    share: usize,
    next: u64,
    /// The attempts of each range by when they came; keys are sequence numbers.
    ranges: HashMap<Range, BTreeMap<u64, Key>>,
    places: HashMap<Key, u64>,
}

impl HalfOpen {
    /// `limit` places, all free.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            share: (limit / SHARE).max(1),
            next: 0,
            ranges: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// Places taken.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no places at all.
    pub(super) fn is_closed(&self) -> bool {
        self.limit == 0
    }

    /// Whether somebody would have to go for a client at `remote`.
    pub(super) fn is_full_for(&self, remote: SocketAddr) -> bool {
        self.len() >= self.limit || self.of(Range::of(remote)) >= self.share
    }

    fn of(&self, range: Range) -> usize {
        self.ranges.get(&range).map_or(0, BTreeMap::len)
    }

    /// Whether `key` still has the place it got as the `place`-th.
    pub(super) fn holds(&self, key: &Key, place: u64) -> bool {
        self.places.get(key) == Some(&place)
    }

    /// A place for `key`: its number, and who has to go for it.
    //= spec/02-handshake.md#half-open-connections
    //# When a client that has proven its address finds the share of its range or all places taken, the server MUST end
    //# another handshake instead of refusing the client: in its own range if that has its share, else in the range that
    //# holds the most places, of the address and port that holds the most there, the oldest.
    pub(super) fn insert(&mut self, key: Key) -> (u64, Option<Key>) {
        let own = Range::of(key.remote);
        let crowded = if self.of(own) >= self.share {
            Some(own)
        } else if self.len() >= self.limit {
            self.largest()
        } else {
            None
        };
        let evicted = crowded.and_then(|range| self.oldest_of_most(range));
        if let Some(evicted) = &evicted {
            self.remove(evicted);
        }
        let place = self.next;
        self.next += 1;
        self.ranges.entry(own).or_default().insert(place, key);
        self.places.insert(key, place);
        (place, evicted)
    }

    /// The handshake of `key` is over. Returns whether it had a place.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(place) = self.places.remove(key) else {
            return false;
        };
        let range = Range::of(key.remote);
        if let Some(attempts) = self.ranges.get_mut(&range) {
            attempts.remove(&place);
            if attempts.is_empty() {
                self.ranges.remove(&range);
            }
        }
        true
    }

    /// The range with the most places, of several the one whose oldest attempt came first.
    fn largest(&self) -> Option<Range> {
        let rank = |attempts: &BTreeMap<u64, Key>| {
            let oldest = attempts.keys().next().copied();
            (attempts.len(), Reverse(oldest))
        };
        let largest = self
            .ranges
            .iter()
            .max_by_key(|(_, attempts)| rank(attempts));
        largest.map(|(&range, _)| range)
    }

    /// The oldest attempt of the address and port with the most in `range`.
    fn oldest_of_most(&self, range: Range) -> Option<Key> {
        let attempts = self.ranges.get(&range)?;
        // By address: how many, and the oldest.
        let mut holders: HashMap<SocketAddr, (usize, u64)> = HashMap::new();
        for (&place, key) in attempts {
            holders.entry(key.remote).or_insert((0, place)).0 += 1;
        }
        let (_, oldest) = holders
            .into_values()
            .max_by_key(|&(count, oldest)| (count, Reverse(oldest)))?;
        attempts.get(&oldest).copied()
    }
}
