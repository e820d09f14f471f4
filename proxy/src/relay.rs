//! Moves bytes between a TCP connection and a stream until both directions have ended.
//! Who opened either side, and why, is `front`'s and `exit`'s business.
//!
//! An idle relay holds no buffer: each direction waits for readiness first, then borrows its
//! thread's scratch buffer for one read that cannot wait.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::Shutdown,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream, units::CloseCode};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
    task::coop::consume_budget,
    time::{MissedTickBehavior, interval},
};

/// Bytes one read takes at most: large enough that a busy stream costs few system calls, small
/// enough that a read's data is gone within a millisecond at 1 Gbit/s and streams take turns.
const READ_BYTES: usize = 64 << 10;

/// Reads below this are copied out, so that a trickle does not pin a whole read buffer until it
/// is acknowledged.
const COPY_BELOW: usize = READ_BYTES / 2;

/// Looks for movement per idle timeout: the timeout is exceeded by a quarter at most, and moving
/// bytes costs no look at a clock.
const IDLE_TICKS: u32 = 4;

/// Stream codes of `spec/10-proxy.md#ends`.
pub mod code {
    use rp_protocol::units::CloseCode;

    /// The TCP connection at the other end was reset or failed.
    pub const RESET: CloseCode = CloseCode::from_u32(1);
    /// Nothing moved for the idle timeout.
    pub const IDLE: CloseCode = CloseCode::from_u32(2);
    /// The stream did not follow `spec/10-proxy.md`.
    pub const MALFORMED: CloseCode = CloseCode::from_u32(3);
    /// The asking side no longer wants the stream.
    pub const CANCELLED: CloseCode = CloseCode::from_u32(4);
}

/// A TCP connection to relay, and bytes already taken from it.
#[derive(Debug)]
pub struct Near {
    /// The connection.
    pub tcp: TcpStream,
    /// Bytes read from it that the stream has not seen.
    pub early: Bytes,
}

/// A stream to relay, and bytes already taken from it.
#[derive(Debug)]
pub struct Far {
    /// Towards the peer.
    pub send: SendStream,
    /// From the peer.
    pub recv: RecvStream,
    /// Bytes read from it that the TCP connection has not seen.
    pub early: Bytes,
}

/// Bytes relayed in each direction, for statistics.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From TCP connections into streams.
    pub sent: AtomicU64,
    /// From streams to TCP connections.
    pub received: AtomicU64,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions ended in order.
    Finished,
    /// The TCP connection was reset or failed; the stream was reset.
    TcpReset,
    /// The stream was reset, stopped or lost; the TCP connection was reset.
    StreamReset,
    /// Nothing moved for the idle timeout; both sides were reset.
    Idle,
}

/// Relays until both directions ended, one side failed, or nothing moved for `idle`.
//= spec/10-proxy.md#ends
//# A relay MUST pass the end of one direction on and keep the other direction open.
pub async fn relay(near: Near, far: Far, idle: Duration, traffic: &Traffic) -> End {
    let Near {
        tcp,
        early: up_early,
    } = near;
    let Far {
        mut send,
        mut recv,
        early: down_early,
    } = far;
    let moved = AtomicBool::new(false);
    let end = {
        let up = upward(&tcp, &mut send, up_early, &moved, &traffic.sent);
        let down = downward(&mut recv, &tcp, down_early, &moved, &traffic.received);
        both(up, down, &moved, idle).await
    };
    //= spec/10-proxy.md#ends
    //# A relay MUST pass a reset on as a reset, in both directions.
    match end {
        End::Finished => {}
        End::TcpReset => abandon(&mut send, &mut recv, code::RESET),
        End::StreamReset => {
            abandon(&mut send, &mut recv, code::RESET);
            reset_on_drop(&tcp);
        }
        End::Idle => {
            abandon(&mut send, &mut recv, code::IDLE);
            reset_on_drop(&tcp);
        }
    }
    end
}

/// Resets a stream in both directions; what is over already stays as it is.
pub fn abandon(send: &mut SendStream, recv: &mut RecvStream, code: CloseCode) {
    send.reset(code);
    recv.stop(code);
}

