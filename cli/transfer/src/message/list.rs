//! What there is at the other side: asked, and told where an interrupted copy is gone on with (spec/20-copy.md, "Lists"
//! and "Trees"). Entries, which answer the rest, are in `tree`.

use super::{
    CopyId, DecodeError,
    fields::{Field, FieldReader, FieldWriter},
    kind, tag,
};

/// Tags of these messages alone; the others are shared.
mod own {
    pub(super) const DEPTH: u16 = 5;
    pub(super) const FOLLOW: u16 = 7;
    pub(super) const JOURNAL: u16 = 9;
    pub(super) const PATTERN: u16 = 61;
    pub(super) const VERIFY: u16 = 21;
    pub(super) const MARKS: u16 = 1;
    pub(super) const ONE_FILE_SYSTEM: u16 = 41;
    pub(super) const LIST_COUNT: u16 = 43;
}

/// Stands for a file of a tree and its content.
pub type Mark = [u8; 16];

/// Most marks of a message.
pub const MAX_MARKS: usize = 2000;

/// How deep a walk over a tree goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Only where it begins.
    #[default]
    Itself,
    /// That, and what is in it.
    Entries,
    /// All that is beneath it.
    All,
}

impl Depth {
    fn encode(self, fields: &mut FieldWriter<'_>) {
        match self {
            Self::Itself => {}
            Self::Entries => fields.bytes(own::DEPTH, &[1]),
            Self::All => fields.bytes(own::DEPTH, &[2]),
        }
    }

    fn take(field: &Field<'_>) -> Result<Self, DecodeError> {
        match field.array()? {
            [0] => Ok(Self::Itself),
            [1] => Ok(Self::Entries),
            [2] => Ok(Self::All),
            _ => Err(DecodeError::Value(field.tag)),
        }
    }
}

/// Asks what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Where, beneath the server's root.
    pub path: Vec<u8>,
    /// How deep to go.
    pub depth: Depth,
    /// Whether links stand for what they lead to.
    pub follow: bool,
    /// Whether to tell what an interrupted copy into this folder has finished, in place of what is there.
    pub journal: bool,
    /// Which copy.
    pub copy: Option<CopyId>,
    /// Whether what it finished is read first, and only told of if it is right.
    pub verify: bool,
    /// Whether to stay out of other file systems that are mounted there.
    pub one_file_system: bool,
    /// Whether to tell of the extended attributes of folders.
    pub xattrs: bool,
    /// How many entries follow, each naming a thing beneath the path to begin at; without them it is the path itself.
    pub count: Option<u32>,
    /// Tell of what fits this pattern beneath the path, in place of what is there; empty for none.
    pub pattern: Vec<u8>,
}

/// Files that an interrupted copy finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// What stands for them.
    pub marks: Vec<Mark>,
}

impl List {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::LIST);
        fields.bytes(tag::PATH, &self.path);
        self.depth.encode(&mut fields);
        fields.flag(own::FOLLOW, self.follow);
        fields.flag(own::JOURNAL, self.journal);
        fields.copy(self.copy.as_ref());
        fields.flag(own::VERIFY, self.verify);
        fields.flag(own::ONE_FILE_SYSTEM, self.one_file_system);
        fields.flag(tag::WITH_XATTRS, self.xattrs);
        if let Some(count) = self.count {
            fields.bytes(own::LIST_COUNT, &count.to_be_bytes());
        }
        fields.text(own::PATTERN, &self.pattern);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut list = Self::default();
        let mut path = None;
        let mut reader = FieldReader::new(fields, kind::LIST)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                own::DEPTH => list.depth = Depth::take(&field)?,
                own::FOLLOW => list.follow = field.flag()?,
                own::JOURNAL => list.journal = field.flag()?,
                tag::COPY => list.copy = Some(field.array()?),
                own::VERIFY => list.verify = field.flag()?,
                own::ONE_FILE_SYSTEM => list.one_file_system = field.flag()?,
                tag::WITH_XATTRS => list.xattrs = field.flag()?,
                own::LIST_COUNT => list.count = Some(u32::from_be_bytes(field.array()?)),
                own::PATTERN => list.pattern = field.value.to_vec(),
                _ => field.unknown()?,
            }
        }
        list.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(list)
    }
}

impl There {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::THERE);
        let marks = self.marks.get(..MAX_MARKS).unwrap_or(&self.marks);
        fields.bytes(own::MARKS, marks.as_flattened());
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut marks = None;
        let mut reader = FieldReader::new(fields, kind::THERE)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::MARKS => {
                    let (whole, rest) = field.value.as_chunks();
                    if !rest.is_empty() || whole.len() > MAX_MARKS {
                        return Err(DecodeError::Value(field.tag));
                    }
                    marks = Some(whole.to_vec());
                }
                _ => field.unknown()?,
            }
        }
        let marks = marks.ok_or(DecodeError::Missing(own::MARKS))?;
        Ok(Self { marks })
    }
}
