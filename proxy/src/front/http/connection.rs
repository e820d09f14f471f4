//! A client's TCP connection and what was read ahead of it. Both directions of an exchange use it
//! at once. What the bytes mean is `head`'s and `body`'s business.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::closing::linger;

/// Bytes one read takes at most.
const READ_BYTES: usize = 32 << 10;

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

/// Ends the sending direction and lets what was written arrive: closing with unread bytes in the
/// receive buffer would send a reset, which may destroy it at the client (RFC 9112 section 9.6).
pub(super) async fn end_and_linger(tcp: &TcpStream) {
    if SockRef::from(tcp).shutdown(Shutdown::Write).is_ok() {
        linger(tcp).await;
    }
}
