//! HTTP/1: absolute-form requests forwarded to their origins, one client connection at a time.
//! CONNECT is `connect`'s; parsing and framing are hyper's.
//!
//! 1. A client's bytes pass the guard, which finds heads that contradict themselves.
//! 2. hyper parses a request; the service checks credentials and the guard's verdict.
//! 3. The request is rewritten and sent over the connection the last request used if it goes to the
//!    same origin, over a new stream otherwise, without waiting for the dial.
//! 4. Response head rewritten, body passed through; an upgrade ends in a relay.

mod answer;
mod gate;
mod guard;
mod headers;

use std::{
    convert::Infallible,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Either;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::SendRequest,
    header::PROXY_AUTHORIZATION,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Mutex, task::AbortHandle};
use tracing::debug;

pub(super) use self::{
    answer::{AnswerBody, answer, failed},
    guard::Guarded,
};
use self::{
    gate::{GatedBody, Opener},
    guard::Verdict,
};
use super::{FrontEndContext, FrontError, SemaphorePermit, connect};
use crate::{client::TargetStream, error::OpenError, target::Target};

/// Longest request or response head; what browsers and servers commonly stay below.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most header fields of one message.
const MAX_HEADERS: usize = 128;

/// Time between requests, and for a head to arrive: common servers close after a minute or so.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves the requests of one client connection.
pub(super) async fn serve(
    tcp: TcpStream,
    permit: SemaphorePermit,
    context: &FrontEndContext,
) -> Result<(), FrontError> {
    let verdict = Arc::<Verdict>::default();
    let session = Arc::new(Session {
        context: context.clone(),
        permit,
        verdict: verdict.clone(),
        served: AtomicU64::new(0),
        upstream: Mutex::new(None),
    });
    let service = service_fn(move |request| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(session.handle(request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(Guarded::new(tcp, verdict)), service)
        .with_upgrades()
        .await;
    match served {
        // A client that leaves between requests is the normal end.
        Err(error) if error.is_incomplete_message() || error.is_timeout() => Ok(()),
        other => other.map_err(Into::into),
    }
}

/// One client connection.
struct Session {
    context: FrontEndContext,
    permit: SemaphorePermit,
    verdict: Arc<Verdict>,
    served: AtomicU64,
    upstream: Mutex<Option<Upstream>>,
}

/// A connection to an origin that may take another request.
struct Upstream {
    target: Target,
    sender: SendRequest<GatedBody>,
    driver: AbortHandle,
    /// A request body was held back and perhaps never asked for: it would wait for ever.
    is_held: bool,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if self.is_held {
            self.driver.abort();
        }
    }
}

impl Session {
    async fn handle(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let index = self.served.fetch_add(1, Ordering::Relaxed);
        if self.verdict.refuses(index) {
            return answer(
                StatusCode::BAD_REQUEST,
                "Content-Length beside Transfer-Encoding.",
            );
        }
        let credentials = self.context.credentials();
        if credentials.is_required() {
            let login = request.headers().get(PROXY_AUTHORIZATION);
            if !login.is_some_and(|login| credentials.accepts_basic(login.as_bytes())) {
                return answer::login_required();
            }
        }
        if request.method() == Method::CONNECT {
            return connect::connect(request, &self.context, self.permit.clone()).await;
        }
        match headers::target_of(request.uri()) {
            Ok(target) => self.forward(request, &target).await,
            Err(why) => answer::unfit(why),
        }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        target: &Target,
    ) -> Response<AnswerBody> {
        let upgrade =
            headers::wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        headers::rewrite(&mut request, target);
        let (mut request, is_held) = hold_body(request);
        let mut upstream = self.upstream.lock().await;
        let mut reused = upstream
            .take()
            .filter(|upstream| upstream.target == *target);
        loop {
            let is_reused = reused.is_some();
            let mut current = match reused.take() {
                Some(current) => current,
                None => match self.open(target).await {
                    Ok(current) => current,
                    Err(error) => return failed(&error),
                },
            };
            current.is_held = is_held;
            // A connection that the origin closed in the meantime hands the request back unsent.
            let sent = match current.sender.ready().await {
                Ok(()) => current.sender.try_send_request(request).await,
                Err(_) if is_reused => continue,
                Err(error) => return failed(&reason(&error)),
            };
            match sent {
                Ok(response) => {
                    *upstream = Some(current);
                    return self.pass_on(response, upgrade);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_reused => request = unsent,
                    _ => {
                        let error = reason(error.error());
                        debug!(%target, %error, "forwarding failed");
                        return failed(&error);
                    }
                },
            }
        }
    }

    async fn open(&self, target: &Target) -> Result<Upstream, OpenError> {
        let stream = self.context.open(target, Bytes::new()).await?;
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| reason(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "origin connection ended");
            }
        });
        Ok(Upstream {
            target: target.clone(),
            sender,
            driver: driver.abort_handle(),
            is_held: false,
        })
    }

    /// The origin's response as the client's; an agreed upgrade starts its relay.
    fn pass_on(
        &self,
        mut response: Response<Incoming>,
        upgrade: Option<OnUpgrade>,
    ) -> Response<AnswerBody> {
        let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match upgrade {
            Some(near) if is_switching => {
                let far = hyper::upgrade::on(&mut response);
                tokio::spawn(switch(near, far, self.context.clone(), self.permit.clone()));
            }
            None if is_switching => {
                return answer(StatusCode::BAD_GATEWAY, "An upgrade nobody asked for.");
            }
            _ => {}
        }
        headers::strip(response.headers_mut(), is_switching);
        response.map(Either::Left)
    }
}

/// Wraps the body; one the client holds back waits for the origin's 100.
fn hold_body(request: Request<Incoming>) -> (Request<GatedBody>, bool) {
    if !headers::wants_continue(request.headers()) {
        return (request.map(GatedBody::open), false);
    }
    let opener = Opener::default();
    let mut request = request.map(|body| GatedBody::closed(body, opener.clone()));
    hyper::ext::on_informational(&mut request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            opener.open();
        }
    });
    (request, true)
}

/// Joins both sides of an agreed upgrade.
async fn switch(
    near: OnUpgrade,
    far: OnUpgrade,
    context: FrontEndContext,
    permit: SemaphorePermit,
) {
    let (Ok(near), Ok(far)) = tokio::join!(near, far) else {
        return;
    };
    if let (Some(near), Some(stream)) = (connect::near(near), stream(far)) {
        context.relay(near, stream, permit);
    }
}

/// The stream behind what hyper hands over; what it read ahead goes back to its head.
fn stream(upgraded: Upgraded) -> Option<TargetStream> {
    let parts = upgraded.downcast::<TokioIo<TargetStream>>().ok()?;
    Some(parts.io.into_inner().put_back(parts.read_buf))
}

/// Why hyper's client failed: the dial's outcome, where that was the cause.
fn reason(error: &hyper::Error) -> OpenError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(open) = error.downcast_ref::<OpenError>() {
            return open.clone();
        }
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    OpenError::BadReply
}
