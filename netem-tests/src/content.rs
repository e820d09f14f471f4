//! What files are made of that the lab sends: bytes that do not compress, and their digest.

use std::{fs::File, io, path::Path};

use bytes::Bytes;

/// Bytes and the digest they must have at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    digest: blake3::Hash,
}

impl Content {
    /// The same bytes in every run, by BLAKE3's extendable output.
    pub(crate) fn generate(len: u64) -> Self {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        Self {
            digest: blake3::hash(&bytes),
            bytes: bytes.into(),
        }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn digest(&self) -> blake3::Hash {
        self.digest
    }
}

/// Digest and length of a file.
pub(crate) fn digest_of_file(path: &Path) -> io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((hasher.finalize(), bytes))
}
