//! Which entries of a full table have to go for others. What the table is for is its owner's business.

use std::{collections::HashMap, net::IpAddr};

use tokio::time::Instant;

use crate::network::network;

/// The part of what the greediest party has that goes at once: to look for one entry at a time would make each
/// step of a flood as dear as the whole table.
const PART: usize = 8;

/// The entries, each with the address of whom it serves and the time of its last use, that were not used for the
/// longest time, of the party that has most: whoever takes many places takes them from himself.
pub(crate) fn greediest<K>(entries: impl Iterator<Item = (K, IpAddr, Instant)>) -> Vec<K> {
    let mut parties = HashMap::<IpAddr, Vec<(K, Instant)>>::new();
    for (entry, address, used) in entries {
        let party = parties.entry(network(address)).or_default();
        party.push((entry, used));
    }
    let most = parties.into_values().max_by_key(Vec::len);
    let mut most = most.unwrap_or_default();
    most.sort_by_key(|(_, used)| *used);
    most.truncate((most.len() / PART).max(1));
    most.into_iter().map(|(entry, _)| entry).collect()
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv6Addr, time::Duration};

    use super::*;

    #[test]
    fn whoever_has_most_loses_his_oldest_from_however_many_addresses() {
        let start = Instant::now();
        let honest = ("honest".to_owned(), IpAddr::from([192, 0, 2, 1]), start);
        let mut entries = vec![honest.clone()];
        // All the addresses of one network, which one host may have.
        for host in 1..=100_u16 {
            let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
            let used = start + Duration::from_secs((1000 - host).into());
            entries.push((host.to_string(), ip.into(), used));
        }
        let oldest: Vec<_> = (89..=100).rev().map(|host| host.to_string()).collect();
        assert_eq!(greediest(entries.into_iter()), oldest);
        assert_eq!(greediest([honest].into_iter()), ["honest"]);
        assert_eq!(greediest(std::iter::empty::<(u8, IpAddr, Instant)>()), []);
    }
}
