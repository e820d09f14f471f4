//! Moves bytes between a TCP connection, or a Unix socket, and a stream until both directions have ended.
//! Who opened either side, and why, is `front`'s and `exit`'s business.
//!
//! An idle relay holds no buffer: each direction waits for readiness first, then borrows its
//! thread's scratch buffer for one read that cannot wait.

mod account;
mod traffic;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::Shutdown,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream, error::WriteError, units::CloseCode};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    task::coop::consume_budget,
    time::{Instant, sleep},
};
use tracing::debug;

use crate::{
    closing::{close_in_order, discard, drain, linger, reset_on_close},
    error::OpenError,
    open,
    socket::{Readable as _, Socket},
};

pub use account::Account;
pub(crate) use account::Held;
pub use traffic::Traffic;

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

/// A TCP connection or Unix socket to relay, and bytes already taken from it.
#[derive(Debug)]
pub struct Near {
    /// The connection.
    pub socket: Socket,
    /// Bytes read from it that the stream has not seen.
    pub early: Bytes,
    /// Whether what its peer goes on sending after the stream takes no more is read and discarded for
    /// a while, so that an answer that came early is not destroyed by a reset.
    pub lingers: bool,
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
    /// Whether it begins, with `early`, with a reply of the exit that nobody has read.
    pub awaits_reply: bool,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions ended in order.
    Finished,
    /// The stream's peer took no more, and its own direction ended in order.
    Refused,
    /// The TCP connection was reset or failed; so was the stream, behind what came before.
    TcpReset,
    /// The stream was reset or lost; the TCP connection was reset.
    StreamReset,
    /// Nothing moved for the idle timeout; both sides were reset.
    Idle,
}

/// How the direction from TCP to the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpEnd {
    /// The TCP peer ended it, which was passed on.
    Finished,
    /// The TCP connection was reset or failed, which was passed on.
    TcpReset,
    /// The peer stopped the stream.
    Refused,
    /// The connection to the peer is over.
    Lost,
}

/// How the direction from the stream to TCP ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DownEnd {
    /// The peer ended it, which was passed on.
    Finished,
    /// Nothing more can be written to TCP; the stream was stopped.
    TcpRefused,
    /// The stream was reset or lost.
    StreamReset,
}

/// What both directions of a relay tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Something moved since the last look.
    moved: AtomicBool,
    /// A write met the reset of the TCP connection. The kernel reports it once: a later read of the
    /// same socket finds what looks like an orderly end.
    was_reset: AtomicBool,
}

/// Relays until both directions ended, one side failed, or nothing moved for `idle`. What was moved is
/// counted in `held`, which is dropped at the end.
///
/// The future is to be spawned as it is: whatever wraps it holds a second copy of its arguments, and ten
/// thousand relays are idle at once.
//= spec/10-proxy.md#ends
//# A relay MUST pass the end of one direction on and keep the other direction open.
#[expect(
    clippy::manual_async_fn,
    reason = "the block uses what it captures where it is; an async function moves it first"
)]
pub fn relay<H>(mut near: Near, mut far: Far, idle: Duration, held: H) -> impl Future<Output = End>
where
    H: Account,
{
    async move {
        //= spec/10-proxy.md#ends
        //# A relay SHOULD have the TCP connection reset if its process dies.
        reset_on_close(&near.socket);
        let end = {
            let shared = Shared::default();
            let traffic = held.traffic();
            let (tcp, send) = (&near.socket, &mut far.send);
            let up = pin!(upward(tcp, send, &mut near.early, &shared, traffic));
            let awaits_reply = far.awaits_reply;
            let (recv, early) = (&mut far.recv, &mut far.early);
            let down = pin!(async {
                if awaits_reply {
                    match take_reply(recv, std::mem::take(early)).await {
                        Ok(behind) => {
                            held.on_reply(Ok(()));
                            *early = behind;
                        }
                        Err(error) => {
                            held.on_reply(Err(&error));
                            debug!(%error, "no connection behind an early success");
                            return DownEnd::StreamReset;
                        }
                    }
                }
                downward(tcp, recv, early, &shared, traffic).await
            });
            both(up, down, tcp, &shared, idle).await
        };
        let Near {
            ref socket,
            lingers,
            ..
        } = near;
        //= spec/10-proxy.md#ends
        //# A relay MUST pass a reset on as a reset, in both directions.
        match end {
            End::Finished => close_in_order(socket),
            End::Refused if lingers => {
                // Boxed, as the next one is: every relay would have room for them, and few need it.
                Box::pin(linger(socket)).await;
                close_in_order(socket);
            }
            End::TcpReset => far.recv.stop(code::RESET),
            End::Refused | End::StreamReset => {
                abandon(&mut far.send, &mut far.recv, code::RESET);
                drop((far.send, far.recv));
                Box::pin(drain(socket)).await;
            }
            End::Idle => abandon(&mut far.send, &mut far.recv, code::IDLE),
        }
        debug!(?end, "relay ended");
        drop(held);
        end
    }
}

