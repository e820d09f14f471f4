//! A stream to a target: the exit's reply at its head, then the target's bytes. Who asks for it lives in
//! `client`.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ClientCounters;
use crate::{
    error::OpenError,
    link::{Generation, Link, LinkGuard},
    open::{self, Options, Request},
    relay::{Far, code},
};

/// Bytes one read of a target's takes at most.
const READ_BYTES: usize = 64 << 10;

/// How far the reply at the head of the stream has been read.
#[derive(Debug)]
enum Progress {
    Waiting(BytesMut),
    Connected(SocketAddr, Bytes),
    Failed(OpenError),
}

/// A stream to a target. Bytes written go out at once; reading first takes the exit's reply off the
/// head, and fails with it if the dial failed.
#[derive(Debug)]
pub struct TargetStream {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    reply: Progress,
    pub(super) asked: Option<Asked>,
}

/// Over what a target was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) guard: LinkGuard,
    pub(super) link: Link,
    pub(super) generation: Generation,
    pub(super) counters: Arc<ClientCounters>,
}

impl TargetStream {
    /// A stream on which nothing was said yet.
    pub(super) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            reply: Progress::Waiting(BytesMut::new()),
            asked: None,
        }
    }

    pub(super) async fn ask(
        &mut self,
        request: &Request,
        options: Options,
    ) -> Result<(), OpenError> {
        let mut head = Vec::with_capacity(open::MAX_REQUEST_BYTES);
        request.encode_with(options, &mut head);
        Ok(self.send.write_bytes(head.into()).await?)
    }

    /// Takes what follows the reply for another reply.
    pub(super) fn expect_reply(&mut self) {
        if let Progress::Connected(_, early) = &self.reply {
            self.reply = Progress::Waiting(BytesMut::from(early.as_ref()));
        }
    }

    /// Waits for the dial's outcome: the address the exit dialled from.
    pub async fn connected(&mut self) -> Result<SocketAddr, OpenError> {
        poll_fn(|cx| self.poll_connected(cx)).await
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketAddr, OpenError>> {
        let (send, mut reader) = self.split();
        let connected = ready!(reader.poll_connected(cx));
        if connected.is_err() {
            send.reset(code::CANCELLED);
        }
        Poll::Ready(connected)
    }

    /// Both directions, for use at the same time.
    pub(crate) fn split(&mut self) -> (&mut SendStream, TargetReader<'_>) {
        let reader = TargetReader {
            recv: &mut self.recv,
            reply: &mut self.reply,
            asked: self.asked.as_ref(),
        };
        (&mut self.send, reader)
    }

    /// Puts bytes that were read back in front of those still to come.
    #[must_use]
    pub(crate) fn put_back(mut self, read: Bytes) -> Self {
        if let Progress::Connected(_, early) = &mut self.reply
            && !read.is_empty()
        {
            *early = [read, early.clone()].concat().into();
        }
        self
    }

    /// The parts, for a relay, which takes the exit's reply off the head where that was not waited for.
    pub fn into_far(self) -> Far {
        let (early, awaits_reply) = match self.reply {
            Progress::Connected(_, early) => (early, false),
            Progress::Waiting(head) => (head.freeze(), true),
            // The stream was stopped, which ends the relay.
            Progress::Failed(_) => (Bytes::new(), true),
        };
        Far {
            send: self.send,
            recv: self.recv,
            early,
            awaits_reply,
        }
    }

    /// The mark that the link is in use, to be kept as long as the parts.
    pub fn take_guard(&mut self) -> Option<LinkGuard> {
        self.asked.take().map(|asked| asked.guard)
    }
}

/// The direction from a target: the exit's reply first, then the target's bytes.
#[derive(Debug)]
pub(crate) struct TargetReader<'a> {
    recv: &'a mut RecvStream,
    reply: &'a mut Progress,
    asked: Option<&'a Asked>,
}

impl TargetReader<'_> {
    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketAddr, OpenError>> {
        loop {
            let head = match self.reply {
                Progress::Connected(bound, _) => return Poll::Ready(Ok(*bound)),
                Progress::Failed(error) => return Poll::Ready(Err(error.clone())),
                Progress::Waiting(head) => head,
            };
            *self.reply = match open::decode_reply(head) {
                Err(open::BadReply) => Progress::Failed(OpenError::BadReply),
                Ok(Some((Err(failure), _))) => Progress::Failed(failure.into()),
                Ok(Some((Ok(bound), len))) => {
                    Progress::Connected(bound, Bytes::copy_from_slice(&head[len..]))
                }
                Ok(None) => {
                    let mut piece = [0; open::MAX_REPLY_BYTES];
                    let mut piece = ReadBuf::new(&mut piece);
                    match ready!(Pin::new(&mut *self.recv).poll_read(cx, &mut piece)) {
                        Err(error) => Progress::Failed(open_error(&error)),
                        Ok(()) if piece.filled().is_empty() => {
                            Progress::Failed(OpenError::BadReply)
                        }
                        Ok(()) => {
                            head.extend_from_slice(piece.filled());
                            continue;
                        }
                    }
                }
            };
            let outcome = match &*self.reply {
                Progress::Failed(error) => Err(error),
                _ => Ok(()),
            };
            if let Some(asked) = self.asked {
                asked.counters.on_outcome(outcome);
            }
            if outcome.is_err() {
                self.recv.stop(code::CANCELLED);
            }
        }
    }

    /// The target's next bytes, `None` at its end; holds no buffer while it waits. Fails with the
    /// dial's outcome if that failed.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, OpenError> {
        poll_fn(|cx| self.poll_connected(cx)).await?;
        if let Progress::Connected(_, early) = self.reply
            && !early.is_empty()
        {
            return Ok(Some(std::mem::take(early)));
        }
        Ok(self.recv.read_bytes(READ_BYTES).await?)
    }

    /// Waits until the link has replaced the connection this stream belongs to, which was silent or
    /// lost: what got no answer may be asked again.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + use<> {
        let asked = self
            .asked
            .map(|asked| (asked.link.clone(), asked.generation));
        async move {
            match asked {
                Some((link, generation)) => link.replaced(generation).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether there is nothing to read, not even an end. What there is may be lost.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut read = pin!(self.read());
        poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await
    }
}

/// The reason a read failed, as the stream's own error where it is one.
fn open_error(error: &io::Error) -> OpenError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rp_protocol::error::ReadError>())
        .map_or(OpenError::BadReply, |error| error.clone().into())
}

impl AsyncRead for TargetStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_connected(cx)).map_err(io::Error::other)?;
        if let Progress::Connected(_, early) = &mut self.reply
            && !early.is_empty()
        {
            let len = early.len().min(buf.remaining());
            buf.put_slice(&early.split_to(len));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.recv).poll_read(cx, buf)
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
