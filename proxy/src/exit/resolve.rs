//! From a target's host to the addresses policy allows. Connecting lives in `dial`, shares of the lookups in
//! `lookups`.
//!
//! Names are looked up as the system's own resolver would: the hosts file first, then the name servers of
//! `/etc/resolv.conf` with its search list, `ndots`, timeout and attempts; answers are kept as long as their TTL
//! says. Both files are read again when they change. What nsswitch adds to that (mDNS, LDAP) is not asked.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
        ResolverOpts,
    },
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    lookups::Lookups,
    policy::{Denial, Policy},
};
use crate::{
    error::{DialFailure, FailureKind},
    target::{Host, Target},
};

/// Most addresses of one name that are tried; more only lengthen a failure.
const MAX_ADDRESSES: usize = 16;
/// Time between two looks at whether the system's files have changed.
const RECHECK: Duration = Duration::from_secs(1);
/// Longest time one name server gets for one question, whatever the system's file says: the dial has ten seconds.
const MAX_QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a name's IPv6 addresses are waited for when its IPv4 addresses are there (RFC 8305 section 3, "Resolution
/// Delay").
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Longest time a failure is kept, whatever its zone says.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Looks names up, each client within its share.
pub(super) struct Resolver {
    lookups: Arc<Lookups>,
    system: Mutex<Option<System>>,
    /// The name servers to ask in the place of the system's.
    fixed: Option<(ResolverConfig, ResolverOpts)>,
}

/// What the system's files say, and when they said it.
struct System {
    names: Names,
    stamps: [Option<SystemTime>; FILES.len()],
    checked: Instant,
}

/// Where names are looked up.
#[derive(Clone)]
struct Names {
    hosts: Arc<Hosts>,
    servers: TokioResolver,
    /// Labels beyond which a name is asked for as it is before the search list is tried.
    ndots: usize,
}

impl Resolver {
    /// The system's resolver with so many lookups at once.
    pub(super) fn new(lookups: usize) -> Self {
        Self {
            lookups: Lookups::new(lookups),
            system: Mutex::new(None),
            fixed: None,
        }
    }

    /// The same that asks `servers` where the system's own would be asked, if there are any.
    pub(super) fn asking(mut self, servers: &[SocketAddr]) -> Self {
        let server = |at: &SocketAddr| {
            let with_port = |mut connection: ConnectionConfig| {
                connection.port = at.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            NameServerConfig::new(at.ip(), true, connections.map(with_port).into())
        };
        if !servers.is_empty() {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            self.fixed = Some((config, ResolverOpts::default()));
        }
        self
    }

    /// The allowed addresses of `target`, in the order to try them; never empty. `client` is whose share counts.
    ///
    /// A name that resolves to allowed and denied addresses keeps the allowed ones: a denied one among
    /// them is never dialled, which is all that DNS rebinding could aim at.
    pub(super) async fn resolve(
        &self,
        target: &Target,
        policy: &Policy,
        client: &str,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, DialFailure> {
        let found = match target.host() {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                let mut found = self.look_up(name.as_str(), client, deadline).await?;
                let first = found.iter().copied().find(IpAddr::is_ipv6);
                let prefers_ipv6 = first.is_some_and(is_reachable);
                found.sort_by_key(|ip| ip.is_ipv6() != prefers_ipv6);
                found
            }
        };
        let found = found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, target.port()));
        let mut selected = select(&found.collect::<Vec<_>>(), policy)?;
        selected.truncate(MAX_ADDRESSES);
        Ok(selected)
    }

    async fn look_up(
        &self,
        name: &str,
        client: &str,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, DialFailure> {
        let unknown = || DialFailure::new(FailureKind::NameNotFound);
        let silent =
            || DialFailure::because(FailureKind::TimedOut, "the name server did not answer");
        let asked = Name::from_utf8(name).map_err(|_| unknown())?;
        let names = self
            .names()
            .map_err(|error| DialFailure::because(FailureKind::General, error.to_string()))?;
        let known = names.in_hosts_file(&asked);
        if !known.is_empty() {
            return Ok(known);
        }
        let place = timeout_at(deadline, self.lookups.acquire(client));
        let _place = place.await.map_err(|_| silent())?.ok_or_else(|| {
            DialFailure::because(FailureKind::Exhausted, "too many names are being looked up")
        })?;
        match timeout_at(deadline, names.ask(asked)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) if error.is_no_records_found() => Err(unknown()),
            Ok(Err(NetError::Timeout)) | Err(_) => Err(silent()),
            Ok(Err(error)) => Err(DialFailure::because(
                FailureKind::NameNotFound,
                error.to_string(),
            )),
        }
    }

    /// Where to look, as the system's files are.
    fn names(&self) -> Result<Names, NetError> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(known) = &mut *system {
            if self.fixed.is_some() || now < known.checked + RECHECK {
                return Ok(known.names.clone());
            }
            known.checked = now;
            if known.stamps == stamps() {
                return Ok(known.names.clone());
            }
        }
        let stamps = stamps();
        let names = Names::read(self.fixed.clone())?;
        *system = Some(System {
            names: names.clone(),
            stamps,
            checked: now,
        });
        Ok(names)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("lookups", &self.lookups)
            .finish_non_exhaustive()
    }
}

