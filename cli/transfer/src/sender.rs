//! The half of a copy that has the file: passes it on and hashes on the way.
//! How it is read lies in `source`; where the bytes go, and the other half, are not known here.

mod reduce;
mod telling;

use std::{collections::VecDeque, mem, sync::Arc};

use self::{reduce::telling, telling::Telling};
use crate::{
    digest::{BlockDigest, GROUP},
    error::Error,
    message::{Digest, Get, Groups, Message, Put, Ranges, Ready, Sent, Status},
    session::{Contents, Half, Input, Output, Progress, Summary},
    source::Source,
    xattrs::{Privilege, Xattrs},
};

/// How often ranges may be wanted before the other side is not believed any more.
const MAX_RESTARTS: u32 = 8;

/// Sends one file.
#[derive(Debug)]
pub struct Sender {
    source: Source,
    digest: BlockDigest,
    /// Not all of the file is sent.
    is_partial: bool,
    /// An older file at the destination is made use of.
    reduces: bool,
    /// The receiver decides chunk by chunk what is sent.
    telling: Option<Telling>,
    /// What was sent before that, if it was all of the file: the receiver may be content with it.
    settled: Option<Summary>,
    /// How often ranges were wanted in place of what was sent.
    restarts: u32,
    progress: Arc<Progress>,
    state: State,
    /// The other side is still to say Ready.
    offered: bool,
    /// A request is being served, whose client may give up its Done.
    serves: bool,
    /// The other side says nothing more.
    is_unanswered: bool,
    /// Bytes the data stream takes at present.
    window: u64,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The file is being read.
    Sending,
    /// Digest was sent, Done has not come.
    Confirming(Summary),
    /// Nothing more is to be done.
    Over,
}

impl Sender {
    /// The client's half of a Put: offers the file and sends it at once.
    ///
    /// Waiting for the answer would cost every copy a round trip, 0.6 s by satellite. A server that
    /// refuses says so and stops the stream; what is on its way by then is lost.
    //= spec/20-copy.md#data
    //# A client MAY send data before Ready.
    pub fn push(put: Put, source: Source, progress: Arc<Progress>) -> Self {
        let (attributes, version) = (*source.attributes(), source.version());
        let mut source = source;
        let holds = put.sparse.then(|| source.data()).flatten();
        let begun = holds.clone().map(|ranges| source.read_ranges(ranges));
        let offer = Message::Put(Put {
            attributes,
            version,
            holds,
            ..put
        });
        let mut sender = Self::new(source, progress, true, offer);
        // What is told of by chunks has no holes.
        sender.reduces = begun.is_none();
        sender.begin_part(begun);
        sender
    }

    /// Not all of the file is sent, if it is said what.
    fn begin_part(&mut self, begun: Option<Result<(), Error>>) {
        match begun {
            Some(Err(error)) => self.fail(error),
            Some(Ok(())) => self.is_partial = true,
            None => {}
        }
    }

    /// The server's half of a Get: announces the file and sends it on the stream `stream`.
    pub fn serve(stream: u64, source: Source, progress: Arc<Progress>) -> Self {
        Self::resume(&Get::default(), stream, source, progress)
    }

    /// The same, and only what `get` is missing if the content is still the one that it has a part of.
    pub fn resume(get: &Get, stream: u64, source: Source, progress: Arc<Progress>) -> Self {
        let mut source = source;
        let (attributes, version) = (*source.attributes(), source.version());
        //= spec/20-copy.md#resuming
        //# A server MUST send all of a file whose version is not that of the Get.
        let missing = get.missing.clone();
        let missing = missing.filter(|_| version.is_some() && get.version == version);
        let telling = telling(&source, get.older, missing.as_ref());
        //= spec/20-copy.md#holes
        //# A server MUST NOT send *holds* to a client that has not set *sparse*.
        let holds = match (get.sparse, &missing, &telling) {
            (true, None, None) => source.data(),
            _ => None,
        };
        let part = missing.clone().or_else(|| holds.clone());
        let begun = part.map(|ranges| source.read_ranges(ranges));
        let xattrs = match get.xattrs {
            true => source.xattrs(Privilege::Guest),
            false => Ok(Xattrs::default()),
        };
        let (xattrs, unread) = match xattrs {
            Ok(xattrs) => (xattrs, None),
            Err(error) => (Xattrs::default(), Some(error)),
        };
        let ready = Message::Ready(Ready {
            stream: Some(stream),
            attributes,
            version,
            missing,
            holds,
            xattrs,
            scale: telling.as_ref().map(Telling::scale),
            ..Ready::default()
        });
        let mut sender = Self::new(source, progress, false, ready);
        if let Some(error) = unread {
            sender.fail(error);
            return sender;
        }
        sender.begin_part(begun);
        if let (Some(telling), State::Sending) = (telling, &sender.state) {
            sender.start_telling(telling);
        }
        sender
    }

