//! What ends a message's body (RFC 9112 section 6.3). Decoding it is `body`'s.

use thiserror::Error;

use super::{
    fields::Fields,
    head::{Minor, RequestHead, ResponseHead},
};

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, and no field says otherwise.
    None,
    /// So many bytes.
    Sized(u64),
    /// A chunk of size 0 and a trailer section.
    Chunked,
    /// The end of the connection; in responses only.
    UntilClose,
}

/// Why nobody can tell where a body ends. The words are for the sender of a request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BadFraming {
    #[error("Content-Length beside Transfer-Encoding; send one of them.")]
    Both,
    #[error("Content-Length is not one decimal number; send it once, with the body's length.")]
    Length,
    #[error("Transfer-Encoding does not end in `chunked`, or names it twice; apply it once, last.")]
    NotChunkedLast,
    #[error("Transfer-Encoding names a coding besides `chunked`; send the body without it.")]
    UnknownCoding,
    #[error("Transfer-Encoding in an HTTP/1.0 request; send Content-Length, or speak HTTP/1.1.")]
    OldVersion,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codings {
    Absent,
    Chunked,
    /// `chunked` last, others before it.
    Others,
    /// `chunked` not last, or twice, or nothing at all.
    Faulty,
}

impl Codings {
    fn of(fields: &Fields) -> Self {
        if !fields.has("transfer-encoding") {
            return Self::Absent;
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let codings: Vec<&[u8]> = fields.members("transfer-encoding").collect();
        match codings.split_last() {
            Some((last, [])) if is_chunked(last) => Self::Chunked,
            Some((last, others)) if is_chunked(last) && !others.iter().any(|c| is_chunked(c)) => {
                Self::Others
            }
            _ => Self::Faulty,
        }
    }
}

/// What ends the body of a request.
pub(super) fn of_request(head: &RequestHead) -> Result<Framing, BadFraming> {
    let codings = Codings::of(&head.fields);
    //= spec/10-proxy.md#http
    //# A request with both `Transfer-Encoding` and `Content-Length` MUST be answered with 400.
    if codings != Codings::Absent && head.fields.has("content-length") {
        return Err(BadFraming::Both);
    }
    match codings {
        Codings::Absent => Ok(length(&head.fields)?.map_or(Framing::None, Framing::Sized)),
        _ if head.version.is_old() => Err(BadFraming::OldVersion),
        Codings::Chunked => Ok(Framing::Chunked),
        Codings::Others => Err(BadFraming::UnknownCoding),
        Codings::Faulty => Err(BadFraming::NotChunkedLast),
    }
}

/// What ends the body of a response to a request whose method was or was not HEAD.
pub(super) fn of_response(head: &ResponseHead, is_to_head: bool) -> Result<Framing, BadFraming> {
    if is_to_head || !has_content(head.status) {
        return Ok(Framing::None);
    }
    // `identity` was a coding until RFC 7230, and an empty list says nothing.
    let says_nothing = head
        .fields
        .members("transfer-encoding")
        .all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    match Codings::of(&head.fields) {
        Codings::Chunked => Ok(Framing::Chunked),
        Codings::Absent | Codings::Faulty if says_nothing => {
            Ok(length(&head.fields)?.map_or(Framing::UntilClose, Framing::Sized))
        }
        _ => Err(BadFraming::UnknownCoding),
    }
}

/// Whether a response of this status may have content (RFC 9110 section 6.4.1).
pub(super) fn has_content(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// Whether an origin's connection can take another request once a response was read whole.
pub(super) fn keeps_connection(head: &ResponseHead, framing: Framing) -> bool {
    // A response framed twice is taken by its chunks, and nothing behind it is believed
    // (RFC 9112 section 6.3), as is one whose framing its version does not know (section 6.1).
    let is_coded = head.fields.has("transfer-encoding");
    let is_doubtful = is_coded && (head.fields.has("content-length") || head.version.is_old());
    framing != Framing::UntilClose && !is_doubtful && is_persistent(head.version, &head.fields)
}

fn is_persistent(version: Minor, fields: &Fields) -> bool {
    match version.is_old() {
        true => fields.has_member("connection", "keep-alive"),
        false => !fields.has_member("connection", "close"),
    }
}

/// The one number that `Content-Length` says, however often (RFC 9112 section 6.3).
fn length(fields: &Fields) -> Result<Option<u64>, BadFraming> {
    let mut length = None;
    for member in fields
        .all("content-length")
        .flat_map(|v| v.split(|&b| b == b','))
    {
        let value = decimal(member.trim_ascii()).ok_or(BadFraming::Length)?;
        if length.is_some_and(|known| known != value) {
            return Err(BadFraming::Length);
        }
        length = Some(value);
    }
    Ok(length)
}

/// A number of decimal digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests;
