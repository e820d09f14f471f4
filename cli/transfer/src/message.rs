//! The control messages of the copy service and their bytes (spec/20-copy.md, "Messages").
//! What a message makes a side do lives in `sender` and `receiver`.

mod attributes;
mod decoder;
mod fields;
mod list;
mod older;
mod request;
mod resume;
mod status;
#[cfg(test)]
mod tests;
mod tree;

use rp_reduce::chunk::Scale;
use thiserror::Error;

use crate::xattrs::Xattrs;

pub use self::{
    attributes::{Attributes, Modified},
    decoder::Decoder,
    list::{Depth, List, MAX_MARKS, Mark, There},
    older::{Chunks, Delta, Want},
    resume::{Again, Data, Groups, Ranges, Resume, Sent},
    status::Status,
    tree::{
        CopyId, Durability, Entry, GetBatch, Kind, MakeFolder, PutBatch, Remove, RemoveBatch,
        Version,
    },
};
use self::{
    fields::{FieldReader, FieldWriter},
    older::encode_scale,
    resume::{encode_ranges, encode_ranges_as},
};
pub(crate) use self::{older::MAX_CHUNKS, resume::coarsened};

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
    /// The client wants to know what there is.
    List(List),
    /// Something in a tree: what it is, or why it was not copied.
    Entry(Entry),
    /// The client will send many small files.
    PutBatch(PutBatch),
    /// The client wants many small files.
    GetBatch(GetBatch),
    /// The client wants a folder made.
    MakeFolder(MakeFolder),
    /// The client wants something removed.
    Remove(Remove),
    /// The client wants many things removed.
    RemoveBatch(RemoveBatch),
    /// The sender sends ranges of the file on another data stream.
    Data(Data),
    /// The sender says what groups of the file are.
    Groups(Groups),
    /// The receiver wants ranges of the file again.
    Again(Again),
    /// The sender has sent the ranges it was to send.
    Sent(Sent),
    /// The server tells what an interrupted copy finished.
    There(There),
    /// The sender goes on by telling of chunks.
    Delta(Delta),
    /// The sender tells of chunks.
    Chunks(Chunks),
    /// The receiver says what it wants of them.
    Want(Want),
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
    /// Whether the path is the file's own, whatever stands there, and its folders are made.
    pub tree: bool,
    /// When the file has to be on the disk.
    pub durability: Durability,
    /// Tells one content of the source from another.
    pub version: Option<Version>,
    /// Whether what an interrupted copy left is gone on with.
    pub resume: Resume,
    /// Which copy it is, or is a part of.
    pub copy: Option<CopyId>,
    /// The folder that the tree is copied into which the file belongs to.
    pub folder: Option<Vec<u8>>,
    /// Whether blocks of zeros become holes.
    pub sparse: bool,
    /// What the data stream holds, where the rest of the file is holes.
    pub holds: Option<Ranges>,
    /// The source's extended attributes, where they are to be kept.
    pub xattrs: Xattrs,
}

/// A file is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Get {
    /// Which file, beneath the server's root.
    pub path: Vec<u8>,
    /// The content that an interrupted copy left a part of.
    pub version: Option<Version>,
    /// What is missing of it.
    pub missing: Option<Ranges>,
    /// Whether its extended attributes are wanted.
    pub xattrs: bool,
    /// Whether its holes need not be sent.
    pub sparse: bool,
    /// Size of the file that stands where this one goes.
    pub older: Option<u64>,
}

