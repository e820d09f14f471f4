//! What is known to be right of a file that is under way, kept beside it so that a copy that was interrupted
//! goes on at once, whatever the size. When something may be written here is decided in `writer`.
//!
//! A header and records of fixed size, each guarded by a CRC-32: what a torn record and all behind it would
//! say is not there.

pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    sync::Arc,
};

use blake3::hazmat::ChainingValue;
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::{digest::GROUP, message::Version};

/// What a journal begins with.
const MAGIC: [u8; 4] = *b"rpj1";

/// Magic, size, version, CRC.
const HEADER: usize = 4 + 8 + 16 + 4;

/// Index of the group, its value, CRC.
const RECORD: usize = 8 + 32 + 4;

/// Groups that are right.
pub(crate) type Groups = Vec<(u64, ChainingValue)>;

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Length of the whole file.
    pub(crate) size: u64,
    /// The content that the groups are of.
    pub(crate) version: Version,
    pub(crate) groups: Groups,
}

impl Known {
    /// How many bytes are known to be there.
    pub(crate) fn bytes(&self) -> u64 {
        let missing: u64 = self.missing().iter().map(|range| range.1).sum();
        self.size - missing
    }

    /// What is not known to be there: offset and length of each piece.
    pub(crate) fn missing(&self) -> Vec<(u64, u64)> {
        let mut there: Vec<_> = self.groups.iter().map(|group| group.0).collect();
        there.sort_unstable();
        there.dedup();
        let mut missing = Vec::new();
        let mut next = 0;
        for index in there.into_iter().chain([self.size.div_ceil(GROUP)]) {
            let offset = |index: u64| index.saturating_mul(GROUP).min(self.size);
            let (start, end) = (offset(next), offset(index));
            if start < end {
                missing.push((start, end - start));
            }
            next = index + 1;
        }
        missing
    }
}

/// Reads a journal: a header, and all records up to the first that is torn. `None` without a header.
fn parse(bytes: &[u8]) -> Option<Known> {
    let (header, records) = bytes.split_first_chunk::<HEADER>()?;
    let (fields, crc) = header.split_last_chunk::<4>()?;
    let fields = fields.strip_prefix(&MAGIC)?;
    let (size, version) = fields.split_first_chunk::<8>()?;
    if *crc != checksum(&[fields]) {
        return None;
    }
    let version = Version::try_from(version).ok()?;
    let mut known = Known {
        size: u64::from_be_bytes(*size),
        version,
        groups: Vec::with_capacity(records.len() / RECORD),
    };
    for record in records.chunks_exact(RECORD) {
        let Some((fields, crc)) = record.split_last_chunk::<4>() else {
            break;
        };
        let Some((index, value)) = fields.split_first_chunk::<8>() else {
            break;
        };
        let index = u64::from_be_bytes(*index);
        let is_inside = index
            .checked_mul(GROUP)
            .is_some_and(|start| start < known.size);
        let Ok(value) = ChainingValue::try_from(value) else {
            break;
        };
        if *crc != checksum(&[&known.version, fields]) || !is_inside {
            break;
        }
        known.groups.push((index, value));
    }
    Some(known)
}

fn header(size: u64, version: &Version) -> Vec<u8> {
    let fields = [&size.to_be_bytes()[..], version].concat();
    [&MAGIC[..], &fields, &checksum(&[&fields])].concat()
}

fn record(version: &Version, index: u64, value: &ChainingValue) -> Vec<u8> {
    let fields = [&index.to_be_bytes()[..], value].concat();
    let crc = checksum(&[version, &fields]);
    [&fields[..], &crc].concat()
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_be_bytes()
}

/// The journal of one file: a name beside that of the partial file.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: Arc<OwnedFd>,
    name: OsString,
    size: u64,
    version: Version,
    file: Option<File>,
}

impl Journal {
    /// Of a file of `size` bytes whose content is `version`; nothing is written yet.
    pub(crate) fn new(folder: Arc<OwnedFd>, name: OsString, size: u64, version: Version) -> Self {
        Self {
            folder,
            name,
            size,
            version,
            file: None,
        }
    }

    /// Reads what is there; `None` if nothing of ours is.
    pub(crate) fn load(folder: &OwnedFd, name: &OsStr) -> Option<Known> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, name, flags, Mode::empty());
        let mut file = File::from(opened.ok()?);
        let metadata = file.metadata().ok()?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || metadata.nlink() > 1 || !ours {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        parse(&bytes)
    }

    /// Adds groups whose bytes are on the disk. What is there of this same content is gone on with.
    pub(crate) fn append(&mut self, groups: &Groups) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(groups.len() * RECORD);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let (file, is_new) = self.open()?;
                if is_new {
                    bytes.extend(header(self.size, &self.version));
                }
                file
            }
        };
        for (index, value) in groups {
            bytes.extend(record(&self.version, *index, value));
        }
        file.write_all(&bytes)?;
        self.file = Some(file);
        Ok(())
    }

    /// Opens it at its end, and says whether that is its beginning.
    fn open(&self) -> io::Result<(File, bool)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::APPEND | OFlags::CLOEXEC;
        let private = Mode::from_raw_mode(0o600);
        let file = rustix::fs::openat(&self.folder, &self.name, flags, private)?;
        let file = File::from(file);
        let known = Self::load(&self.folder, &self.name);
        let is_same =
            known.filter(|known| (known.size, known.version) == (self.size, self.version));
        // Behind a torn record nothing would be found again.
        let end = is_same.map_or(0, |known| HEADER + known.groups.len() * RECORD) as u64;
        if file.metadata()?.len() != end {
            file.set_len(end)?;
        }
        Ok((file, end == 0))
    }

    /// Removes what `name` stands for.
    pub(crate) fn remove(folder: &OwnedFd, name: &OsStr) {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
}
