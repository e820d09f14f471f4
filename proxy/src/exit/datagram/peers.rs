//! The addresses an association has sent to, whose answers it takes.

use std::{collections::HashSet, mem, net::IpAddr};

/// Addresses of one generation. There are two, so that those that were sent to last are always known.
const GENERATION: usize = 256;

/// Remembers at least the last [`GENERATION`] addresses and at most twice as many.
#[derive(Debug, Default)]
pub(super) struct Peers {
    recent: HashSet<IpAddr>,
    older: HashSet<IpAddr>,
}

impl Peers {
    /// Something is sent to `ip`.
    pub(super) fn note(&mut self, ip: IpAddr) {
        if self.recent.len() >= GENERATION && !self.recent.contains(&ip) {
            self.grow_old();
        }
        self.recent.insert(ip);
    }

    /// Whether something was sent to `ip` lately.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.recent.contains(&ip) || self.older.contains(&ip)
    }

    //= spec/10-proxy.md#udp
    //# An exit MAY forget an address to which nothing was sent for as long as an idle association lives, or
    //# since which it has sent to 256 others.
    /// Forgets those to which nothing was sent since the last call.
    pub(super) fn grow_old(&mut self) {
        self.older = mem::take(&mut self.recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn the_addresses_sent_to_last_are_known_and_the_rest_is_bounded() {
        //= spec/10-proxy.md#udp
        //= type=test
        //# An exit MAY forget an address to which nothing was sent for as long as an idle association lives,
        //# or since which it has sent to 256 others.
        let mut peers = Peers::default();
        for number in 0..100_000 {
            peers.note(ip(number));
            peers.note(ip(7));
            let first = number.saturating_sub(255);
            assert!(peers.has(ip(number)) && peers.has(ip(7)), "{number}");
            assert!(
                peers.has(ip(first.max(1).min(number))),
                "{first} at {number}"
            );
        }
        assert!(!peers.has(ip(100)));
        assert!(peers.recent.len() + peers.older.len() <= 2 * GENERATION);
    }

    #[test]
    fn an_address_is_forgotten_when_nothing_was_sent_to_it_for_two_periods() {
        let mut peers = Peers::default();
        peers.note(ip(1));
        peers.grow_old();
        assert!(peers.has(ip(1)));
        peers.grow_old();
        assert!(!peers.has(ip(1)));
    }
}
