//! Which addresses the exit may dial: the rules, and nothing that touches a socket but the check
//! for own listeners. Resolving and dialling live beside it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

/// Why policy refuses an address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Denial {
    /// A cloud's metadata service; no rule can allow it.
    #[error("cloud metadata address")]
    Metadata,
    /// One of this server's own listeners; no rule can allow it.
    #[error("this server's own listener")]
    OwnListener,
    /// A `--deny` rule names it.
    #[error("denied by rule")]
    Rule,
    /// This machine.
    #[error("loopback address")]
    Loopback,
    /// The local link.
    #[error("link-local address")]
    LinkLocal,
    /// A group, or everybody.
    #[error("multicast or broadcast address")]
    Multicast,
    /// A private network that no `--allow` rule names.
    #[error("private network without an allow rule")]
    Private,
    /// Reserved, documentation, benchmarking, or naming no host.
    #[error("reserved address")]
    Reserved,
}

/// One `--allow` or `--deny` rule: a network, and perhaps the ports it is about.
///
/// Written `10.0.0.0/8`, `192.0.2.7`, `10.0.0.0/8:443`, `[fd00::/8]:8000-8999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    net: IpNet,
    ports: Option<RangeInclusive<u16>>,
}

impl Rule {
    fn matches(&self, ip: IpAddr, port: u16) -> bool {
        self.net.contains(&ip)
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&port))
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a rule: {0:?} (write 10.0.0.0/8, 10.0.0.0/8:443 or [fd00::/8]:8000-8999)")]
pub struct BadRule(String);

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = || BadRule(text.to_owned());
        let (net, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (net, ports) = rest.split_once(']').ok_or_else(bad)?;
                match ports {
                    "" => (net, None),
                    _ => (net, Some(ports.strip_prefix(':').ok_or_else(bad)?)),
                }
            }
            // A second colon means a bare IPv6 network.
            None => match text.split_once(':') {
                Some((net, ports)) if !ports.contains(':') => (net, Some(ports)),
                _ => (text, None),
            },
        };
        let net = net
            .parse::<IpNet>()
            .or_else(|_| net.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| bad())?;
        let ports = match ports {
            None => None,
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                let first: u16 = first.parse().map_err(|_| bad())?;
                let last: u16 = last.parse().map_err(|_| bad())?;
                if first > last {
                    return Err(bad());
                }
                Some(first..=last)
            }
        };
        Ok(Self { net, ports })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ports) = &self.ports else {
            return self.net.fmt(f);
        };
        match self.net {
            IpNet::V4(net) => write!(f, "{net}:")?,
            IpNet::V6(net) => write!(f, "[{net}]:")?,
        }
        if ports.start() == ports.end() {
            write!(f, "{}", ports.start())
        } else {
            write!(f, "{}-{}", ports.start(), ports.end())
        }
    }
}

/// The exit's egress policy.
///
/// Order: metadata and own listeners are refused first and for good; then `deny` rules; then
/// `allow` rules; then the default, which lets out to public addresses only.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    listeners: Vec<SocketAddr>,
}

