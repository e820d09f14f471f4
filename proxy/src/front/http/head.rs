//! Reads heads and trailer sections: requests strictly, responses with what every client bears.
//! What a body's length follows from is `framing`'s.
//!
//! 1. [`HeadEnd`] finds the empty line, however the bytes arrive; the first line is judged as soon
//!    as it is whole, so that what is not HTTP is answered at once.
//! 2. The head is cut off the buffer and its lines become slices of it.
//! 3. In a response, blanks before a colon go, folds become a blank, lines that are no field are
//!    dropped; in a request each of these is an error, because two readers may disagree about it.

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

use super::fields::Fields;

/// Longest request head; what browsers and servers commonly stay below.
pub(super) const MAX_REQUEST_HEAD: usize = 64 << 10;

/// Most field lines of a request.
const MAX_REQUEST_FIELDS: usize = 128;

/// Longest response head: the limit of common browsers.
pub(super) const MAX_RESPONSE_HEAD: usize = 256 << 10;

/// Most field lines of a response, far more than any origin was seen to send.
const MAX_RESPONSE_FIELDS: usize = 1024;

/// How a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A request: what is ambiguous is refused.
    Strict,
    /// A response: what clients bear is repaired.
    Tolerant,
}

impl Reading {
    fn max_fields(self) -> usize {
        match self {
            Self::Strict => MAX_REQUEST_FIELDS,
            Self::Tolerant => MAX_RESPONSE_FIELDS,
        }
    }
}

/// Why bytes are no head. The words are for the sender of a request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BadHead {
    #[error(
        "The request line is not `METHOD TARGET HTTP/1.1`; blanks inside the target must be sent as %20."
    )]
    RequestLine,
    #[error("The request target holds a control character; send it percent-encoded.")]
    Target,
    #[error("Only HTTP/1.0 and HTTP/1.1 are spoken here; ask for one of them.")]
    Version,
    #[error("The request target is longer than 64 KiB; send the data in a body.")]
    TargetTooLong,
    #[error("The header section is too large; send fewer or shorter fields (cookies, mostly).")]
    TooLarge,
    #[error(
        "A header field is continued on a second line, which is obsolete; send it on one line."
    )]
    Folded,
    #[error("A blank stands before the colon of a header field; send `Name: value`.")]
    BlankBeforeColon,
    #[error("A blank stands before the first header field; remove it.")]
    BlankBeforeFirst,
    #[error("A header line is not `Name: value` with a name of letters, digits and hyphens.")]
    Name,
    #[error("A header field's value holds a control character; encode or remove it.")]
    Value,
    #[error("A line is ended by CR alone; end lines with CR LF.")]
    BareCr,
    #[error("The status line is not `HTTP/1.1 CODE REASON`.")]
    StatusLine,
}

/// Minor version of HTTP/1: what the sender can do beyond 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Minor(pub(super) u8);

impl Minor {
    /// Whether the sender speaks HTTP/1.0 only: no chunks, no 1xx, no connection that stays.
    pub(super) fn is_old(self) -> bool {
        self.0 == 0
    }
}

/// Finds the end of a head in bytes that arrive in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    /// Bytes looked at.
    seen: usize,
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Where the first line ends, once it is whole.
    first: Option<usize>,
    /// The first line was found good.
    is_judged: bool,
}

impl HeadEnd {
    /// The length of the head with its empty line, once it is whole.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = bytes[self.seen..].iter().position(|&b| b == b'\n') {
            let end = self.seen + at + 1;
            let is_empty = bytes[self.line..end - 1].iter().all(|&b| b == b'\r');
            self.seen = end;
            self.line = end;
            if is_empty && self.first.is_some() {
                return Some(end);
            }
            self.first.get_or_insert(end);
        }
        self.seen = bytes.len();
        None
    }

    /// For a trailer section: lines of fields only, so that the first empty line is the end.
    pub(super) fn behind_start_line() -> Self {
        Self {
            first: Some(0),
            is_judged: true,
            ..Self::default()
        }
    }

    /// Cuts a whole section off the front of `buf`.
    pub(super) fn section(
        &mut self,
        buf: &mut BytesMut,
        max: usize,
    ) -> Result<Option<Bytes>, BadHead> {
        Ok(self.take(buf, max, |_| Ok(()))?.map(|(section, _)| section))
    }

    /// Cuts a whole head off the front of `buf`, with the length of its first line. `judge` sees
    /// the first line as soon as it is whole.
    fn take(
        &mut self,
        buf: &mut BytesMut,
        max: usize,
        judge: impl FnOnce(&[u8]) -> Result<(), BadHead>,
    ) -> Result<Option<(Bytes, usize)>, BadHead> {
        if self.first.is_none() && skip_empty_lines(buf) {
            self.seen = 0;
        }
        let found = self.find(buf);
        let Some(first) = self.first else {
            return match buf.len() > max {
                true => Err(BadHead::TargetTooLong),
                false => Ok(None),
            };
        };
        if first > max {
            return Err(BadHead::TargetTooLong);
        }
        if !self.is_judged {
            judge(line_of(&buf[..first]))?;
            self.is_judged = true;
        }
        if found.unwrap_or(buf.len()) > max {
            return Err(BadHead::TooLarge);
        }
        let Some(end) = found else { return Ok(None) };
        *self = Self::default();
        Ok(Some((buf.split_to(end).freeze(), first)))
    }
}

