//! HTTP/1: absolute-form requests forwarded to their origins, and CONNECT.
//! Relaying a tunnel's bytes is `relay`'s.
//!
//! 1. A head is read and judged: grammar, framing, `Host`, credentials.
//! 2. CONNECT dials and becomes a relay; any other request goes over the connection the last one
//!    used if it is for the same origin, over a new stream otherwise, without waiting for the dial.
//! 3. The exchange moves both bodies at once; an agreed upgrade becomes a relay.
//! 4. What failed before the client had an answer is answered; what failed later is reset.

mod answer;
mod body;
mod connect;
mod connection;
mod exchange;
mod fields;
mod forward;
mod framing;
mod ftp;
pub(crate) mod fuzz;
mod head;
mod pac;
mod pace;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::debug;

use self::{
    answer::Answer,
    body::BadBody,
    connection::{end_and_linger, read_more, write_all},
    exchange::{Failed, Finished, Origin, Request, exchange},
    forward::Route,
    framing::{BadFraming, Framing},
    head::{HeadEnd, RequestHead},
};
use super::{FrontEndContext, FrontError, SemaphorePermit, peer_ip};
use crate::{
    client::TargetStream,
    closing::{close_in_order, drain, reset_on_close},
    error::OpenError,
    relay::Near,
    target::Target,
};

/// Time between requests, and for a head to arrive: common servers close after a minute or so.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What becomes of a client's connection after a request.
enum Next {
    /// It takes another one.
    Keep,
    /// It ends in order, behind what was written.
    Close,
    /// It is reset: the response broke off, and must not look whole.
    Reset,
    /// It becomes a tunnel.
    Tunnel(Box<TargetStream>),
}

/// What a client sends between two responses.
enum Asked {
    Head(RequestHead),
    /// Nothing that can be served; the connection ends behind the answer.
    Bad(Answer),
    /// The client left, or has been silent for too long.
    Nothing,
}

/// Serves the requests of one client connection.
pub(super) async fn serve(
    tcp: TcpStream,
    permit: SemaphorePermit,
    context: &FrontEndContext,
) -> Result<(), FrontError> {
    // A response may end with the connection, so only what ended in order may look so.
    reset_on_close(&tcp);
    let mut session = Session {
        tcp,
        ahead: BytesMut::new(),
        context: context.clone(),
        origin: None,
    };
    loop {
        let next = match session.next_head().await? {
            Asked::Head(head) => session.handle(head).await?,
            Asked::Bad(answer) => session.turn_away(&answer, Reply::LAST).await?,
            Asked::Nothing => {
                session.leave_origin();
                close_in_order(&session.tcp);
                return Ok(());
            }
        };
        match next {
            Next::Keep => {}
            Next::Close => {
                session.leave_origin();
                end_and_linger(&session.tcp).await;
                close_in_order(&session.tcp);
                return Ok(());
            }
            Next::Reset => {
                //= spec/10-proxy.md#ends
                //# A relay MUST pass a reset on as a reset, in both directions.
                //= spec/10-proxy.md#http
                //# A response that breaks off behind its head MUST reset the client's connection.
                drain(&session.tcp).await;
                return Ok(());
            }
            Next::Tunnel(stream) => {
                let near = Near {
                    socket: session.tcp.into(),
                    early: session.ahead.freeze(),
                    lingers: true,
                };
                context.relay(near, *stream, permit);
                return Ok(());
            }
        }
    }
}

/// How an answer of our own is sent.
#[derive(Clone, Copy, Debug)]
struct Reply {
    is_to_head: bool,
    closes: bool,
}

impl Reply {
    /// To a request whose head nobody understood.
    const LAST: Self = Self {
        is_to_head: false,
        closes: true,
    };

    /// To a request with `head`, of whose body nothing was read: what may follow it is not the
    /// next request.
    fn to(head: &RequestHead, framing: Framing) -> Self {
        let is_whole = matches!(framing, Framing::None | Framing::Sized(0));
        Self {
            is_to_head: head.method.as_ref() == b"HEAD",
            closes: closes(head) || !is_whole,
        }
    }
}

/// Whether the client's connection ends behind the response: a proxy keeps none of an HTTP/1.0
/// client's (RFC 9112 section 9.3).
fn closes(head: &RequestHead) -> bool {
    head.version.is_old() || head.fields.has_member("connection", "close")
}

