//! What is sent: a file or a pipe, read once from front to back, and whether it stayed the same
//! meanwhile. Who wants the bytes is not known here.

mod holes;

use std::{
    collections::VecDeque,
    fmt,
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    num::NonZeroU64,
    os::unix::fs::{FileExt as _, MetadataExt},
};

use bytes::Bytes;
use rustix::fs::Advice;

use crate::{
    digest::GROUP,
    error::Error,
    message::{Attributes, Modified, Ranges, Version},
    walk::{told_mode, version_of},
    writer::HUGE,
    xattrs::{Privilege, Xattrs},
};

/// Bytes of a file read at a time: few system calls per gigabyte, and small beside the send
/// buffer, which keeps a piece until all of it is acknowledged.
pub(crate) const PIECE: u64 = 256 << 10;

/// Bytes of a huge file that stay in the page cache behind what was read: the kernel reads ahead of that anyway.
const STAY: u64 = 16 << 20;

/// Bytes of a pipe read at a time: what a Linux pipe holds.
const PIPE_PIECE: u64 = 64 << 10;

/// A file, or a pipe of unknown length.
pub struct Source {
    reader: Reader,
    shown: String,
    attributes: Attributes,
    /// Read to learn the size, and still to be handed out.
    ahead: Option<Bytes>,
    read: u64,
    /// Up to where it was taken out of the page cache.
    forgotten: u64,
    /// What is still to be read, where that is not all of it.
    ranges: Option<VecDeque<(u64, u64)>>,
}

enum Reader {
    /// A regular file, and what it was when reading began.
    File(File, Metadata),
    /// Anything else, read until it ends.
    Pipe(Box<dyn Read + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Source");
        debug.field("shown", &self.shown);
        debug.field("attributes", &self.attributes);
        debug.field("read", &self.read).finish()
    }
}

