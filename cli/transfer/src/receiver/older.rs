//! What of a file is in the older one that stands where it goes: the older file is cut and its chunks are kept by
//! their ids, while the sender tells of the chunks of the new one (spec/20-copy.md, "Older destination").
//!
//! 1. The chunks that were told of are decided in order: one that is known is copied from the older file.
//! 2. One that is not is wanted, unless more of the older file has to be looked at first. It has to as long as that
//!    costs nothing, because the line is busy; and at least so far that what moved a little is found.
//! 3. Where nothing at all is found, the rest is wanted as it is, and the older file not looked at any more.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io, mem,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use rp_reduce::chunk::{Chunk, Chunker, Scale};

use super::receiving::Receiving;
use crate::{
    error::Error,
    message::{Ranges, Want},
    older::AHEAD,
};

/// Bytes of the older file read at a time.
const PIECE: usize = 256 << 10;

/// Bytes of the older file that are looked at, or of the new one that are decided, before something else gets its
/// turn: a few milliseconds.
const STEP: u64 = 4 << 20;

/// How far the older file is looked at beyond a chunk before the chunk counts as not found: what was taken out
/// before it moved it so far at most.
const LOOK_AHEAD: u64 = 64 << 20;

/// Bytes that are wanted and have not come, at which the line is busy: more than it holds.
const BUSY: u64 = 32 << 20;

/// Bytes that are not found one after the other, and nothing between, after which the line is not kept waiting for
/// more of the older file.
const PATIENCE: u64 = 64 << 20;

/// Chunks of the older file that are kept, 34 bytes each in the worst case. It has half as many as a rule.
const MAX_KNOWN: usize = 1 << 19;

/// Most ranges of what is left, where all of it is wanted at once: a message has to hold what is wanted of them.
const MAX_REST: usize = 1000;

/// Ranges that are wanted from which on no gaps are left between them.
const MAX_GAPS: usize = 2000;

/// What is being made of an older file.
#[derive(Debug)]
pub(super) struct Older {
    scale: Scale,
    /// The older file, as long as it is of use.
    file: Option<Arc<File>>,
    /// Not all of it was looked at that will be.
    is_looking: bool,
    chunker: Chunker,
    /// Offset up to which it was looked at, and where its next chunk begins.
    looked: u64,
    next: u64,
    known: HashMap<u64, u64>,
    /// What was not told of yet: offset and length of each piece.
    rest: VecDeque<(u64, u64)>,
    /// What was told of and is not decided.
    told: VecDeque<Told>,
    told_bytes: u64,
    /// Offset before which all is decided, and before which the sender knows.
    decided: u64,
    said: u64,
    wanted: Ranges,
    /// Bytes that were found, and that were not since.
    found: u64,
    missed: u64,
    /// Neighbouring chunks that were found and are not copied.
    run: Run,
    /// All that was not told of is wanted; what is told nevertheless is not heard.
    is_closed: bool,
}

/// A chunk of the new file.
#[derive(Clone, Copy, Debug)]
struct Told {
    start: u64,
    length: u64,
    key: u64,
}

/// Bytes of the older file, and where they go.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    from: u64,
    to: u64,
    length: u64,
}

/// What becomes of a chunk.
enum Verdict {
    /// It stands there in the older file.
    At(u64),
    /// It came before.
    Here,
    Wanted,
    /// It and all behind it is wanted.
    AllWanted,
    /// More of the older file is looked at before.
    LookOn,
}

/// What came of a step.
pub(super) enum Stepped {
    /// This is to be said.
    Want(Want),
    /// There is more to do.
    Busy,
    /// Nothing is to be done before more is told.
    Idle,
    /// All is decided and said.
    Over,
}

impl Older {
    /// Of `file`, for these ranges of the new one.
    pub(super) fn new(file: Option<File>, ranges: Ranges, scale: Scale) -> Self {
        let start = ranges.first().map_or(0, |range| range.0);
        Self {
            scale,
            is_looking: file.is_some(),
            file: file.map(Arc::new),
            chunker: Chunker::new(scale),
            looked: 0,
            next: 0,
            known: HashMap::new(),
            decided: start,
            rest: ranges.into(),
            told: VecDeque::new(),
            told_bytes: 0,
            said: start,
            wanted: Ranges::new(),
            found: 0,
            missed: 0,
            run: Run::default(),
            is_closed: false,
        }
    }

