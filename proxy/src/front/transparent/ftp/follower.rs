//! Follows an FTP control connection (RFC 959, 2428): pure, bytes of either side in, what is to be
//! passed on out. What is done about the addresses that it finds is decided above.
//!
//! It holds back nothing but lines that may name an address, and those only while they may. Whatever
//! it does not understand it passes, and what is sealed or no lines at all it leaves alone for good.

use std::{
    net::{SocketAddr, SocketAddrV4},
    ops::Range,
};

use bytes::Bytes;

use super::address::{find_six_numbers, format_extended, format_six_numbers, parse_extended};

/// Longest line held back: far more than an address needs.
const MAX_HELD_BYTES: usize = 512;

/// Longest line of an FTP control connection; what is longer is something else.
const MAX_LINE_BYTES: usize = 8192;

/// What is to be done next, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Pass this on.
    Pass(Bytes),
    /// The server names where it waits for the data connection.
    Passive(Naming),
    /// The client names where it waits for the data connection.
    Active(Naming),
}

/// A line that names an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    /// As it came.
    pub(super) line: Bytes,
    /// What it names.
    pub(super) address: SocketAddr,
    /// Where that stands in it; `None` for EPRT, whose line is written anew.
    span: Option<Range<usize>>,
}

impl Naming {
    /// The line with another address.
    pub(super) fn renamed(&self, address: SocketAddr) -> Bytes {
        match (&self.span, address) {
            (Some(span), SocketAddr::V4(address)) => [
                &self.line[..span.start],
                format_six_numbers(address).as_bytes(),
                &self.line[span.end..],
            ]
            .concat()
            .into(),
            _ => format!("EPRT {}\r\n", format_extended(address)).into(),
        }
    }

    fn six_numbers(line: &[u8], from: usize) -> Option<Self> {
        let (span, address) = find_six_numbers(&line[from..])?;
        Some(Self {
            line: Bytes::copy_from_slice(line),
            address: SocketAddrV4::into(address),
            span: Some(span.start + from..span.end + from),
        })
    }

    fn extended(line: &[u8], from: usize) -> Option<Self> {
        Some(Self {
            line: Bytes::copy_from_slice(line),
            address: parse_extended(&line[from..])?,
            span: None,
        })
    }
}

/// Both directions of a control connection.
#[derive(Debug, Default)]
pub(super) struct Follower {
    requests: Lines,
    replies: Lines,
    /// The code of a reply of several lines, until its last.
    several_lines: Option<[u8; 3]>,
    has_asked_for_security: bool,
    is_opaque: bool,
}

impl Follower {
    /// Whether everything is to be passed from here on as it is.
    pub(super) fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    /// What the client sent.
    pub(super) fn on_client(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut rest = bytes;
        while let Some(line) = self.requests.take(&mut rest, may_name_port, &mut steps) {
            if starts_with(&line.text, b"AUTH ") {
                self.has_asked_for_security = true;
            }
            let naming = match line.is_held {
                true if starts_with(&line.text, b"PORT ") => Naming::six_numbers(&line.text, 5),
                true if starts_with(&line.text, b"EPRT ") => Naming::extended(&line.text, 5),
                _ => None,
            };
            steps.extend(line.pass(naming.map(Step::Active)));
        }
        self.give_up_if(is_no_text(bytes) || self.requests.is_too_long());
        steps
    }

    /// What the server sent.
    pub(super) fn on_server(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut rest = bytes;
        while !self.is_opaque
            && let Some(line) = self.replies.take(&mut rest, may_name_passive, &mut steps)
        {
            let is_reply = self.is_reply(&line.text);
            let is_passive = is_reply && line.is_held && line.text.starts_with(b"227 ");
            let naming = is_passive
                .then(|| Naming::six_numbers(&line.text, 4))
                .flatten();
            steps.extend(line.pass(naming.map(Step::Passive)));
            // TLS (RFC 4217) or another security exchange (RFC 2228) begins behind it.
            let is_secured = line.text.starts_with(b"234") || line.text.starts_with(b"334");
            self.is_opaque |= is_reply && is_secured && self.has_asked_for_security;
        }
        if self.is_opaque {
            // What came behind the reply belongs to the exchange.
            steps.extend((!rest.is_empty()).then(|| Step::Pass(Bytes::copy_from_slice(rest))));
        }
        let is_foreign = is_no_text(bytes) || self.replies.is_too_long();
        self.give_up_if(is_foreign);
        steps
    }

