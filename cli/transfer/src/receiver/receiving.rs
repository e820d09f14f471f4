//! A file that comes in: blocks are put where they belong, groups are compared with what they have to be. What is
//! said about it to the other side lies in `receiver`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    mem,
};

use blake3::hazmat::ChainingValue;
use rp_reduce::chunk::Scale;

use crate::{
    digest::{BlockDigest, GROUP, Proof, group_value},
    error::Error,
    journal::Known,
    message::{Attributes, Groups, Ranges, Status, Version, coarsened},
    older::is_worth,
    session::Summary,
    writer::Sink,
};

/// Neighbouring blocks are coalesced up to the next multiple of this before they are written and
/// hashed: a system call and a hash over single packets costs several times as much.
const STAGE: u64 = 256 << 10;

/// Blocks of this length are written as they are: joining them with others would save nothing that
/// the copy does not cost.
const DIRECT: u64 = 64 << 10;

/// How often groups that are not right are asked for again.
const MAX_AGAIN: u32 = 3;

/// Values of groups that are announced far ahead of their bytes, or the other way round: more than any path
/// holds.
const MAX_UNMATCHED: usize = 1 << 16;

/// A file on its way into a sink.
pub(super) struct Receiving {
    pub(super) sink: Box<dyn Sink>,
    attributes: Attributes,
    digest: BlockDigest,
    /// Neighbouring blocks not yet written, and where they belong.
    stage: Vec<u8>,
    stage_start: u64,
    /// Bytes that came, where it is not the digest that counts them.
    received: u64,
    /// Size, and digest if all of the file was sent.
    pub(super) announced: Option<(u64, Option<[u8; 32]>)>,
    pub(super) ended: bool,
    /// Whether each group is compared with what the sender says it is.
    pub(super) is_proven: bool,
    /// Values of groups as they were announced and as they were found, until both are known.
    expected: BTreeMap<u64, ChainingValue>,
    found: BTreeMap<u64, ChainingValue>,
    /// Groups that were not right.
    bad: BTreeSet<u64>,
    /// The data stream that takes the place of the one that is handed in at present, and what it holds.
    next: Option<(u64, Plan)>,
    /// Bytes that are wanted of an older file's successor, and how many of them came.
    asked: u64,
    arrived: u64,
    /// What was asked for and is not coming yet.
    pub(super) wanted: Option<Ranges>,
    asked_again: u32,
    /// Which ranges the data stream holds: where each begins in it, where in the file, and its length.
    pub(super) plan: Plan,
}

/// Ranges of a data stream: where each begins in it, where in the file, and its length.
pub(super) type Plan = Vec<(u64, u64, u64)>;

impl Receiving {
    pub(super) fn new(sink: Box<dyn Sink>, attributes: Attributes) -> Self {
        let many = attributes
            .size
            .filter(|&size| size > GROUP && !sink.is_ordered());
        let mut digest = many.map_or_else(BlockDigest::new, BlockDigest::proven);
        for (index, value) in sink.known() {
            digest.restore(index, value);
        }
        Self {
            sink,
            attributes,
            digest,
            stage: Vec::new(),
            stage_start: 0,
            received: 0,
            announced: None,
            ended: false,
            is_proven: many.is_some(),
            expected: BTreeMap::new(),
            found: BTreeMap::new(),
            bad: BTreeSet::new(),
            next: None,
            asked: 0,
            arrived: 0,
            wanted: None,
            asked_again: 0,
            plan: plan(None),
        }
    }

    /// What is not there yet, where an interrupted copy left a part of the file.
    pub(super) fn missing(&self) -> Option<Ranges> {
        let groups = self.sink.known();
        let size = self.attributes.size.filter(|_| !groups.is_empty())?;
        let known = Known {
            size,
            version: Version::default(),
            groups,
        };
        Some(coarsened(known.missing()))
    }

