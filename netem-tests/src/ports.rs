//! Ports for programs that cannot be told "any", because others must know them beforehand.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use rand::RngExt;

/// Ports of loopback that Linux gives to nobody who did not name them: its own choice for outgoing
/// connections and port 0 begins at 32768 (`net.ipv4.ip_local_port_range`).
const NEVER_CHOSEN: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS: u32 = 100;

/// An address of loopback that nobody listens on, by TCP or UDP.
///
/// It is free when this returns and taken by nobody by chance; only a program that was given the same
/// one can be faster than its user.
pub(crate) fn free_port() -> io::Result<SocketAddr> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let address = (Ipv4Addr::LOCALHOST, rand::rng().random_range(NEVER_CHOSEN)).into();
        match UdpSocket::bind(address).and_then(|_udp| TcpListener::bind(address).map(drop)) {
            Ok(()) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("at least one attempt was made"))
}
