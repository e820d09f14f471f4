//! Fields of a message: tag, length, value. Which fields a message has is said in `message`.

use super::{CopyId, DecodeError, LENGTH_PREFIX, Version, tag};
use crate::xattrs::Xattrs;

/// Appends one message to a buffer, field by field.
pub(super) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> FieldWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, kind: u16) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_PREFIX]);
        out.extend_from_slice(&kind.to_be_bytes());
        Self { out, start }
    }

    pub(super) fn u64(&mut self, tag: u16, value: u64) {
        self.bytes(tag, &value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, tag: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.out.extend_from_slice(&tag.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend(value.iter().take(usize::from(length)));
    }

    /// A number that is there only if it is known.
    pub(super) fn optional(&mut self, tag: u16, value: Option<u64>) {
        if let Some(value) = value {
            self.u64(tag, value);
        }
    }

    /// A field that is there only if `value` is true.
    pub(super) fn flag(&mut self, tag: u16, value: bool) {
        if value {
            self.bytes(tag, &[1]);
        }
    }

    /// What stands for a content, where it is known.
    pub(super) fn version(&mut self, version: Option<&Version>) {
        if let Some(version) = version {
            self.bytes(tag::VERSION, version);
        }
    }

    /// Which copy it is about, where that is said.
    pub(super) fn copy(&mut self, copy: Option<&CopyId>) {
        if let Some(copy) = copy {
            self.bytes(tag::COPY, copy);
        }
    }

    /// Extended attributes, where there are any.
    pub(super) fn xattrs(&mut self, xattrs: &Xattrs) {
        self.text(tag::XATTRS, &xattrs.to_bytes());
    }

    /// A field that is there only if `value` is not empty.
    pub(super) fn text(&mut self, tag: u16, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(tag, value);
        }
    }

    /// Fills in the length prefix.
    pub(super) fn finish(self) {
        let length = self.out.len() - self.start - LENGTH_PREFIX;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.out[self.start..self.start + LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
    }
}

/// One field as it stands in a message.
pub(super) struct Field<'a> {
    kind: u16,
    pub(super) tag: u16,
    pub(super) value: &'a [u8],
}

impl Field<'_> {
    pub(super) fn u64(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn xattrs(&self) -> Result<Xattrs, DecodeError> {
        Xattrs::from_bytes(self.value).ok_or(DecodeError::Value(self.tag))
    }

    pub(super) fn flag(&self) -> Result<bool, DecodeError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::Value(self.tag)),
        }
    }

    //= spec/20-copy.md#messages
    //# A value whose length does not fit its field MUST be refused.
    pub(super) fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.value
            .try_into()
            .map_err(|_| DecodeError::Value(self.tag))
    }

    //= spec/20-copy.md#messages
    //# An unknown field with an even tag MUST be ignored.
    //= spec/20-copy.md#messages
    //# An unknown field with an odd tag MUST be refused with status unsupported, because the
    //# peer relies on it being understood.
    pub(super) fn unknown(&self) -> Result<(), DecodeError> {
        if self.tag.is_multiple_of(2) {
            return Ok(());
        }
        Err(DecodeError::UnknownField {
            kind: self.kind,
            tag: self.tag,
        })
    }
}

/// Walks over the fields of one message.
pub(super) struct FieldReader<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// A reader over `fields`, refused when a tag occurs twice.
    pub(super) fn new(fields: &'a [u8], kind: u16) -> Result<Self, DecodeError> {
        //= spec/20-copy.md#messages
        //# A message that holds the same tag twice MUST be refused.
        let mut walk = Self { kind, rest: fields };
        let mut tags = Vec::new();
        while let Some(field) = walk.next()? {
            tags.push(field.tag);
        }
        tags.sort_unstable();
        match tags.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(DecodeError::Repeated(pair[0])),
            None => Ok(Self { kind, rest: fields }),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (&[t0, t1, l0, l1], rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(Some(Field {
            kind: self.kind,
            tag: u16::from_be_bytes([t0, t1]),
            value,
        }))
    }
}
