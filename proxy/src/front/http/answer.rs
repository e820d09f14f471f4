//! The proxy's own answers: errors and refusals, with RFC 9209's `Proxy-Status`.
//! Answers of origins pass through the adapter.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE},
};

use super::headers::Unfit;
use crate::error::{FailureKind, OpenError};

/// What goes back to a client: an origin's body, or ours.
pub(in crate::front) type AnswerBody = Either<Incoming, Full<Bytes>>;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// An answer with `status` and one line of `text`.
pub(in crate::front) fn answer(status: StatusCode, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Right(Full::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// 407 with the one scheme we know (RFC 7617).
pub(super) fn login_required() -> Response<AnswerBody> {
    let mut response = answer(
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        "This proxy asks for a user name and a password.",
    );
    response.headers_mut().insert(
        PROXY_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"rapidpath\", charset=\"UTF-8\""),
    );
    response
}

/// 400 for a request that cannot be forwarded.
pub(super) fn unfit(why: Unfit) -> Response<AnswerBody> {
    let text = match why {
        Unfit::NotAbsolute => "This is a proxy: the request line must hold an absolute URI.",
        Unfit::Scheme => "Only http URIs are forwarded; use CONNECT for everything else.",
        Unfit::Target => "The request line names no valid host and port.",
    };
    answer(StatusCode::BAD_REQUEST, text)
}

/// What became of the attempt to reach the target, in HTTP's words.
pub(in crate::front) fn failed(error: &OpenError) -> Response<AnswerBody> {
    let (status, token) = match error {
        OpenError::Dial(failure) => verdict(failure.kind),
        OpenError::LinkDown(_) => (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error"),
        OpenError::ConnectionLost(_) | OpenError::BadReply => {
            (StatusCode::BAD_GATEWAY, "connection_terminated")
        }
    };
    let mut response = answer(status, &error.to_string());
    if let Ok(value) = HeaderValue::try_from(format!("rapidpath; error={token}")) {
        response.headers_mut().insert(PROXY_STATUS, value);
    }
    response
}

/// The status code and the RFC 9209 section 2.3 error type that say `kind`.
fn verdict(kind: FailureKind) -> (StatusCode, &'static str) {
    match kind {
        FailureKind::Denied => (StatusCode::FORBIDDEN, "destination_ip_prohibited"),
        FailureKind::NetworkUnreachable | FailureKind::HostUnreachable => {
            (StatusCode::BAD_GATEWAY, "destination_ip_unroutable")
        }
        FailureKind::Refused => (StatusCode::BAD_GATEWAY, "connection_refused"),
        FailureKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        FailureKind::NameNotFound => (StatusCode::BAD_GATEWAY, "dns_error"),
        FailureKind::Malformed => (StatusCode::BAD_REQUEST, "http_request_error"),
        FailureKind::Exhausted => (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
        FailureKind::General
        | FailureKind::CommandUnsupported
        | FailureKind::AddressUnsupported => (StatusCode::BAD_GATEWAY, "destination_unavailable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DialFailure;

    #[test]
    fn outcomes_have_their_status() {
        let status = |kind| failed(&DialFailure::new(kind).into()).status().as_u16();
        assert_eq!(status(FailureKind::Denied), 403);
        assert_eq!(status(FailureKind::Refused), 502);
        assert_eq!(status(FailureKind::NameNotFound), 502);
        assert_eq!(status(FailureKind::TimedOut), 504);
        assert_eq!(status(FailureKind::Exhausted), 503);
        assert_eq!(
            failed(&OpenError::LinkDown("x".into())).status().as_u16(),
            503
        );
    }

    #[test]
    fn the_reason_is_machine_readable() {
        let response = failed(&DialFailure::new(FailureKind::Refused).into());
        assert_eq!(
            response.headers()[PROXY_STATUS],
            "rapidpath; error=connection_refused"
        );
    }
}