/// Makes dropping `tcp` send a reset instead of an orderly end, so that cut data never looks whole.
pub fn reset_on_drop(tcp: &TcpStream) {
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// Runs both directions to their ends, or until one fails or nothing moved for `idle`.
async fn both(
    up: impl Future<Output = Result<(), End>>,
    down: impl Future<Output = Result<(), End>>,
    moved: &AtomicBool,
    idle: Duration,
) -> End {
    let mut up = pin!(up);
    let mut down = pin!(down);
    let (mut up_open, mut down_open) = (true, true);
    let mut quiet = 0;
    let mut ticks = interval(idle / IDLE_TICKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    ticks.reset();
    while up_open || down_open {
        tokio::select! {
            ended = &mut up, if up_open => match ended {
                Ok(()) => up_open = false,
                Err(end) => return end,
            },
            ended = &mut down, if down_open => match ended {
                Ok(()) => down_open = false,
                Err(end) => return end,
            },
            _ = ticks.tick() => {
                quiet = if moved.swap(false, Ordering::Relaxed) { 0 } else { quiet + 1 };
                if quiet >= IDLE_TICKS {
                    return End::Idle;
                }
            }
        }
    }
    End::Finished
}

/// TCP to stream.
async fn upward(
    tcp: &TcpStream,
    send: &mut SendStream,
    early: Bytes,
    moved: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), End> {
    let mut data = early;
    loop {
        if !data.is_empty() {
            let len = data.len() as u64;
            let written = send.write_bytes(data).await;
            written.map_err(|_| End::StreamReset)?;
            count.fetch_add(len, Ordering::Relaxed);
            moved.store(true, Ordering::Relaxed);
        }
        data = match read_now(tcp) {
            Ok(read) if read.is_empty() => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_readable(tcp, send).await?;
                Bytes::new()
            }
            Err(_) => return Err(End::TcpReset),
        };
        consume_budget().await;
    }
    // Stopped or lost in the meantime: the other direction tells.
    let _ = send.finish();
    Ok(())
}

/// Waits for bytes from TCP; fails as soon as the peer wants none.
async fn wait_readable(tcp: &TcpStream, send: &mut SendStream) -> Result<(), End> {
    tokio::select! {
        readable = tcp.readable() => readable.map_err(|_| End::TcpReset),
        _ = send.stopped() => Err(End::StreamReset),
    }
}

thread_local! {
    /// Where this thread's next read from TCP goes; borrowed only between two awaits.
    static TAKEN: RefCell<BytesMut> = RefCell::default();
    /// Where this thread's next read from a stream goes, likewise.
    static GIVEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read that does not wait; empty at the end.
fn read_now(tcp: &TcpStream) -> io::Result<Bytes> {
    TAKEN.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.reserve(READ_BYTES);
        let read = tcp.try_read_buf(scratch)?;
        if read < COPY_BELOW {
            Ok(Bytes::copy_from_slice(scratch))
        } else {
            Ok(scratch.split().freeze())
        }
    })
}

/// Stream to TCP.
async fn downward(
    recv: &mut RecvStream,
    tcp: &TcpStream,
    early: Bytes,
    moved: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), End> {
    let mut rest = early;
    count.fetch_add(rest.len() as u64, Ordering::Relaxed);
    loop {
        while !rest.is_empty() {
            let written = write_now(tcp, &rest)?;
            if written == 0 {
                tcp.writable().await.map_err(|_| End::TcpReset)?;
            }
            rest.advance(written);
            moved.store(true, Ordering::Relaxed);
        }
        match poll_fn(|cx| poll_give(cx, recv, tcp, count)).await? {
            Some(unwritten) => rest = unwritten,
            None => break,
        }
        moved.store(true, Ordering::Relaxed);
        consume_budget().await;
    }
    SockRef::from(tcp)
        .shutdown(Shutdown::Write)
        .map_err(|_| End::TcpReset)
}

/// Moves what the stream has into the connection, as far as that takes it; `Some` holds the rest,
/// `None` means the end.
fn poll_give(
    cx: &mut Context<'_>,
    recv: &mut RecvStream,
    tcp: &TcpStream,
    count: &AtomicU64,
) -> Poll<Result<Option<Bytes>, End>> {
    GIVEN.with_borrow_mut(|scratch| {
        scratch.resize(READ_BYTES, 0);
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(recv).poll_read(cx, &mut read)).map_err(|_| End::StreamReset)?;
        let data = read.filled();
        if data.is_empty() {
            return Poll::Ready(Ok(None));
        }
        count.fetch_add(data.len() as u64, Ordering::Relaxed);
        let written = write_now(tcp, data)?;
        Poll::Ready(Ok(Some(Bytes::copy_from_slice(&data[written..]))))
    })
}

/// One write that does not wait: how much of `data` was taken, perhaps nothing.
fn write_now(tcp: &TcpStream, data: &[u8]) -> Result<usize, End> {
    match tcp.try_write(data) {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(End::TcpReset),
    }
}
