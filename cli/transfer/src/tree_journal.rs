//! Which files of a tree are finished, kept beside the tree so that a copy that was interrupted goes on at once,
//! however much it had done. When something is written here is decided in `tree_copy`.
//!
//! A header and records, each guarded by a CRC-32: what a torn record and all behind it would say is not there.

#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use crate::{
    message::{CopyId, Mark, Modified, Version},
    path::{MAX_PATH, copy_journal_name},
};

/// What a journal begins with.
const MAGIC: [u8; 4] = *b"rpt1";

/// Magic, copy, boot, CRC.
const HEADER: usize = 4 + 16 + 16 + 4;

/// Bytes of a record besides its path: length, version, digest, inode, size, time, CRC.
const FIXED: usize = 2 + 16 + 32 + 8 + 8 + 12 + CRC;

const CRC: usize = 4;

/// What a file was when it took its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Modified,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Modified {
                seconds: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
        }
    }
}

/// A file that is whole under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Beneath the folder that the tree is copied into.
    pub(crate) path: Vec<u8>,
    /// The content of the source.
    pub(crate) version: Version,
    pub(crate) digest: [u8; 32],
    pub(crate) identity: Identity,
}

/// Stands for a file of this content at this path.
pub fn mark(version: &Version, path: &[u8]) -> Mark {
    let mut hasher = blake3::Hasher::new();
    hasher.update(version).update(path);
    let mut mark = Mark::default();
    hasher.finalize_xof().fill(&mut mark);
    mark
}

/// Which copy a journal is of, and in which life of the system it may be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) copy: CopyId,
    /// Zeros where what is written down is on the disk, so that no crash takes it back.
    pub(crate) boot: [u8; 16],
}

impl Owner {
    fn header(&self) -> Vec<u8> {
        let fields = [&MAGIC[..], &self.copy, &self.boot].concat();
        let crc = crc32fast::hash(&fields).to_be_bytes();
        [&fields[..], &crc].concat()
    }

    /// A checksum that no record of another copy has.
    fn checksum(&self, fields: &[u8]) -> [u8; CRC] {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.copy);
        hasher.update(fields);
        hasher.finalize().to_be_bytes()
    }

    fn append_record(&self, finished: &Finished, out: &mut Vec<u8>) {
        let start = out.len();
        let length = u16::try_from(FIXED + finished.path.len()).unwrap_or(u16::MAX);
        out.extend(length.to_be_bytes());
        out.extend(finished.version);
        out.extend(finished.digest);
        let identity = finished.identity;
        out.extend(identity.inode.to_be_bytes());
        out.extend(identity.size.to_be_bytes());
        out.extend(identity.modified.seconds.to_be_bytes());
        out.extend(identity.modified.nanos.to_be_bytes());
        out.extend(&finished.path);
        let crc = self.checksum(out.get(start..).unwrap_or_default());
        out.extend(crc);
    }
}

/// The records of a journal, one after the other up to the first that is torn.
#[derive(Debug)]
pub(crate) struct Records<R> {
    from: Option<R>,
    owner: Owner,
    /// Bytes of the header and of whole records.
    end: u64,
}

impl<R: Read> Records<R> {
    /// Reads the header; there are no records behind one that is none of these owners'.
    pub(crate) fn new(mut from: R, owners: &[Owner]) -> Self {
        let mut header = [0; HEADER];
        let read = from.read_exact(&mut header).is_ok();
        let is_of = |owner: &&Owner| read && header[..] == owner.header()[..];
        match owners.iter().find(is_of) {
            Some(&owner) => Self {
                from: Some(from),
                owner,
                end: HEADER as u64,
            },
            None => Self::none(),
        }
    }

    /// Whether there is a journal at all.
    pub(crate) fn is_begun(&self) -> bool {
        self.end > 0
    }

    fn none() -> Self {
        Self {
            from: None,
            owner: Owner::default(),
            end: 0,
        }
    }

    fn read(&mut self) -> Option<Finished> {
        let from = self.from.as_mut()?;
        let mut record = vec![0; 2];
        from.read_exact(&mut record).ok()?;
        let length = usize::from(u16::from_be_bytes(*record.first_chunk()?));
        if !(FIXED..=FIXED + MAX_PATH).contains(&length) {
            return None;
        }
        record.resize(length, 0);
        from.read_exact(record.get_mut(2..)?).ok()?;
        let (fields, crc) = record.split_last_chunk::<CRC>()?;
        if *crc != self.owner.checksum(fields) {
            return None;
        }
        let (version, rest) = fields.get(2..)?.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (nanos, path) = rest.split_first_chunk()?;
        self.end += length as u64;
        Some(Finished {
            path: path.to_vec(),
            version: *version,
            digest: *digest,
            identity: Identity {
                inode: u64::from_be_bytes(*inode),
                size: u64::from_be_bytes(*size),
                modified: Modified {
                    seconds: i64::from_be_bytes(*seconds),
                    nanos: u32::from_be_bytes(*nanos),
                },
            },
        })
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Finished;

    fn next(&mut self) -> Option<Finished> {
        let record = self.read();
        if record.is_none() {
            self.from = None;
        }
        record
    }
}

/// The journal of one copy, open for this writer alone.
#[derive(Debug)]
pub(crate) struct TreeJournal {
    file: File,
    owner: Owner,
}

impl TreeJournal {
    /// Opens or begins it; what is there of this copy is gone on with.
    pub(crate) fn open(folder: &OwnedFd, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND;
        let mut file = open(folder, &copy_journal_name(&owner.copy), flags)?;
        // Two writers would cut off each other's records.
        file.try_lock().map_err(io::Error::from)?;
        let mut records = Records::new(BufReader::new(&mut file), &[owner]);
        records.by_ref().for_each(drop);
        let end = records.end;
        // Behind a torn record nothing would be found again.
        if file.metadata()?.len() != end {
            file.set_len(end)?;
        }
        if end == 0 {
            file.write_all(&owner.header())?;
        }
        Ok(Self { file, owner })
    }

    /// Adds files that have their names.
    pub(crate) fn append(&mut self, finished: &[Finished]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for finished in finished {
            self.owner.append_record(finished, &mut bytes);
        }
        self.file.write_all(&bytes)
    }

    /// What is there of the copy of these owners; nothing where there is no journal of ours.
    pub(crate) fn load(folder: &OwnedFd, owners: &[Owner]) -> Records<BufReader<File>> {
        let name = owners.first().map(|owner| copy_journal_name(&owner.copy));
        let opened = name.and_then(|name| open(folder, &name, OFlags::RDONLY).ok());
        opened.map_or_else(Records::none, |file| {
            Records::new(BufReader::new(file), owners)
        })
    }

    /// Removes it.
    pub(crate) fn remove(folder: &OwnedFd, copy: &CopyId) {
        let name: OsString = copy_journal_name(copy);
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
}

/// Opens a journal that nobody else can have written.
fn open(folder: &OwnedFd, name: &OsStr, how: OFlags) -> io::Result<File> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let private = Mode::from_raw_mode(0o600);
    let file = File::from(rustix::fs::openat(folder, name, flags, private)?);
    let metadata = file.metadata()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    match metadata.is_file() && metadata.nlink() == 1 && ours {
        true => Ok(file),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}
