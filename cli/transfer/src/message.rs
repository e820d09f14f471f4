//! The control messages of the copy service and their bytes (spec/20-copy.md, "Messages").
//! What a message makes a side do lives in `sender` and `receiver`.

mod decoder;
mod fields;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use thiserror::Error;

pub use self::decoder::Decoder;
use self::fields::{FieldReader, FieldWriter};

/// Longest message after its length prefix (spec/20-copy.md): a path of 4096 bytes and space for
/// what later messages carry.
pub const MAX_MESSAGE: usize = 65536;

/// Longest text of a Done message in bytes.
pub const MAX_TEXT: usize = 1024;

const LENGTH_PREFIX: usize = 4;

/// Everything one side says to the other about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The client will send a file.
    Put(Put),
    /// The client wants a file.
    Get(Get),
    /// The server goes along with the request.
    Ready(Ready),
    /// The sender's account of what it sent.
    Digest(Digest),
    /// The last word of a side.
    Done(Done),
    /// The side is busy on its own, with nothing to say.
    Working,
}

/// A file is offered: where it goes and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Id of the data stream.
    pub stream: u64,
    /// Where the file goes, beneath the server's root.
    pub path: Vec<u8>,
    /// The source's own name, used when `path` is a folder; empty for standard input.
    pub name: Vec<u8>,
    /// What is known of the source.
    pub attributes: Attributes,
    /// Whether mode and time are to be kept as they are (`-p`).
    pub preserve: bool,
}

/// A file is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Get {
    /// Which file, beneath the server's root.
    pub path: Vec<u8>,
}

/// The request is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Id of the data stream, when the server is the sender.
    pub stream: Option<u64>,
    /// What is known of the source, when the server is the sender.
    pub attributes: Attributes,
}

/// What a sender knows of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Length in bytes; `None` for a pipe.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Time of last modification.
    pub modified: Option<Modified>,
}

/// A time of last modification as the wire carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modified {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 10^9.
    pub nanos: u32,
}

impl Modified {
    /// The same instant for `std`; `None` where the system's clock cannot say it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let base = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base?.checked_add(Duration::from_nanos(u64::from(self.nanos)))
    }
}

/// The sender's account of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Bytes sent.
    pub size: u64,
    /// BLAKE3 over them.
    pub digest: [u8; 32],
}

/// The last word of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// How it went.
    pub status: Status,
    /// A sentence for people; may be empty. Comes from the peer: sanitise before printing.
    pub text: String,
}

/// How a request ended (spec/20-copy.md, "Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The file is whole under its name.
    Ok,
    /// Anything without a status of its own.
    Failed,
    /// No such file or folder.
    NotFound,
    /// Not allowed.
    Permission,
    /// The file does not fit.
    NoSpace,
    /// Digest or size differ.
    Integrity,
    /// The source changed while it was read.
    SourceChanged,
    /// The path is not acceptable.
    BadPath,
    /// A folder, a device or another kind of thing.
    NotAFile,
    /// Another copy is writing this file.
    Busy,
    /// Needs something the other side does not know.
    Unsupported,
    /// Stopped by the user or the program's end.
    Interrupted,
    /// A rule of the copy protocol was broken.
    Protocol,
}

impl Status {
    const ALL: [Self; 13] = [
        Self::Ok,
        Self::Failed,
        Self::NotFound,
        Self::Permission,
        Self::NoSpace,
        Self::Integrity,
        Self::SourceChanged,
        Self::BadPath,
        Self::NotAFile,
        Self::Busy,
        Self::Unsupported,
        Self::Interrupted,
        Self::Protocol,
    ];

    /// The number on the wire.
    pub fn to_wire(self) -> u64 {
        Self::ALL
            .iter()
            .position(|&status| status == self)
            .map_or(1, |index| index as u64)
    }