impl Source {
    /// An open file, called `shown` in errors. Pipes and devices are read until they end.
    pub fn file(mut file: File, shown: &str) -> Result<Self, Error> {
        let failed = |error| Error::io(shown, error);
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::NotAFile(shown.to_owned()));
        }
        if !metadata.is_file() {
            return Ok(Self::pipe(file, shown));
        }
        // Only a hint: a file system that does not take it reads as well.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        let (size, ahead) = believable_size(&mut file, &metadata).map_err(failed)?;
        let attributes = Attributes {
            size,
            mode: Some(told_mode(metadata.mode(), (metadata.uid(), metadata.gid()))),
            modified: Some(Modified {
                seconds: metadata.mtime(),
                nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            }),
        };
        Ok(Self {
            reader: Reader::File(file, metadata),
            shown: shown.to_owned(),
            attributes,
            ahead: ahead.map(Bytes::from),
            read: 0,
            forgotten: 0,
            ranges: None,
        })
    }

    /// Something read until it ends, called `shown` in errors.
    pub fn pipe(reader: impl Read + Send + 'static, shown: &str) -> Self {
        Self {
            reader: Reader::Pipe(Box::new(reader)),
            shown: shown.to_owned(),
            attributes: Attributes::default(),
            ahead: None,
            read: 0,
            forgotten: 0,
            ranges: None,
        }
    }

    /// What comes from elsewhere until it ends, called `shown` in errors, with the mode and the time that it has there.
    pub(crate) fn relayed(
        reader: impl Read + Send + 'static,
        shown: &str,
        attributes: &Attributes,
    ) -> Self {
        let attributes = Attributes {
            size: None,
            ..*attributes
        };
        Self {
            attributes,
            ..Self::pipe(reader, shown)
        }
    }

    /// What is known of it.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Tells this content from another; `None` for what is no file of a known size.
    pub fn version(&self) -> Option<Version> {
        match &self.reader {
            Reader::File(_, metadata) if self.attributes.size == Some(metadata.len()) => {
                let modified = (metadata.mtime(), metadata.mtime_nsec());
                Some(version_of(metadata.ino(), metadata.len(), modified))
            }
            _ => None,
        }
    }

    /// Its extended attributes; none where it is no file.
    pub fn xattrs(&self, privilege: Privilege) -> Result<Xattrs, Error> {
        match &self.reader {
            Reader::File(file, _) => Xattrs::read(file, privilege, &self.shown),
            Reader::Pipe(_) => Ok(Xattrs::default()),
        }
    }

    /// The groups that are not all holes, if some are: that is what there is to send of the file.
    pub(crate) fn data(&self) -> Option<Ranges> {
        let size = self.attributes.size.filter(|_| self.version().is_some())?;
        match &self.reader {
            Reader::File(file, _) => holes::data_of(file, size),
            Reader::Pipe(_) => None,
        }
    }

    /// Reads these ranges from here on, in place of what was to come.
    pub(crate) fn read_ranges(&mut self, ranges: Ranges) -> Result<(), Error> {
        let size = self.attributes.size;
        let last = ranges.last().map_or(0, |range| range.0 + range.1);
        //= spec/20-copy.md#resuming
        //# A sender MUST refuse ranges that are not whole groups of the file.
        let is_whole = |&(start, length): &(u64, u64)| {
            let end = start + length;
            start.is_multiple_of(GROUP) && (end.is_multiple_of(GROUP) || size == Some(end))
        };
        if self.version().is_none()
            || size.is_none_or(|size| last > size)
            || !ranges.iter().all(is_whole)
        {
            return Err(Error::Protocol("ranges that the file does not have"));
        }
        self.ahead = None;
        // What is not wanted counts as handed out.
        let wanted: u64 = ranges.iter().map(|range| range.1).sum();
        self.read = size.unwrap_or(0).saturating_sub(wanted);
        self.ranges = Some(ranges.into());
        Ok(())
    }

    /// Where the next piece stands in the file.
    pub(crate) fn position(&self) -> u64 {
        let next = self.ranges.as_ref().map(VecDeque::front);
        next.map_or(self.read, |range| range.map_or(0, |range| range.0))
    }

    /// The next piece of the ranges that are to be read.
    fn next_of_ranges(&mut self, limit: u64) -> Result<Option<Bytes>, Error> {
        let Some((start, length)) = self.ranges.as_mut().and_then(VecDeque::pop_front) else {
            return Ok(None);
        };
        let Reader::File(file, _) = &mut self.reader else {
            return Ok(None);
        };
        let take = length.min(PIECE).min(limit);
        let read = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| read_piece(file, take));
        let piece = read.map_err(|error| Error::io(&self.shown, error))?;
        if piece.len() as u64 != take {
            return Err(Error::SourceChanged(self.shown.clone()));
        }
        self.read += take;
        if let (Some(ranges), true) = (&mut self.ranges, take < length) {
            ranges.push_front((start + take, length - take));
        }
        Ok(Some(piece.into()))
    }

    /// Reads `length` bytes at `offset`, out of turn.
    pub(crate) fn read_at(&mut self, offset: u64, length: u64) -> Result<Bytes, Error> {
        let Reader::File(file, _) = &mut self.reader else {
            return Err(Error::Protocol("ranges that the file does not have"));
        };
        let mut piece = vec![0; usize::try_from(length.min(PIECE)).unwrap_or(0)];
        match file.read_exact_at(&mut piece, offset) {
            Ok(()) => Ok(piece.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::SourceChanged(self.shown.clone()))
            }
            Err(error) => Err(Error::io(&self.shown, error)),
        }
    }

    /// Whether all of it was handed out, as far as its size tells.
    pub(crate) fn is_handed_out(&self) -> bool {
        match &self.ranges {
            Some(ranges) => ranges.is_empty(),
            None => self.attributes.size == Some(self.read),
        }
    }

    /// Takes what was read of a huge file out of the page cache: nobody else may want 50 GB of it there.
    fn forget(&mut self) {
        let Reader::File(file, metadata) = &self.reader else {
            return;
        };
        if metadata.len() < HUGE || self.read < self.forgotten + 2 * STAY {
            return;
        }
        let length = self.read - STAY - self.forgotten;
        // Only a hint.
        let _ = rustix::fs::fadvise(
            file,
            self.forgotten,
            NonZeroU64::new(length),
            Advice::DontNeed,
        );
        self.forgotten += length;
    }

    /// Bytes handed out.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next piece, of 1 to `limit` bytes; `None` at the end.
    pub(crate) fn next(&mut self, limit: u64) -> Result<Option<Bytes>, Error> {
        if self.ranges.is_some() {
            return self.next_of_ranges(limit);
        }
        if let Some(mut ahead) = self.ahead.take() {
            let length = usize::try_from(limit).unwrap_or(usize::MAX);
            let piece = ahead.split_to(length.min(ahead.len()));
            self.ahead = Some(ahead).filter(|rest| !rest.is_empty());
            self.read += piece.len() as u64;
            return Ok(Some(piece));
        }
        let piece = match &mut self.reader {
            Reader::Pipe(pipe) => read_some(pipe, limit.min(PIPE_PIECE)),
            Reader::File(file, _) => {
                let rest = self.attributes.size.map(|size| size - self.read);
                read_piece(file, rest.unwrap_or(PIECE).min(PIECE).min(limit))
            }
        };
        let piece = piece.map_err(|error| Error::io(&self.shown, error))?;
        self.read += piece.len() as u64;
        self.forget();
        if piece.is_empty() {
            return self.check_size().map(|()| None);
        }
        Ok(Some(piece.into()))
    }

    /// At the end: that it ended where it was said to.
    fn check_size(&mut self) -> Result<(), Error> {
        let (Reader::File(file, _), Some(size)) = (&mut self.reader, self.attributes.size) else {
            return Ok(());
        };
        // Metadata that lies would hide what stands beyond; reading tells.
        let beyond = read_piece(file, 1).map_err(|error| Error::io(&self.shown, error))?;
        if self.read == size && beyond.is_empty() {
            Ok(())
        } else {
            Err(Error::SourceChanged(self.shown.clone()))
        }
    }

    /// At the end: that the file is what it was when reading began, `digest` being what was sent.
    ///
    /// A changed size or time of modification tells of new content. The time of the last status
    /// change moves with every write too, and nobody can put it back; but it also moves when the
    /// file is renamed, linked or chmodded, and by itself on some file systems. So when it alone
    /// has moved, the file is read once more.
    pub(crate) fn check_unchanged(&mut self, digest: Option<&[u8; 32]>) -> Result<(), Error> {
        let Reader::File(file, before) = &mut self.reader else {
            return Ok(());
        };
        let failed = |error| Error::io(&self.shown, error);
        let after = file.metadata().map_err(failed)?;
        // A size that was not believed says nothing by its change either.
        let believed = self.attributes.size == Some(before.len());
        let resized = believed && before.len() != after.len();
        //= spec/20-copy.md#integrity
        //# The sender MUST send Done with source-changed in place of Digest when size or
        //# modification time of the file differ from what they were when reading began.
        let modified = |data: &Metadata| (data.mtime(), data.mtime_nsec());
        let changed = resized || modified(before) != modified(&after);
        //= spec/20-copy.md#integrity
        //# When only the time of its last status change differs, the sender MUST send Done with
        //# source-changed unless a second reading of the file gives the same digest.
        let status = |data: &Metadata| (data.ctime(), data.ctime_nsec());
        let doubtful = status(before) != status(&after);
        // A second reading of what was sent in parts proves nothing that the first groups did not.
        let differs = match digest {
            Some(digest) if doubtful => digest_again(file).map_err(failed)? != *digest,
            _ => false,
        };
        match changed || differs {
            true => Err(Error::SourceChanged(self.shown.clone())),
            false => Ok(()),
        }
    }
}

