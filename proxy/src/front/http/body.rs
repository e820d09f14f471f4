//! Decodes a body to its data and trailers, and frames it anew for the other side.
//! Which framing it has is `framing`'s; moving the bytes is `exchange`'s.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;

use super::{
    fields::Fields,
    framing::Framing,
    head::{BadHead, HeadEnd, Reading, fields},
};

/// Longest line with a chunk's size; extensions are ignored (RFC 9112 section 7.1.1), and none in
/// use comes near.
const MAX_CHUNK_LINE: usize = 4096;

/// Longest trailer section.
const MAX_TRAILERS: usize = 64 << 10;

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    /// The body is whole.
    End(Fields),
}

/// Why bytes are no body of their framing. The words are for the sender of a request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BadBody {
    #[error("A chunk does not begin with its size in hexadecimal digits and CR LF.")]
    ChunkSize,
    #[error("A chunk's size is too large to be counted.")]
    ChunkOverflow,
    #[error("A chunk is not followed by CR LF; its size is wrong.")]
    ChunkEnd,
    #[error("The trailer section is malformed: {0}")]
    Trailers(BadHead),
    #[error("The body comes too slowly; send the request again when it is at hand.")]
    TooSlow,
    #[error("The body ended before its announced end; send the request again.")]
    CutShort,
}

/// Where in a body we are.
#[derive(Debug)]
enum State {
    /// So many bytes are left.
    Sized(u64),
    UntilClose,
    /// Before the line with a chunk's size.
    Size,
    /// In a chunk with so many bytes left.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    Trailers(HeadEnd),
    Ended,
}

/// Reads a body off the front of a buffer.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    reading: Reading,
}

impl Decoder {
    pub(super) fn new(framing: Framing, reading: Reading) -> Self {
        let state = match framing {
            Framing::None => State::Sized(0),
            Framing::Sized(len) => State::Sized(len),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, reading }
    }

    /// The next piece, `None` while more bytes are needed. Nothing follows the end.
    pub(super) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Piece>, BadBody> {
        loop {
            self.state = match &mut self.state {
                State::Sized(0) => {
                    self.state = State::Ended;
                    return Ok(Some(Piece::End(Fields::default())));
                }
                State::Ended => return Ok(None),
                State::Sized(left) => return Ok(data(buf, left)),
                State::UntilClose => {
                    let mut endless = u64::MAX;
                    return Ok(data(buf, &mut endless));
                }
                State::Chunk(0) => State::ChunkEnd,
                State::Chunk(left) => return Ok(data(buf, left)),
                State::Size => match self.chunk_size(buf)? {
                    None => return Ok(None),
                    Some(0) => State::Trailers(HeadEnd::behind_start_line()),
                    Some(size) => State::Chunk(size),
                },
                State::ChunkEnd => match (buf.as_ref(), self.reading) {
                    ([b'\r', b'\n', ..], _) => {
                        buf.advance(2);
                        State::Size
                    }
                    ([b'\n', ..], Reading::Tolerant) => {
                        buf.advance(1);
                        State::Size
                    }
                    ([] | [b'\r'], _) => return Ok(None),
                    _ => return Err(BadBody::ChunkEnd),
                },
                State::Trailers(end) => {
                    let section = end.section(buf, MAX_TRAILERS).map_err(BadBody::Trailers)?;
                    let Some(section) = section else {
                        return Ok(None);
                    };
                    let trailers = fields(&section, self.reading).map_err(BadBody::Trailers)?;
                    self.state = State::Ended;
                    return Ok(Some(Piece::End(trailers)));
                }
            };
        }
    }

    /// What the end of the connection means: the end of a body that lasts until then, a body that
    /// was cut short otherwise.
    pub(super) fn on_close(&mut self) -> Result<Piece, BadBody> {
        match self.state {
            State::UntilClose => {
                self.state = State::Ended;
                Ok(Piece::End(Fields::default()))
            }
            _ => Err(BadBody::CutShort),
        }
    }

    /// Takes the line with a chunk's size.
    fn chunk_size(&self, buf: &mut BytesMut) -> Result<Option<u64>, BadBody> {
        let within = &buf[..buf.len().min(MAX_CHUNK_LINE)];
        let Some(end) = within.iter().position(|&b| b == b'\n') else {
            return match within.len() < MAX_CHUNK_LINE {
                true => Ok(None),
                false => Err(BadBody::ChunkSize),
            };
        };
        let line = buf.split_to(end + 1);
        chunk_size(&line[..end], self.reading).map(Some)
    }
}

/// What `buf` has of `left` bytes.
fn data(buf: &mut BytesMut, left: &mut u64) -> Option<Piece> {
    if buf.is_empty() {
        return None;
    }
    let len = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
    *left -= len as u64;
    Some(Piece::Data(buf.split_to(len).freeze()))
}

/// The size in a chunk's first line, which comes without its LF. Two readers of a request must not
/// disagree about where that line ends.
fn chunk_size(line: &[u8], reading: Reading) -> Result<u64, BadBody> {
    let line = match (line.strip_suffix(b"\r"), reading) {
        (Some(line), _) => line,
        (None, Reading::Tolerant) => line,
        (None, Reading::Strict) => return Err(BadBody::ChunkSize),
    };
    let is_stray = |&b: &u8| b.is_ascii_control() && b != b'\t';
    if reading == Reading::Strict && line.iter().any(is_stray) {
        return Err(BadBody::ChunkSize);
    }
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let is_over = match rest.trim_ascii_start() {
        [] => reading == Reading::Tolerant || rest.is_empty(),
        [first, ..] => *first == b';',
    };
    if size.is_empty() || !is_over {
        return Err(BadBody::ChunkSize);
    }
    size.iter()
        .try_fold(0_u64, |size, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            size.checked_mul(16)?.checked_add(digit.into())
        })
        .ok_or(BadBody::ChunkOverflow)
}

/// One chunk's frame around `data`, which is not empty.
pub(super) fn chunk(data: Bytes) -> impl bytes::Buf {
    let size = Bytes::from(format!("{:x}\r\n", data.len()));
    size.chain(data).chain(Bytes::from_static(b"\r\n"))
}

/// The end of a chunked body.
pub(super) fn last_chunk(trailers: &Fields) -> Bytes {
    let mut end = BytesMut::from(&b"0\r\n"[..]);
    trailers.write(&mut end);
    end.put_slice(b"\r\n");
    end.freeze()
}

#[cfg(test)]
mod tests;
