//! A client's TCP connection and what was read ahead of it. Both directions of an exchange use it
//! at once. What the bytes mean is `head`'s and `body`'s business.

use std::{
    io::{self, IoSlice},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// Bytes one read takes at most.
const READ_BYTES: usize = 32 << 10;

/// Silence after which a client that was answered before its request's end is no longer listened
/// to.
const LINGER_QUIET: Duration = Duration::from_secs(2);

/// Time in all for such a client to end.
const LINGER_IN_ALL: Duration = Duration::from_secs(30);

/// Reads more from `tcp` behind what is in `ahead`; 0 at the end. Holds no buffer while it waits
/// with nothing ahead.
pub(super) async fn read_more(tcp: &TcpStream, ahead: &mut BytesMut) -> io::Result<usize> {
    if ahead.is_empty() {
        *ahead = BytesMut::new();
    }
    loop {
        tcp.readable().await?;
        ahead.reserve(READ_BYTES);
        match tcp.try_read_buf(ahead) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Writes all of `data`.
pub(super) async fn write_all(tcp: &TcpStream, mut data: impl Buf) -> io::Result<()> {
    while data.has_remaining() {
        tcp.writable().await?;
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = data.chunks_vectored(&mut slices);
        match tcp.try_write_vectored(&slices[..filled]) {
            Ok(written) => data.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Closes so that what was written arrives: closing with unread bytes in the receive buffer would
/// send a reset, which may destroy it at the client (RFC 9112 section 9.6).
pub(super) async fn linger(tcp: &TcpStream) {
    if socket2::SockRef::from(tcp)
        .shutdown(std::net::Shutdown::Write)
        .is_err()
    {
        return;
    }
    let end = Instant::now() + LINGER_IN_ALL;
    let mut unread = BytesMut::new();
    loop {
        let quiet = end.min(Instant::now() + LINGER_QUIET);
        unread.clear();
        match timeout_at(quiet, read_more(tcp, &mut unread)).await {
            Ok(Ok(read)) if read > 0 => {}
            _ => return,
        }
    }
}