/// One client connection.
struct Session {
    tcp: TcpStream,
    /// What was read of it and not understood yet.
    ahead: BytesMut,
    context: FrontEndContext,
    /// The connection to an origin that may take another request.
    origin: Option<(Target, Origin)>,
}

impl Session {
    async fn next_head(&mut self) -> Result<Asked, FrontError> {
        let deadline = Instant::now() + HEAD_TIMEOUT;
        let mut end = HeadEnd::default();
        loop {
            match RequestHead::take(&mut self.ahead, &mut end) {
                Ok(Some(head)) => return Ok(Asked::Head(head)),
                Ok(None) => {}
                Err(bad) => return Ok(Asked::Bad(answer::bad_head(bad))),
            }
            let read = timeout_at(deadline, read_more(&self.tcp, &mut self.ahead)).await;
            return Ok(match read {
                Ok(Ok(1..)) => continue,
                Ok(Err(error)) => return Err(error.into()),
                _ if self.ahead.is_empty() => Asked::Nothing,
                Ok(Ok(0)) => Asked::Bad(Answer::new(
                    400,
                    "The request ended within its head; send it whole.",
                )),
                Err(_elapsed) => Asked::Bad(Answer::new(
                    408,
                    "The request's head did not arrive within a minute; send it again.",
                )),
            });
        }
    }

    /// Sends an answer of our own.
    async fn refuse(&self, answer: &Answer, reply: Reply) -> Result<Next, FrontError> {
        let bytes = answer.encode(reply.is_to_head, reply.closes);
        write_all(&self.tcp, bytes).await?;
        Ok(if reply.closes {
            Next::Close
        } else {
            Next::Keep
        })
    }

    /// The same for a request that makes no sense or has no right to be served, which is counted. What
    /// becomes of dials is counted where it is learned.
    async fn turn_away(&self, answer: &Answer, reply: Reply) -> Result<Next, FrontError> {
        self.context.client.counters().on_refused();
        self.refuse(answer, reply).await
    }

    fn leave_origin(&mut self) {
        if let Some((_, mut origin)) = self.origin.take() {
            // Gone already, or told in order; there is nobody else to tell.
            let _ = origin.stream.split().0.finish();
        }
    }

    async fn handle(&mut self, head: RequestHead) -> Result<Next, FrontError> {
        let is_connect = head.method.as_ref() == b"CONNECT";
        let framing = match framing::of_request(&head) {
            // What follows a CONNECT is the tunnel's, whatever its fields say.
            Ok(_) if is_connect => Framing::None,
            Err(bad) if is_connect && bad != BadFraming::Both => Framing::None,
            Ok(framing) => framing,
            Err(bad) => return self.turn_away(&answer::bad_framing(bad), Reply::LAST).await,
        };
        let mut reply = Reply::to(&head, framing);
        // Bytes behind a CONNECT that is not served are for a tunnel that never was.
        reply.closes |= is_connect && !self.ahead.is_empty();
        if let Err(unfit) = forward::check_host(&head) {
            return self.turn_away(&answer::unfit(unfit), Reply::LAST).await;
        }
        if pac::is_asked(&head) {
            // Browsers cannot log in for it, and it holds no more than they know already.
            let answer = pac::answer(&head, self.tcp.local_addr()?);
            return self.refuse(&answer, reply).await;
        }
        let credentials = self.context.credentials();
        if credentials.is_required() {
            let login = head.fields.all("proxy-authorization").next();
            let is_let_in = match login {
                Some(login) => credentials.admit_basic(peer_ip(&self.tcp), login).await,
                None => false,
            };
            if !is_let_in {
                return self.turn_away(&answer::login_required(), reply).await;
            }
        }
        if is_connect {
            reply.closes = true;
            return self.connect(&head, reply).await;
        }
        let hops = match forward::max_forwards(&head) {
            Ok(Some(0)) => return self.refuse(&answer::final_recipient(&head), reply).await,
            Ok(hops) => hops,
            Err(unfit) => return self.turn_away(&answer::unfit(unfit), reply).await,
        };
        if ftp::is_asked(&head.target) {
            self.leave_origin();
            return match ftp::serve(&self.tcp, &self.context, &head, reply.closes).await {
                ftp::Done::Answer(answer) => self.refuse(&answer, reply).await,
                ftp::Done::Unfit(answer) => self.turn_away(&answer, reply).await,
                ftp::Done::Sent(next) => Ok(next),
            };
        }
        let route = match Route::of(&head.target) {
            Ok(route) => route,
            Err(unfit) => return self.turn_away(&answer::unfit(unfit), reply).await,
        };
        let request = Request {
            forwarded: forward::request(&head, &route, framing, hops),
            closes: closes(&head),
            head,
            framing,
        };
        self.forward(&request, &route.target, reply).await
    }