    /// Bytes that were not sent because of it.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Takes the next chunks.
    pub(super) fn on_chunks(&mut self, chunks: &[Chunk]) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        chunks.iter().try_for_each(|chunk| self.on_chunk(chunk))
    }

    //= spec/20-copy.md#older-destination
    //# A receiver MUST refuse chunks that are longer or shorter than their scale allows, or that reach beyond the
    //# range they begin in.
    //= spec/20-copy.md#older-destination
    //# A receiver MUST refuse chunks beyond 256 MiB that it has not decided.
    fn on_chunk(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let refused = Err(Error::Protocol("chunks that are none of the file"));
        let Some((start, left)) = self.rest.pop_front() else {
            return refused;
        };
        let length = chunk.length;
        let is_last = length == left;
        let fits = length > 0 && length <= left && length <= self.scale.max();
        if !fits || (length < self.scale.min() && !is_last) {
            return refused;
        }
        if !is_last {
            self.rest.push_front((start + length, left - length));
        }
        self.told_bytes += length;
        if self.told_bytes > AHEAD {
            return Err(Error::Protocol("more chunks than were asked for"));
        }
        let key = chunk.id.key();
        self.told.push_back(Told { start, length, key });
        Ok(())
    }

    /// Decides about chunks, or looks at more of the older file.
    pub(super) fn step(&mut self, receiving: &mut Receiving) -> Result<Stepped, Error> {
        let mut budget = STEP;
        while budget > 0
            && let Some(&chunk) = self.told.front()
        {
            match self.verdict(&chunk, receiving) {
                Verdict::At(from) => {
                    self.pop(&chunk);
                    self.extend_run(receiving, from, &chunk)?;
                }
                Verdict::Wanted => {
                    self.pop(&chunk);
                    self.missed += chunk.length;
                    self.copy_run(receiving)?;
                    self.want(receiving, chunk.start, chunk.length);
                }
                Verdict::Here => self.pop(&chunk),
                Verdict::AllWanted => {
                    self.copy_run(receiving)?;
                    self.want_all(receiving);
                }
                Verdict::LookOn => {
                    self.look_on();
                    break;
                }
            }
            budget = budget.saturating_sub(chunk.length);
        }
        self.copy_run(receiving)?;
        if self.told.is_empty() && budget == STEP && !self.rest.is_empty() {
            // Nothing is told at present: the older file is known the sooner.
            self.look_on();
        }
        Ok(self.outcome())
    }

    fn outcome(&mut self) -> Stepped {
        let is_over = self.told.is_empty() && self.rest.is_empty();
        let is_worth_saying = self.decided - self.said.min(self.decided) >= STEP;
        if self.decided > self.said
            && (is_over || is_worth_saying || self.told.is_empty() || !self.wanted.is_empty())
        {
            self.said = self.decided;
            return Stepped::Want(Want {
                through: self.decided,
                ranges: mem::take(&mut self.wanted),
                taken: self.found,
            });
        }
        if is_over {
            self.forget();
        }
        match (is_over, self.told.is_empty() && !self.is_looking) {
            (true, _) => Stepped::Over,
            (_, true) => Stepped::Idle,
            _ => Stepped::Busy,
        }
    }

    fn verdict(&self, chunk: &Told, receiving: &Receiving) -> Verdict {
        if let Some(&from) = self.known.get(&chunk.key) {
            return Verdict::At(from);
        }
        if receiving.unseen(chunk.start, chunk.length).is_empty() {
            return Verdict::Here;
        }
        let is_busy = receiving.outstanding() >= BUSY;
        let is_hopeless = self.missed >= PATIENCE;
        let has_looked = self.looked >= chunk.start.saturating_add(LOOK_AHEAD);
        if self.is_looking && (is_busy || !(is_hopeless || has_looked)) {
            return Verdict::LookOn;
        }
        let is_in_vain = is_hopeless && self.found == 0 && self.rest.len() < MAX_REST;
        match is_in_vain && !is_busy {
            true => Verdict::AllWanted,
            false => Verdict::Wanted,
        }
    }

    fn pop(&mut self, chunk: &Told) {
        self.told.pop_front();
        self.told_bytes -= chunk.length;
        self.decided = chunk.start + chunk.length;
    }

    fn want(&mut self, receiving: &mut Receiving, start: u64, length: u64) {
        match self.wanted.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += length,
            _ => self.wanted.push((start, length)),
        }
        receiving.want(start, length);
    }

    /// Wants all that is not decided and has not come.
    fn want_all(&mut self, receiving: &mut Receiving) {
        let told = self.told.drain(..).map(|chunk| (chunk.start, chunk.length));
        let left: Vec<_> = told.chain(mem::take(&mut self.rest)).collect();
        for (start, length) in left {
            self.decided = start + length;
            let unseen = match self.wanted.len() {
                // A message holds no more than so many.
                MAX_GAPS.. => vec![(start, length)],
                _ => receiving.unseen(start, length),
            };
            for (start, length) in closed(unseen) {
                self.want(receiving, start, length);
            }
        }
        self.told_bytes = 0;
        self.is_closed = true;
        self.forget();
    }

    /// Adds a chunk that stands at `from` in the older file to those that are to be copied together.
    fn extend_run(
        &mut self,
        receiving: &mut Receiving,
        from: u64,
        chunk: &Told,
    ) -> Result<(), Error> {
        let Run { length, .. } = self.run;
        let follows = self.run.from + length == from && self.run.to + length == chunk.start;
        if !follows || length == 0 {
            self.copy_run(receiving)?;
            self.run = Run {
                from,
                to: chunk.start,
                length: 0,
            };
        }
        self.run.length += chunk.length;
        Ok(())
    }

    /// Copies what was found, and wants what turned out not to be there any more.
    fn copy_run(&mut self, receiving: &mut Receiving) -> Result<(), Error> {
        let Run { from, to, length } = mem::take(&mut self.run);
        let Some(file) = self.file.clone().filter(|_| length > 0) else {
            return Ok(());
        };
        let copied = receiving.copy_from(&file, (from, to), length)?;
        self.found += copied;
        self.missed = 0;
        if copied < length {
            self.forget();
            self.want(receiving, to + copied, length - copied);
        }
        Ok(())
    }

    /// Looks at more of the older file.
    fn look_on(&mut self) {
        let Some(file) = self.file.clone().filter(|_| self.is_looking) else {
            return;
        };
        let mut buffer = vec![0; PIECE];
        let mut chunks = Vec::new();
        let end = self.looked + STEP;
        while self.looked < end && self.is_looking {
            match file.read_at(&mut buffer, self.looked) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read cannot be copied either.
                Ok(0) | Err(_) => {
                    chunks.extend(self.chunker.finish());
                    self.is_looking = false;
                }
                Ok(read) => {
                    self.chunker.push(&buffer[..read], &mut chunks);
                    self.looked += read as u64;
                }
            }
            chunks.drain(..).for_each(|chunk| self.know(&chunk));
        }
    }

    //= spec/20-copy.md#older-destination
    //# A receiver MUST bound how many chunks of an older file it keeps.
    fn know(&mut self, chunk: &Chunk) {
        if self.known.len() < MAX_KNOWN {
            self.known.entry(chunk.id.key()).or_insert(self.next);
        }
        self.next += chunk.length;
        self.is_looking &= self.known.len() < MAX_KNOWN;
    }

    fn forget(&mut self) {
        self.file = None;
        self.is_looking = false;
        self.known = HashMap::new();
    }
}

/// The same ranges, or one around all of them where a message cannot hold so many.
fn closed(ranges: Ranges) -> Ranges {
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) if ranges.len() > MAX_GAPS / 2 => {
            vec![(first.0, last.0 + last.1 - first.0)]
        }
        _ => ranges,
    }
}
