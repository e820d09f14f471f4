//! The messages about what an older file at the destination need not be sent (spec/20-copy.md, "Older
//! destination").

use rp_reduce::{
    chunk::{Chunk, Scale},
    id::{ChunkId, LENGTH},
};

use super::{
    DecodeError, Ranges,
    fields::{Field, FieldReader, FieldWriter},
    kind,
    resume::{decode_ranges, encode_ranges},
    tag,
};

/// Bytes of one chunk in a message: its id, and its length.
const CHUNK: usize = LENGTH + 4;

/// Most chunks of a message.
pub(crate) const MAX_CHUNKS: usize = 3000;

/// Tags of these messages alone.
mod own {
    pub(super) const STREAM: u16 = 1;
    pub(super) const SCALE: u16 = 3;
    pub(super) const CHUNKS: u16 = 1;
    pub(super) const THROUGH: u16 = 1;
    pub(super) const TAKEN: u16 = 2;
}

/// The sender goes on by telling of chunks; what is wanted of them comes on another data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Id of the data stream.
    pub stream: u64,
    /// How large its chunks are.
    pub scale: Scale,
}

/// The next chunks of what is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    /// One after the other.
    pub chunks: Vec<Chunk>,
}

/// What the receiver has not got of the chunks it was told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The offset before which it is decided what is wanted.
    pub through: u64,
    /// What is wanted of that, beyond what was said before.
    pub ranges: Ranges,
    /// Bytes that were taken from the older file so far; nothing depends on it.
    pub taken: u64,
}

/// A field that is a scale.
pub(super) fn scale(field: &Field<'_>) -> Result<Scale, DecodeError> {
    let [scale] = field.array()?;
    Scale::from_wire(scale).ok_or(DecodeError::Value(field.tag))
}

/// Appends a scale, where there is one.
pub(super) fn encode_scale(fields: &mut FieldWriter<'_>, scale: Option<Scale>) {
    if let Some(scale) = scale {
        fields.bytes(tag::CHUNK_SCALE, &[scale.to_wire()]);
    }
}

impl Delta {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::DELTA);
        fields.u64(own::STREAM, self.stream);
        fields.bytes(own::SCALE, &[self.scale.to_wire()]);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut stream, mut scaled) = (None, None);
        let mut reader = FieldReader::new(fields, kind::DELTA)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::STREAM => stream = Some(field.u64()?),
                own::SCALE => scaled = Some(scale(&field)?),
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            stream: stream.ok_or(DecodeError::Missing(own::STREAM))?,
            scale: scaled.ok_or(DecodeError::Missing(own::SCALE))?,
        })
    }
}

impl Chunks {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::CHUNKS);
        let mut bytes = Vec::with_capacity(self.chunks.len() * CHUNK);
        for chunk in self.chunks.iter().take(MAX_CHUNKS) {
            bytes.extend(chunk.id.to_bytes());
            let length = u32::try_from(chunk.length).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
        }
        fields.bytes(own::CHUNKS, &bytes);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let mut chunks = None;
        let mut reader = FieldReader::new(fields, kind::CHUNKS)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::CHUNKS => chunks = Some(decode_chunks(&field)?),
                _ => field.unknown()?,
            }
        }
        let chunks = chunks.ok_or(DecodeError::Missing(own::CHUNKS))?;
        Ok(Self { chunks })
    }
}

fn decode_chunks(field: &Field<'_>) -> Result<Vec<Chunk>, DecodeError> {
    let refused = DecodeError::Value(field.tag);
    let chunk = |bytes: &[u8]| {
        let (id, length) = bytes.split_first_chunk::<LENGTH>().ok_or(refused)?;
        let length = u32::from_be_bytes(length.try_into().map_err(|_| refused)?);
        Ok(Chunk {
            length: length.into(),
            id: ChunkId::from(*id),
        })
    };
    if field.value.len() > MAX_CHUNKS * CHUNK {
        return Err(refused);
    }
    field.value.chunks(CHUNK).map(chunk).collect()
}

impl Want {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out, kind::WANT);
        fields.u64(own::THROUGH, self.through);
        encode_ranges(&mut fields, Some(&self.ranges));
        fields.u64(own::TAKEN, self.taken);
        fields.finish();
    }

    pub(super) fn decode(fields: &[u8]) -> Result<Self, DecodeError> {
        let (mut through, mut ranges, mut taken) = (None, None, 0);
        let mut reader = FieldReader::new(fields, kind::WANT)?;
        while let Some(field) = reader.next()? {
            match field.tag {
                own::THROUGH => through = Some(field.u64()?),
                tag::RANGES => ranges = Some(decode_ranges(&field)?),
                own::TAKEN => taken = field.u64()?,
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            through: through.ok_or(DecodeError::Missing(own::THROUGH))?,
            ranges: ranges.ok_or(DecodeError::Missing(tag::RANGES))?,
            taken,
        })
    }
}
