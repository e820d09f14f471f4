//! The way to the server: which interface it takes, and whether the server answers. Measured, not judged.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use rp_protocol::{Connection, config::TransportConfig, units::CloseCode};
use rp_proxy::Client;
use rustix::net::sockopt;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    connect::{Connector, Family, Server, Trust},
    exit_code::{ExitCode, Failure},
    prompt::Nobody,
};

/// How long the size of packets is looked for: some round trips of a slow path.
const SEARCH: Duration = Duration::from_secs(3);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(100);

/// A server that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Least round-trip time.
    pub rtt: Duration,
    /// Largest UDP payload that arrives.
    pub max_payload: u32,
    /// The interface's MTU, where packets of that size do not arrive.
    pub blocked_above: Option<u32>,
}

/// Connects to `server`, and looks how large packets may be.
///
/// # Errors
/// It is not reached, or does not let us in; the text says why.
pub async fn reach(
    server: &Server,
    trust: &Trust,
    transport: &TransportConfig,
) -> Result<Reached, Failure> {
    let connector = Connector::new(server.clone(), Family::Any, trust, &Nobody)?;
    let connecting = connector.connect(rp_proxy::SERVICE, transport.clone(), &Nobody);
    let connected = connecting.await?;
    let connection = &connected.connection;
    let access = Client::confirm_access(connection).await;
    let mtu = interface(connection.remote_address()).map(|(_, mtu)| mtu);
    let reached = search(connection, mtu).await;
    connected.close(CloseCode::default(), b"done").await;
    match access {
        Ok(()) => Ok(reached),
        Err(error) => Err(Failure::new(
            ExitCode::Connect,
            format!("{server}: {error}"),
        )),
    }
}

/// Waits for the search for the largest packet to end or to reach the interface's.
async fn search(connection: &Connection, mtu: Option<u32>) -> Reached {
    let headers = match connection.remote_address().ip().to_canonical() {
        IpAddr::V4(_) => 28,
        IpAddr::V6(_) => 48,
    };
    let most = mtu.map(|mtu| mtu.saturating_sub(headers));
    let (mut largest, mut since) = (0, Instant::now());
    loop {
        let stats = connection.stats();
        let Some(path) = stats.paths.first() else {
            return Reached {
                rtt: Duration::ZERO,
                max_payload: 0,
                blocked_above: None,
            };
        };
        let payload = u32::from(path.max_payload);
        if payload > largest {
            (largest, since) = (payload, Instant::now());
        }
        // A probe that is lost is repeated, and then a smaller one is tried.
        let is_most = most.is_some_and(|most| payload + 8 >= most);
        if is_most || since.elapsed() > SEARCH {
            return Reached {
                rtt: path.min_rtt,
                max_payload: payload,
                // Jumbo frames are not what anybody expects of a whole path.
                blocked_above: mtu.filter(|mtu| !is_most && *mtu <= super::USUAL_MTU),
            };
        }
        // What carries probes is traffic.
        let ask = timeout(LOOK, Client::confirm_access(connection));
        let _ = ask.await;
        sleep(LOOK).await;
    }
}

/// The interface towards `server` and its MTU.
pub(super) async fn route(server: &Server) -> Option<(String, u32)> {
    let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
    interface(found.ok()?.next()?)
}

fn interface(remote: SocketAddr) -> Option<(String, u32)> {
    let name = match remote.ip().to_canonical() {
        IpAddr::V4(to) => route_v4(&fs::read_to_string("/proc/net/route").ok()?, to)
            .or_else(|| to.is_loopback().then(|| "lo".to_owned()))?,
        IpAddr::V6(to) => route_v6(&fs::read_to_string("/proc/net/ipv6_route").ok()?, to)?,
    };
    Some((name, mtu(remote).ok()?))
}

/// The largest packet that leaves for `remote`, as far as this machine knows.
fn mtu(remote: SocketAddr) -> io::Result<u32> {
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(match remote {
        SocketAddr::V4(_) => sockopt::ip_mtu(&socket)?,
        SocketAddr::V6(_) => sockopt::ipv6_mtu(&socket)?,
    })
}

/// The interface by which `to` is reached, in the text of `/proc/net/route`: the longest prefix wins.
pub(super) fn route_v4(table: &str, to: Ipv4Addr) -> Option<String> {
    let to = u32::from_le_bytes(to.octets());
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let (network, mask) = (hex(1)?, hex(7)?);
        let metric: u32 = fields.get(6)?.parse().ok()?;
        let is_match = to & mask == network;
        is_match.then(|| {
            (
                mask.count_ones(),
                std::cmp::Reverse(metric),
                fields[0].to_owned(),
            )
        })
    });
    routes.max().map(|(_, _, interface)| interface)
}

/// The same in the text of `/proc/net/ipv6_route`.
pub(super) fn route_v6(table: &str, to: Ipv6Addr) -> Option<String> {
    let to = u128::from(to);
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let network = u128::from_str_radix(fields.first()?, 16).ok()?;
        let bits = u32::from_str_radix(fields.get(1)?, 16).ok()?;
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        let interface = (*fields.get(9)?).to_owned();
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        let is_match = to & mask == network;
        // A route without a gateway that nothing is sent to is listed with the largest metric.
        (is_match && metric != u32::MAX).then_some((bits, std::cmp::Reverse(metric), interface))
    });
    routes.max().map(|(_, _, interface)| interface)
}
