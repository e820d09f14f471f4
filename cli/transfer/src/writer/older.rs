//! The file that a copy is to replace, read for what the new one has of it. It stays as it is; whether what was
//! taken from it is right, a digest says.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::fs::{Advice, Mode, OFlags};

use crate::path::Destination;

/// Bytes copied at a time where the system does not copy by itself.
const PIECE: usize = 256 << 10;

/// Offsets that a file system can share between files are multiples of its blocks.
const BLOCK: u64 = 4096;

/// Opens the regular file that has the name already, if it may be read.
pub(super) fn open(destination: &Destination) -> Option<(File, u64)> {
    // What a link leads to is not what the new file replaces, and a pipe must not be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&destination.folder, &destination.name, flags, Mode::empty());
    let file = File::from(opened.ok()?);
    let metadata = file.metadata().ok()?;
    // Only a hint.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    metadata.is_file().then_some((file, metadata.len()))
}

/// Copies `length` bytes of `older` at `from` to `offset` of `file`; gives how many there were. Only what cannot
/// be written is an error.
pub(super) fn copy(
    older: &File,
    file: &File,
    (from, offset): (u64, u64),
    length: u64,
) -> io::Result<u64> {
    let mut done = 0;
    for piece in pieces(from, offset, length) {
        let (mut source, mut target) = (from + done, offset + done);
        let end = source + piece;
        while source < end {
            let rest = usize::try_from(end - source).unwrap_or(usize::MAX);
            let copied = rustix::fs::copy_file_range(
                older,
                Some(&mut source),
                file,
                Some(&mut target),
                rest,
            );
            if !matches!(copied, Ok(1..)) {
                break;
            }
        }
        source += by_hand(older, file, (source, target), end - source)?;
        done = source - from;
        if source < end {
            break;
        }
    }
    Ok(done)
}

/// The same by reading and writing.
fn by_hand(older: &File, file: &File, (from, offset): (u64, u64), length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    let mut done = 0;
    while done < length {
        let rest = usize::try_from(length - done).unwrap_or(PIECE);
        let space = rest.min(buffer.len());
        let read = match older.read_at(&mut buffer[..space], from + done) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What cannot be read is as good as gone.
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        file.write_all_at(&buffer[..read], offset + done)?;
        done += read as u64;
    }
    Ok(done)
}

/// Lengths of the pieces to copy by themselves: whole blocks can be shared and not copied, if they are blocks in
/// both files.
fn pieces(from: u64, offset: u64, length: u64) -> impl Iterator<Item = u64> {
    let head = match from % BLOCK == offset % BLOCK {
        true => (from.next_multiple_of(BLOCK) - from).min(length),
        false => length,
    };
    let body = (length - head) / BLOCK * BLOCK;
    let tail = length - head - body;
    [head, body, tail].into_iter().filter(|&piece| piece > 0)
}
