//! One request and its response: both directions at once, on one task.
//! Which origin it goes to, and what a failure means for the client, is `session`'s.
//!
//! 1. Up: the head, then the body as the client sends it. An origin that takes no more ends the
//!    upload and not the exchange: its last words may be on their way (413, 401).
//! 2. Down: every 1xx, then the response, framed anew for the client.
//! 3. The response's end ends the exchange; a body that was not read whole by then costs the
//!    client its connection.

use std::{
    future::pending,
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rp_protocol::{SendStream, error::ConnectionError};
use tokio::{
    net::TcpStream,
    task::coop::consume_budget,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    body::{BadBody, Decoder, Piece, chunk, last_chunk},
    connection::{read_more, write_all},
    forward,
    framing::{self, BadFraming, Framing},
    head::{BadHead, HeadEnd, Reading, RequestHead, ResponseHead},
    pace::Pace,
};
use crate::{
    client::{ClientConfig, TargetReader, TargetStream},
    error::OpenError,
    relay::Traffic,
};

/// Bytes read ahead of a request that is being answered, at most: enough to notice a client that
/// left, and to have the next request's head.
const MAX_AHEAD: usize = 16 << 10;

/// Looks for movement per idle timeout.
const IDLE_TICKS: u32 = 4;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) framing: Framing,
    /// The head as the origin gets it.
    pub(super) forwarded: Bytes,
    /// The client wants its connection closed behind the response.
    pub(super) closes: bool,
}

impl Request {
    fn is_head(&self) -> bool {
        self.head.method.as_ref() == b"HEAD"
    }

    /// Whether doing it twice is the same as once (RFC 9110 section 9.2.2), and its body is not
    /// gone.
    pub(super) fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [&[u8]; 6] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"];
        IDEMPOTENT.contains(&self.head.method.as_ref())
            && matches!(self.framing, Framing::None | Framing::Sized(0))
    }
}

/// A connection to an origin, and what was read ahead of it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) stream: TargetStream,
    pub(super) ahead: BytesMut,
}

impl Origin {
    pub(super) fn new(stream: TargetStream) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
        }
    }
}

/// How an exchange ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// Both sides left HTTP.
    Switched,
    /// The response is with the client.
    Answered {
        /// The origin's connection takes another request.
        keeps_origin: bool,
        /// The client's connection takes another request.
        keeps_client: bool,
    },
}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing came from the origin; the client has nothing either.
    NoResponse(OpenError),
    /// What came from the origin is no response; the client has no final one.
    BadResponse(BadResponse),
    /// The client's body is none; it has no response yet.
    BadBody(BadBody),
    /// The response broke off, the client left or nothing moved: both sides are reset.
    Broken(&'static str),
}

/// Why the origin's bytes are no response that can be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadResponse {
    #[error("{0}")]
    Head(#[from] BadHead),
    #[error("{0}")]
    Framing(#[from] BadFraming),
    #[error("it ended within its head. Try again.")]
    CutShort,
    #[error("it switches to a protocol that nobody asked for.")]
    Switching,
}

/// What both directions tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// The request was read to its end.
    is_request_read: AtomicBool,
    /// The origin stopped reading before that.
    is_refused: AtomicBool,
    /// Bytes of a response may have reached the client, so that it can get no other one.
    is_answering: AtomicBool,
    /// Something moved since the last look.
    moved: AtomicBool,
}

impl Shared {
    fn mark(flag: &AtomicBool) {
        flag.store(true, Ordering::Relaxed);
    }

    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }
}

/// Runs one exchange between `tcp` and `origin`; `ahead` is what was read of `tcp` beyond the
/// request's head. An exchange in which nothing moves for the idle time fails.
pub(super) async fn exchange(
    request: &Request,
    (tcp, ahead): (&TcpStream, &mut BytesMut),
    origin: &mut Origin,
    (config, traffic): (&ClientConfig, &Traffic),
) -> Result<Finished, Failed> {
    let shared = Shared::default();
    let (send, reader) = origin.stream.split();
    let up = Up {
        tcp,
        send,
        pace: Pace::new(config.body_grace),
        shared: &shared,
        traffic,
    };
    let down = Down {
        tcp,
        reader,
        ahead: &mut origin.ahead,
        is_heard: false,
        request,
        shared: &shared,
        traffic,
    };
    let mut up = pin!(up.run(request, ahead));
    let mut down = pin!(down.run());
    let mut ticks = interval(config.idle / IDLE_TICKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut quiet = 0;
    loop {
        tokio::select! {
            ended = &mut down => return ended,
            failed = &mut up => return Err(match failed {
                UpFailed::Body(bad) if !Shared::is(&shared.is_answering) => Failed::BadBody(bad),
                UpFailed::Body(_) => Failed::Broken("the request broke off"),
                UpFailed::Client => Failed::Broken("the client left"),
            }),
            _ = ticks.tick() => {
                quiet = if shared.moved.swap(false, Ordering::Relaxed) { 0 } else { quiet + 1 };
                if quiet >= IDLE_TICKS {
                    return Err(Failed::Broken("nothing moved for too long"));
                }
            }
        }
    }
}

/// Why a request was not sent to its end.
enum UpFailed {
    Client,
    Body(BadBody),
}

impl From<io::Error> for UpFailed {
    fn from(_: io::Error) -> Self {
        Self::Client
    }
}

impl From<BadBody> for UpFailed {
    fn from(bad: BadBody) -> Self {
        Self::Body(bad)
    }
}

/// The direction from the client to the origin.
struct Up<'a> {
    tcp: &'a TcpStream,
    send: &'a mut SendStream,
    pace: Pace,
    shared: &'a Shared,
    traffic: &'a Traffic,
}

