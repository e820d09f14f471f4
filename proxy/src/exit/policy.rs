//! Which addresses the exit may dial: the rules, and nothing that touches a socket but the check
//! for own listeners. Resolving and dialling live beside it.

mod carried;
mod special;

use std::{
    fmt, iter,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use crate::{ports, socket_path::SocketPath};

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
    /// A Unix socket that no `--allow` rule names.
    #[error("Unix socket without an allow rule")]
    UnixSocket,
}

/// Whether `ip` is an address of the public Internet, as the policy without rules has it.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => special::default_v4(ip).is_ok(),
        IpAddr::V6(ip) => special::default_v6(ip).is_ok(),
    }
}

/// One `--allow` or `--deny` rule: a network, and perhaps the ports it is about, or a Unix socket.
///
/// Written `10.0.0.0/8`, `192.0.2.7`, `10.0.0.0/8:443`, `[fd00::/8]:8000-8999`, `unix:/run/x.sock`.
///
/// ```
/// use rp_proxy::exit::policy::Rule;
///
/// assert!("10.0.0.0/8:443".parse::<Rule>().is_ok());
/// assert!("10.0.0.0/99".parse::<Rule>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(About);

#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Net(IpNet, Option<RangeInclusive<u16>>),
    Path(SocketPath),
}

impl Rule {
    fn matches(&self, ip: IpAddr, port: u16) -> bool {
        match &self.0 {
            About::Net(net, ports) => {
                net.contains(&ip) && ports.as_ref().is_none_or(|ports| ports.contains(&port))
            }
            About::Path(_) => false,
        }
    }

    fn names(&self, path: &SocketPath) -> bool {
        matches!(&self.0, About::Path(named) if named == path)
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not a rule: {0:?} (write 10.0.0.0/8, 10.0.0.0/8:443, [fd00::/8]:8000-8999 or unix:/PATH)")]
pub struct BadRule(String);

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = || BadRule(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self(About::Path(path.parse().map_err(|_| bad())?)));
        }
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
            .map(canonical)
            .map_err(|_| bad())?;
        let ports = match ports {
            None => None,
            Some(ports) => Some(ports::range(ports).ok_or_else(bad)?),
        };
        Ok(Self(About::Net(net, ports)))
    }
}

