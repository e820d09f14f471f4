//! The messages about trees: what there is, many small files at once, folders made and things removed
//! (spec/20-copy.md, "Trees" and "Batches").

use super::{
    Attributes, DecodeError, Done, MAX_TEXT, Status, cut,
    fields::{Field, FieldReader, FieldWriter},
    kind, tag,
};
use crate::xattrs::Xattrs;

/// Tags of these messages alone; the others are shared.
mod own {
    pub(super) const KIND: u16 = 5;
    pub(super) const RECURSIVE: u16 = 5;
    pub(super) const COUNT: u16 = 5;
    pub(super) const LAST: u16 = 11;
    pub(super) const TARGET: u16 = 10;
    pub(super) const DIGEST: u16 = 12;
    pub(super) const STATUS: u16 = 14;
    pub(super) const TEXT: u16 = 16;
    pub(super) const AFTER: u16 = 22;
    pub(super) const MOUNT: u16 = 40;
    pub(super) const SAME: u16 = 42;
}

/// Stands for a file's content without reading it: another value tells of another content. Only who
/// made it knows what it is made of.
pub type Version = [u8; 16];

/// Names a copy: whoever makes it again after an interruption gives it the same.
pub type CopyId = [u8; 16];

/// When a file that was received has to be on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Before it takes its name, together with the others of its batch.
    #[default]
    Batch,
    /// Before it takes its name, each by itself, and its name too.
    File,
    /// Whenever the system likes.
    None,
}

impl Durability {
    pub(super) fn encode(self, fields: &mut FieldWriter<'_>) {
        match self {
            Self::Batch => {}
            Self::File => fields.bytes(tag::DURABILITY, &[1]),
            Self::None => fields.bytes(tag::DURABILITY, &[2]),
        }
    }

    pub(super) fn take(field: &Field<'_>) -> Result<Self, DecodeError> {
        match field.array()? {
            [0] => Ok(Self::Batch),
            [1] => Ok(Self::File),
            [2] => Ok(Self::None),
            _ => Err(DecodeError::Value(field.tag)),
        }
    }
}

/// What an [`Entry`] is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Another name of a file that is there already.
    HardLink,
    /// A device, pipe or socket, which is never copied.
    Other,
}

impl Kind {
    fn to_wire(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Folder => 2,
            Self::Link => 3,
            Self::Other => 4,
            Self::HardLink => 5,
        }
    }

    fn take(field: &Field<'_>) -> Result<Self, DecodeError> {
        match field.array()? {
            [1] => Ok(Self::File),
            [2] => Ok(Self::Folder),
            [3] => Ok(Self::Link),
            [4] => Ok(Self::Other),
            [5] => Ok(Self::HardLink),
            _ => Err(DecodeError::Value(field.tag)),
        }
    }
}

/// One thing in a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, beneath the path of the request; empty for that path itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What is known of it.
    pub attributes: Attributes,
    /// Where a link leads; for another name of a file, its path beneath that of the request.
    pub target: Vec<u8>,
    /// BLAKE3 over the content that follows.
    pub digest: Option<[u8; 32]>,
    /// Tells one content from another.
    pub version: Option<Version>,
    /// A folder of another file system, which is not gone into.
    pub is_mount: bool,
    /// The same for all names of one file that has several.
    pub same: Option<Version>,
    /// Its extended attributes, where they are wanted.
    pub xattrs: Xattrs,
    /// Why it was not copied or cannot be: then nothing else is said of it.
    pub failure: Option<Done>,
}

impl Entry {
    /// Says why `path` was not copied.
    pub fn failed(path: Vec<u8>, failure: Done) -> Self {
        Self {
            path,
            failure: Some(failure),
            ..Self::default()
        }
    }
}

/// Many small files are offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBatch {
    /// Id of the data stream.
    pub stream: u64,
    /// The folder that the entries' paths are beneath.
    pub path: Vec<u8>,
    /// Whether mode and time are to be kept as they are (`-p`).
    pub preserve: bool,
    /// When the files have to be on the disk.
    pub durability: Durability,
    /// Whether blocks of zeros become holes.
    pub sparse: bool,
    /// Whether this ends the copy of the tree.
    pub last: bool,
    /// Which copy it is a part of.
    pub copy: Option<CopyId>,
    /// How many requests of the copy were made before the last.
    pub after: u64,
}

/// Many small files are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetBatch {
    /// The folder that the entries' paths are beneath.
    pub path: Vec<u8>,
    /// How many entries follow, each naming one file.
    pub count: u32,
    /// Whether their extended attributes are wanted.
    pub xattrs: bool,
}

/// Many things are to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveBatch {
    /// The folder that the entries' paths are beneath.
    pub path: Vec<u8>,
    /// How many entries follow, each naming one file, link or empty folder.
    pub count: u32,
}

/// A folder is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MakeFolder {
    /// Where, beneath the server's root.
    pub path: Vec<u8>,
}

/// Something is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remove {
    /// What, beneath the server's root.
    pub path: Vec<u8>,
    /// Whether a folder goes with all that is in it.
    pub recursive: bool,
}