/// Skips empty lines before a start line (RFC 9112 section 2.2); whether there were any. A CR that
/// may still become one stays.
fn skip_empty_lines(buf: &mut BytesMut) -> bool {
    let before = buf.len();
    loop {
        match buf.as_ref() {
            [b'\n', ..] => buf.advance(1),
            [b'\r', b'\n', ..] => buf.advance(2),
            _ => return buf.len() < before,
        }
    }
}

/// A line without its end.
fn line_of(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) method: Bytes,
    /// Byte for byte as it came.
    pub(super) target: Bytes,
    pub(super) version: Minor,
    pub(super) fields: Fields,
}

impl RequestHead {
    /// Takes a whole head off the front of `buf`; `None` while more bytes are needed.
    pub(super) fn take(buf: &mut BytesMut, end: &mut HeadEnd) -> Result<Option<Self>, BadHead> {
        let judge = |line: &[u8]| request_line(line).map(|_| ());
        let Some((head, first)) = end.take(buf, MAX_REQUEST_HEAD, judge)? else {
            return Ok(None);
        };
        let (method, target, version) = request_line(line_of(&head[..first]))?;
        let (method, target) = (head.slice_ref(method), head.slice_ref(target));
        Ok(Some(Self {
            method,
            target,
            version,
            fields: fields(&head.slice(first..), Reading::Strict)?,
        }))
    }
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) version: Minor,
    pub(super) status: u16,
    pub(super) reason: Bytes,
    pub(super) fields: Fields,
}

impl ResponseHead {
    /// Takes a whole head off the front of `buf`; `None` while more bytes are needed.
    pub(super) fn take(buf: &mut BytesMut, end: &mut HeadEnd) -> Result<Option<Self>, BadHead> {
        let judge = |line: &[u8]| status_line(line).map(|_| ());
        let taken = end.take(buf, MAX_RESPONSE_HEAD, judge);
        let (head, first) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) if may_become_status_line(buf) => return Ok(None),
            Ok(None) | Err(BadHead::TargetTooLong) => return Err(BadHead::StatusLine),
            Err(bad) => return Err(bad),
        };
        let (version, status, reason) = status_line(line_of(&head[..first]))?;
        Ok(Some(Self {
            version,
            status,
            reason: repaired(head.slice_ref(reason)),
            fields: fields(&head.slice(first..), Reading::Tolerant)?,
        }))
    }
}

/// `METHOD SP TARGET SP HTTP/1.x`, nothing else.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Minor), BadHead> {
    if line.contains(&b'\r') {
        return Err(BadHead::BareCr);
    }
    let mut words = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BadHead::RequestLine);
    };
    if !is_token(method) || target.is_empty() {
        return Err(BadHead::RequestLine);
    }
    //= spec/10-proxy.md#http
    //# A target with a blank or a control character MUST be answered with 400.
    if target.iter().any(u8::is_ascii_control) {
        return Err(BadHead::Target);
    }
    let version = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => {
            Minor(minor - b'0')
        }
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(BadHead::Version);
        }
        _ => return Err(BadHead::RequestLine),
    };
    Ok((method, target, version))
}

/// `HTTP/1.x CODE`, perhaps with more blanks and a reason. `ICY` is what SHOUTcast origins say for
/// HTTP/1.0, and clients take it.
fn status_line(line: &[u8]) -> Result<(Minor, u16, &[u8]), BadHead> {
    let (version, rest) = match line.split_at_checked(8) {
        _ if line
            .get(..3)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"ICY")) =>
        {
            (Minor(0), &line[3..])
        }
        Some((name, rest))
            if name[..7].eq_ignore_ascii_case(b"HTTP/1.") && name[7].is_ascii_digit() =>
        {
            (Minor(name[7] - b'0'), rest)
        }
        _ => return Err(BadHead::StatusLine),
    };
    let code = trim_blanks(rest);
    let is_apart = rest.first().is_some_and(|&b| is_blank(b));
    let Some((digits, reason)) = code.split_first_chunk::<3>() else {
        return Err(BadHead::StatusLine);
    };
    let is_code = digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
    if !is_apart || !is_code || !reason.first().is_none_or(|&b| is_blank(b)) {
        return Err(BadHead::StatusLine);
    }
    let status = digits
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok((version, status, trim_blanks(reason)))
}

