//! Pieces of a stream of bytes, with their ids. Where they end is decided in `cutter`, how large they are meant
//! to be in `scale`.

mod cutter;
mod gear;
mod scale;
#[cfg(test)]
mod tests;

use blake3::Hasher;

use self::cutter::Cutter;
pub use self::scale::Scale;
use crate::id::ChunkId;

/// One piece of a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its bytes.
    pub length: u64,
    /// What it is called.
    pub id: ChunkId,
}

/// Cuts a stream of bytes into chunks, however it comes in pieces.
#[derive(Clone, Debug)]
pub struct Chunker {
    cutter: Cutter,
    hasher: Hasher,
}

impl Chunker {
    /// For chunks of this scale.
    pub fn new(scale: Scale) -> Self {
        Self {
            cutter: Cutter::new(scale),
            hasher: Hasher::new(),
        }
    }

    /// Takes the next bytes, and appends the chunks that end in them.
    pub fn push(&mut self, bytes: &[u8], chunks: &mut Vec<Chunk>) {
        let mut rest = bytes;
        while let Some(end) = self.cutter.push(rest) {
            let (last, next) = rest.split_at(end.bytes);
            self.hasher.update(last);
            chunks.push(self.take(end.length));
            rest = next;
        }
        self.hasher.update(rest);
    }

    /// Ends the stream: what is left is a chunk, and the next bytes begin another stream.
    pub fn finish(&mut self) -> Option<Chunk> {
        let length = self.cutter.finish();
        (length > 0).then(|| self.take(length))
    }

    fn take(&mut self, length: u64) -> Chunk {
        let id = ChunkId::of(&self.hasher);
        self.hasher.reset();
        Chunk { length, id }
    }
}