    //= spec/20-copy.md#holes
    //# A receiver MUST refuse *holds* where groups are not proven, and ranges in it that are not whole groups of
    //# the file.
    /// Makes holes of all groups that do not come, and takes what comes for these ranges.
    pub(super) fn fill_holes(&mut self, holds: Option<&Ranges>) -> Result<(), Error> {
        let Some(ranges) = holds else { return Ok(()) };
        let size = self.attributes.size.filter(|_| self.is_proven);
        let size = size.ok_or(Error::Protocol("holes in a file of one group"))?;
        let is_whole = |&(start, length): &(u64, u64)| {
            let end = start + length;
            start.is_multiple_of(GROUP) && end <= size && (end.is_multiple_of(GROUP) || end == size)
        };
        if !ranges.iter().all(is_whole) {
            return Err(Error::Protocol("ranges that the file does not have"));
        }
        let zeros = vec![0; usize::try_from(GROUP).unwrap_or(0)];
        let mut held = ranges.iter().copied().peekable();
        for index in 0..size.div_ceil(GROUP) {
            let start = index * GROUP;
            while held.next_if(|range| range.0 + range.1 <= start).is_some() {}
            if held.peek().is_some_and(|range| range.0 <= start) || self.digest.is_settled(index) {
                continue;
            }
            let length = usize::try_from((size - start).min(GROUP)).unwrap_or(0);
            let zeros = zeros.get(..length).unwrap_or_default();
            let value = group_value(index, zeros);
            self.sink.write_at(start, zeros)?;
            self.digest.restore(index, value);
            self.sink.on_right(&[(index, value)])?;
        }
        self.plan = plan(Some(ranges));
        Ok(())
    }

    /// The file that stands where this one goes, and its size, if it may hold enough of this one.
    pub(super) fn older(&self) -> Option<(File, u64)> {
        let size = self.attributes.size.filter(|_| self.is_proven)?;
        self.sink.older().filter(|older| is_worth(older.1, size))
    }

    //= spec/20-copy.md#older-destination
    //# A receiver MUST refuse a scale of which 2^18 chunks are less than the file, unless it is 24.
    /// The size of the file, if chunks of this scale may be told of.
    pub(super) fn chunked_size(&self, scale: Scale) -> Result<u64, Error> {
        let size = self.attributes.size.filter(|_| self.is_proven);
        let fits = |&size: &u64| scale >= Scale::for_size(size);
        size.filter(fits)
            .ok_or(Error::Protocol("chunks of a file that has none"))
    }

    pub(super) fn received(&self) -> u64 {
        match self.is_proven {
            true => self.digest.covered(),
            false => self.received,
        }
    }

    /// What is wanted comes on the data stream `stream`, which is handed in once that is said, or on the one that is
    /// handed in already.
    pub(super) fn expect_wanted(&mut self, stream: Option<u64>) {
        match stream {
            Some(stream) => self.next = Some((stream, Plan::new())),
            None => self.plan.clear(),
        }
        (self.announced, self.ended) = (None, false);
    }

    /// From here on it is the data stream `stream` that is handed in.
    pub(super) fn on_attached(&mut self, stream: u64) -> Result<(), Error> {
        match self.next.take_if(|next| next.0 == stream) {
            Some((_, plan)) => {
                self.write_stage()?;
                self.plan = plan;
                Ok(())
            }
            None => Ok(()),
        }
    }

    //= spec/20-copy.md#older-destination
    //# The data stream MUST hold what is wanted in the order in which it was wanted, one range after the other and
    //# nothing between.
    /// This comes on the data stream next.
    pub(super) fn want(&mut self, place: u64, length: u64) {
        let start = self.asked;
        self.asked += length;
        let plan = self
            .next
            .as_mut()
            .map_or(&mut self.plan, |next| &mut next.1);
        match plan.last_mut() {
            Some(last) if last.1 + last.2 == place => last.2 += length,
            _ => plan.push((start, place, length)),
        }
    }

    /// What has not come of `length` bytes at `offset`.
    pub(super) fn unseen(&self, offset: u64, length: u64) -> Ranges {
        self.digest.unseen(offset, length)
    }

    /// Bytes that are wanted and have not come.
    pub(super) fn outstanding(&self) -> u64 {
        self.asked - self.arrived.min(self.asked)
    }

