//! The proxy's own answers: errors and refusals, with RFC 9209's `Proxy-Status` and words that say
//! what to do. Answers of origins pass through `forward`.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    fields::Fields,
    forward::{Unfit, date},
    framing::BadFraming,
    head::{BadHead, RequestHead},
};
use crate::error::{FailureKind, OpenError};

/// An answer of our own.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    fields: Fields,
    content: Bytes,
}

impl Answer {
    /// An answer with `status` and one line of `text`.
    pub(super) fn new(status: u16, text: impl fmt::Display) -> Self {
        let mut fields = Fields::default();
        fields.push("Content-Type", "text/plain; charset=utf-8");
        Self {
            status,
            fields,
            content: format!("{text}\n").into(),
        }
    }

    /// An answer with content of its own type.
    pub(super) fn with_content(status: u16, kind: &'static str, content: Bytes) -> Self {
        let mut fields = Fields::default();
        fields.push("Content-Type", kind);
        Self {
            status,
            fields,
            content,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Bytes>) -> Self {
        self.fields.push(name, value);
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// The answer as it goes to the client: without its content where the method was HEAD.
    pub(super) fn encode(&self, is_to_head: bool, closes: bool) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.content.len());
        let reason = reason(self.status);
        debug_assert!(!reason.is_empty(), "a status of ours has its reason");
        out.put_slice(format!("HTTP/1.1 {} {reason}\r\n", self.status).as_bytes());
        let mut fields = self.fields.clone();
        fields.push("Content-Length", self.content.len().to_string());
        fields.push("Date", date());
        if closes {
            fields.push("Connection", "close");
        }
        fields.write(&mut out);
        out.put_slice(b"\r\n");
        //= spec/10-proxy.md#http
        //# Every error answer but one to HEAD MUST have content that says what to do.
        if !is_to_head {
            out.put_slice(&self.content);
        }
        out.freeze()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// 407 with the one scheme we know (RFC 7617).
pub(super) fn login_required() -> Answer {
    let text = "This proxy asks for a user name and a password; \
                set them where the proxy is configured (`http://user:password@host:port`).";
    Answer::new(407, text).with(
        "Proxy-Authenticate",
        "Basic realm=\"rapidpath\", charset=\"UTF-8\"",
    )
}

/// The answer to a request whose head breaks the grammar.
pub(super) fn bad_head(bad: BadHead) -> Answer {
    let status = match bad {
        BadHead::Version => 505,
        BadHead::TargetTooLong => 414,
        BadHead::TooLarge => 431,
        _ => 400,
    };
    Answer::new(status, bad)
}

/// The answer to a request whose end nobody can tell.
pub(super) fn bad_framing(bad: BadFraming) -> Answer {
    let status = match bad {
        BadFraming::UnknownCoding => 501,
        _ => 400,
    };
    Answer::new(status, bad)
}

/// 400 for a request that cannot be forwarded.
pub(super) fn unfit(why: Unfit) -> Answer {
    let text = match why {
        Unfit::NotAbsolute => {
            "This is a proxy: set it as one, so that the request line holds an absolute URI \
             (`GET http://host/path HTTP/1.1`)."
        }
        Unfit::Scheme => "Only http and ftp URIs are forwarded; use CONNECT for everything else.",
        Unfit::Target => {
            "The request line names no valid host and port; check the URL \
             (a user name before `@` is not taken)."
        }
        Unfit::Host => "A request needs one Host field that holds a host; send exactly one.",
        Unfit::MaxForwards => "Max-Forwards is not one decimal number; correct or remove it.",
    };
    Answer::new(400, text)
}

/// The answer to TRACE and OPTIONS that go no further (RFC 9110 section 7.6.2).
pub(super) fn final_recipient(head: &RequestHead) -> Answer {
    if head.method.as_ref() == b"OPTIONS" {
        let text = "This is a proxy for http URIs, and for everything else by CONNECT.";
        return Answer::new(200, text);
    }
    // RFC 9110 section 9.3.8: what came, without what is secret.
    const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
    let mut seen = BytesMut::new();
    seen.put_slice(&head.method);
    seen.put_u8(b' ');
    seen.put_slice(&head.target);
    seen.put_slice(format!(" HTTP/1.{}\r\n", head.version.0).as_bytes());
    let mut fields = head.fields.clone();
    fields.retain(|field| !SECRET.iter().any(|name| field.is(name)));
    fields.write(&mut seen);
    seen.put_slice(b"\r\n");
    Answer::with_content(200, "message/http", seen.freeze())
}

/// 502 for a response that is none, or was not finished.
pub(super) fn bad_response(what: impl fmt::Display) -> Answer {
    let text = format!("The origin's response cannot be passed on: {what}");
    with_status(Answer::new(502, text), "http_protocol_error")
}

/// 502 for an origin that left without a word.
pub(super) fn no_response() -> Answer {
    let text = "The origin closed the connection without a response; whether it did what was \
                asked is unknown. Try again if doing it twice does no harm.";
    with_status(Answer::new(502, text), "connection_terminated")
}

/// What became of the attempt to reach the target, in HTTP's words.
pub(super) fn failed(error: &OpenError) -> Answer {
    let (status, token, advice) = match error {
        OpenError::Dial(failure) => verdict(failure.kind),
        OpenError::LinkDown(_) => (
            503,
            "proxy_internal_error",
            "check that the server runs and the network is up, then try again",
        ),
        OpenError::ConnectionLost(_) | OpenError::BadReply => {
            (502, "connection_terminated", "try again")
        }
    };
    with_status(Answer::new(status, format!("{error}; {advice}.")), token)
}

fn with_status(answer: Answer, token: &str) -> Answer {
    answer.with("Proxy-Status", format!("rapidpath; error={token}"))
}

/// The status code, the RFC 9209 section 2.3 error type and the advice that say `kind`.
fn verdict(kind: FailureKind) -> (u16, &'static str, &'static str) {
    match kind {
        FailureKind::Denied => (
            403,
            "destination_ip_prohibited",
            "the server's operator has to allow it (`rpserver --allow`)",
        ),
        FailureKind::NetworkUnreachable | FailureKind::HostUnreachable => (
            502,
            "destination_ip_unroutable",
            "check the address, or the server's network",
        ),
        FailureKind::Refused => (
            502,
            "connection_refused",
            "check the port, and that the service runs",
        ),
        FailureKind::TimedOut => (
            504,
            "connection_timeout",
            "check the address, or try again later",
        ),
        FailureKind::NameNotFound => (502, "dns_error", "check the spelling of the host name"),
        FailureKind::Malformed => (400, "http_request_error", "check the host and the port"),
        FailureKind::Exhausted => (503, "connection_limit_reached", "try again later"),
        FailureKind::General
        | FailureKind::CommandUnsupported
        | FailureKind::AddressUnsupported => {
            (502, "destination_unavailable", "the server's log says more")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DialFailure;

    #[test]
    fn outcomes_have_their_status() {
        let status = |kind| failed(&DialFailure::new(kind).into()).status();
        assert_eq!(status(FailureKind::Denied), 403);
        assert_eq!(status(FailureKind::Refused), 502);
        assert_eq!(status(FailureKind::NameNotFound), 502);
        assert_eq!(status(FailureKind::TimedOut), 504);
        assert_eq!(status(FailureKind::Exhausted), 503);
        assert_eq!(failed(&OpenError::LinkDown("x".into())).status(), 503);
    }

    #[test]
    fn the_reason_is_machine_readable() {
        let answer = failed(&DialFailure::new(FailureKind::Refused).into());
        let status = answer.fields.all("proxy-status").next().unwrap();
        assert_eq!(status, "rapidpath; error=connection_refused");
    }

    #[test]
    fn no_answer_of_ours_is_an_origins() {
        let known: Vec<u16> = (100..1000)
            .filter(|&code| !reason(code).is_empty())
            .collect();
        // 421 is for origins alone (RFC 9110 section 15.5.20).
        let ours = [
            200, 301, 400, 401, 403, 404, 405, 407, 408, 414, 416, 431, 501, 502, 503, 504, 505,
        ];
        assert_eq!(known, ours);
    }

    #[test]
    fn head_gets_the_fields_without_the_content() {
        let answer = Answer::new(502, "no");
        let text = String::from_utf8(answer.encode(true, true).to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{text}");
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
        assert!(answer.encode(false, false).ends_with(b"\r\n\r\nno\n"));
    }
}
