//! Sending to where an older file stands: the sender reads its file for chunks and tells of them, and sends what
//! is wanted. What was told and what is wanted is kept in `telling`.

use bytes::Bytes;
use rp_reduce::chunk::Scale;

use super::{Sender, State, digest_of, telling::Telling};
use crate::{
    error::Error,
    message::{Message, Ranges, Want},
    older::is_worth,
    session::{Contents, Output},
    source::Source,
};

impl Sender {
    //= spec/20-copy.md#older-destination
    //# A sender MAY ignore *older*, and then sends as if there was no such file.
    /// Goes on by telling of chunks, of these ranges or of the whole file, if the receiver has an older file that is
    /// worth it.
    pub(super) fn reduce(&mut self, older: Option<u64>, missing: Option<&Ranges>) -> bool {
        let telling = match self.reduces {
            true => telling(&self.source, older, missing),
            false => None,
        };
        let Some(telling) = telling else {
            return false;
        };
        if let State::Confirming(summary) = &self.state {
            self.settled = Some(summary.clone());
        }
        self.is_partial = missing.is_some();
        self.digest = digest_of(&self.source);
        self.outputs.clear();
        let contents = Contents::Wanted(telling.scale());
        self.outputs.push_back(Output::Reopen(contents));
        self.start_telling(telling);
        true
    }

    pub(super) fn start_telling(&mut self, telling: Telling) {
        self.state = State::Sending;
        // What is read is decided by what is wanted.
        match self.source.read_ranges(Ranges::new()) {
            Ok(()) => self.telling = Some(telling),
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn on_want(&mut self, want: Want) {
        let Some(telling) = &mut self.telling else {
            return self.fail(Error::Protocol("chunks that nobody told of are wanted"));
        };
        // What the other side says of itself is for people alone.
        let size = self.source.attributes().size.unwrap_or(0);
        let older = self.progress.older().max(want.taken.min(size));
        self.progress.add_older(older - self.progress.older());
        match telling.on_want(want) {
            Ok(()) => self.note_progress(),
            Err(error) => self.fail(error),
        }
    }

    /// Sends what is wanted, and while nothing is or can be, tells of more chunks.
    pub(super) fn tell_on(&mut self) -> Result<(), Error> {
        let Some(telling) = &mut self.telling else {
            return Ok(());
        };
        if self.window > 0
            && let Some((offset, length, is_new)) = telling.next_to_send(self.window)
        {
            let piece = self.source.read_at(offset, length)?;
            if is_new {
                self.hash(offset, &piece)?;
            }
            self.window -= length;
            self.note_progress();
            self.outputs.push_back(Output::Data(piece));
        } else if telling.is_over() {
            self.telling = None;
            self.finish();
        } else if telling.may_tell()
            && let Some((offset, length)) = telling.next_to_tell()
        {
            let piece = self.source.read_at(offset, length)?;
            self.tell(offset, &piece)?;
        }
        Ok(())
    }

    /// Says what groups and chunks are in a piece that was read.
    fn tell(&mut self, offset: u64, piece: &Bytes) -> Result<(), Error> {
        self.hash(offset, piece)?;
        let chunks = self
            .telling
            .as_mut()
            .and_then(|telling| telling.on_read(offset, piece));
        self.outputs.push_back(match chunks {
            Some(chunks) => Output::Message(Message::Chunks(chunks)),
            None => Output::Busy,
        });
        Ok(())
    }

    fn note_progress(&self) {
        if let Some(telling) = &self.telling {
            let done = telling.before + telling.done();
            // What was sent before may be more.
            self.progress.set_bytes(done.max(self.progress.bytes()));
        }
    }
}

/// What is to be told of a source where there is an older file, of these ranges or of all of it; `None` if that is
/// not worth it.
pub(super) fn telling(
    source: &Source,
    older: Option<u64>,
    missing: Option<&Ranges>,
) -> Option<Telling> {
    let size = source
        .attributes()
        .size
        .filter(|_| source.version().is_some())?;
    let older = older.filter(|&older| is_worth(older, size))?;
    let ranges = missing.cloned().unwrap_or_else(|| vec![(0, size)]);
    // There are as many chunks as the larger of both files has.
    let scale = Scale::for_size(size.max(older));
    (!ranges.is_empty()).then(|| Telling::new(ranges, size, scale))
}
