//! How the messages about one file are read: Put, Get and Ready.

use super::{
    DecodeError, Durability, Get, Put, Ready, Resume, fields::FieldReader, kind, older::scale,
    resume::decode_ranges, tag,
};

impl Put {
    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut stream, mut path) = (None, None);
        let mut put = Self::default();
        let mut reader = FieldReader::new(fields, kind::PUT)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PUT_STREAM => stream = Some(field.u64()?),
                tag::PATH => path = Some(field.value.to_vec()),
                tag::NAME => put.name = field.value.to_vec(),
                tag::PRESERVE => put.preserve = field.flag()?,
                tag::TREE => put.tree = field.flag()?,
                tag::DURABILITY => put.durability = Durability::take(&field)?,
                tag::VERSION => put.version = Some(field.array()?),
                tag::RESUME => put.resume = Resume::take(&field)?,
                tag::COPY => put.copy = Some(field.array()?),
                tag::FOLDER => put.folder = Some(field.value.to_vec()),
                tag::SPARSE => put.sparse = field.flag()?,
                tag::HOLDS => put.holds = Some(decode_ranges(&field)?),
                tag::XATTRS => put.xattrs = field.xattrs()?,
                _ => put.attributes.take(&field)?,
            }
        }
        put.stream = stream.ok_or(DecodeError::Missing(tag::PUT_STREAM))?;
        put.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(put)
    }
}

impl Get {
    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut path = None;
        let mut get = Self::default();
        let mut reader = FieldReader::new(fields, kind::GET)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::PATH => path = Some(field.value.to_vec()),
                tag::VERSION => get.version = Some(field.array()?),
                tag::RANGES => get.missing = Some(decode_ranges(&field)?),
                tag::WITH_XATTRS => get.xattrs = field.flag()?,
                tag::SPARSE => get.sparse = field.flag()?,
                tag::OLDER => get.older = Some(field.u64()?),
                _ => field.unknown()?,
            }
        }
        //= spec/20-copy.md#messages
        //# A message that lacks a field marked required MUST be refused.
        get.path = path.ok_or(DecodeError::Missing(tag::PATH))?;
        Ok(get)
    }
}

impl Ready {
    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut ready = Self::default();
        let mut reader = FieldReader::new(fields, kind::READY)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                tag::READY_STREAM => ready.stream = Some(field.u64()?),
                tag::VERSION => ready.version = Some(field.array()?),
                tag::RANGES => ready.missing = Some(decode_ranges(&field)?),
                tag::HOLDS => ready.holds = Some(decode_ranges(&field)?),
                tag::XATTRS => ready.xattrs = field.xattrs()?,
                tag::OLDER => ready.older = Some(field.u64()?),
                tag::CHUNK_SCALE => ready.scale = Some(scale(&field)?),
                _ => ready.attributes.take(&field)?,
            }
        }
        Ok(ready)
    }
}
