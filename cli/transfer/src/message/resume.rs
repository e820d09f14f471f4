//! The messages about parts of a file: what is sent in place of all of it, what groups are, and what is wanted
//! again (spec/20-copy.md, "Groups" and "Resuming").

use blake3::hazmat::ChainingValue;

use super::{
    DecodeError,
    fields::{Field, FieldReader, FieldWriter},
    kind, tag,
};

/// Offset and length of pieces of a file, in ascending order.
pub type Ranges = Vec<(u64, u64)>;

/// Bytes of one range.
const RANGE: usize = 16;

/// Most ranges of a message; what is beyond goes as one.
const MAX_RANGES: usize = 4000;

/// Most groups of a message.
const MAX_GROUPS: usize = 2000;

/// Tags of these messages alone.
mod own {
    pub(super) const STREAM: u16 = 1;
    pub(super) const FIRST: u16 = 1;
    pub(super) const VALUES: u16 = 3;
    pub(super) const SIZE: u16 = 1;
}

/// Whether an interrupted copy is gone on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// If what is there is of the same content.
    #[default]
    Auto,
    /// It is begun anew.
    Never,
    /// As [`Resume::Auto`], once what is there was read and is right.
    Verify,
}

impl Resume {
    pub(super) fn encode(self, fields: &mut FieldWriter<'_>) {
        match self {
            Self::Auto => {}
            Self::Never => fields.bytes(tag::RESUME, &[1]),
            Self::Verify => fields.bytes(tag::RESUME, &[2]),
        }
    }

    pub(super) fn take(field: &Field<'_>) -> Result<Self, DecodeError> {
        match field.array()? {
            [0] => Ok(Self::Auto),
            [1] => Ok(Self::Never),
            [2] => Ok(Self::Verify),
            _ => Err(DecodeError::Value(field.tag)),
        }
    }
}

/// Ranges of a file come on another data stream, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Id of the data stream.
    pub stream: u64,
    /// What it holds.
    pub ranges: Ranges,
}

/// What groups of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Index of the first.
    pub first: u64,
    /// Their values, one after the other.
    pub values: Vec<ChainingValue>,
}

/// Ranges of a file are wanted again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Which.
    pub ranges: Ranges,
}

/// All ranges of a Data message were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Length of the whole file.
    pub size: u64,
}

/// As many of `ranges` as a message holds; the rest as one, with what lies between.
pub(crate) fn coarsened(mut ranges: Ranges) -> Ranges {
    if ranges.len() > MAX_RANGES {
        let rest = ranges.split_off(MAX_RANGES - 1);
        if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            ranges.push((first.0, last.0 + last.1 - first.0));
        }
    }
    ranges
}

pub(super) fn encode_ranges(fields: &mut FieldWriter<'_>, ranges: Option<&Ranges>) {
    encode_ranges_as(fields, tag::RANGES, ranges);
}

pub(super) fn encode_ranges_as(fields: &mut FieldWriter<'_>, tag: u16, ranges: Option<&Ranges>) {
    let Some(ranges) = ranges else { return };
    let bytes: Vec<_> = ranges
        .iter()
        .take(MAX_RANGES)
        .flat_map(|(start, length)| [start.to_be_bytes(), length.to_be_bytes()].concat())
        .collect();
    fields.bytes(tag, &bytes);
}

//= spec/20-copy.md#resuming
//# Ranges that overlap, are empty or not in ascending order MUST be refused.
pub(super) fn decode_ranges(field: &Field<'_>) -> Result<Ranges, DecodeError> {
    let refused = DecodeError::Value(field.tag);
    let mut ranges = Ranges::new();
    let mut end = 0;
    for range in field.value.chunks(RANGE) {
        let (start, length) = range.split_first_chunk::<8>().ok_or(refused)?;
        let start = u64::from_be_bytes(*start);
        let length = u64::from_be_bytes(length.try_into().map_err(|_| refused)?);
        if start < end || length == 0 {
            return Err(refused);
        }
        end = start.checked_add(length).ok_or(refused)?;
        ranges.push((start, length));
    }
    Ok(ranges)
}

impl Data {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::DATA);
        fields.u64(own::STREAM, self.stream);
        encode_ranges(&mut fields, Some(&self.ranges));
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut stream, mut ranges) = (None, None);
        let mut reader = FieldReader::new(fields, kind::DATA)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::STREAM => stream = Some(field.u64()?),
                tag::RANGES => ranges = Some(decode_ranges(&field)?),
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            stream: stream.ok_or(DecodeError::Missing(own::STREAM))?,
            ranges: ranges.ok_or(DecodeError::Missing(tag::RANGES))?,
        })
    }
}

impl Groups {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::GROUPS);
        fields.u64(own::FIRST, self.first);
        let values: Vec<_> = self
            .values
            .iter()
            .take(MAX_GROUPS)
            .flatten()
            .copied()
            .collect();
        fields.bytes(own::VALUES, &values);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut first, mut values) = (None, None);
        let mut reader = FieldReader::new(fields, kind::GROUPS)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::FIRST => first = Some(field.u64()?),
                own::VALUES => values = Some(chaining_values(&field)?),
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            first: first.ok_or(DecodeError::Missing(own::FIRST))?,
            values: values.ok_or(DecodeError::Missing(own::VALUES))?,
        })
    }
}

fn chaining_values(field: &Field<'_>) -> Result<Vec<ChainingValue>, DecodeError> {
    let values = field.value.chunks(32);
    values
        .map(|value| value.try_into().map_err(|_| DecodeError::Value(field.tag)))
        .collect()
}

impl Again {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::AGAIN);
        encode_ranges(&mut fields, Some(&self.ranges));
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut ranges = None;
        let mut reader = FieldReader::new(fields, kind::AGAIN)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::RANGES => ranges = Some(decode_ranges(&field)?),
                _ => field.unknown()?,
            }
        }
        let ranges = ranges.ok_or(DecodeError::Missing(tag::RANGES))?;
        Ok(Self { ranges })
    }
}

impl Sent {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::SENT);
        fields.u64(own::SIZE, self.size);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut size = None;
        let mut reader = FieldReader::new(fields, kind::SENT)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::SIZE => size = Some(field.u64()?),
                _ => field.unknown()?,
            }
        }
        let size = size.ok_or(DecodeError::Missing(own::SIZE))?;
        Ok(Self { size })
    }
}
