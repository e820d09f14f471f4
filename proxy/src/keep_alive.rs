//! TCP keep-alive on both ends of the proxy, so that a peer that vanished is noticed long before
//! the idle timer. Nothing else about sockets lives here.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence before the first probe. Probes only ever leave on otherwise silent connections.
const AFTER: Duration = Duration::from_secs(5 * 60);

/// Pause between unanswered probes; with [`PROBES`] of them a dead peer costs 90 s more.
const BETWEEN: Duration = Duration::from_secs(15);

/// Unanswered probes before the kernel resets the connection.
const PROBES: u32 = 6;

/// Turns keep-alive on; a kernel that refuses only loses the early notice.
pub(crate) fn keep_alive(tcp: &TcpStream) {
    let probes = TcpKeepalive::new().with_time(AFTER).with_interval(BETWEEN);
    #[cfg(target_os = "linux")]
    let probes = probes.with_retries(PROBES);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
}
