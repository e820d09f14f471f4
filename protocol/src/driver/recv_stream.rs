//! The receiving side of a stream. Reassembly and credit are the engine's business.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    rate_limit::Turns,
    shared::{Shared, State},
};
use crate::{error::ReadError, units::CloseCode, wire::id::StreamId};

/// Receives the bytes of one stream, in order or in blocks as they arrive.
///
/// Dropped before its end was read, the stream is stopped with code 0. Every `async` method may be
/// dropped at any await without losing a byte.
///
/// ```
/// # use std::{error::Error, net::Ipv4Addr, sync::Arc};
/// # use rp_protocol::{Connection, Endpoint, config::{ClientConfig, EndpointConfig, ServerConfig}};
/// # use rp_protocol::crypto::{identity::Identity, trust::AcceptAnyKey};
/// # async fn pair() -> Result<(Connection, Connection), Box<dyn Error + Send + Sync>> {
/// #     let any = (Ipv4Addr::LOCALHOST, 0).into();
/// #     let who = || Identity::generate().map(Arc::new);
/// #     let config = ServerConfig::new(who()?, Arc::new(AcceptAnyKey), &["doc/1"]);
/// #     let server = Endpoint::bind(any, EndpointConfig::default(), Some(config))?;
/// #     let client = Endpoint::bind(any, EndpointConfig::default(), None)?;
/// #     let config = ClientConfig::new(who()?, Arc::new(AcceptAnyKey), "doc/1");
/// #     let address = server.local_addr()?;
/// #     let accept = async { server.accept().await.ok_or("closed")?.accept().await.map_err(Box::from) };
/// #     let connect = async { client.connect(address, config).await.map_err(Box::from) };
/// #     tokio::try_join!(connect, accept)
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
/// let (client, server) = pair().await?;
/// let mut stream = client.open_uni().await?;
/// stream.write_bytes("two words".into()).await?;
/// stream.finish()?;
///
/// let mut stream = server.accept_uni().await?;
/// assert_eq!(stream.read_bytes(4).await?.as_deref(), Some(&b"two "[..]));
/// // In whatever order they arrive, each with its place: for files.
/// let (offset, block) = stream.read_block().await?.ok_or("ended")?;
/// assert_eq!((offset, &block[..]), (4, &b"words"[..]));
/// assert!(stream.read_block().await?.is_none());
/// # Ok(())
/// # }
/// ```
pub struct RecvStream {
    shared: Arc<Shared>,
    id: StreamId,
    /// Read to the end, failed or stopped, so that dropping means nothing more.
    ended: bool,
    /// Why it ended, if not by its end; told again to whoever reads again.
    failed: Option<ReadError>,
    turns: Turns,
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvStream({})", self.id)
    }
}

