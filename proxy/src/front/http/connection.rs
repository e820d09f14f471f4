//! A client's TCP connection and what was read ahead of it. Both directions of an exchange use it
//! at once. What the bytes mean is `head`'s and `body`'s business.

use std::{
    cell::RefCell,
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
        match read_now(tcp, ahead) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

thread_local! {
    /// Where this thread's next read goes; borrowed only between two awaits.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read that does not wait. What is ahead takes no more room than it needs: a client that sends a byte and
/// no more is to cost a byte.
fn read_now(tcp: &TcpStream, ahead: &mut BytesMut) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(READ_BYTES, 0);
        let read = tcp.try_read(scratch)?;
        ahead.extend_from_slice(&scratch[..read]);
        Ok(read)
    })
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
