//! Where a client may have the exit listen. Listening is `listen`'s business.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use thiserror::Error;

use crate::{
    ports,
    socket_path::SocketPath,
    target::{Host, ListenAt},
};

/// The name that stands for both loopback addresses.
pub(super) const LOCALHOST: &str = "localhost";

/// One place where the exit may listen for a client.
///
/// Written `8080`, `8000-8999` (on loopback), `192.0.2.7:8080`, `[2001:db8::1]:*`, `*:8000-8999`,
/// `unix:/run/x.sock`. Port `*` is any port, host `*` any address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRule(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp(RuleHost, RangeInclusive<u16>),
    Unix(SocketPath),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RuleHost {
    Any,
    /// `localhost` and the loopback addresses.
    Loopback,
    Ip(IpAddr),
}

/// Every port there is.
const ANY_PORT: RangeInclusive<u16> = 1..=u16::MAX;

/// Text that is no rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "not a place to listen: {0:?} (write 8080, 8000-8999, ADDRESS:8080, [IPV6]:8080, *:8080 or unix:/PATH)"
)]
pub struct BadListenRule(String);

impl FromStr for ListenRule {
    type Err = BadListenRule;

    fn from_str(text: &str) -> Result<Self, BadListenRule> {
        let bad = || BadListenRule(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self(Place::Unix(path.parse().map_err(|_| bad())?)));
        }
        let (host, ports) = match text.rsplit_once(':') {
            //= spec/10-proxy.md#listening
            //# A rule that names no address MUST open the loopback addresses only.
            None => (RuleHost::Loopback, text),
            Some((host, ports)) => (RuleHost::parse(host).ok_or_else(bad)?, ports),
        };
        let ports = parse_ports(ports).ok_or_else(bad)?;
        Ok(Self(Place::Tcp(host, ports)))
    }
}

impl RuleHost {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::Any),
            _ if text.eq_ignore_ascii_case(LOCALHOST) => return Some(Self::Loopback),
            _ => {}
        }
        let inner = match text.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if text.contains(':') => return None,
            None => text,
        };
        inner.parse().ok().map(Self::Ip)
    }

    fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Loopback, Host::Name(name)) => name.as_str().eq_ignore_ascii_case(LOCALHOST),
            (Self::Loopback, Host::Ip(ip)) => ip.to_canonical().is_loopback(),
            (Self::Ip(allowed), Host::Ip(ip)) => allowed.to_canonical() == ip.to_canonical(),
            (Self::Ip(_), Host::Name(_)) => false,
        }
    }
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    match text {
        "*" => Some(ANY_PORT),
        text => ports::range(text),
    }
}

impl fmt::Display for ListenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, ports) = match &self.0 {
            Place::Unix(path) => return write!(f, "unix:{path}"),
            Place::Tcp(host, ports) => (host, ports),
        };
        match host {
            RuleHost::Any => f.write_str("*:")?,
            RuleHost::Loopback => {}
            RuleHost::Ip(ip) => write!(f, "{}:", Host::Ip(*ip))?,
        }
        match (ports.start(), ports.end()) {
            _ if *ports == ANY_PORT => f.write_str("*"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// Where one client may have the exit listen: nowhere, unless rules say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenAccess(Vec<ListenRule>);

impl FromIterator<ListenRule> for ListenAccess {
    fn from_iter<I: IntoIterator<Item = ListenRule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl ListenAccess {
    /// The ports to try for `at`: the one that is asked for, or all that are allowed; none if nothing is.
    pub(super) fn ports<'a>(
        &'a self,
        host: &'a Host,
        port: u16,
    ) -> impl Iterator<Item = RangeInclusive<u16>> + 'a {
        self.0.iter().filter_map(move |rule| match &rule.0 {
            Place::Tcp(allowed, ports) if allowed.covers(host) => match port {
                // Any free one: the system chooses better than we could.
                0 if *ports == ANY_PORT => Some(0..=0),
                0 => Some(ports.clone()),
                port if ports.contains(&port) => Some(port..=port),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether there may be a listener at `at`, as the client asked for it.
    pub(super) fn allows(&self, at: &ListenAt) -> bool {
        match at {
            ListenAt::Tcp(host, port) => self.ports(host, *port).next().is_some(),
            ListenAt::Unix(path) => self
                .0
                .iter()
                .any(|rule| matches!(&rule.0, Place::Unix(allowed) if allowed == path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(rules: &[&str]) -> ListenAccess {
        rules.iter().map(|rule| rule.parse().unwrap()).collect()
    }

    fn tcp(host: &str, port: u16) -> ListenAt {
        ListenAt::Tcp(Host::parse(host).unwrap(), port)
    }

    #[test]
    fn rules_survive_being_printed() {
        for text in [
            "8080",
            "8000-8999",
            "*",
            "*:*",
            "192.0.2.7:80",
            "[2001:db8::1]:*",
            "unix:/run/x",
        ] {
            let rule: ListenRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!(
            "localhost:80".parse::<ListenRule>().unwrap().to_string(),
            "80"
        );
        for bad in [
            "",
            "0",
            "+80",
            "9-8",
            "a.example:80",
            "::1:80",
            "unix:x",
            "80:",
            "*:0-9",
        ] {
            assert!(bad.parse::<ListenRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        let nothing = ListenAccess::default();
        assert!(!nothing.allows(&tcp("localhost", 8080)));
        assert!(!nothing.allows(&tcp("localhost", 0)));
        assert!(!nothing.allows(&ListenAt::Unix("/run/x".parse().unwrap())));
    }

    #[test]
    fn a_rule_without_a_host_opens_loopback_only() {
        //= spec/10-proxy.md#listening
        //= type=test
        //# A rule that names no address MUST open the loopback addresses only.
        let access = access(&["8080"]);
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "::1"] {
            assert!(access.allows(&tcp(host, 8080)), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.0.2.7", "a.example"] {
            assert!(!access.allows(&tcp(host, 8080)), "{host}");
        }
        assert!(!access.allows(&tcp("localhost", 8081)));
    }

    #[test]
    fn any_port_is_chosen_among_those_allowed() {
        let ports = |rules: &[&str], host: &str| {
            let host = Host::parse(host).unwrap();
            access(rules).ports(&host, 0).collect::<Vec<_>>()
        };
        assert_eq!(ports(&["*:*"], "::"), [0..=0]);
        assert_eq!(ports(&["*:5000-5009", "8080"], "::"), [5000..=5009]);
        assert_eq!(ports(&["8080"], "::"), []);
    }

    #[test]
    fn a_unix_socket_needs_its_own_rule() {
        let path = ListenAt::Unix("/run/x".parse().unwrap());
        assert!(access(&["unix:/run/x"]).allows(&path));
        assert!(!access(&["*:*", "unix:/run/y"]).allows(&path));
    }
}