impl Names {
    fn read(fixed: Option<(ResolverConfig, ResolverOpts)>) -> Result<Self, NetError> {
        let (config, mut options) = match fixed {
            Some(fixed) => fixed,
            None => read_system_conf().unwrap_or_else(|error| {
                // As resolv.conf(5) says of a file that is missing or names nobody.
                tracing::warn!(%error, "no name servers in /etc/resolv.conf; asking 127.0.0.1");
                let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
                (config, ResolverOpts::default())
            }),
        };
        options.timeout = options.timeout.min(MAX_QUERY_TIMEOUT);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        options.use_hosts_file = ResolveHosts::Never;
        let ndots = options.ndots;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        Ok(Self {
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            servers: builder.with_options(options).build()?,
            ndots,
        })
    }

    /// The addresses the name servers have for `name`.
    async fn ask(&self, name: Name) -> Result<Vec<IpAddr>, NetError> {
        if name.is_fqdn() || usize::from(name.num_labels()) > self.ndots {
            let mut whole = name.clone();
            whole.set_fqdn(true);
            match self.ask_families(whole).await {
                Err(error) if error.is_no_records_found() && !name.is_fqdn() => {}
                found => return found,
            }
        }
        // Both families of the first name in the search list that has one.
        let found = self.servers.lookup_ip(name).await?;
        Ok(found.iter().collect())
    }

    /// The addresses of both families, or those of IPv4 where a name server keeps silent about IPv6.
    //= spec/10-proxy.md#egress
    //# An exit SHOULD NOT wait for the IPv6 addresses of a name for longer than 50 ms once it has IPv4 addresses.
    async fn ask_families(&self, name: Name) -> Result<Vec<IpAddr>, NetError> {
        let mut v6 = pin!(self.servers.lookup(name.clone(), RecordType::AAAA));
        let mut v4 = pin!(self.servers.lookup(name, RecordType::A));
        let (v6, v4) = tokio::select! {
            v6 = &mut v6 => (v6, v4.await),
            v4 = &mut v4 => match v4 {
                Ok(v4) => match timeout(RESOLUTION_DELAY, v6).await {
                    Ok(v6) => (v6, Ok(v4)),
                    Err(_elapsed) => return Ok(ips(&v4)),
                },
                failed => (v6.await, failed),
            },
        };
        match (v6, v4) {
            (Ok(v6), Ok(v4)) => Ok([ips(&v6), ips(&v4)].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(ips(&found)),
            // Only where both say so is there no such name.
            (Err(error), Err(none)) if none.is_no_records_found() => Err(error),
            (Err(_), Err(error)) => Err(error),
        }
    }

    /// The addresses the hosts file has for `name`; when there is one, nobody else is asked.
    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|kind| {
                let query = Query::query(name.clone(), kind);
                self.hosts.lookup_static_host(&query)
            })
            .flat_map(|lookup| ips(&lookup))
            .collect()
    }
}

fn ips(lookup: &Lookup) -> Vec<IpAddr> {
    let records = lookup.answers().iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

fn stamps() -> [Option<SystemTime>; FILES.len()] {
    FILES.map(|file| std::fs::metadata(file).and_then(|of| of.modified()).ok())
}

/// Whether this machine has a route to `ip` (RFC 6724 section 6, rule 1). Connecting a UDP socket tells, and sends
/// no packet.
fn is_reachable(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect((ip, 9)).is_ok())
}
/// Keeps what policy allows, families taking turns from the resolver's first choice on
/// (RFC 8305 section 4).
fn select(found: &[SocketAddr], policy: &Policy) -> Result<Vec<SocketAddr>, DialFailure> {
    let mut denied: Option<Denial> = None;
    let mut allowed = Vec::with_capacity(found.len());
    for &addr in found {
        match policy.check(addr) {
            Ok(addr) if !allowed.contains(&addr) => allowed.push(addr),
            Ok(_) => {}
            Err(denial) => denied = Some(denial),
        }
    }
    let Some(first) = allowed.first().copied() else {
        return Err(match denied {
            Some(denial) => DialFailure::because(FailureKind::Denied, denial.to_string()),
            None => DialFailure::new(FailureKind::NameNotFound),
        });
    };
    let (preferred, other): (Vec<_>, Vec<_>) = allowed
        .into_iter()
        .partition(|addr| addr.is_ipv4() == first.is_ipv4());
    let mut ordered = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => return Ok(ordered),
            (a, b) => ordered.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests;