/// The size of a regular file if it can be believed, and what had to be read to find out.
///
/// Files that the kernel or a FUSE program makes up when they are read say 0 bytes or a page, and
/// take up no blocks. Sparse and very small files take up none either, so the beginning of all of
/// them is read: it is the whole file, or more than was claimed, or the claim may be true.
fn believable_size(
    file: &mut File,
    metadata: &Metadata,
) -> io::Result<(Option<u64>, Option<Vec<u8>>)> {
    if metadata.len() > 0 && metadata.blocks() > 0 {
        return Ok((Some(metadata.len()), None));
    }
    let ahead = read_piece(file, PIPE_PIECE)?;
    let read = ahead.len() as u64;
    let size = match read {
        // Shorter than what was asked for: this is all.
        whole if whole < PIPE_PIECE => Some(whole),
        _ => Some(metadata.len()).filter(|&size| size >= read),
    };
    Ok((size, (read > 0).then_some(ahead)))
}

/// As much of a file as `length`, less only at its end.
fn read_piece(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut piece)?;
    piece.shrink_to_fit();
    Ok(piece)
}

/// What a pipe has now, waiting only while it has nothing; empty at its end.
fn read_some(pipe: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(limit).unwrap_or(0)];
    loop {
        match pipe.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                piece.truncate(read?);
                piece.shrink_to_fit();
                return Ok(piece);
            }
        }
    }
}

/// The digest of a file that was read before.
fn digest_again(file: &mut File) -> io::Result<[u8; 32]> {
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(*hasher.finalize().as_bytes())
}