/// Whether the bytes of a line that is not whole yet may still become a status line.
fn may_become_status_line(bytes: &[u8]) -> bool {
    let begins = |name: &[u8]| {
        let len = bytes.len().min(name.len());
        bytes[..len].eq_ignore_ascii_case(&name[..len])
    };
    begins(b"HTTP/1.") || begins(b"ICY ") || bytes == b"\r"
}

/// The field lines up to the empty one. `section` begins behind the start line.
//= spec/10-proxy.md#http
//# A request whose lines are folded, have blanks around a name or hold a bare CR MUST be answered
//# with 400.
//= spec/10-proxy.md#http
//# A response MUST be repaired where clients bear what it has: blanks around names, folded lines,
//# bare LF, lines that are no field.
pub(super) fn fields(section: &Bytes, reading: Reading) -> Result<Fields, BadHead> {
    let mut fields = Fields::default();
    // Whether the line before became a field that a fold may continue.
    let mut is_open = false;
    for line in section.split_inclusive(|&b| b == b'\n') {
        let line = match reading {
            Reading::Strict => line_of(line),
            Reading::Tolerant => trim_line_end(line),
        };
        if line.is_empty() {
            break;
        }
        if reading == Reading::Strict && line.contains(&b'\r') {
            return Err(BadHead::BareCr);
        }
        if is_blank(line[0]) {
            match (reading, fields.is_empty()) {
                (Reading::Strict, true) => return Err(BadHead::BlankBeforeFirst),
                (Reading::Strict, false) => return Err(BadHead::Folded),
                (Reading::Tolerant, _) if is_open => unfold(&mut fields, line),
                (Reading::Tolerant, _) => {}
            }
            continue;
        }
        is_open = match split_field(line, reading) {
            Ok((name, value)) => {
                let value = repaired(section.slice_ref(value));
                fields.push(section.slice_ref(name), value);
                true
            }
            Err(bad) if reading == Reading::Strict => return Err(bad),
            Err(_) => false,
        };
        if fields.len() > reading.max_fields() {
            return Err(BadHead::TooLarge);
        }
    }
    Ok(fields)
}

/// A line of a response without its end; some origins write CR CR LF.
fn trim_line_end(line: &[u8]) -> &[u8] {
    let mut line = line.strip_suffix(b"\n").unwrap_or(line);
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    line
}

/// Appends a continued line to the last field (RFC 9112 section 5.2).
fn unfold(fields: &mut Fields, line: &[u8]) {
    if let Some(last) = fields.last_mut() {
        let joined = [&last.value, b" ".as_slice(), line.trim_ascii()].concat();
        last.value = repaired(Bytes::from(joined.trim_ascii().to_vec()));
    }
}

fn split_field(line: &[u8], reading: Reading) -> Result<(&[u8], &[u8]), BadHead> {
    let colon = line.iter().position(|&b| b == b':').ok_or(BadHead::Name)?;
    let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
    let trimmed = name.trim_ascii_end();
    if reading == Reading::Strict {
        if trimmed.len() != name.len() {
            return Err(BadHead::BlankBeforeColon);
        }
        if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
            return Err(BadHead::Value);
        }
    }
    if !is_token(trimmed) {
        return Err(BadHead::Name);
    }
    Ok((trimmed, value))
}

/// SP or HTAB, the only whitespace of a field (RFC 9110 section 5.6.3).
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// CR and NUL inside a value become blanks (RFC 9110 section 5.5).
fn repaired(value: Bytes) -> Bytes {
    let is_bad = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
    if !value.iter().any(is_bad) {
        return value;
    }
    let blanked = value.iter().map(|b| if is_bad(b) { b' ' } else { *b });
    let blanked: Bytes = blanked.collect();
    blanked.slice_ref(trim_blanks(&blanked))
}

/// Whether `name` is a token of RFC 9110 section 5.6.2.
pub(super) fn is_token(name: &[u8]) -> bool {
    let is_char = |&b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.iter().all(is_char)
}

#[cfg(test)]
mod tests;
