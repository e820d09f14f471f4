//! How a TCP connection is closed so that its peer sees what happened: whole data ends in order and
//! is not destroyed by a late reset, cut data ends with a reset and is never taken for the whole.
//! When which of them is due is decided by `relay` and the front ends.

use std::{io, os::fd::AsFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, interval, timeout, timeout_at},
};

use crate::socket::Readable;

/// Longest time a peer that was answered early may go on sending (nginx: `lingering_time`).
const LINGER_TIME: Duration = Duration::from_secs(30);

/// Silence after which such a peer is not waited for (nginx: `lingering_timeout`).
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// Most bytes read and discarded for such a peer. A client that writes its whole request before it
/// reads gets the answer to an upload of this size.
const LINGER_BYTES: u64 = 64 << 20;

/// Bytes discarded with one system call.
const DISCARD_BYTES: usize = 64 << 10;

/// Longest wait for a peer to take what was written before the reset.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// Pause between two looks at what the kernel still holds.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Makes closing `tcp` send a reset, also when the process dies, until [`close_in_order`].
pub(crate) fn reset_on_close(tcp: &impl AsFd) {
    // Refused only by a socket that has failed already.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// Makes closing `tcp` send an orderly end behind what was written.
pub(crate) fn close_in_order(tcp: &impl AsFd) {
    let _ = SockRef::from(tcp).set_linger(None);
}

/// Reads and discards what the peer sends until its end, for a bounded time and number of bytes.
///
/// To be called between shutting down the sending direction and closing: the kernel answers bytes
/// that nobody read with a reset, and a reset may destroy the answer that the peer has not read.
pub(crate) async fn linger(tcp: &impl Readable) {
    let deadline = Instant::now() + LINGER_TIME;
    let mut left = LINGER_BYTES;
    while left > 0 {
        let silence = deadline.min(Instant::now() + LINGER_SILENCE);
        match timeout_at(silence, discard_some(tcp)).await {
            Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read as u64),
            _ => return,
        }
    }
}

/// Reads and discards what the peer sends, to its end or failure.
pub(crate) async fn discard(tcp: &impl Readable) {
    while matches!(discard_some(tcp).await, Ok(read) if read > 0) {}
}

/// One read whose bytes nobody wants; 0 at the end.
async fn discard_some(tcp: &impl Readable) -> io::Result<usize> {
    loop {
        tcp.readable().await?;
        match discard_now(tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => {
                consume_budget().await;
                return read;
            }
        }
    }
}

/// A function of its own, so that no future holds the buffer.
fn discard_now(tcp: &impl Readable) -> io::Result<usize> {
    tcp.try_read(&mut [0; DISCARD_BYTES])
}

/// Waits, for a bounded time, until the kernel has sent what was written to `tcp`: a reset discards
/// the rest.
pub(crate) async fn drain(tcp: &impl AsFd) {
    // The kernel calls such a socket writable when every byte was sent and at most a small segment
    // waits for its acknowledgement. Nothing exact can be asked without unsafe code.
    let socket = SockRef::from(tcp);
    #[cfg(target_os = "linux")]
    if socket.set_tcp_notsent_lowat(1).is_err() {
        return;
    }
    if socket.set_send_buffer_size(1).is_err() {
        return;
    }
    let mut ticks = interval(DRAIN_TICK);
    let drained = async {
        while !is_writable(tcp) {
            ticks.tick().await;
        }
    };
    // A peer that takes nothing for so long loses the rest.
    let _ = timeout(DRAIN_TIME, drained).await;
}

/// Whether the kernel takes more for `tcp`, or has given it up.
fn is_writable(tcp: &impl AsFd) -> bool {
    let mut sockets = [PollFd::new(tcp, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // A failure says nothing about the peer; waiting longer would not mend it.
    poll(&mut sockets, Some(&now)).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests;