impl Up<'_> {
    /// Sends the request, then watches the client; only a failure ends it.
    async fn run(mut self, request: &Request, ahead: &mut BytesMut) -> UpFailed {
        match self.send(request, ahead).await {
            Ok(()) => {}
            Err(failed) => return failed,
        }
        Shared::mark(&self.shared.is_request_read);
        // The next request may come already. A client that ended its side still reads.
        while ahead.len() < MAX_AHEAD {
            match read_more(self.tcp, ahead).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return UpFailed::Client,
            }
        }
        pending().await
    }

    async fn send(&mut self, request: &Request, ahead: &mut BytesMut) -> Result<(), UpFailed> {
        self.give(request.forwarded.clone()).await;
        let mut body = Decoder::new(request.framing, Reading::Strict);
        let is_chunked = request.framing == Framing::Chunked;
        loop {
            match body.next(ahead)? {
                Some(Piece::Data(data)) if is_chunked => {
                    let mut framed = chunk(data);
                    let framed = framed.copy_to_bytes(framed.remaining());
                    self.give(framed).await;
                }
                Some(Piece::Data(data)) => self.give(data).await,
                Some(Piece::End(trailers)) => {
                    if is_chunked {
                        let trailers = forward::trailers(&request.head.fields, trailers);
                        self.give(last_chunk(&trailers)).await;
                    }
                    return Ok(());
                }
                None => self.read_more(ahead).await?,
            }
            consume_budget().await;
        }
    }

    //= spec/10-proxy.md#http
    //# A front end MUST bound how long the body of a request may take that the origin does not answer yet.
    /// Waits for more of the body.
    async fn read_more(&mut self, ahead: &mut BytesMut) -> Result<(), UpFailed> {
        loop {
            let is_answered = Shared::is(&self.shared.is_answering);
            // Once the origin answers, both may take their time.
            let within = match is_answered {
                true => Duration::MAX,
                false => self.pace.left(),
            };
            let asked = Instant::now();
            let Ok(read) = timeout(within, read_more(self.tcp, ahead)).await else {
                if !Shared::is(&self.shared.is_answering) {
                    return Err(BadBody::TooSlow.into());
                }
                continue;
            };
            let read = read?;
            if read == 0 {
                return Err(BadBody::CutShort.into());
            }
            self.pace.on_read(asked.elapsed(), read);
            Shared::mark(&self.shared.moved);
            return Ok(());
        }
    }

    /// Sends `data`. What the origin does not take is dropped, and the client is read on all the
    /// same, so that it comes to read its answer.
    //= spec/10-proxy.md#http
    //# An origin that reads no further MUST NOT end the exchange before its response has ended.
    async fn give(&mut self, data: Bytes) {
        if Shared::is(&self.shared.is_refused) {
            return;
        }
        let len = data.len() as u64;
        match self.send.write_bytes(data).await {
            Ok(()) => {
                self.traffic.sent.fetch_add(len, Ordering::Relaxed);
                Shared::mark(&self.shared.moved);
            }
            Err(_) => Shared::mark(&self.shared.is_refused),
        }
    }
}

/// The direction from the origin to the client.
struct Down<'a> {
    tcp: &'a TcpStream,
    reader: TargetReader<'a>,
    ahead: &'a mut BytesMut,
    /// Bytes of a response came.
    is_heard: bool,
    request: &'a Request,
    shared: &'a Shared,
    traffic: &'a Traffic,
}

