//! Finds request heads whose framing contradicts itself before hyper repairs them silently.
//! Reading and answering requests is hyper's; this module only looks at the bytes on their way.
//!
//! hyper treats `Transfer-Encoding` beside `Content-Length` safely but drops the latter unseen,
//! so the service could not tell. RFC 9112 section 6.1 lets a server refuse such a message, and a
//! proxy in front of unknown origins does well to.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{self, AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Longest header name of interest, `transfer-encoding`.
const NAME_BYTES: usize = 17;

/// Which request of a connection, counted from 0, has contradictory framing.
#[derive(Debug)]
pub(super) struct Verdict(AtomicU64);

impl Default for Verdict {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Verdict {
    /// Whether request `index` must be refused.
    pub(super) fn refuses(&self, index: u64) -> bool {
        self.0.load(Ordering::Relaxed) == index
    }
}

/// Where in the byte stream of requests we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a request head.
    Head,
    /// In a body with so many bytes left.
    Sized(u64),
    /// In the line that gives a chunk's size.
    ChunkSize(u64, bool),
    /// In a chunk, its line end included, with so many bytes left.
    Chunk(u64),
    /// In the trailer section.
    Trailers,
    /// Past anything we understand; hyper refuses or closes by its own rules.
    Lost,
}

/// The scanner: fed every byte a client sends, in order, in any pieces.
#[derive(Debug)]
pub(super) struct Scan {
    state: State,
    /// Heads completed.
    heads: u64,
    line: Line,
    length: Option<u64>,
    is_chunked: bool,
    /// The head has a line already: an empty one ends it.
    has_lines: bool,
}

/// What is kept of the line being read.
#[derive(Debug, Default)]
struct Line {
    name: [u8; NAME_BYTES],
    name_len: usize,
    in_value: bool,
    is_empty: bool,
    value: u64,
    value_is_number: bool,
}

impl Line {
    fn start() -> Self {
        Self {
            is_empty: true,
            value_is_number: true,
            ..Self::default()
        }
    }

    fn push(&mut self, byte: u8) {
        if byte == b'\r' {
            return;
        }
        self.is_empty = false;
        if !self.in_value {
            if byte == b':' {
                self.in_value = true;
            } else {
                if let Some(slot) = self.name.get_mut(self.name_len) {
                    *slot = byte.to_ascii_lowercase();
                }
                self.name_len += 1;
            }
            return;
        }
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                let value = self
                    .value
                    .checked_mul(10)
                    .and_then(|v| v.checked_add(digit));
                self.value_is_number &= value.is_some();
                self.value = value.unwrap_or(0);
            }
            b' ' | b'\t' => {}
            _ => self.value_is_number = false,
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.in_value && self.name.get(..self.name_len) == Some(name.as_bytes())
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            state: State::Head,
            heads: 0,
            line: Line::start(),
            length: None,
            is_chunked: false,
            has_lines: false,
        }
    }
}

impl Scan {
    /// Takes the next bytes; `Some(index)` names the request whose head contradicts itself.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return None,
                State::Sized(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.state = if left == 0 {
                        State::Head
                    } else {
                        State::Sized(left)
                    };
                }
                State::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.state = if left == 0 {
                        State::ChunkSize(0, false)
                    } else {
                        State::Chunk(left)
                    };
                }
                State::ChunkSize(size, extension) => {
                    self.state = chunk_size(bytes[0], size, extension);
                    bytes = &bytes[1..];
                }
                State::Head | State::Trailers => {
                    let byte = bytes[0];
                    bytes = &bytes[1..];
                    if byte != b'\n' {
                        self.line.push(byte);
                        continue;
                    }
                    let line = std::mem::replace(&mut self.line, Line::start());
                    if self.state == State::Trailers {
                        if line.is_empty {
                            self.state = State::Head;
                        }
                    } else if self.head_line(&line) {
                        return Some(self.heads - 1);
                    }
                }
            }
        }
        None
    }

    /// Takes one whole line of a head; true if it ends a head that contradicts itself.
    fn head_line(&mut self, line: &Line) -> bool {
        if !line.is_empty {
            self.has_lines = true;
            if line.is_named("transfer-encoding") {
                self.is_chunked = true;
            } else if line.is_named("content-length") {
                self.length = Some(line.value);
                if !line.value_is_number {
                    self.state = State::Lost;
                }
            }
            return false;
        }
        // Empty lines before a request line are skipped (RFC 9112 section 2.2).
        if !self.has_lines {
            return false;
        }
        self.has_lines = false;
        self.heads += 1;
        match (self.length.take(), std::mem::take(&mut self.is_chunked)) {
            (Some(_), true) => {
                self.state = State::Lost;
                return true;
            }
            (Some(length), false) if length > 0 => self.state = State::Sized(length),
            (_, false) => {}
            (None, true) => self.state = State::ChunkSize(0, false),
        }
        false
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (&bytes[here..], left - here as u64)
}

fn chunk_size(byte: u8, size: u64, extension: bool) -> State {
    match byte {
        b'\n' if size == 0 => State::Trailers,
        // The line end behind the chunk belongs to it.
        b'\n' => State::Chunk(size.saturating_add(2)),
        _ if extension => State::ChunkSize(size, true),
        _ => match char::from(byte).to_digit(16) {
            Some(digit) => match size.checked_mul(16) {
                Some(size) => State::ChunkSize(size + u64::from(digit), false),
                None => State::Lost,
            },
            None => State::ChunkSize(size, true),
        },
    }
}

/// A client's TCP connection whose incoming bytes are scanned as hyper reads them.
#[derive(Debug)]
pub(in crate::front) struct Guarded {
    tcp: TcpStream,
    scan: Scan,
    verdict: Arc<Verdict>,
}

impl Guarded {
    pub(super) fn new(tcp: TcpStream, verdict: Arc<Verdict>) -> Self {
        Self {
            tcp,
            scan: Scan::default(),
            verdict,
        }
    }

    /// The connection, no longer scanned.
    pub(in crate::front) fn into_inner(self) -> TcpStream {
        self.tcp
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if let Some(index) = self.scan.push(&buf.filled()[before..]) {
            self.verdict.0.store(index, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests;