/// Resets a stream in both directions; what is over already stays as it is.
pub fn abandon(send: &mut SendStream, recv: &mut RecvStream, code: CloseCode) {
    send.reset(code);
    recv.stop(code);
}

/// Runs both directions to their ends, or until one side failed or nothing moved for `idle`.
async fn both(
    mut up: Pin<&mut impl Future<Output = UpEnd>>,
    mut down: Pin<&mut impl Future<Output = DownEnd>>,
    tcp: &Socket,
    shared: &Shared,
    idle: Duration,
) -> End {
    let mut discarding = pin!(discard(tcp));
    let (mut up_end, mut down_end) = (None, None);
    let mut is_discarded = false;
    let mut quiet = 0;
    let mut tick = pin!(sleep(idle / IDLE_TICKS));
    loop {
        if let Some(end) = outcome(up_end, down_end) {
            return end;
        }
        tokio::select! {
            ended = &mut up, if up_end.is_none() => up_end = Some(ended),
            ended = &mut down, if down_end.is_none() => down_end = Some(ended),
            // A client that is blocked in a write would not read the answer to come.
            () = &mut discarding, if up_end == Some(UpEnd::Refused) && !is_discarded => {
                is_discarded = true;
            }
            () = &mut tick => {
                tick.as_mut().reset(Instant::now() + idle / IDLE_TICKS);
                quiet = if shared.moved.swap(false, Ordering::Relaxed) { 0 } else { quiet + 1 };
                if quiet >= IDLE_TICKS {
                    return End::Idle;
                }
            }
        }
    }
}

/// How the relay ends once its directions have come so far; `None` while it goes on.
fn outcome(up: Option<UpEnd>, down: Option<DownEnd>) -> Option<End> {
    match (up, down) {
        (_, Some(DownEnd::StreamReset)) => Some(End::StreamReset),
        (Some(UpEnd::TcpReset), _) | (Some(_), Some(DownEnd::TcpRefused)) => Some(End::TcpReset),
        (Some(UpEnd::Finished), Some(DownEnd::Finished)) => Some(End::Finished),
        (Some(UpEnd::Refused), Some(DownEnd::Finished)) => Some(End::Refused),
        (Some(UpEnd::Lost), Some(DownEnd::Finished)) => Some(End::StreamReset),
        (None, _) | (_, None) => None,
    }
}

/// TCP to stream.
async fn upward(
    tcp: &Socket,
    send: &mut SendStream,
    data: &mut Bytes,
    shared: &Shared,
    traffic: &Traffic,
) -> UpEnd {
    loop {
        let len = data.len() as u64;
        while !data.is_empty() {
            if let Err(error) = send.write_some(data).await {
                return refusal(&error);
            }
            shared.moved.store(true, Ordering::Relaxed);
        }
        traffic.count_sent(len);
        *data = match read_now(tcp) {
            Ok(read) if read.is_empty() => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(end) = wait_readable(tcp, send).await {
                    return end;
                }
                Bytes::new()
            }
            Err(_) => {
                shared.was_reset.store(true, Ordering::Relaxed);
                break;
            }
        };
        consume_budget().await;
    }
    if shared.was_reset.load(Ordering::Relaxed) {
        //= spec/10-proxy.md#ends
        //# What was read from a TCP connection before it failed MUST be passed on before the reset.
        send.reset_after_delivery(code::RESET);
        return UpEnd::TcpReset;
    }
    send.finish()
        .map_or_else(|error| refusal(&error), |()| UpEnd::Finished)
}

/// Waits for bytes from TCP; an end as soon as the peer wants none.
async fn wait_readable(tcp: &Socket, send: &mut SendStream) -> Option<UpEnd> {
    tokio::select! {
        // A failure is met again by the read that follows.
        _ = tcp.readable() => None,
        //= spec/10-proxy.md#ends
        //# A relay whose sending part was stopped MUST pass on what the stream still brings, to its end.
        stopped = send.stopped() => Some(match stopped {
            Ok(_) => UpEnd::Refused,
            Err(error) => refusal(&error),
        }),
    }
}

/// Why the stream takes no more.
fn refusal(error: &WriteError) -> UpEnd {
    match error {
        WriteError::Stopped(_) => UpEnd::Refused,
        _ => UpEnd::Lost,
    }
}

