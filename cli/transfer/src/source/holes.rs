//! Holes of a file, as its file system tells of them. What is not told of reads as zeros and is sent as such.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom},
};

use rustix::fs::SeekFrom as Place;

use crate::{
    digest::GROUP,
    message::{Ranges, coarsened},
};

/// The groups of a file of `size` bytes that hold data, the first always among them; `None` if all do. Where the
/// file is read from next stays the same.
pub(super) fn data_of(mut file: &File, size: u64) -> Option<Ranges> {
    if size <= GROUP {
        return None;
    }
    let position = file.stream_position().ok()?;
    let ranges = data_from(file, size);
    file.seek(SeekFrom::Start(position)).ok()?;
    let ranges = coarsened(ranges?);
    let held: u64 = ranges.iter().map(|range| range.1).sum();
    (held < size).then_some(ranges)
}

fn data_from(file: &File, size: u64) -> Option<Ranges> {
    let mut ranges = vec![(0, GROUP)];
    let mut end = GROUP;
    while end < size {
        let begin = match rustix::fs::seek(file, Place::Data(end)) {
            Ok(begin) => begin / GROUP * GROUP,
            // No more data.
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return None,
        };
        let hole = rustix::fs::seek(file, Place::Hole(begin.max(end))).ok()?;
        // A file that changes meanwhile must not keep us here.
        let next = hole.max(end + 1).next_multiple_of(GROUP).min(size);
        match ranges.last_mut() {
            Some(last) if last.0 + last.1 == begin => last.1 = next - last.0,
            _ => ranges.push((begin, next - begin)),
        }
        end = next;
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn groups_that_are_holes_are_left_out() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(20 * GROUP + 5).unwrap();
        for at in [3 * GROUP - 1, 7 * GROUP + 9, 8 * GROUP] {
            file.write_all_at(b"x", at).unwrap();
        }
        file.seek(SeekFrom::Start(17)).unwrap();
        let Some(ranges) = data_of(&file, 20 * GROUP + 5) else {
            eprintln!("skipped: this file system has no holes");
            return;
        };
        assert_eq!(
            ranges,
            [(0, GROUP), (2 * GROUP, GROUP), (7 * GROUP, 2 * GROUP)]
        );
        assert_eq!(file.stream_position().unwrap(), 17);
        file.write_all_at(b"x", 20 * GROUP + 4).unwrap();
        let ranges = data_of(&file, 20 * GROUP + 5).unwrap();
        assert_eq!(ranges.last(), Some(&(20 * GROUP, 5)));
    }

    #[test]
    fn a_file_without_holes_is_sent_whole() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![1; 3 << 20], 0).unwrap();
        assert_eq!(data_of(&file, 3 << 20), None);
        assert_eq!(data_of(&file, 5), None);
    }
}
