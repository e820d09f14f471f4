//! The test after a set-up: a connection and a datagram to addresses that nobody has are answered by
//! the `rpclient` that runs.

use std::{
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use rp_proxy::self_test_answer;

use super::plan::Family;

/// Longest wait for an answer, which comes from this machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Questions asked by UDP, which may be lost.
const QUESTIONS: u32 = 3;

/// What a test showed.
#[derive(Debug)]
pub(super) enum Finding {
    /// What was sent arrived.
    Works,
    /// This machine has no route to such addresses, so nothing could be sent.
    NoRoute,
    /// It did not arrive.
    Fails(String),
}

/// Whether a TCP connection arrives, and a datagram if `udp`.
pub(super) fn test(family: Family, udp: bool) -> Finding {
    let address = family.test_address();
    let tried = tcp(address).map_err(|error| ("TCP", error));
    let tried = match tried {
        Ok(()) if udp => self::udp(address).map_err(|error| ("UDP", error)),
        tried => tried,
    };
    match tried {
        Ok(()) => Finding::Works,
        Err((_, error)) if is_unreachable(&error) => Finding::NoRoute,
        Err((protocol, error)) => Finding::Fails(format!("{protocol} to {address}: {error}")),
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable
    )
}

fn tcp(address: SocketAddr) -> io::Result<()> {
    let tcp = TcpStream::connect_timeout(&address, TIMEOUT)?;
    tcp.set_read_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(tcp).read_line(&mut line)?;
    expect(&line, address)
}

fn udp(address: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    // An answer counts only if it comes from the address asked.
    socket.connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT / QUESTIONS))?;
    let mut buffer = [0; 256];
    for _ in 1..QUESTIONS {
        socket.send(b"?")?;
        if let Ok(len) = socket.recv(&mut buffer) {
            return expect(&String::from_utf8_lossy(&buffer[..len]), address);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn expect(answer: &str, address: SocketAddr) -> io::Result<()> {
    match answer == self_test_answer(address) {
        true => Ok(()),
        false => Err(io::Error::other("something else answered")),
    }
}