    /// What is still held back, at the end of either direction: the client's and the server's.
    pub(super) fn held(&mut self) -> [Bytes; 2] {
        [self.requests.rest(), self.replies.rest()]
    }

    fn give_up_if(&mut self, is_foreign: bool) {
        self.is_opaque |= is_foreign;
    }

    /// Whether `line` is a reply, or the last line of one, and not text within one.
    fn is_reply(&mut self, line: &[u8]) -> bool {
        let Some((code, rest)) = line.split_first_chunk::<3>() else {
            return false;
        };
        if !code.iter().all(u8::is_ascii_digit) {
            return false;
        }
        let is_last = rest.first() != Some(&b'-');
        match self.several_lines {
            None if !is_last => {
                self.several_lines = Some(*code);
                false
            }
            None => true,
            Some(begun) => {
                let ends = is_last && begun == *code;
                if ends {
                    self.several_lines = None;
                }
                ends
            }
        }
    }
}

/// TLS records and other binary protocols have NUL bytes; lines have none.
fn is_no_text(bytes: &[u8]) -> bool {
    bytes.contains(&0)
}

fn starts_with(line: &[u8], verb: &[u8]) -> bool {
    line.len() >= verb.len() && line[..verb.len()].eq_ignore_ascii_case(verb)
}

/// Whether a line that begins so may name where the client waits.
fn may_name_port(begin: &[u8]) -> bool {
    may_be(begin, b"PORT ") || may_be(begin, b"EPRT ")
}

/// Whether a line that begins so may name where the server waits.
fn may_name_passive(begin: &[u8]) -> bool {
    may_be(begin, b"227 ")
}

fn may_be(begin: &[u8], verb: &[u8]) -> bool {
    let len = begin.len().min(verb.len());
    begin[..len].eq_ignore_ascii_case(&verb[..len])
}

/// One direction, line by line.
#[derive(Debug, Default)]
struct Lines {
    /// The line so far, as far as it is worth looking at.
    text: Vec<u8>,
    /// Bytes of it in all.
    len: usize,
    /// How many of them were passed.
    passed: usize,
}

/// A whole line.
struct Line {
    text: Vec<u8>,
    /// Nothing of it was passed, so it may be changed.
    is_held: bool,
    /// What of it was not passed.
    rest: Bytes,
}

impl Line {
    /// `step` in the place of this line, or what of it was not passed.
    fn pass(&self, step: Option<Step>) -> Option<Step> {
        step.or_else(|| (!self.rest.is_empty()).then(|| Step::Pass(self.rest.clone())))
    }
}

impl Lines {
    /// Takes bytes off the front of `bytes` up to the end of a line; `None` when they are used up. What
    /// need not be held back of a line that is not whole is passed by `steps`.
    fn take(
        &mut self,
        bytes: &mut &[u8],
        is_of_interest: impl Fn(&[u8]) -> bool,
        steps: &mut Vec<Step>,
    ) -> Option<Line> {
        let end = bytes.iter().position(|b| *b == b'\n');
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        *bytes = rest;
        let before = self.len;
        let room = MAX_HELD_BYTES.saturating_sub(self.text.len());
        self.text.extend_from_slice(&piece[..piece.len().min(room)]);
        self.len += piece.len();
        let is_held = self.passed == 0 && self.len <= MAX_HELD_BYTES && is_of_interest(&self.text);
        let unpassed = match self.passed < before {
            // Held until here, so all of it is in `text`.
            true => [&self.text[self.passed..before.min(self.text.len())], piece].concat(),
            false => piece.to_vec(),
        };
        if end.is_some() {
            let line = Line {
                text: std::mem::take(&mut self.text),
                is_held,
                rest: unpassed.into(),
            };
            (self.len, self.passed) = (0, 0);
            return Some(line);
        }
        if !is_held {
            self.passed = self.len;
            if !unpassed.is_empty() {
                steps.push(Step::Pass(unpassed.into()));
            }
        }
        None
    }

    fn is_too_long(&self) -> bool {
        self.len > MAX_LINE_BYTES
    }

    /// What is held back, which is then no more.
    fn rest(&mut self) -> Bytes {
        let held = Bytes::copy_from_slice(&self.text[self.passed.min(self.text.len())..]);
        *self = Self::default();
        held
    }
}

#[cfg(test)]
mod tests;
