//! What is to be diverted, and the netfilter rules and routes that do it, as text. Pure: who runs
//! them is `commands`.
//!
//! Only our own table, our own routing rule and our own routing table are ever named. A packet that
//! TPROXY is to take is marked; the mark sends it to our routing table, which delivers it here.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;
use rp_proxy::{Capture, SELF_TEST};

use crate::address;

/// Our table's name, in the family `inet`.
pub const TABLE: &str = "rapidpath";

/// The mark of packets to be delivered here, and the numbers of our routing rule and table: "rp" in
/// ASCII, which no common program uses.
pub const MARK: u32 = 0x7270;
/// The priority of our routing rule, before that of the main table.
pub const PRIORITY: u32 = 7270;
/// The number of our routing table.
pub const ROUTES: u32 = 7270;

/// What is never diverted, beside what the kernel calls local, broadcast, multicast or anycast.
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
];

/// What is diverted on request only (RFC 1918, 6598, 4193).
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

/// DHCP of both versions: without it the machine loses its address.
const DHCP: &str = "67, 68, 546, 547";

/// One port or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| match address::port(text) {
            Some(port @ 1..) => Ok(port),
            _ => Err("not a port, 443, or ports, 6000-6063"),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err("the first port is greater than the last");
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn takes(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == Self::V4)
    }

    /// The option of `ip`.
    pub fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The destination of the test of the rules.
    pub fn test_address(self) -> SocketAddr {
        SELF_TEST[usize::from(self == Self::V6)]
    }

    fn nft(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// What is to be diverted, and where to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// By which means.
    pub capture: Capture,
    /// Where rpclient listens.
    pub listeners: Vec<SocketAddr>,
    /// What this machine's own programs send is diverted.
    pub host: bool,
    /// What comes in from these interfaces is diverted.
    pub lans: Vec<String>,
    /// Where our own connection goes.
    pub servers: Vec<IpAddr>,
    /// What the user excludes.
    pub exclude: Vec<IpNet>,
    /// Ports the user excludes.
    pub exclude_ports: Vec<Ports>,
    /// Ports that are diverted; all if empty.
    pub ports: Vec<Ports>,
    /// Private networks are diverted.
    pub private: bool,
    /// The user as whom rpclient runs, if it is nobody else.
    pub user: Option<u32>,
    /// UDP is not diverted.
    pub tcp_only: bool,
}

impl Plan {
    /// The listener for `family`; one of the unspecified IPv6 address takes both.
    pub fn listener(&self, family: Family) -> Option<SocketAddr> {
        let exact = |addr: &&SocketAddr| family.takes(addr.ip());
        let any = |addr: &&SocketAddr| addr.ip() == Ipv6Addr::UNSPECIFIED;
        let mut all = self.listeners.iter();
        all.clone().find(exact).or_else(|| all.find(any)).copied()
    }

