//! The data stream of a batch cut into entries and their content. What becomes of them is said in `store`.

use super::MAX_FILE;
use crate::{
    error::Error,
    message::{DecodeError, Entry, Kind, Message, Status},
};

/// Length prefix of a message.
const PREFIX: usize = 4;

/// Takes the stream in pieces, front to back.
///
/// Holds at most one entry with its file, and what one piece adds.
#[derive(Debug, Default)]
pub(super) struct Parser {
    buffer: Vec<u8>,
    start: usize,
    /// The entry whose content is still to come.
    entry: Option<Entry>,
}

impl Parser {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry that is there with all of its content; hands both to `take`.
    pub(super) fn next<T>(
        &mut self,
        take: impl FnOnce(Entry, &[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        if self.entry.is_none() {
            self.entry = self.next_entry()?;
        }
        let Some(entry) = &self.entry else {
            return Ok(None);
        };
        let length = content_length(entry)?;
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        let taken = self.entry.take().map(|entry| take(entry, content));
        self.start += length;
        Ok(taken)
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix);
        let bytes = Message::checked_length(length)?;
        let Some(body) = rest.get(..bytes) else {
            return Ok(None);
        };
        let message = Message::decode(body)?;
        self.start += PREFIX + bytes;
        match message {
            Message::Entry(entry) => Ok(Some(entry)),
            _ => Err(Error::Protocol("a batch holds entries only")),
        }
    }

    /// Whether the stream may end here.
    pub(super) fn finish(&self) -> Result<(), Error> {
        match self.entry.is_none() && self.start == self.buffer.len() {
            true => Ok(()),
            false => Err(DecodeError::Incomplete.into()),
        }
    }
}

/// How many bytes of content stand behind an entry.
fn content_length(entry: &Entry) -> Result<usize, Error> {
    let is_file = entry.kind == Kind::File && entry.failure.is_none();
    let size = match (is_file, entry.attributes.size) {
        (false, _) => 0,
        (true, Some(size)) => size,
        (true, None) => return Err(Error::Protocol("a file in a batch has no size")),
    };
    //= spec/20-copy.md#batches
    //# A receiver MUST refuse a batch with a file of more than 1 MiB before it sets memory aside for it.
    match usize::try_from(size) {
        Ok(length) if size <= MAX_FILE => Ok(length),
        _ => Err(Error::Protocol("a file in a batch is too large for it")),
    }
}

/// Whether an entry says that something was not copied.
pub(super) fn is_failure(entry: &Entry) -> bool {
    let failure = entry.failure.as_ref();
    failure.is_some_and(|failure| failure.status != Status::Ok)
}