/// IPv4 networks in their IPv4-mapped spelling as what they are: so are the addresses they are
/// compared with.
fn canonical(net: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match (net, net.addr().to_canonical()) {
        (IpNet::V6(_), IpAddr::V4(addr)) => {
            let bits = net.prefix_len().checked_sub(MAPPED_BITS);
            let mapped = bits.and_then(|bits| Ipv4Net::new(addr, bits).ok());
            mapped.map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (net, ports) = match &self.0 {
            About::Path(path) => return write!(f, "unix:{path}"),
            About::Net(net, None) => return net.fmt(f),
            About::Net(net, Some(ports)) => (net, ports),
        };
        match net {
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
///
/// Clones share the rules: what [`replace`](Self::replace) does to one of them holds for all.
///
/// ```
/// use rp_proxy::exit::policy::{Denial, Policy};
///
/// let policy = Policy::default().allow("10.0.0.0/8".parse()?);
/// assert!(policy.check("10.1.2.3:80".parse()?).is_ok());
/// assert_eq!(policy.check("127.0.0.1:80".parse()?), Err(Denial::Loopback));
/// assert_eq!(policy.check("169.254.169.254:80".parse()?), Err(Denial::Metadata));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy(Arc<RwLock<Arc<Rules>>>);

impl Policy {
    /// Lets out to what `rule` names although the default would not.
    #[must_use]
    pub fn allow(self, rule: Rule) -> Self {
        self.with(|rules| rules.allow.push(rule))
    }

    /// Refuses what `rule` names although the default or an `allow` rule would let it out.
    #[must_use]
    pub fn deny(self, rule: Rule) -> Self {
        self.with(|rules| rules.deny.push(rule))
    }

    /// Refuses connections to `listener`, one of this process's own sockets.
    #[must_use]
    pub fn listener(self, listener: SocketAddr) -> Self {
        self.with(|rules| rules.listeners.push(listener))
    }

    /// Has the rules of `other` hold from the next address on, in all clones.
    pub fn replace(&self, other: &Self) {
        let rules = other.rules();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Decides on a resolved address. `Ok` holds the address to dial, which is `addr` with an
    /// IPv4-mapped spelling undone.
    pub fn check(&self, addr: SocketAddr) -> Result<SocketAddr, Denial> {
        self.rules().check(addr)
    }

    /// Decides on a Unix socket: only rules open one.
    pub fn check_path(&self, path: &SocketPath) -> Result<(), Denial> {
        self.rules().check_path(path)
    }

    fn rules(&self) -> Arc<Rules> {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// A policy of its own, with `change` made.
    fn with(self, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules::clone(&self.rules());
        change(&mut rules);
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }
}

#[derive(Clone, Debug, Default)]
struct Rules {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    listeners: Vec<SocketAddr>,
}

impl Rules {
    /// See [`Policy::check`].
    //= spec/10-proxy.md#egress
    //# The exit MUST check the resolved address and dial that same address.
    fn check(&self, addr: SocketAddr) -> Result<SocketAddr, Denial> {
        let (ip, port) = (addr.ip().to_canonical(), addr.port());
        //= spec/10-proxy.md#egress
        //# An IPv6 address that carries an IPv4 address MUST also be judged by the address it carries.
        //= spec/10-proxy.md#egress
        //# An unspecified address MUST also be judged as the loopback address it leads to.
        let judged = || iter::once(ip).chain(carried::certain(ip));
        //= spec/10-proxy.md#egress
        //# Where the prefix does not tell which address is carried, the refusal of any address it may
        //# carry MUST count; that of a multicast or reserved one only if all are refused.
        let reachable = || judged().chain(carried::possible(ip));
        //= spec/10-proxy.md#egress
        //# Cloud metadata addresses and the server's own listeners MUST be refused whatever the rules say.
        //= spec/10-proxy.md#egress
        //# An address that has a metadata address in a form of RFC 6052 MUST be refused, whatever its
        //# prefix.
        if reachable()
            .chain(carried::embedded(ip))
            .any(special::is_metadata)
        {
            return Err(Denial::Metadata);
        }
        if reachable().any(|ip| self.is_own_listener(ip, port)) {
            return Err(Denial::OwnListener);
        }
        //= spec/10-proxy.md#egress
        //# A rule that denies MUST win over a rule that allows.
        if reachable().any(|ip| self.deny.iter().any(|rule| rule.matches(ip, port))) {
            return Err(Denial::Rule);
        }
        judged().try_for_each(|ip| self.let_out(ip, port))?;
        self.readings(ip, port)?;
        Ok(SocketAddr::new(ip, port))
    }

    /// See [`Policy::check_path`].
    //= spec/10-proxy.md#egress
    //# A Unix socket MUST be refused unless a rule allows its very path.
    fn check_path(&self, path: &SocketPath) -> Result<(), Denial> {
        let names = |rules: &[Rule]| rules.iter().any(|rule| rule.names(path));
        match (names(&self.deny), names(&self.allow)) {
            (true, _) => Err(Denial::Rule),
            (false, true) => Ok(()),
            (false, false) => Err(Denial::UnixSocket),
        }
    }

    /// Judges the addresses one of which `ip` carries. Which one is the true one is not known, but
    /// multicast and reserved addresses are none that a translator reaches.
    fn readings(&self, ip: IpAddr, port: u16) -> Result<(), Denial> {
        let mut refusal = Ok(());
        let mut is_one_let_out = false;
        for ip in carried::possible(ip) {
            match self.let_out(ip, port) {
                Ok(()) => is_one_let_out = true,
                Err(denial @ (Denial::Multicast | Denial::Reserved)) => refusal = Err(denial),
                Err(denial) => return Err(denial),
            }
        }
        if is_one_let_out { Ok(()) } else { refusal }
    }

    /// What the `allow` rules and, where none is about `ip`, the default say.
    fn let_out(&self, ip: IpAddr, port: u16) -> Result<(), Denial> {
        if self.allow.iter().any(|rule| rule.matches(ip, port)) {
            return Ok(());
        }
        match ip {
            IpAddr::V4(ip) => special::default_v4(ip),
            IpAddr::V6(ip) => special::default_v6(ip),
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

#[cfg(test)]
mod tests;