    /// The versions of IP that are diverted.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let listens = |family: &Family| self.listener(*family).is_some();
        Family::ALL.into_iter().filter(listens)
    }

    /// Whether UDP is diverted as well.
    pub fn takes_udp(&self) -> bool {
        self.capture == Capture::Tproxy && !self.tcp_only
    }

    /// What is diverted, as a value of `meta l4proto`.
    fn protocols(&self) -> &'static str {
        match self.takes_udp() {
            true => "{ tcp, udp }",
            false => "tcp",
        }
    }

    /// The input of `nft -f -`: our table, whole, in the place of any before.
    pub fn rules(&self) -> String {
        let mut text = String::new();
        // Deleting what is not there is an error; making it first is none.
        let _ = writeln!(text, "table inet {TABLE}");
        let _ = writeln!(text, "delete table inet {TABLE}");
        let _ = writeln!(text, "table inet {TABLE} {{");
        for family in Family::ALL {
            self.write_set(&mut text, family);
        }
        match self.capture {
            Capture::Redirect => self.write_redirect(&mut text),
            Capture::Tproxy => self.write_tproxy(&mut text),
        }
        text.push_str("}\n");
        text
    }

    fn write_set(&self, text: &mut String, family: Family) {
        let named = |text: &&str| text.parse::<IpNet>().expect("a network");
        let mut nets: Vec<IpNet> = NEVER.iter().map(named).collect();
        if !self.private {
            nets.extend(PRIVATE.iter().map(named));
        }
        nets.extend(self.servers.iter().map(|ip| IpNet::from(*ip)));
        nets.extend(&self.exclude);
        nets.retain(|net| family.takes(net.addr()));
        let nets = IpNet::aggregate(&nets);
        let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        let (nft, protocol) = (family.nft(), family.protocol());
        let _ = writeln!(
            text,
            "\tset not_{nft} {{\n\t\ttype {protocol}_addr\n\t\tflags interval\n\t\telements = {{ {} }}\n\t}}",
            nets.join(", ")
        );
    }

    /// Returns from the chain for everything that is not to be diverted.
    fn write_exclusions(&self, text: &mut String) {
        for family in Family::ALL {
            if self.listener(family).is_none() {
                let _ = writeln!(text, "\t\tmeta nfproto {} return", family.protocol());
            }
        }
        text.push_str("\t\tfib daddr type { local, broadcast, multicast, anycast } return\n");
        text.push_str("\t\tip daddr @not_ip return\n\t\tip6 daddr @not_ip6 return\n");
        if self.takes_udp() {
            let _ = writeln!(text, "\t\tudp dport {{ {DHCP} }} return");
        }
        let list = |ports: &[Ports]| {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            ports.join(", ")
        };
        if !self.exclude_ports.is_empty() {
            let _ = writeln!(
                text,
                "\t\tth dport {{ {} }} return",
                list(&self.exclude_ports)
            );
        }
        if !self.ports.is_empty() {
            let _ = writeln!(text, "\t\tth dport != {{ {} }} return", list(&self.ports));
        }
    }

    /// Does `action` to connections to the test's addresses, which nothing else ever has.
    fn write_test(&self, text: &mut String, action: impl Fn(Family) -> String) {
        for family in self.families() {
            let address = family.test_address();
            let _ = writeln!(
                text,
                "\t\t{} daddr {} th dport {} {}",
                family.nft(),
                address.ip(),
                address.port(),
                action(family)
            );
        }
    }

    /// The interfaces of networks whose gateway this is, as a set.
    fn interfaces(&self) -> String {
        let quoted: Vec<String> = self.lans.iter().map(|name| format!("\"{name}\"")).collect();
        format!("{{ {} }}", quoted.join(", "))
    }

    fn write_redirect(&self, text: &mut String) {
        let port = |family| self.listener(family).map_or(0, |addr| addr.port());
        let redirect = |family| format!("meta l4proto tcp redirect to :{}", port(family));
        let finish = |text: &mut String| {
            for family in self.families() {
                let _ = writeln!(
                    text,
                    "\t\tmeta nfproto {} {}",
                    family.protocol(),
                    redirect(family)
                );
            }
            text.push_str("\t}\n");
        };
        text.push_str("\tchain output {\n\t\ttype nat hook output priority -100; policy accept;\n");
        text.push_str("\t\tmeta l4proto != tcp return\n");
        self.write_test(text, redirect);
        if self.host {
            if let Some(user) = self.user {
                let _ = writeln!(text, "\t\tmeta skuid {user} return");
            }
            self.write_exclusions(text);
            finish(text);
        } else {
            text.push_str("\t}\n");
        }
        if !self.lans.is_empty() {
            text.push_str(
                "\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy accept;\n",
            );
            let _ = writeln!(text, "\t\tiifname != {} return", self.interfaces());
            text.push_str("\t\tmeta l4proto != tcp return\n");
            self.write_exclusions(text);
            finish(text);
        }
    }

    fn write_tproxy(&self, text: &mut String) {
        self.write_divert(text);
        text.push_str(
            "\tchain output {\n\t\ttype route hook output priority -150; policy accept;\n",
        );
        let _ = writeln!(text, "\t\tmeta l4proto != {} return", self.protocols());
        // What we answer in the name of the destinations.
        text.push_str("\t\tct direction reply return\n\t\tsocket transparent 1 return\n");
        let mark = format!("ct mark set {MARK:#x} meta mark set {MARK:#x} return");
        let _ = writeln!(text, "\t\tct mark {MARK:#x} meta mark set {MARK:#x} return");
        // Connections of before go on as they were.
        text.push_str("\t\ttcp flags & (fin | syn | rst | ack) != syn return\n");
        text.push_str("\t\tct state != new return\n");
        self.write_test(text, |_| mark.clone());
        if self.host {
            if let Some(user) = self.user {
                let _ = writeln!(text, "\t\tmeta skuid {user} return");
            }
            self.write_exclusions(text);
            let _ = writeln!(text, "\t\t{mark}");
        }
        text.push_str("\t}\n");
        text.push_str(
            "\tchain prerouting {\n\t\ttype filter hook prerouting priority -150; policy accept;\n",
        );
        let _ = writeln!(text, "\t\tmeta l4proto != {} return", self.protocols());
        let _ = writeln!(text, "\t\tiif lo meta mark {MARK:#x} goto divert");
        if !self.lans.is_empty() {
            let _ = writeln!(text, "\t\tiifname != {} return", self.interfaces());
            text.push_str("\t\tct direction reply return\n");
            self.write_exclusions(text);
            let _ = writeln!(
                text,
                "\t\tmeta l4proto tcp socket transparent 1 meta mark set {MARK:#x} accept"
            );
            text.push_str("\t\ttcp flags & (fin | syn | rst | ack) != syn return\n");
            text.push_str("\t\tgoto divert\n");
        }
        text.push_str("\t}\n");
    }

    fn write_divert(&self, text: &mut String) {
        text.push_str("\tchain divert {\n");
        for family in self.families() {
            let Some(listener) = self.listener(family) else {
                continue;
            };
            let to = match listener {
                addr if addr.ip().is_unspecified() => format!(":{}", addr.port()),
                addr => addr.to_string(),
            };
            let _ = writeln!(
                text,
                "\t\tmeta nfproto {} meta l4proto {} tproxy {} to {to} meta mark set {MARK:#x} accept",
                family.protocol(),
                self.protocols(),
                family.nft()
            );
        }
        // While nobody listens, nothing goes its own way.
        text.push_str("\t\tmeta l4proto tcp reject with tcp reset\n\t\treject\n");
        text.push_str("\t}\n");
    }

    /// Why the rules could not work, in words for the user.
    pub fn problem(&self) -> Option<String> {
        if self.listeners.is_empty() {
            return Some(
                "nowhere to divert to: give --tproxy or --transparent as for the rpclient that runs"
                    .to_owned(),
            );
        }
        let is_loopback = |addr: &SocketAddr| addr.ip().is_loopback();
        if self.capture == Capture::Redirect
            && !self.lans.is_empty()
            && self.listeners.iter().all(is_loopback)
        {
            return Some(
                "REDIRECT brings a network's connections to this machine's address in it, where \
                 rpclient does not listen: run it with --transparent :PORT, or use --tproxy"
                    .to_owned(),
            );
        }
        let is_odd = |name: &&String| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@:".contains(&b);
            name.is_empty() || name.len() > 15 || !name.bytes().all(is_plain)
        };
        self.lans
            .iter()
            .find(is_odd)
            .map(|name| format!("--lan {name:?}: not the name of an interface"))
    }
}

#[cfg(test)]
mod tests;