    //= spec/20-copy.md#older-destination
    //# A receiver MUST NOT write bytes of an older file over bytes that it received.
    /// Copies bytes of an older file, at the first of these offsets, to the second; gives how many of them it had.
    pub(super) fn copy_from(
        &mut self,
        older: &File,
        (from, to): (u64, u64),
        length: u64,
    ) -> Result<u64, Error> {
        for (start, piece) in self.digest.unseen(to, length) {
            let offsets = (from + (start - to), start);
            let copied = self.sink.copy_from(older, offsets, piece)?;
            let sink = &mut self.sink;
            // Read back where they are now: what changes in the older file meanwhile changes nothing here.
            self.digest
                .note(start, copied, &mut |offset, buffer| {
                    sink.read_at(offset, buffer)
                })
                .map_err(|error| Error::io("reading back", error))?;
            if copied < piece {
                self.compare()?;
                return Ok(start - to + copied);
            }
        }
        self.compare()?;
        Ok(length)
    }

    //= spec/20-copy.md#data
    //# A receiver SHOULD write each block where it belongs in the order of arrival.
    pub(super) fn take(&mut self, offset: u64, block: &[u8]) -> Result<(), Error> {
        if self.next.is_none() {
            self.arrived += block.len() as u64;
        }
        let (mut offset, mut block) = (offset, block);
        while !block.is_empty() {
            let beyond = Error::Protocol("data beyond the announced size");
            let next = self.plan.partition_point(|piece| piece.0 <= offset);
            let piece = next.checked_sub(1).and_then(|index| self.plan.get(index));
            let Some(&(start, place, length)) = piece else {
                return Err(beyond);
            };
            let within = offset - start;
            let space = length.saturating_sub(within);
            if space == 0 {
                return Err(beyond);
            }
            let space = usize::try_from(space).unwrap_or(usize::MAX);
            let (first, rest) = block.split_at(space.min(block.len()));
            self.take_at(place + within, first)?;
            offset += first.len() as u64;
            block = rest;
        }
        Ok(())
    }

    fn take_at(&mut self, offset: u64, block: &[u8]) -> Result<(), Error> {
        let end = offset.checked_add(block.len() as u64);
        let limit = self.attributes.size.unwrap_or(u64::MAX);
        //= spec/20-copy.md#data
        //# A receiver MUST refuse data beyond an announced size.
        if self.ended || end.is_none_or(|end| end > limit) {
            return Err(Error::Protocol("data beyond the announced size"));
        }
        self.received += block.len() as u64;
        if self.stage.is_empty() {
            self.stage_start = offset;
        } else if offset < self.stage_start {
            // A late block: the stage goes on after it.
            return self.write(offset, block);
        } else if offset != self.stage_start + self.stage.len() as u64 {
            self.write_stage()?;
            self.stage_start = offset;
        }
        self.append_to_stage(block)
    }

    /// Takes what the sender says of groups.
    pub(super) fn on_groups(&mut self, groups: &Groups) -> Result<(), Error> {
        if !self.is_proven {
            return Ok(());
        }
        let count = self.attributes.size.unwrap_or(0).div_ceil(GROUP);
        for (index, value) in (groups.first..count).zip(&groups.values) {
            if !self.digest.is_settled(index) {
                self.expected.insert(index, *value);
            }
        }
        self.compare()
    }

    //= spec/20-copy.md#groups
    //# A receiver MUST compare each group with its value before it counts it as received.
    /// Compares what was found with what was announced.
    fn compare(&mut self) -> Result<(), Error> {
        self.found.extend(self.digest.take_told());
        //= spec/20-copy.md#groups
        //# A receiver MUST bound how many values it keeps of groups whose bytes or values have not come.
        if self.found.len() > MAX_UNMATCHED || self.expected.len() > MAX_UNMATCHED {
            return Err(Error::Protocol("values of groups that do not come"));
        }
        let both = |index: &u64| self.expected.contains_key(index);
        let indices: Vec<_> = self.found.keys().copied().filter(both).collect();
        let mut right = Vec::new();
        for index in indices {
            let pair = self.found.remove(&index).zip(self.expected.remove(&index));
            let Some((found, expected)) = pair else {
                continue;
            };
            match self.digest.prove(index, &found, &expected) {
                Proof::Good => right.push((index, found)),
                Proof::Bad => {
                    self.bad.insert(index);
                }
            }
        }
        match right.is_empty() {
            true => Ok(()),
            false => self.sink.on_right(&right),
        }
    }

