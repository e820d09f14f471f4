//! The sending side of a stream. Ordering, credit and repetition are the engine's business.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::{
    rate_limit::Turns,
    shared::{Shared, State},
};
use crate::{error::WriteError, units::CloseCode, wire::id::StreamId};

/// Sends bytes in order on one stream.
///
/// Dropped before [`finish`](Self::finish), the stream is reset with code 0: the peer must not take a
/// part for the whole. As `AsyncWrite`, shutting down is finishing, and flushing does nothing: what was
/// accepted is sent without being asked for.
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
/// stream.write_bytes("half of it".into()).await?;
/// drop(stream); // without `finish`
///
/// // The reader cannot take it for the whole.
/// let mut stream = server.accept_uni().await?;
/// let mut outcome = stream.read_bytes(100).await;
/// while matches!(outcome, Ok(Some(_))) {
///     outcome = stream.read_bytes(100).await;
/// }
/// assert!(outcome.is_err());
/// # Ok(())
/// # }
/// ```
pub struct SendStream {
    shared: Arc<Shared>,
    id: StreamId,
    end: End,
    turns: Turns,
}

/// What the application did with the stream's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Reset,
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendStream({})", self.id)
    }
}

impl SendStream {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            end: End::Open,
            turns: Turns::default(),
        }
    }

    /// Which stream this is.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Send all of `data` without copying it into a buffer first; waits for room.
    ///
    /// If the future is dropped while it waits, a prefix of `data` may have been accepted; use
    /// [`write_some`](Self::write_some) where that matters.
    ///
    /// # Errors
    /// The peer stopped the stream, it was finished or reset, or the connection is over.
    pub async fn write_bytes(&mut self, mut data: Bytes) -> Result<(), WriteError> {
        while !data.is_empty() {
            self.write_some(&mut data).await?;
        }
        Ok(())
    }

    /// Send as much of `data` as there is room for, at least a byte, and leave the rest in it; waits for
    /// room. Nothing is taken if the future is dropped.
    ///
    /// # Errors
    /// As [`write_bytes`](Self::write_bytes).
    pub async fn write_some(&mut self, data: &mut Bytes) -> Result<(), WriteError> {
        if data.is_empty() {
            return Ok(());
        }
        poll_fn(|cx| {
            self.poll_with(cx, data.len(), |state, id, len| {
                if len == data.len() {
                    return state.engine.write_bytes(id, data);
                }
                let written = state.engine.write_bytes(id, &mut data.slice(..len))?;
                data.advance(written);
                Ok(written)
            })
        })
        .await
        .map(drop)
    }

    /// Waits until the stream takes data, and says how much: bytes that are costly to have ready are best
    /// fetched then, and not while nobody wants them. Streams share their connection's buffer, and
    /// connections a rate, so that a later write may take less.
    ///
    /// # Errors
    /// As [`write_bytes`](Self::write_bytes).
    pub async fn writable(&mut self) -> Result<usize, WriteError> {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            state.alive()?;
            match state.engine.writable(self.id) {
                Err(WriteError::Blocked) => {
                    state.register_sender(self.id, cx);
                    Poll::Pending
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// Larger goes first among this connection's streams; streams of equal priority share. Default 0.
    pub fn set_priority(&self, priority: i32) {
        // A stream that is gone has no priority; there is nobody to tell.
        let _ = self.shared.lock().engine.set_priority(self.id, priority);
    }

    /// No more will be written; what was is still delivered. Finishing again does nothing.
    ///
    /// # Errors
    /// The stream was reset or stopped, or the connection is over.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        match self.end {
            End::Open => {}
            End::Finished => return Ok(()),
            End::Reset => return Err(WriteError::Closed),
        }
        let mut state = self.shared.lock();
        state.alive()?;
        state.engine.finish(self.id)?;
        state.wake_task();
        self.end = End::Finished;
        Ok(())
    }

    /// Abandon the stream: what was not acknowledged is not sent again, and the peer is told `code`.
    pub fn reset(&mut self, code: CloseCode) {
        self.end = End::Reset;
        let mut state = self.shared.lock();
        // Already reset or acknowledged whole: the peer knows the end.
        let _ = state.engine.reset(self.id, code);
        state.wake_task();
    }

    /// Abandon the stream once everything written has arrived: the peer reads it, and then that the
    /// stream was reset with `code`. For an end that must not look like one.
    pub fn reset_after_delivery(&mut self, code: CloseCode) {
        if self.end != End::Open {
            return;
        }
        self.end = End::Reset;
        let mut state = self.shared.lock();
        // Stopped in the meantime: the stream is reset already, and nobody reads what was written.
        let _ = state.engine.reset_after_delivery(self.id, code);
        state.wake_task();
    }

    /// Waits until the peer stops the stream, with its code; `None` once everything including the end
    /// was acknowledged, for then it never will.
    ///
    /// # Errors
    /// The stream was reset, or the connection is over.
    pub async fn stopped(&mut self) -> Result<Option<CloseCode>, WriteError> {
        if self.end == End::Reset {
            return Err(WriteError::Closed);
        }
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            let sender = state.sender(self.id);
            if let Some(code) = sender.and_then(|sender| sender.stopped) {
                return Poll::Ready(Ok(Some(code)));
            }
            if sender.is_some_and(|sender| sender.acknowledged) {
                return Poll::Ready(Ok(None));
            }
            state.alive()?;
            state.register_sender(self.id, cx);
            Poll::Pending
        })
        .await
    }

    /// Waits until everything including the end was acknowledged by the peer.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if the stream was not finished; the peer stopped it first, or the
    /// connection is over.
    pub async fn finished(&mut self) -> Result<(), WriteError> {
        if self.end != End::Finished {
            return Err(WriteError::Closed);
        }
        match self.stopped().await? {
            Some(code) => Err(WriteError::Stopped(code)),
            None => Ok(()),
        }
    }

    /// Try `write` under the lock, which is told how many of `wanted` bytes it may take, or have the task
    /// of `cx` woken when there is room.
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl FnOnce(&mut State, StreamId, usize) -> Result<usize, WriteError>,
    ) -> Poll<Result<usize, WriteError>> {
        let mut state = self.shared.lock();
        state.alive()?;
        let limit = state.limits.send.clone();
        let may_pass = match &limit {
            None => wanted,
            Some(limit) => match self.turns.poll(cx, limit, wanted) {
                Poll::Ready(bytes) => bytes,
                Poll::Pending => {
                    // The stream may be stopped, or the connection end, before the turn comes.
                    state.register_sender(self.id, cx);
                    return Poll::Pending;
                }
            },
        };
        match write(&mut state, self.id, may_pass) {
            Err(WriteError::Blocked) => {
                state.register_sender(self.id, cx);
                Poll::Pending
            }
            result => {
                state.wake_task();
                if let (Some(limit), Ok(bytes)) = (&limit, &result) {
                    self.turns.spend(limit, *bytes);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = self.get_mut();
        let written = ready!(this.poll_with(cx, data.len(), |state, id, len| {
            state.engine.write(id, &data[..len])
        }));
        Poll::Ready(written.map_err(Into::into))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().finish().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.forget_sender(self.id);
        if self.end == End::Open && state.error.is_none() {
            // As in `reset`.
            let _ = state.engine.reset(self.id, CloseCode::default());
            state.wake_task();
        }
    }
}