    /// The status a number stands for.
    pub fn from_wire(value: u64) -> Self {
        //= spec/20-copy.md#status
        //# An unknown status MUST be treated as failed.
        usize::try_from(value)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or(Self::Failed)
    }
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The length prefix is out of bounds.
    #[error("message of {0} bytes")]
    Length(u32),
    /// A kind of message this version does not know.
    #[error("unknown kind of message {0}")]
    UnknownKind(u16),
    /// A field that must be understood, and is not.
    #[error("unknown field {tag} in a message of kind {kind}")]
    UnknownField {
        /// Kind of the message.
        kind: u16,
        /// Tag of the field.
        tag: u16,
    },
    /// A field that occurs twice.
    #[error("field {0} occurs twice")]
    Repeated(u16),
    /// A required field that does not occur.
    #[error("field {0} is missing")]
    Missing(u16),
    /// A field whose value has the wrong length or is out of range.
    #[error("field {0} has a value out of range")]
    Value(u16),
    /// A data stream that its sender could not have opened.
    #[error("stream {0} cannot be its data stream")]
    Stream(u64),
    /// The message ends inside a field.
    #[error("message ends inside a field")]
    Truncated,
    /// The stream ends inside a message.
    #[error("the stream ended inside a message")]
    Incomplete,
}

impl DecodeError {
    /// The status to send to the peer.
    pub fn status(self) -> Status {
        match self {
            Self::UnknownKind(_) | Self::UnknownField { .. } => Status::Unsupported,
            _ => Status::Protocol,
        }
    }
}

mod kind {
    pub(super) const PUT: u16 = 1;
    pub(super) const GET: u16 = 2;
    pub(super) const READY: u16 = 3;
    pub(super) const DIGEST: u16 = 4;
    pub(super) const DONE: u16 = 5;
    pub(super) const WORKING: u16 = 6;
}

/// Field tags; an odd one must be understood. `STREAM`, `SIZE` and so on are shared where messages
/// share a meaning; the `DIGEST_*` and `DONE_*` ones are those messages' own.
mod tag {
    pub(super) const PUT_STREAM: u16 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const READY_STREAM: u16 = 2;
    pub(super) const PATH: u16 = 3;
    pub(super) const SIZE: u16 = 4;
    pub(super) const PRESERVE: u16 = 5;
    pub(super) const MODE: u16 = 6;
    pub(super) const MODIFIED: u16 = 8;
    pub(super) const DIGEST_SIZE: u16 = 2;
    pub(super) const DIGEST_VALUE: u16 = 4;
    pub(super) const DONE_STATUS: u16 = 2;
    pub(super) const DONE_TEXT: u16 = 4;
}

impl Message {
    /// Appends the message with its length prefix to `out`.
    ///
    /// Paths and names beyond [`u16::MAX`] bytes are cut; they are refused long before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(put) => {
                let mut fields = FieldWriter::new(out, kind::PUT);
                fields.u64(tag::PUT_STREAM, put.stream);
                fields.bytes(tag::PATH, &put.path);
                if !put.name.is_empty() {
                    fields.bytes(tag::NAME, &put.name);
                }
                if put.preserve {
                    fields.bytes(tag::PRESERVE, &[1]);
                }
                put.attributes.encode(&mut fields);
                fields.finish();
            }
            Self::Get(get) => {
                let mut fields = FieldWriter::new(out, kind::GET);
                fields.bytes(tag::PATH, &get.path);
                fields.finish();
            }
            Self::Ready(ready) => {
                let mut fields = FieldWriter::new(out, kind::READY);
                if let Some(stream) = ready.stream {
                    fields.u64(tag::READY_STREAM, stream);
                }
                ready.attributes.encode(&mut fields);
                fields.finish();
            }
            Self::Digest(digest) => {
                let mut fields = FieldWriter::new(out, kind::DIGEST);
                fields.u64(tag::DIGEST_SIZE, digest.size);
                fields.bytes(tag::DIGEST_VALUE, &digest.digest);
                fields.finish();
            }
            Self::Done(done) => {
                let mut fields = FieldWriter::new(out, kind::DONE);
                fields.u64(tag::DONE_STATUS, done.status.to_wire());
                if !done.text.is_empty() {
                    fields.bytes(tag::DONE_TEXT, cut(&done.text, MAX_TEXT).as_bytes());
                }
                fields.finish();
            }
            Self::Working => FieldWriter::new(out, kind::WORKING).finish(),
        }
    }

    /// Reads one message without its length prefix.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (kind, rest) = body.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let kind = u16::from_be_bytes(*kind);
        match kind {
            kind::PUT => Put::decode(rest).map(Self::Put),
            kind::GET => Get::decode(rest).map(Self::Get),
            kind::READY => Ready::decode(rest).map(Self::Ready),
            kind::DIGEST => Digest::decode(rest).map(Self::Digest),
            kind::DONE => Done::decode(rest).map(Self::Done),
            kind::WORKING => decode_working(rest),
            //= spec/20-copy.md#messages
            //# A message of unknown kind MUST be refused with status unsupported.
            unknown => Err(DecodeError::UnknownKind(unknown)),
        }
    }
}