    /// Sends all that is to be sent, whatever stands at the destination.
    #[must_use]
    pub fn no_reduce(self) -> Self {
        Self {
            reduces: false,
            ..self
        }
    }

    //= spec/20-copy.md#data
    //# A sender that knows the size of the file MUST announce it in Put or Ready; standard input
    //# has none.
    fn new(source: Source, progress: Arc<Progress>, offered: bool, first: Message) -> Self {
        progress.set_size(source.attributes().size);
        Self {
            digest: digest_of(&source),
            source,
            is_partial: false,
            reduces: true,
            telling: None,
            settled: None,
            restarts: 0,
            progress,
            state: State::Sending,
            offered,
            serves: !offered,
            is_unanswered: false,
            window: u64::MAX,
            outputs: VecDeque::from([Output::Message(first)]),
        }
    }

    //= spec/20-copy.md#data
    //# A sender SHOULD read no more of a file than its data stream takes: a peer that takes nothing
    //# then costs it no memory.
    /// Whether there is a window to read for. The end of a file needs none.
    fn may_read(&self) -> bool {
        self.window > 0 || self.source.is_handed_out()
    }

    fn read_on(&mut self) {
        let position = self.source.position();
        match self.source.next(self.window) {
            Ok(Some(piece)) => {
                self.window = self.window.saturating_sub(piece.len() as u64);
                self.progress.set_bytes(self.source.bytes_read());
                if let Err(error) = self.hash(position, &piece) {
                    return self.fail(error);
                }
                self.outputs.push_back(Output::Data(piece));
            }
            Ok(None) => self.finish(),
            Err(error) => self.fail(error),
        }
    }

    //= spec/20-copy.md#groups
    //# A sender of a file of more than one group whose size it announced MUST send Groups with the value of
    //# each group that it has sent.
    /// Hashes a piece that is sent, and says of each group what it is.
    fn hash(&mut self, position: u64, piece: &[u8]) -> Result<(), Error> {
        // What is sent comes from front to back, so that nothing is read back.
        let mut never = |_: u64, _: &mut [u8]| Err(std::io::ErrorKind::Unsupported.into());
        let hashed = self.digest.insert(position, piece, &mut never);
        hashed.map_err(|error| Error::io("hashing", error))?;
        let many = self
            .source
            .attributes()
            .size
            .is_some_and(|size| size > GROUP);
        for (first, value) in self.digest.take_told() {
            if many {
                let values = vec![value];
                let groups = Message::Groups(Groups { first, values });
                self.outputs.push_back(Output::Message(groups));
            }
        }
        Ok(())
    }

    /// Sends these ranges in place of what it would send.
    fn restart(&mut self, ranges: Ranges) {
        self.restarts += 1;
        let begun = match self.restarts > MAX_RESTARTS {
            true => Err(Error::Protocol("ranges are wanted again and again")),
            false => self.source.read_ranges(ranges.clone()),
        };
        if let Err(error) = begun {
            return self.fail(error);
        }
        self.is_partial = true;
        self.digest = digest_of(&self.source);
        self.state = State::Sending;
        self.outputs.clear();
        self.outputs
            .push_back(Output::Reopen(Contents::Ranges(ranges)));
    }

    fn finish(&mut self) {
        let size = self.source.attributes().size;
        let digest = match self.is_partial {
            true => Ok(None),
            false => self.whole_digest(),
        };
        let checked = digest.and_then(|digest| {
            self.source.check_unchanged(digest.as_ref())?;
            Ok(digest)
        });
        let digest = match checked {
            Ok(digest) => digest,
            Err(error) => return self.fail(error),
        };
        let summary = Summary {
            bytes: match digest {
                Some(_) => self.source.bytes_read(),
                None => size.unwrap_or(0),
            },
            digest: digest.unwrap_or_default(),
            note: String::new(),
        };
        //= spec/20-copy.md#integrity
        //# The sender computes it over the bytes it read and MUST send Digest after the end of the
        //# data.
        self.outputs.push_back(Output::DataEnd);
        let size = summary.bytes;
        self.outputs.push_back(Output::Message(match digest {
            Some(digest) => Message::Digest(Digest { size, digest }),
            None => Message::Sent(Sent { size }),
        }));
        self.state = State::Confirming(summary);
        if self.is_unanswered {
            self.on_unanswered();
        }
    }

    /// The digest of all that was sent.
    fn whole_digest(&mut self) -> Result<Option<[u8; 32]>, Error> {
        let mut never = |_: u64, _: &mut [u8]| Err(std::io::ErrorKind::Unsupported.into());
        let read = self.source.bytes_read();
        let digest = mem::take(&mut self.digest).finish(read, &mut never);
        let digest = digest.map_err(|error| Error::io("hashing", error))?;
        digest
            .map(Some)
            .ok_or(Error::Integrity("bytes are missing"))
    }