impl Policy {
    /// Lets out to what `rule` names although the default would not.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.allow.push(rule);
        self
    }

    /// Refuses what `rule` names although the default or an `allow` rule would let it out.
    #[must_use]
    pub fn deny(mut self, rule: Rule) -> Self {
        self.deny.push(rule);
        self
    }

    /// Refuses connections to `listener`, one of this process's own sockets.
    #[must_use]
    pub fn listener(mut self, listener: SocketAddr) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Decides on a resolved address. `Ok` holds the address to dial, which is `addr` with an
    /// IPv4-mapped spelling undone.
    //= spec/10-proxy.md#egress
    //# The exit MUST check the resolved address and dial that same address.
    pub fn check(&self, addr: SocketAddr) -> Result<SocketAddr, Denial> {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        //= spec/10-proxy.md#egress
        //# An IPv6 address that carries an IPv4 address MUST also be judged by the address it carries.
        self.judge(addr.ip(), addr.port())?;
        if let IpAddr::V6(ip) = addr.ip() {
            for carried in carried_by(ip).into_iter().flatten() {
                self.judge(carried.into(), addr.port())?;
            }
        }
        Ok(addr)
    }

    fn judge(&self, ip: IpAddr, port: u16) -> Result<(), Denial> {
        //= spec/10-proxy.md#egress
        //# Cloud metadata addresses and the server's own listeners MUST be refused whatever the rules say.
        if METADATA.contains(&ip) {
            return Err(Denial::Metadata);
        }
        if self.is_own_listener(ip, port) {
            return Err(Denial::OwnListener);
        }
        if self.deny.iter().any(|rule| rule.matches(ip, port)) {
            return Err(Denial::Rule);
        }
        if self.allow.iter().any(|rule| rule.matches(ip, port)) {
            return Ok(());
        }
        match ip {
            IpAddr::V4(ip) => default_v4(ip),
            IpAddr::V6(ip) => default_v6(ip),
        }
    }

    fn is_own_listener(&self, ip: IpAddr, port: u16) -> bool {
        self.listeners.iter().any(|listener| {
            listener.port() == port
                && (listener.ip().to_canonical() == ip
                    || listener.ip().is_unspecified() && is_local(ip))
        })
    }
}

/// Whether `ip` is an address of this machine: then and only then can a socket be bound to it.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Where clouds serve credentials to whoever can reach the address.
const METADATA: [IpAddr; 11] = [
    v4(169, 254, 169, 254), // AWS, Google, Azure, DigitalOcean, Oracle, and most others
    v4(169, 254, 169, 253), // AWS resolver beside it
    v4(169, 254, 170, 2),   // AWS ECS task credentials
    v4(169, 254, 170, 23),  // AWS EKS pod identity
    v4(169, 254, 0, 23),    // Tencent
    v4(100, 100, 100, 200), // Alibaba
    v4(168, 63, 129, 16),   // Azure wire server
    v4(192, 0, 0, 192),     // Oracle classic
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]), // AWS
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]), // AWS EKS pod identity
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), // Google
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(s: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7],
    ))
}

const fn net4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network by its first two groups; none of the registered ones is named by a third.
const fn net6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
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

fn default_v4(ip: Ipv4Addr) -> Result<(), Denial> {
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
fn default_v6(ip: Ipv6Addr) -> Result<(), Denial> {
    if ip.is_loopback() {
        return Err(Denial::Loopback);
    }
    if carried_by(ip)[0].is_some() {
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

/// The IPv4 addresses an IPv6 address leads to, where a translator or tunnel on the way knows the
/// form: the whole-prefix forms first, then ISATAP, which any prefix may hold.
fn carried_by(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let s = ip.segments();
    let low = |invert: u16| {
        let [a, b] = (s[6] ^ invert).to_be_bytes();
        let [c, d] = (s[7] ^ invert).to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let prefixed = match s {
        // RFC 6052, NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(low(0)),
        // RFC 4291 section 2.5.5.1, IPv4-compatible (deprecated); also :: and ::1, judged before.
        [0, 0, 0, 0, 0, 0, _, _] => Some(low(0)),
        // RFC 2765, IPv4-translated.
        [0, 0, 0, 0, 0xffff, 0, _, _] => Some(low(0)),
        // RFC 3056, 6to4.
        [0x2002, high, rest, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), rest.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        // RFC 4380, Teredo: the client's address, inverted.
        [0x2001, 0, ..] => Some(low(0xffff)),
        _ => None,
    };
    // RFC 5214 section 6.1, ISATAP interface identifiers.
    let isatap = (matches!(s[4], 0 | 0x200) && s[5] == 0x5efe).then(|| low(0));
    [prefixed, isatap]
}

#[cfg(test)]
mod tests;
