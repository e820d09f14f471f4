//! Which addresses count as one party where parties have shares. What the shares are is said where they are.

use std::net::{IpAddr, Ipv6Addr};

/// The address by which `ip` is counted: an IPv4 address itself, of IPv6 the /64, of which a host has all
/// addresses.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_64_count_as_one_and_ipv4_ones_by_themselves() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1:2::3"), of("2001:db8:0:1:ffff::"));
        assert_ne!(of("2001:db8:0:1::"), of("2001:db8:0:2::"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