    /// The client said all it will say with its Get: what became of the file is its own affair.
    fn on_unanswered(&mut self) {
        if self.telling.is_some() {
            return self.end(Error::Protocol("the stream ended without Done"));
        }
        self.is_unanswered = true;
        match mem::replace(&mut self.state, State::Over) {
            State::Confirming(summary) => self.outputs.push_back(Output::Over(Ok(summary))),
            state => self.state = state,
        }
    }

    fn on_message(&mut self, message: Message) {
        match (mem::replace(&mut self.state, State::Over), message) {
            (State::Over, _) => {}
            (state, Message::Ready(ready)) if self.offered => {
                self.offered = false;
                self.state = state;
                let missing = ready.missing;
                if let Some(size) = self.source.attributes().size
                    && let Some(ranges) = &missing
                {
                    let rest: u64 = ranges.iter().map(|range| range.1).sum();
                    self.progress.set_there(size.saturating_sub(rest));
                }
                if !self.reduce(ready.older, missing.as_ref())
                    && let Some(ranges) = missing
                {
                    self.restart(ranges);
                }
            }
            (State::Confirming(_), Message::Again(again)) if !self.offered => {
                self.restart(again.ranges);
            }
            (State::Sending, Message::Want(want)) => {
                self.state = State::Sending;
                self.on_want(want);
            }
            //= spec/20-copy.md#older-destination
            //# A sender that has sent all of a file before it goes on with Delta MUST take Done with status ok for
            //# it.
            (State::Sending, Message::Done(done))
                if done.status == Status::Ok && self.settled.is_some() =>
            {
                let note = done.text;
                let settled = self
                    .settled
                    .take()
                    .map(|summary| Summary { note, ..summary });
                self.outputs.clear();
                self.outputs
                    .extend(settled.map(|summary| Output::Over(Ok(summary))));
            }
            // The receiver's account, of what the sender has not read in this copy.
            (State::Confirming(summary), Message::Digest(digest))
                if self.is_partial && !self.offered && digest.size == summary.bytes =>
            {
                let digest = digest.digest;
                self.state = State::Confirming(Summary { digest, ..summary });
            }
            (State::Confirming(summary), Message::Done(done))
                if done.status == Status::Ok && !self.offered =>
            {
                let note = done.text;
                let summary = Summary { note, ..summary };
                self.outputs.push_back(Output::Over(Ok(summary)));
            }
            (_, Message::Done(done)) if done.status == Status::Ok => {
                self.fail(Error::Protocol("done before the end"));
            }
            (_, Message::Done(done)) => self.end(Error::Peer(done)),
            _ => self.fail(Error::Protocol("a message out of turn")),
        }
    }

    //= spec/20-copy.md#requests
    //# After Done a side MUST NOT send another message on that control stream.
    /// Ends the copy and says why to the other side.
    fn fail(&mut self, error: Error) {
        let done = Message::Done(error.to_done());
        self.end(error);
        self.outputs.push_front(Output::Message(done));
    }

    /// Ends the copy without another word.
    fn end(&mut self, error: Error) {
        self.state = State::Over;
        self.outputs.clear();
        self.outputs.push_back(Output::Over(Err(error)));
    }
}

/// A digest that tells of groups where there is more than one to tell of.
fn digest_of(source: &Source) -> BlockDigest {
    let size = source.attributes().size;
    size.map_or_else(BlockDigest::new, BlockDigest::telling)
}

impl Half for Sender {
    fn handle(&mut self, input: Input) {
        if self.state == State::Over {
            return;
        }
        match input {
            Input::Message(message) => self.on_message(message),
            Input::Attached(_) => {}
            Input::Blocks(_) | Input::DataEnd => self.fail(Error::Protocol("data to a sender")),
            Input::Malformed(error) => self.fail(Error::Decode(error)),
            //= spec/20-copy.md#requests
            //# A side that loses the connection before Done MUST treat the copy as failed.
            //= spec/20-copy.md#requests
            //# A server MUST answer a Get whose client has finished its half of the control stream
            //# behind it.
            Input::ControlFinished if self.serves => self.on_unanswered(),
            Input::ControlFinished | Input::ControlEnd => {
                self.end(Error::Protocol("the stream ended without Done"))
            }
            Input::Interrupt => self.fail(Error::Interrupted),
        }
    }

    fn set_window(&mut self, bytes: u64) {
        self.window = bytes;
    }

    fn wants_window(&self) -> bool {
        self.state == State::Sending
            && self.outputs.is_empty()
            && match &self.telling {
                Some(telling) => telling.is_wanted(),
                None => !self.may_read(),
            }
    }

    fn poll(&mut self) -> Output {
        if self.outputs.is_empty() && self.state == State::Sending {
            if self.telling.is_some() {
                if let Err(error) = self.tell_on() {
                    self.fail(error);
                }
            } else if self.may_read() {
                self.read_on();
            }
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}