/// The request is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Id of the data stream, when the server is the sender.
    pub stream: Option<u64>,
    /// What is known of the source, when the server is the sender.
    pub attributes: Attributes,
    /// Tells one content of the source from another, when the server is the sender.
    pub version: Option<Version>,
    /// What is to be sent where an interrupted copy is gone on with: a server that is the sender sends no more,
    /// one that is the receiver wants no more.
    pub missing: Option<Ranges>,
    /// What the data stream holds, where the rest of the file is holes.
    pub holds: Option<Ranges>,
    /// The source's extended attributes, where the client wants them.
    pub xattrs: Xattrs,
    /// Size of the file that stands where this one goes, when the server is the receiver.
    pub older: Option<u64>,
    /// How large the chunks are that a server tells of when it is the sender.
    pub scale: Option<Scale>,
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
    pub(super) const LIST: u16 = 7;
    pub(super) const ENTRY: u16 = 8;
    pub(super) const PUT_BATCH: u16 = 9;
    pub(super) const GET_BATCH: u16 = 10;
    pub(super) const MAKE_FOLDER: u16 = 11;
    pub(super) const REMOVE: u16 = 12;
    pub(super) const DATA: u16 = 13;
    pub(super) const GROUPS: u16 = 14;
    pub(super) const AGAIN: u16 = 15;
    pub(super) const SENT: u16 = 16;
    pub(super) const THERE: u16 = 17;
    pub(super) const REMOVE_BATCH: u16 = 20;
    pub(super) const DELTA: u16 = 30;
    pub(super) const CHUNKS: u16 = 31;
    pub(super) const WANT: u16 = 32;
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
    pub(super) const TREE: u16 = 7;
    pub(super) const DURABILITY: u16 = 9;
    pub(super) const RANGES: u16 = 11;
    pub(super) const RESUME: u16 = 13;
    pub(super) const VERSION: u16 = 18;
    pub(super) const COPY: u16 = 20;
    pub(super) const FOLDER: u16 = 22;
    pub(super) const XATTRS: u16 = 44;
    pub(super) const WITH_XATTRS: u16 = 45;
    pub(super) const SPARSE: u16 = 47;
    pub(super) const HOLDS: u16 = 49;
    pub(super) const OLDER: u16 = 80;
    pub(super) const CHUNK_SCALE: u16 = 81;
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
                fields.flag(tag::PRESERVE, put.preserve);
                fields.flag(tag::TREE, put.tree);
                put.durability.encode(&mut fields);
                fields.version(put.version.as_ref());
                put.resume.encode(&mut fields);
                fields.flag(tag::SPARSE, put.sparse);
                encode_ranges_as(&mut fields, tag::HOLDS, put.holds.as_ref());
                fields.xattrs(&put.xattrs);
                put.attributes.encode(&mut fields);
                fields.copy(put.copy.as_ref());
                if let Some(folder) = &put.folder {
                    fields.bytes(tag::FOLDER, folder);
                }
                fields.finish();
            }
            Self::Get(get) => {
                let mut fields = FieldWriter::new(out, kind::GET);
                fields.bytes(tag::PATH, &get.path);
                fields.version(get.version.as_ref());
                encode_ranges(&mut fields, get.missing.as_ref());
                fields.flag(tag::WITH_XATTRS, get.xattrs);
                fields.flag(tag::SPARSE, get.sparse);
                fields.optional(tag::OLDER, get.older);
                fields.finish();
            }
            Self::Ready(ready) => {
                let mut fields = FieldWriter::new(out, kind::READY);
                if let Some(stream) = ready.stream {
                    fields.u64(tag::READY_STREAM, stream);
                }
                ready.attributes.encode(&mut fields);
                fields.version(ready.version.as_ref());
                encode_ranges(&mut fields, ready.missing.as_ref());
                encode_ranges_as(&mut fields, tag::HOLDS, ready.holds.as_ref());
                fields.xattrs(&ready.xattrs);
                fields.optional(tag::OLDER, ready.older);
                encode_scale(&mut fields, ready.scale);
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
            Self::List(list) => list.encode(out),
            Self::Entry(entry) => entry.encode(out),
            Self::PutBatch(put) => put.encode(out),
            Self::GetBatch(get) => get.encode(out),
            Self::MakeFolder(make) => make.encode(out),
            Self::Remove(remove) => remove.encode(out),
            Self::RemoveBatch(remove) => remove.encode(out),
            Self::Data(data) => data.encode(out),
            Self::Groups(groups) => groups.encode(out),
            Self::Again(again) => again.encode(out),
            Self::Sent(sent) => sent.encode(out),
            Self::There(there) => there.encode(out),
            Self::Delta(delta) => delta.encode(out),
            Self::Chunks(chunks) => chunks.encode(out),
            Self::Want(want) => want.encode(out),
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
            kind::LIST => List::decode(rest).map(Self::List),
            kind::ENTRY => Entry::decode(rest).map(Self::Entry),
            kind::PUT_BATCH => PutBatch::decode(rest).map(Self::PutBatch),
            kind::GET_BATCH => GetBatch::decode(rest).map(Self::GetBatch),
            kind::MAKE_FOLDER => MakeFolder::decode(rest).map(Self::MakeFolder),
            kind::REMOVE => Remove::decode(rest).map(Self::Remove),
            kind::REMOVE_BATCH => RemoveBatch::decode(rest).map(Self::RemoveBatch),
            kind::DATA => Data::decode(rest).map(Self::Data),
            kind::GROUPS => Groups::decode(rest).map(Self::Groups),
            kind::AGAIN => Again::decode(rest).map(Self::Again),
            kind::SENT => Sent::decode(rest).map(Self::Sent),
            kind::THERE => There::decode(rest).map(Self::There),
            kind::DELTA => Delta::decode(rest).map(Self::Delta),
            kind::CHUNKS => Chunks::decode(rest).map(Self::Chunks),
            kind::WANT => Want::decode(rest).map(Self::Want),
            //= spec/20-copy.md#messages
            //# A message of unknown kind MUST be refused with status unsupported.
            unknown => Err(DecodeError::UnknownKind(unknown)),
        }
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