impl Down<'_> {
    async fn run(mut self) -> Result<Finished, Failed> {
        let old_client = self.request.head.version.is_old();
        let head = loop {
            let head = self.head().await?;
            match head.status {
                101 => return self.switch(head).await,
                //= spec/10-proxy.md#http
                //# Every 1xx response but 101 MUST be passed to an HTTP/1.1 client, and none to an
                //# HTTP/1.0 client.
                100..=199 if old_client => {}
                100..=199 => {
                    // Half of it written leaves no room for an answer of our own.
                    Shared::mark(&self.shared.is_answering);
                    self.give(forward::response(&head, Framing::None, false))
                        .await?;
                    self.shared.is_answering.store(false, Ordering::Relaxed);
                }
                _ => break head,
            }
        };
        let framing =
            framing::of_response(&head, self.request.is_head()).map_err(BadResponse::from)?;
        //= spec/10-proxy.md#http
        //# A body that ends with the origin's connection MUST be sent to an HTTP/1.1 client in
        //# chunks, and to an HTTP/1.0 client up to the connection's end.
        let towards = match framing {
            Framing::Chunked | Framing::UntilClose if old_client => Framing::UntilClose,
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        let keeps_client = !self.request.closes
            && towards != Framing::UntilClose
            && Shared::is(&self.shared.is_request_read);
        Shared::mark(&self.shared.is_answering);
        self.give(forward::response(&head, towards, !keeps_client))
            .await?;
        self.body(&head, framing, towards).await?;
        let is_request_sent =
            Shared::is(&self.shared.is_request_read) && !Shared::is(&self.shared.is_refused);
        Ok(Finished::Answered {
            // Bytes behind a response are no response (RFC 9112 section 9.2).
            keeps_origin: is_request_sent
                && framing::keeps_connection(&head, framing)
                && self.ahead.is_empty(),
            keeps_client,
        })
    }

    /// The next head, informational or final.
    async fn head(&mut self) -> Result<ResponseHead, Failed> {
        let mut end = HeadEnd::default();
        loop {
            match ResponseHead::take(self.ahead, &mut end).map_err(BadResponse::from)? {
                Some(head) => return Ok(head),
                None => match self.read_or_lose().await {
                    Ok(Some(data)) => self.take(data),
                    Ok(None) | Err(_) if self.is_heard => {
                        return Err(BadResponse::CutShort.into());
                    }
                    Ok(None) => return Err(Failed::NoResponse(OpenError::BadReply)),
                    Err(error) => return Err(Failed::NoResponse(error)),
                },
            }
        }
    }

    /// The next bytes. A request that may be repeated does not wait for a connection to the server
    /// that is silent, once there is another one.
    async fn read_or_lose(&mut self) -> Result<Option<Bytes>, OpenError> {
        let replaced = self.reader.replaced();
        tokio::select! {
            read = self.reader.read() => read,
            () = replaced, if !self.is_heard && self.request.is_repeatable() => {
                Err(OpenError::ConnectionLost(ConnectionError::TimedOut))
            }
        }
    }

    async fn switch(self, mut head: ResponseHead) -> Result<Finished, Failed> {
        let asked = &self.request.head;
        let is_read = Shared::is(&self.shared.is_request_read);
        if !is_read || !forward::is_offered(asked, &head) {
            return Err(BadResponse::Switching.into());
        }
        // RFC 9110 section 7.8: the client is told what to switch to.
        if !head.fields.has("upgrade") {
            forward::pass_upgrade(&asked.fields, &mut head.fields);
        }
        Shared::mark(&self.shared.is_answering);
        self.give(forward::response(&head, Framing::None, false))
            .await?;
        Ok(Finished::Switched)
    }

    /// Passes the body on, framed anew.
    //= spec/10-proxy.md#http
    //# Bodies MUST pass unchanged.
    async fn body(
        &mut self,
        head: &ResponseHead,
        framing: Framing,
        towards: Framing,
    ) -> Result<(), Failed> {
        let is_chunked = towards == Framing::Chunked;
        let broken = |_| Failed::Broken("the response broke off");
        let mut body = Decoder::new(framing, Reading::Tolerant);
        loop {
            let piece = match body.next(self.ahead).map_err(broken)? {
                Some(piece) => piece,
                None => match self.reader.read().await {
                    Ok(Some(data)) => {
                        self.take(data);
                        continue;
                    }
                    Ok(None) => body.on_close().map_err(broken)?,
                    Err(_) => return Err(Failed::Broken("the response broke off")),
                },
            };
            match piece {
                Piece::Data(data) if is_chunked => self.give(chunk(data)).await?,
                Piece::Data(data) => self.give(data).await?,
                Piece::End(trailers) => {
                    if is_chunked {
                        let trailers = forward::trailers(&head.fields, trailers);
                        self.give(last_chunk(&trailers)).await?;
                    }
                    return Ok(());
                }
            }
            consume_budget().await;
        }
    }

    fn take(&mut self, data: Bytes) {
        self.traffic
            .received
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        Shared::mark(&self.shared.moved);
        self.is_heard = true;
        if self.ahead.is_empty() {
            *self.ahead = BytesMut::from(data);
        } else {
            self.ahead.extend_from_slice(&data);
        }
    }

    async fn give(&self, data: impl bytes::Buf) -> Result<(), Failed> {
        write_all(self.tcp, data)
            .await
            .map_err(|_| Failed::Broken("the client left"))?;
        Shared::mark(&self.shared.moved);
        Ok(())
    }
}

impl From<BadResponse> for Failed {
    fn from(bad: BadResponse) -> Self {
        Self::BadResponse(bad)
    }
}