    /// Dials what a CONNECT names; 200 is sent once the target has answered.
    async fn connect(&mut self, head: &RequestHead, reply: Reply) -> Result<Next, FrontError> {
        let target = match connect::target_of(&head.target) {
            Ok(target) => target,
            Err(error) => return self.turn_away(&connect::bad_target(error), reply).await,
        };
        self.leave_origin();
        match self.context.connect(&target, Bytes::new()).await {
            Ok((_bound, stream)) => {
                write_all(&self.tcp, connect::established()).await?;
                Ok(Next::Tunnel(Box::new(stream)))
            }
            Err(error) => {
                debug!(%target, %error, "connect failed");
                self.refuse(&answer::failed(&error), reply).await
            }
        }
    }

    async fn forward(
        &mut self,
        request: &Request,
        target: &Target,
        reply: Reply,
    ) -> Result<Next, FrontError> {
        let mut reused = self.reusable(target).await;
        let mut may_repeat = request.is_repeatable();
        loop {
            let is_reused = reused.is_some();
            let mut origin = match reused.take() {
                Some(origin) => origin,
                None => match self.context.open(target, Bytes::new()).await {
                    Ok(stream) => Origin::new(stream),
                    Err(error) => return self.refuse(&answer::failed(&error), reply).await,
                },
            };
            let client = (&self.tcp, &mut self.ahead);
            let limits = (self.context.config.as_ref(), self.context.traffic.as_ref());
            let answer = match exchange(request, client, &mut origin, limits).await {
                Ok(finished) => return Ok(self.finish(finished, target, origin)),
                //= spec/10-proxy.md#http
                //# A front end MUST NOT send a request twice unless its method is idempotent, it
                //# has no body and no byte of a response came.
                Err(Failed::NoResponse(error))
                    if may_repeat && (is_reused || is_link_lost(&error)) =>
                {
                    debug!(%target, %error, "request is sent once more");
                    may_repeat = false;
                    continue;
                }
                Err(Failed::NoResponse(OpenError::BadReply)) => answer::no_response(),
                Err(Failed::NoResponse(error)) => answer::failed(&error),
                Err(Failed::BadResponse(bad)) => answer::bad_response(bad),
                Err(Failed::BadBody(bad)) => {
                    let status = match bad {
                        BadBody::TooSlow => 408,
                        _ => 400,
                    };
                    let answer = Answer::new(status, bad);
                    return self.turn_away(&answer, Reply::LAST).await;
                }
                Err(Failed::Broken(why)) => {
                    debug!(%target, why, "exchange broken");
                    return Ok(Next::Reset);
                }
            };
            debug!(%target, status = answer.status(), "forwarding failed");
            return self.refuse(&answer, reply).await;
        }
    }

    /// The connection of the last request, where it goes to `target` and is still quiet.
    async fn reusable(&mut self, target: &Target) -> Option<Origin> {
        match self.origin.take() {
            Some((last, mut origin)) if last == *target => {
                origin.stream.split().1.is_quiet().await.then_some(origin)
            }
            last => {
                self.origin = last;
                self.leave_origin();
                None
            }
        }
    }

    fn finish(&mut self, finished: Finished, target: &Target, origin: Origin) -> Next {
        match finished {
            Finished::Switched => {
                Next::Tunnel(Box::new(origin.stream.put_back(origin.ahead.freeze())))
            }
            Finished::Answered {
                keeps_origin,
                keeps_client,
            } => {
                if keeps_origin {
                    self.origin = Some((target.clone(), origin));
                }
                if keeps_client {
                    Next::Keep
                } else {
                    Next::Close
                }
            }
        }
    }
}

/// Whether the connection to the server was lost, so that another stream may fare better.
fn is_link_lost(error: &OpenError) -> bool {
    matches!(error, OpenError::ConnectionLost(_))
}