impl Put {
    fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut stream, mut path) = (None, None);
        let mut put = Self::default();
        let mut reader = FieldReader::new(fields, kind::PUT)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PUT_STREAM => stream = Some(field.u64()?),
                tag::PATH => path = Some(field.value.to_vec()),
                tag::NAME => put.name = field.value.to_vec(),
                tag::PRESERVE => put.preserve = field.flag()?,
                _ => put.attributes.take(&field)?,
            }
        }
        put.stream = stream.ok_or(DecodeError::Missing(tag::PUT_STREAM))?;
        put.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(put)
    }
}

impl Get {
    fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut path = None;
        let mut reader = FieldReader::new(fields, kind::GET)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                _ => field.unknown()?,
            }
        }
        //= spec/20-copy.md#messages
        //# A message that lacks a field marked required MUST be refused.
        let path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(Self { path })
    }
}

impl Ready {
    fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut ready = Self::default();
        let mut reader = FieldReader::new(fields, kind::READY)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::READY_STREAM => ready.stream = Some(field.u64()?),
                _ => ready.attributes.take(&field)?,
            }
        }
        Ok(ready)
    }
}

impl Attributes {
    fn encode(&self, fields: &mut FieldWriter<'_>) {
        if let Some(size) = self.size {
            fields.u64(tag::SIZE, size);
        }
        if let Some(mode) = self.mode {
            fields.bytes(tag::MODE, &mode.to_be_bytes());
        }
        if let Some(modified) = self.modified {
            let mut value = [0; 12];
            value[..8].copy_from_slice(&modified.seconds.to_be_bytes());
            value[8..].copy_from_slice(&modified.nanos.to_be_bytes());
            fields.bytes(tag::MODIFIED, &value);
        }
    }

    /// Takes a field that is an attribute; any other is for [`fields::Field::unknown`] to judge.
    fn take(&mut self, field: &fields::Field<'_>) -> Result<(), DecodeError> {
        match field.tag {
            tag::SIZE => self.size = Some(field.u64()?),
            tag::MODE => self.mode = Some(u32::from_be_bytes(field.array()?)),
            tag::MODIFIED => {
                let value: [u8; 12] = field.array()?;
                let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = value;
                let nanos = u32::from_be_bytes([n0, n1, n2, n3]);
                if nanos >= 1_000_000_000 {
                    return Err(DecodeError::Value(tag::MODIFIED));
                }
                let seconds = i64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
                self.modified = Some(Modified { seconds, nanos });
            }
            _ => field.unknown()?,
        }
        Ok(())
    }
}

impl Digest {
    fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut size, mut digest) = (None, None);
        let mut reader = FieldReader::new(fields, kind::DIGEST)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::DIGEST_SIZE => size = Some(field.u64()?),
                tag::DIGEST_VALUE => digest = Some(field.array()?),
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            size: size.ok_or(DecodeError::Missing(tag::DIGEST_SIZE))?,
            digest: digest.ok_or(DecodeError::Missing(tag::DIGEST_VALUE))?,
        })
    }
}

impl Done {
    fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut status, mut text) = (None, String::new());
        let mut reader = FieldReader::new(fields, kind::DONE)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::DONE_STATUS => status = Some(Status::from_wire(field.u64()?)),
                tag::DONE_TEXT if field.value.len() > MAX_TEXT => {
                    return Err(DecodeError::Value(tag::DONE_TEXT));
                }
                tag::DONE_TEXT => text = String::from_utf8_lossy(field.value).into_owned(),
                _ => field.unknown()?,
            }
        }
        let status = status.ok_or(DecodeError::Missing(tag::DONE_STATUS))?;
        Ok(Self { status, text })
    }
}

/// Working has no fields of its own.
fn decode_working(fields: &[u8]) -> Result<Message, DecodeError> {
    let mut reader = FieldReader::new(fields, kind::WORKING)?;
    while let Some(field) = reader.next()? {
        field.unknown()?;
    }
    Ok(Message::Working)
}

/// The longest prefix of `text` that is at most `limit` bytes and whole characters.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
