//! To which addresses the packets of a copy over ssh go: to where ssh's own connection went, as far as that is known.

use std::net::{IpAddr, SocketAddr};

use crate::{connect::Family, copy::location::SshHost};

/// What ssh's configuration says of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configured {
    /// The name or address that ssh connects to.
    pub(super) hostname: String,
    /// Another machine or program is between.
    pub(super) is_proxied: bool,
}

impl Configured {
    /// Reads what `ssh -G` prints; what it does not say is as `host` says.
    pub(super) fn parse(text: &str, host: &SshHost) -> Self {
        let mut configured = Self {
            hostname: host.host.clone(),
            is_proxied: false,
        };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("hostname", name)) => configured.hostname = name.trim().to_owned(),
                Some(("proxyjump" | "proxycommand", by)) => {
                    configured.is_proxied |= by.trim() != "none";
                }
                _ => {}
            }
        }
        configured
    }
}

/// The addresses in the order in which they are tried: `resolved` are those of the host's name, `told` is the one that
/// ssh's connection arrived at, as the far side sees it.
///
/// Without a machine between, one of the resolved ones is what ssh used, and the far side names it, if no NAT
/// is between either. What only the far side names comes last: a private address of its own may be somebody
/// else's here. Whoever answers must have the key, so trying several is safe.
pub(super) fn candidates(
    resolved: &[SocketAddr],
    told: Option<IpAddr>,
    port: u16,
    family: Family,
) -> Vec<SocketAddr> {
    let told = told.map(|address| address.to_canonical());
    let mut candidates: Vec<_> = resolved
        .iter()
        .map(|address| {
            let mut address = *address;
            address.set_port(port);
            address
        })
        .collect();
    candidates.sort_by_key(|address| Some(address.ip()) != told);
    if let Some(told) = told
        // Loopback is this machine here.
        && !told.is_loopback()
        && !candidates.iter().any(|address| address.ip() == told)
    {
        candidates.push(SocketAddr::new(told, port));
    }
    candidates.retain(|address| family.takes(address.ip()));
    candidates.dedup();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        texts.iter().map(parse).collect()
    }

    fn tried(resolved: &[&str], told: &str, family: Family) -> Vec<String> {
        let told = told.parse().ok();
        let found = candidates(&addresses(resolved), told, 9, family);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_ssh_connected_to_is_tried_first_and_what_only_the_far_side_knows_last() {
        for (resolved, told, expected) in [
            // Both families, and ssh took the second.
            (
                &["2001:db8::1", "192.0.2.1"][..],
                "192.0.2.1",
                &["192.0.2.1:9", "[2001:db8::1]:9"][..],
            ),
            // Behind a NAT the far side knows a private address only.
            (&["192.0.2.1"], "10.0.0.1", &["192.0.2.1:9", "10.0.0.1:9"]),
            // A name that only the machine between can resolve.
            (&[], "10.0.0.1", &["10.0.0.1:9"]),
            // Through a tunnel to this machine.
            (&["127.0.0.1"], "127.0.0.1", &["127.0.0.1:9"]),
            (&["192.0.2.1"], "127.0.0.1", &["192.0.2.1:9"]),
            (&["192.0.2.1"], "::ffff:192.0.2.1", &["192.0.2.1:9"]),
            (&["192.0.2.1"], "", &["192.0.2.1:9"]),
            (&[], "", &[]),
        ] {
            assert_eq!(tried(resolved, told, Family::Any), expected, "{told}");
        }
        let both = &["2001:db8::1", "192.0.2.1"];
        assert_eq!(tried(both, "192.0.2.1", Family::V6), ["[2001:db8::1]:9"]);
        assert_eq!(
            tried(both, "10.0.0.1", Family::V4),
            ["192.0.2.1:9", "10.0.0.1:9"]
        );
    }

    #[test]
    fn the_configuration_names_the_host_and_what_is_between() {
        let host = SshHost {
            user: None,
            host: "alias".to_owned(),
        };
        let parse = |text| Configured::parse(text, &host);
        let of = |hostname: &str, is_proxied| Configured {
            hostname: hostname.to_owned(),
            is_proxied,
        };
        assert_eq!(parse(""), of("alias", false));
        let text = "user me\nhostname 192.0.2.1\nport 22\nproxycommand none\n";
        assert_eq!(parse(text), of("192.0.2.1", false));
        assert_eq!(parse("hostname h\nproxyjump gate\n"), of("h", true));
        assert_eq!(parse("hostname h\nproxycommand nc h 22\n"), of("h", true));
    }
}