impl Entry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::ENTRY);
        fields.bytes(tag::PATH, &self.path);
        fields.bytes(own::KIND, &[self.kind.to_wire()]);
        self.attributes.encode(&mut fields);
        fields.text(own::TARGET, &self.target);
        if let Some(digest) = &self.digest {
            fields.bytes(own::DIGEST, digest);
        }
        if let Some(failure) = &self.failure {
            fields.u64(own::STATUS, failure.status.to_wire());
            fields.text(own::TEXT, cut(&failure.text, MAX_TEXT).as_bytes());
        }
        fields.version(self.version.as_ref());
        fields.flag(own::MOUNT, self.is_mount);
        if let Some(same) = &self.same {
            fields.bytes(own::SAME, same);
        }
        fields.xattrs(&self.xattrs);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut entry = Self::default();
        let (mut path, mut kind, mut status) = (None, None, None);
        let mut text = String::new();
        let mut reader = FieldReader::new(fields, kind::ENTRY)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                own::KIND => kind = Some(Kind::take(&field)?),
                own::TARGET => entry.target = field.value.to_vec(),
                own::DIGEST => entry.digest = Some(field.array()?),
                own::STATUS => status = Some(Status::from_wire(field.u64()?)),
                own::TEXT => text = String::from_utf8_lossy(field.value).into_owned(),
                tag::VERSION => entry.version = Some(field.array()?),
                own::MOUNT => entry.is_mount = field.flag()?,
                own::SAME => entry.same = Some(field.array()?),
                tag::XATTRS => entry.xattrs = field.xattrs()?,
                _ => entry.attributes.take(&field)?,
            }
        }
        entry.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        entry.kind = kind.ok_or(DecodeError::Missing(own::KIND))?;
        entry.failure = status.map(|status| Done {
            status,
            text: cut(&text, MAX_TEXT).to_owned(),
        });
        Ok(entry)
    }
}

impl PutBatch {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::PUT_BATCH);
        fields.u64(tag::PUT_STREAM, self.stream);
        fields.bytes(tag::PATH, &self.path);
        fields.flag(tag::PRESERVE, self.preserve);
        self.durability.encode(&mut fields);
        fields.flag(own::LAST, self.last);
        fields.copy(self.copy.as_ref());
        if self.after > 0 {
            fields.u64(own::AFTER, self.after);
        }
        fields.flag(tag::SPARSE, self.sparse);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut put = Self::default();
        let (mut stream, mut path) = (None, None);
        let mut reader = FieldReader::new(fields, kind::PUT_BATCH)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PUT_STREAM => stream = Some(field.u64()?),
                tag::PATH => path = Some(field.value.to_vec()),
                tag::PRESERVE => put.preserve = field.flag()?,
                tag::DURABILITY => put.durability = Durability::take(&field)?,
                own::LAST => put.last = field.flag()?,
                tag::COPY => put.copy = Some(field.array()?),
                own::AFTER => put.after = field.u64()?,
                tag::SPARSE => put.sparse = field.flag()?,
                _ => field.unknown()?,
            }
        }
        put.stream = stream.ok_or(DecodeError::Missing(tag::PUT_STREAM))?;
        put.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(put)
    }
}

impl GetBatch {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_count(out, kind::GET_BATCH, (&self.path, self.count), self.xattrs);
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (path, count, xattrs) = decode_count(fields, kind::GET_BATCH)?;
        Ok(Self {
            path,
            count,
            xattrs,
        })
    }
}

impl RemoveBatch {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_count(out, kind::REMOVE_BATCH, (&self.path, self.count), false);
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (path, count, _) = decode_count(fields, kind::REMOVE_BATCH)?;
        Ok(Self { path, count })
    }
}

/// A message behind which `count` entries beneath `path` come.
fn encode_count(out: &mut Vec<u8>, kind: u16, (path, count): (&[u8], u32), xattrs: bool) {
    let mut fields = FieldWriter::new(out, kind);
    fields.bytes(tag::PATH, path);
    fields.bytes(own::COUNT, &count.to_be_bytes());
    fields.flag(tag::WITH_XATTRS, xattrs);
    fields.finish();
}

fn decode_count(fields: &[u8], of: u16) -> Result<(Vec<u8>, u32, bool), DecodeError> {
    let (mut path, mut count, mut xattrs) = (None, None, false);
    let mut reader = FieldReader::new(fields, of)?;
    while let Some(field) = reader.next()? {
        match field.tag {
            tag::PATH => path = Some(field.value.to_vec()),
            own::COUNT => count = Some(u32::from_be_bytes(field.array()?)),
            tag::WITH_XATTRS if of == kind::GET_BATCH => xattrs = field.flag()?,
            _ => field.unknown()?,
        }
    }
    let path = path.ok_or(DecodeError::Missing(tag::PATH))?;
    let count = count.ok_or(DecodeError::Missing(own::COUNT))?;
    Ok((path, count, xattrs))
}

impl MakeFolder {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::MAKE_FOLDER);
        fields.bytes(tag::PATH, &self.path);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut path = None;
        let mut reader = FieldReader::new(fields, kind::MAKE_FOLDER)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                _ => field.unknown()?,
            }
        }
        let path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(Self { path })
    }
}

impl Remove {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::REMOVE);
        fields.bytes(tag::PATH, &self.path);
        fields.flag(own::RECURSIVE, self.recursive);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut path = None;
        let mut recursive = false;
        let mut reader = FieldReader::new(fields, kind::REMOVE)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                own::RECURSIVE => recursive = field.flag()?,
                _ => field.unknown()?,
            }
        }
        let path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(Self { path, recursive })
    }
}