thread_local! {
    /// Where this thread's next read from TCP goes; borrowed only between two awaits.
    static TAKEN: RefCell<BytesMut> = RefCell::default();
    /// Where this thread's next read from a stream goes, likewise.
    static GIVEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read that does not wait; empty at the end.
fn read_now(tcp: &Socket) -> io::Result<Bytes> {
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

/// Takes the exit's reply off the head of a stream, `early` being what was read of it: what follows the reply.
///
/// # Errors
/// There is no connection to the target.
//= spec/10-proxy.md#reply
//# A front end that has reported success early MUST reset its client's connection when the dial fails or
//# no reply comes.
pub async fn take_reply(recv: &mut RecvStream, early: Bytes) -> Result<Bytes, OpenError> {
    let mut head = BytesMut::from(early);
    loop {
        match open::decode_reply(&head) {
            Ok(Some((Ok(_bound), len))) => return Ok(head.split_off(len).freeze()),
            Ok(None) => match recv.read_bytes(open::MAX_REPLY_BYTES).await? {
                Some(bytes) => head.extend_from_slice(&bytes),
                None => return Err(OpenError::BadReply),
            },
            Ok(Some((Err(failure), _))) => return Err(failure.into()),
            Err(open::BadReply) => return Err(OpenError::BadReply),
        }
    }
}

/// Stream to TCP.
async fn downward(
    tcp: &Socket,
    recv: &mut RecvStream,
    rest: &mut Bytes,
    shared: &Shared,
    traffic: &Traffic,
) -> DownEnd {
    let end = match pass_down(tcp, recv, rest, shared, traffic).await {
        Ok(()) => SockRef::from(tcp)
            .shutdown(Shutdown::Write)
            .map_or(DownEnd::TcpRefused, |()| DownEnd::Finished),
        Err(Failed::Stream) => DownEnd::StreamReset,
        Err(Failed::Tcp(error)) => {
            // Without a reset before, the TCP peer had ended its own direction in order.
            if error.kind() != io::ErrorKind::BrokenPipe {
                shared.was_reset.store(true, Ordering::Relaxed);
            }
            DownEnd::TcpRefused
        }
    };
    //= spec/10-proxy.md#ends
    //# A relay that can write no more to its TCP connection MUST stop the receiving part of the stream
    //# and pass on what that connection has sent, to its end.
    if end == DownEnd::TcpRefused {
        recv.stop(code::RESET);
    }
    end
}

/// Which side of the direction from the stream to TCP failed.
enum Failed {
    Tcp(io::Error),
    Stream,
}

/// Writes what the stream has to TCP, up to the stream's end.
async fn pass_down(
    tcp: &Socket,
    recv: &mut RecvStream,
    rest: &mut Bytes,
    shared: &Shared,
    traffic: &Traffic,
) -> Result<(), Failed> {
    traffic.count_received(rest.len() as u64);
    loop {
        while !rest.is_empty() {
            let written = write_now(tcp, rest)?;
            if written == 0 {
                tcp.writable().await.map_err(Failed::Tcp)?;
            }
            rest.advance(written);
            shared.moved.store(true, Ordering::Relaxed);
        }
        match poll_fn(|cx| poll_give(cx, recv, tcp, traffic)).await? {
            Some(unwritten) => *rest = unwritten,
            None => return Ok(()),
        }
        shared.moved.store(true, Ordering::Relaxed);
        consume_budget().await;
    }
}

/// Moves what the stream has into the connection, as far as that takes it; `Some` holds the rest,
/// `None` means the end.
fn poll_give(
    cx: &mut Context<'_>,
    recv: &mut RecvStream,
    tcp: &Socket,
    traffic: &Traffic,
) -> Poll<Result<Option<Bytes>, Failed>> {
    GIVEN.with_borrow_mut(|scratch| {
        scratch.resize(READ_BYTES, 0);
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(recv).poll_read(cx, &mut read)).map_err(|_| Failed::Stream)?;
        let data = read.filled();
        if data.is_empty() {
            return Poll::Ready(Ok(None));
        }
        traffic.count_received(data.len() as u64);
        let written = write_now(tcp, data)?;
        Poll::Ready(Ok(Some(Bytes::copy_from_slice(&data[written..]))))
    })
}

/// One write that does not wait: how much of `data` was taken, perhaps nothing.
fn write_now(tcp: &Socket, data: &[u8]) -> Result<usize, Failed> {
    match tcp.try_write(data) {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(Failed::Tcp(error)),
    }
}

#[cfg(test)]
mod tests;
