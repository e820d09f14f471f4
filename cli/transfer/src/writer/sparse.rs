//! Zeros written as holes. Which bytes go where is decided in `writer`.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::fs::FallocateFlags;

/// Holes are made of whole blocks of this size, as file systems have them.
const BLOCK: usize = 4096;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes `bytes` at `offset`, and where all of them in a block are zero makes a hole.
pub(super) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut at = offset;
    for run in runs(offset, bytes) {
        let (is_hole, bytes) = run;
        match is_hole {
            true => make_hole(file, at, bytes)?,
            false => file.write_all_at(bytes, at)?,
        }
        at += bytes.len() as u64;
    }
    Ok(())
}

/// What is in a place where there may have been other bytes before is zero afterwards.
fn make_hole(file: &File, offset: u64, zeros: &[u8]) -> io::Result<()> {
    let length = zeros.len() as u64;
    let before = file.metadata()?.len();
    if before < offset + length {
        file.set_len(offset + length)?;
    }
    if before <= offset {
        return Ok(());
    }
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, punch, offset, length) {
        Ok(()) => Ok(()),
        Err(_) => file.write_all_at(zeros, offset),
    }
}

/// `bytes`, which begin at `offset`, in pieces that are holes or not.
fn runs(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut length = 0;
        let mut kind = None;
        while let Some((is_hole, piece)) = next_block(offset + length as u64, &rest[length..])
            && kind.is_none_or(|kind| kind == is_hole)
        {
            kind = Some(is_hole);
            length += piece;
        }
        let (run, after) = rest.split_at(length);
        (rest, offset) = (after, offset + length as u64);
        kind.map(|kind| (kind, run))
    })
}

/// Whether the bytes up to the next border between blocks are zero, and how many they are. Of a block that only in
/// part is, the file system makes a hole when the rest of it is one.
fn next_block(offset: u64, bytes: &[u8]) -> Option<(bool, usize)> {
    let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
    let length = bytes.len().min(BLOCK - within);
    let is_hole = bytes.get(..length)? == ZEROS.get(..length)?;
    (length > 0).then_some((is_hole, length))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn check(pieces: &[(u64, &[u8])], allocated: u64) {
        let file = tempfile::tempfile().unwrap();
        let mut model = Vec::new();
        for &(offset, bytes) in pieces {
            write_at(&file, offset, bytes).unwrap();
            let start = usize::try_from(offset).unwrap();
            model.resize(model.len().max(start + bytes.len()), 0);
            model[start..start + bytes.len()].copy_from_slice(bytes);
        }
        let mut found = vec![1; model.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), model.len() as u64);
        assert!(found == model);
        assert!(
            metadata.blocks() * 512 <= allocated,
            "{}",
            metadata.blocks()
        );
    }

    #[test]
    fn blocks_of_zeros_take_no_space_and_read_as_zeros() {
        let zeros = vec![0; 1 << 20];
        let ones = vec![1; 1 << 20];
        check(&[(0, &zeros)], 0);
        check(&[(100, &zeros)], 0);
        check(&[(1 << 20, &ones[..4096]), (0, &zeros)], 4096);
        check(&[(0, &ones), (4096, &zeros[..8192])], 1 << 20);
        let mut mixed = ones;
        mixed[10_000..900_000].fill(0);
        check(&[(0, &mixed)], (1 << 20) - 880_000);
        check(&[(1, &mixed), (0, &mixed[..1])], (1 << 20) - 870_000);
    }
}