    //= spec/20-copy.md#groups
    //# A receiver SHOULD ask again for groups that differ from their values, and MUST give up after a few times.
    /// Groups to ask for again, now that everything came.
    pub(super) fn wrong(&mut self) -> Option<Ranges> {
        if self.bad.is_empty() || self.asked_again >= MAX_AGAIN {
            return None;
        }
        self.asked_again += 1;
        let size = self.attributes.size.unwrap_or(0);
        let groups: Vec<_> = (0..size.div_ceil(GROUP))
            .filter(|index| !self.bad.contains(index))
            .map(|index| (index, ChainingValue::default()))
            .collect();
        self.bad.clear();
        let known = Known {
            size,
            version: Version::default(),
            groups,
        };
        Some(coarsened(known.missing()))
    }

    /// Appends a block to the stage, writing at every multiple of [`STAGE`].
    fn append_to_stage(&mut self, mut block: &[u8]) -> Result<(), Error> {
        while !block.is_empty() {
            if self.stage.is_empty() && block.len() as u64 >= DIRECT {
                self.write(self.stage_start, block)?;
                self.stage_start += block.len() as u64;
                return Ok(());
            }
            let space = STAGE - self.stage_start % STAGE - self.stage.len() as u64;
            let space = usize::try_from(space).unwrap_or(usize::MAX);
            let (piece, rest) = block.split_at(space.min(block.len()));
            self.stage.extend_from_slice(piece);
            if piece.len() == space {
                self.write_stage()?;
            }
            block = rest;
        }
        Ok(())
    }

    fn write_stage(&mut self) -> Result<(), Error> {
        let mut stage = mem::take(&mut self.stage);
        let written = self.write(self.stage_start, &stage);
        self.stage_start += stage.len() as u64;
        stage.clear();
        self.stage = stage;
        written
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.sink.write_at(offset, bytes)?;
        let sink = &mut self.sink;
        self.digest
            .insert(offset, bytes, &mut |offset, buffer| {
                sink.read_at(offset, buffer)
            })
            .map_err(|error| Error::io("reading back", error))?;
        match self.is_proven {
            true => self.compare(),
            false => Ok(()),
        }
    }

    pub(super) fn end_of_data(&mut self) -> Result<(), Error> {
        if self.ended {
            return Err(Error::Protocol("the data ended twice"));
        }
        self.write_stage()?;
        // The end of a stream that another takes the place of is not that of the data.
        self.ended = self.next.is_none();
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        (size, digest): (u64, Option<[u8; 32]>),
        preserve: bool,
    ) -> Result<Summary, Error> {
        //= spec/20-copy.md#integrity
        //# The receiver MUST compare size and digest before the file takes its name.
        let digest = match self.verify(size, digest) {
            Ok(digest) => digest,
            Err(error) => {
                //= spec/20-copy.md#files
                //# A partial file whose content is known to be wrong SHOULD be removed.
                if error.status() == Status::Integrity {
                    self.sink.discard();
                }
                return Err(error);
            }
        };
        self.sink.on_whole(&digest);
        let note = self.sink.commit(&self.attributes, preserve)?;
        Ok(Summary {
            bytes: size,
            digest,
            note,
        })
    }

    //= spec/20-copy.md#integrity
    //# A file whose digest differs MUST NOT take its name.
    fn verify(&mut self, size: u64, announced: Option<[u8; 32]>) -> Result<[u8; 32], Error> {
        if self.attributes.size.is_some_and(|known| known != size)
            || (!self.is_proven && self.received != size)
        {
            return Err(Error::Integrity(
                "the size is not the one that was announced",
            ));
        }
        let sink = &mut self.sink;
        let digest = mem::take(&mut self.digest)
            .finish(size, &mut |offset, buffer| sink.read_at(offset, buffer))
            .map_err(|error| Error::io("reading back", error))?;
        match (digest, announced) {
            (None, _) => Err(Error::Integrity("bytes are missing or wrong")),
            (Some(digest), Some(announced)) if digest != announced => {
                Err(Error::Integrity("the digest differs"))
            }
            (Some(digest), _) => Ok(digest),
        }
    }
}

/// Where the ranges of a data stream stand in it and in the file; without ranges it is the file itself.
pub(super) fn plan(ranges: Option<&Ranges>) -> Plan {
    let Some(ranges) = ranges else {
        return vec![(0, 0, u64::MAX)];
    };
    let mut next = 0;
    ranges
        .iter()
        .map(|&(place, length)| {
            let start = next;
            next += length;
            (start, place, length)
        })
        .collect()
}