impl RecvStream {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            ended: false,
            failed: None,
            turns: Turns::default(),
        }
    }

    /// Which stream this is.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The next bytes in order, at most `max` of them, as a slice of the buffer they were received in;
    /// `None` at the end of the stream. Waits for them.
    ///
    /// # Errors
    /// The peer reset the stream, it was stopped, or the connection is over.
    pub async fn read_bytes(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| {
            self.poll_with(cx, max, |state, id, max| {
                let read = state.engine.read(id, max)?;
                Ok(read.map(|data| (data.len(), data)))
            })
        })
        .await
    }

    /// The next bytes in whatever order they arrived, with their offset in the stream; each byte once;
    /// `None` when all were read. Waits for them. Once used, ordered reads are over.
    ///
    /// # Errors
    /// As [`read_bytes`](Self::read_bytes).
    pub async fn read_block(&mut self) -> Result<Option<(u64, Bytes)>, ReadError> {
        poll_fn(|cx| {
            self.poll_with(cx, usize::MAX, |state, id, _| {
                let read = state.engine.read_block(id)?;
                Ok(read.map(|block| (block.1.len(), block)))
            })
        })
        .await
    }

    /// As [`read_block`](Self::read_block), but appends everything that is there, up to about
    /// `max_bytes`, and so takes the connection's lock once for many blocks. Returns false at the end,
    /// when nothing was appended.
    ///
    /// # Errors
    /// As [`read_bytes`](Self::read_bytes); blocks appended by the same call are then of no use.
    pub async fn read_blocks(
        &mut self,
        blocks: &mut Vec<(u64, Bytes)>,
        max_bytes: usize,
    ) -> Result<bool, ReadError> {
        self.read_many(max_bytes, |state, id, _| {
            let block = state.engine.read_block(id)?;
            Ok(block.map(|block| {
                let length = block.1.len();
                blocks.push(block);
                length
            }))
        })
        .await
    }

    /// As [`read_bytes`](Self::read_bytes), but appends everything that is there in order, up to
    /// `max_bytes`, slice by slice. Returns false at the end, when nothing was appended.
    ///
    /// # Errors
    /// As [`read_bytes`](Self::read_bytes); what was appended by the same call still counts.
    pub async fn read_slices(
        &mut self,
        slices: &mut Vec<Bytes>,
        max_bytes: usize,
    ) -> Result<bool, ReadError> {
        self.read_many(max_bytes, |state, id, left| {
            let slice = state.engine.read(id, left)?;
            Ok(slice.map(|slice| {
                let length = slice.len();
                slices.push(slice);
                length
            }))
        })
        .await
    }

    /// Calls `read`, which is told how many bytes are wanted and says how many it got, until that many
    /// are there, or no more, or the end.
    async fn read_many(
        &mut self,
        max_bytes: usize,
        mut read: impl FnMut(&mut State, StreamId, usize) -> Result<Option<usize>, ReadError>,
    ) -> Result<bool, ReadError> {
        poll_fn(|cx| {
            let mut at_end = false;
            let read = self.poll_with(cx, max_bytes, |state, id, max_bytes| {
                let mut bytes = 0;
                while bytes < max_bytes {
                    match read(state, id, max_bytes - bytes) {
                        Ok(Some(length)) => bytes += length,
                        Ok(None) => {
                            at_end = true;
                            break;
                        }
                        Err(ReadError::Blocked) if bytes > 0 => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok((bytes > 0).then_some((bytes, ())))
            });
            // The engine says only once that a stream is at its end.
            self.ended |= at_end;
            read.map_ok(|some| some.is_some())
        })
        .await
    }

    /// Whether nothing more will be read: the end was seen, or why there is none.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Tell the peer that nothing more of this stream is wanted. What has arrived is discarded.
    pub fn stop(&mut self, code: CloseCode) {
        if !self.ended {
            self.ended = true;
            self.failed = Some(ReadError::Closed);
            let mut state = self.shared.lock();
            // Already at its end: there is nothing left to stop.
            let _ = state.engine.stop(self.id, code);
            state.wake_task();
        }
    }

    /// Try `read` under the lock, which is told how many of `wanted` bytes it may take and says how many
    /// it took, or have the task of `cx` woken when there is something.
    fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        read: impl FnOnce(&mut State, StreamId, usize) -> Result<Option<(usize, T)>, ReadError>,
    ) -> Poll<Result<Option<T>, ReadError>> {
        if self.ended {
            return Poll::Ready(self.failed.clone().map_or(Ok(None), Err));
        }
        let mut state = self.shared.lock();
        let limit = state.limits.receive.clone();
        let buffered = match &limit {
            Some(_) => state.engine.buffered(self.id).min(wanted),
            None => 0,
        };
        let may_pass = match &limit {
            // An end needs no turn.
            Some(limit) if buffered > 0 => match self.turns.poll(cx, limit, buffered) {
                Poll::Ready(bytes) => bytes,
                Poll::Pending => {
                    state.register_receiver(self.id, cx);
                    return Poll::Pending;
                }
            },
            _ => wanted,
        };
        match read(&mut state, self.id, may_pass) {
            Err(ReadError::Blocked) => {
                // What arrived before the end may still be read, only then does it count.
                state.alive()?;
                state.register_receiver(self.id, cx);
                Poll::Pending
            }
            Err(ReadError::IllegalOrderedRead) => Poll::Ready(Err(ReadError::IllegalOrderedRead)),
            Err(error) => {
                self.ended = true;
                self.failed = Some(error.clone());
                state.wake_task();
                Poll::Ready(Err(error))
            }
            Ok(read) => {
                self.ended = read.is_none();
                // Reading makes room, and the peer may be waiting to hear of it.
                state.wake_task();
                Poll::Ready(Ok(read.map(|(bytes, read)| {
                    if let Some(limit) = &limit {
                        self.turns.spend(limit, bytes);
                    }
                    read
                })))
            }
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let max = buf.remaining();
            let read = this.poll_with(cx, max, |state, id, max| {
                let read = state.engine.read(id, max)?;
                Ok(read.map(|data| (data.len(), data)))
            });
            match read {
                Poll::Ready(Ok(Some(data))) => buf.put_slice(&data),
                Poll::Ready(Ok(None)) => break,
                // What was read before the failure comes first; the failure is told next time.
                Poll::Ready(Err(_)) | Poll::Pending if buf.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.forget_receiver(self.id);
        let unread = !self.ended && state.error.is_none();
        drop(state);
        if unread {
            self.stop(CloseCode::default());
        }
    }
}
