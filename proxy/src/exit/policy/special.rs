//! Addresses that are not simply public: cloud metadata services, and the IANA registries of
//! special-purpose addresses. What rules change about them is decided above.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Denial, carried};

/// Where clouds serve credentials to whoever can reach the address, and the services beside them.
const METADATA_V4: [Ipv4Net; 12] = [
    // 169.254.169.254 of AWS, Google, Azure, DigitalOcean, Hetzner, IBM, OpenStack, Oracle and most
    // others; beside it AWS's resolver (253), clock (123) and licences (250), Rancher's (250) and
    // GKE's (252).
    net4(169, 254, 169, 0, 24),
    // AWS: credentials of ECS tasks (2) and EKS pods (23).
    net4(169, 254, 170, 0, 24),
    // Azure: tokens of App Service and Functions, seen in 129 to 131.
    net4(169, 254, 128, 0, 20),
    // Scaleway.
    net4(169, 254, 42, 42, 32),
    // Tencent.
    net4(169, 254, 0, 23, 32),
    net4(169, 254, 10, 10, 32),
    // Alibaba, and its resolvers.
    net4(100, 100, 100, 200, 32),
    net4(100, 100, 2, 136, 30),
    // Volcengine.
    net4(100, 96, 0, 96, 32),
    // UCloud.
    net4(100, 80, 80, 80, 32),
    // Azure's wire server and resolver.
    net4(168, 63, 129, 16, 32),
    // Oracle, classic.
    net4(192, 0, 0, 192, 32),
];

/// The same over IPv6.
const METADATA_V6: [Ipv6Net; 7] = [
    // AWS: metadata (254), resolver (253), clock (123), pods (23), licences (250).
    net6(0xfd00, 0xec2, 32),
    // Google.
    host6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    // Oracle.
    host6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    // Scaleway.
    host6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // Akamai (Linode).
    host6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]),
    // Alibaba.
    host6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]),
    // OpenStack, Akamai, Hetzner.
    host6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
];

/// Whether a cloud serves metadata at `ip`.
pub(super) fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => METADATA_V6.iter().any(|net| net.contains(&ip)),
    }
}

const fn net4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network by its first two groups; none of the registered ones is named by a third.
const fn net6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

const fn host6(s: [u16; 8]) -> Ipv6Net {
    let ip = Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
    Ipv6Net::new_assert(ip, 128)
}

/// The IANA IPv4 special-purpose registry, as far as it is not globally reachable.
const SPECIAL_V4: [(Ipv4Net, Denial); 16] = [
    // RFC 1122: "this network"; Linux takes 0.0.0.0 for loopback.
    (net4(0, 0, 0, 0, 8), Denial::Reserved),
    (net4(10, 0, 0, 0, 8), Denial::Private),
    // RFC 6598, carrier-grade NAT.
    (net4(100, 64, 0, 0, 10), Denial::Private),
    (net4(127, 0, 0, 0, 8), Denial::Loopback),
    (net4(169, 254, 0, 0, 16), Denial::LinkLocal),
    (net4(172, 16, 0, 0, 12), Denial::Private),
    (net4(192, 0, 0, 0, 24), Denial::Reserved),
    (net4(192, 0, 2, 0, 24), Denial::Reserved),
    // RFC 7526, the 6to4 relay anycast.
    (net4(192, 88, 99, 0, 24), Denial::Reserved),
    (net4(192, 168, 0, 0, 16), Denial::Private),
    // RFC 2544, benchmarking inside private networks.
    (net4(198, 18, 0, 0, 15), Denial::Private),
    (net4(198, 51, 100, 0, 24), Denial::Reserved),
    (net4(203, 0, 113, 0, 24), Denial::Reserved),
    (net4(224, 0, 0, 0, 4), Denial::Multicast),
    (net4(255, 255, 255, 255, 32), Denial::Multicast),
    (net4(240, 0, 0, 0, 4), Denial::Reserved),
];

pub(super) fn default_v4(ip: Ipv4Addr) -> Result<(), Denial> {
    match SPECIAL_V4.iter().find(|(net, _)| net.contains(&ip)) {
        Some((_, denial)) => Err(*denial),
        None => Ok(()),
    }
}

/// The IANA IPv6 special-purpose registry inside 2000::/3, and what has a name outside it.
const SPECIAL_V6: [(Ipv6Net, Denial); 9] = [
    (net6(0xff00, 0, 8), Denial::Multicast),
    (net6(0xfe80, 0, 10), Denial::LinkLocal),
    // RFC 3879, deprecated site-local.
    (net6(0xfec0, 0, 10), Denial::Private),
    (net6(0xfc00, 0, 7), Denial::Private),
    // RFC 8215, local-use NAT64: where it leads is a local choice.
    (net6(0x64, 0xff9b, 32), Denial::Private),
    (net6(0x2001, 0x2, 32), Denial::Private),
    (net6(0x2001, 0xdb8, 32), Denial::Reserved),
    // RFC 9637, documentation.
    (net6(0x3fff, 0, 20), Denial::Reserved),
    // RFC 4843 and RFC 7343, ORCHID: names, not addresses.
    (net6(0x2001, 0x10, 28), Denial::Reserved),
];

/// Refuses what is special, and everything not yet given out as global unicast (2000::/3).
/// Prefixes that carry an IPv4 address pass here and are judged by it.
pub(super) fn default_v6(ip: Ipv6Addr) -> Result<(), Denial> {
    if ip.is_loopback() {
        return Err(Denial::Loopback);
    }
    if carried::is_form_of_ipv4(ip) {
        return Ok(());
    }
    if let Some((_, denial)) = SPECIAL_V6.iter().find(|(net, _)| net.contains(&ip)) {
        return Err(*denial);
    }
    if net6(0x2000, 0, 3).contains(&ip) {
        Ok(())
    } else {
        Err(Denial::Reserved)
    }
}
