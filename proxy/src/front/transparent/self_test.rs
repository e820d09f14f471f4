//! Destinations that test whether the kernel diverts: nobody has them, so whoever is answered was
//! diverted to us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A port below 1024, for which a capability is needed to answer a datagram; that of name servers, which are
/// what datagrams go to most.
const PORT: u16 = 53;

/// The destinations, IPv4 and IPv6, of the ranges for documentation (RFC 5737, 3849): no packet to
/// them leaves a network.
pub const SELF_TEST: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), PORT),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x7270)),
        PORT,
    ),
];

/// What a connection or datagram to `destination`, one of [`SELF_TEST`], is answered.
pub fn self_test_answer(destination: SocketAddr) -> String {
    format!("rapidpath {destination}\n")
}
