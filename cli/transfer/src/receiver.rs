//! The half of a copy that gets the file: puts blocks where they belong, checks, and finishes.
//! How a file is written lies in `writer`; where the bytes come from is not known here.

use std::{collections::VecDeque, fmt, mem, sync::Arc};

use crate::{
    digest::BlockDigest,
    error::Error,
    message::{Attributes, Digest, Done, Get, Message, Put, Ready, Status},
    session::{Half, Input, Output, Progress, Summary},
    writer::Sink,
};

/// Neighbouring blocks are coalesced up to the next multiple of this before they are written and
/// hashed: a system call and a hash over single packets costs several times as much.
const STAGE: u64 = 256 << 10;

/// Blocks of this length are written as they are: joining them with others would save nothing that
/// the copy does not cost.
const DIRECT: u64 = 64 << 10;

/// Makes the sink once it is known what will come.
pub type OpenSink = Box<dyn FnOnce(&Attributes) -> Result<Box<dyn Sink>, Error> + Send>;

/// Receives one file.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    progress: Arc<Progress>,
    preserve: bool,
    outputs: VecDeque<Output>,
}

enum State {
    /// Get was sent, Ready has not come.
    Asked(OpenSink),
    /// Blocks are coming.
    Receiving(Box<Receiving>),
    /// Nothing more is to be done.
    Over,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked(_) => "Asked",
            Self::Receiving(_) => "Receiving",
            Self::Over => "Over",
        })
    }
}

impl Receiver {
    /// The client's half of a Get.
    pub fn pull(get: Get, preserve: bool, open: OpenSink, progress: Arc<Progress>) -> Self {
        Self {
            state: State::Asked(open),
            progress,
            preserve,
            outputs: VecDeque::from([Output::Message(Message::Get(get))]),
        }
    }

    /// The server's half of a Put.
    pub fn accept(put: &Put, open: OpenSink, progress: Arc<Progress>) -> Self {
        let mut receiver = Self {
            state: State::Over,
            progress,
            preserve: put.preserve,
            outputs: VecDeque::new(),
        };
        receiver.begin(open, put.attributes, put.stream);
        if matches!(receiver.state, State::Receiving(_)) {
            //= spec/20-copy.md#data
            //# A server MUST send Ready before Done with status ok.
            let ready = Message::Ready(Ready::default());
            receiver.outputs.push_front(Output::Message(ready));
        }
        receiver
    }

    fn begin(&mut self, open: OpenSink, attributes: Attributes, stream: u64) {
        self.progress.set_size(attributes.size);
        match open(&attributes) {
            Ok(sink) => {
                let ordered = sink.is_ordered();
                self.outputs.push_back(Output::Attach { stream, ordered });
                self.state = State::Receiving(Box::new(Receiving::new(sink, attributes)));
            }
            Err(error) => self.fail(error),
        }
    }

    fn on_message(&mut self, message: Message) {
        match (mem::replace(&mut self.state, State::Over), message) {
            (State::Asked(open), Message::Ready(ready)) => match ready.stream {
                Some(stream) => self.begin(open, ready.attributes, stream),
                None => self.fail(Error::Protocol("Ready names no data stream")),
            },
            (State::Receiving(mut receiving), Message::Digest(digest))
                if receiving.announced.is_none() =>
            {
                receiving.announced = Some(digest);
                self.go_on(receiving);
            }
            (State::Over, _) => {}
            (state, Message::Done(done)) if done.status == Status::Ok => {
                drop(state);
                self.fail(Error::Protocol("done before the end"));
            }
            (state, Message::Done(done)) => {
                // What was read while the file changed fits no file that ever was.
                if let (State::Receiving(receiving), Status::SourceChanged) = (state, done.status) {
                    receiving.sink.discard();
                }
                self.end(Error::Peer(done));
            }
            _ => self.fail(Error::Protocol("a message out of turn")),
        }
    }

    fn has_digest(&self) -> bool {
        matches!(&self.state, State::Receiving(receiving) if receiving.announced.is_some())
    }

    fn on_data(&mut self, input: Input) {
        let State::Receiving(mut receiving) = mem::replace(&mut self.state, State::Over) else {
            return self.fail(Error::Protocol("data out of turn"));
        };
        let taken = match input {
            Input::Blocks(blocks) => blocks
                .iter()
                .try_for_each(|(offset, bytes)| receiving.take(*offset, bytes)),
            _ => receiving.end_of_data(),
        };
        self.progress.set_bytes(receiving.received);
        match taken {
            Ok(()) => self.go_on(receiving),
            Err(error) => {
                //= spec/20-copy.md#files
                //# A receiver that has no space for the rest of a file MUST remove the partial file.
                if error.status() == Status::NoSpace {
                    receiving.sink.discard();
                }
                self.fail(error);
            }
        }
    }

    /// Finishes the file when everything about it is known, otherwise waits for the rest.
    fn go_on(&mut self, receiving: Box<Receiving>) {
        let (Some(announced), true) = (receiving.announced, receiving.ended) else {
            self.state = State::Receiving(receiving);
            return;
        };
        match receiving.finish(announced, self.preserve) {
            Ok(summary) => {
                let done = Message::Done(Done {
                    status: Status::Ok,
                    //= spec/20-copy.md#status
                    //# A receiver SHOULD say in the text of its Done what its file system could not
                    //# do for a file that is whole.
                    text: summary.note.clone(),
                });
                self.outputs.push_back(Output::Message(done));
                self.outputs.push_back(Output::Over(Ok(summary)));
            }
            Err(error) => self.fail(error),
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

impl Half for Receiver {
    fn handle(&mut self, input: Input) {
        if matches!(self.state, State::Over) {
            return;
        }
        match input {
            Input::Message(message) => self.on_message(message),
            Input::Blocks(_) | Input::DataEnd => self.on_data(input),
            Input::Malformed(error) => self.fail(Error::Decode(error)),
            //= spec/20-copy.md#requests
            //# A side that loses the connection before Done MUST treat the copy as failed.
            //= spec/20-copy.md#requests
            //# A receiver MUST finish a copy whose sender has finished its half of the control stream
            //# behind Digest.
            Input::ControlFinished if self.has_digest() => {}
            Input::ControlFinished | Input::ControlEnd => {
                self.end(Error::Protocol("the stream ended without Done"));
            }
            Input::Interrupt => self.fail(Error::Interrupted),
        }
    }

    fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}

/// A file on its way into a sink.
struct Receiving {
    sink: Box<dyn Sink>,
    attributes: Attributes,
    digest: BlockDigest,
    /// Neighbouring blocks not yet written, and where they belong.
    stage: Vec<u8>,
    stage_start: u64,
    received: u64,
    announced: Option<Digest>,
    ended: bool,
}

impl Receiving {
    fn new(sink: Box<dyn Sink>, attributes: Attributes) -> Self {
        Self {
            sink,
            attributes,
            digest: BlockDigest::new(),
            stage: Vec::new(),
            stage_start: 0,
            received: 0,
            announced: None,
            ended: false,
        }
    }

    //= spec/20-copy.md#data
    //# A receiver SHOULD write each block where it belongs in the order of arrival.
    fn take(&mut self, offset: u64, block: &[u8]) -> Result<(), Error> {
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
            .map_err(|error| Error::io("reading back", error))
    }

    fn end_of_data(&mut self) -> Result<(), Error> {
        if self.ended {
            return Err(Error::Protocol("the data ended twice"));
        }
        self.write_stage()?;
        self.ended = true;
        Ok(())
    }

    fn finish(mut self, announced: Digest, preserve: bool) -> Result<Summary, Error> {
        //= spec/20-copy.md#integrity
        //# The receiver MUST compare size and digest before the file takes its name.
        if let Err(error) = self.verify(&announced) {
            //= spec/20-copy.md#files
            //# A partial file whose content is known to be wrong SHOULD be removed.
            if error.status() == Status::Integrity {
                self.sink.discard();
            }
            return Err(error);
        }
        let note = self.sink.commit(&self.attributes, preserve)?;
        Ok(Summary {
            bytes: announced.size,
            digest: announced.digest,
            note,
        })
    }

    //= spec/20-copy.md#integrity
    //# A file whose digest differs MUST NOT take its name.
    fn verify(&mut self, announced: &Digest) -> Result<(), Error> {
        let size = announced.size;
        if self.received != size || self.attributes.size.is_some_and(|known| known != size) {
            return Err(Error::Integrity(
                "the size is not the one that was announced",
            ));
        }
        let sink = &mut self.sink;
        let digest = mem::take(&mut self.digest)
            .finish(size, &mut |offset, buffer| sink.read_at(offset, buffer))
            .map_err(|error| Error::io("reading back", error))?;
        match digest {
            Some(digest) if digest == announced.digest => Ok(()),
            Some(_) => Err(Error::Integrity("the digest differs")),
            None => Err(Error::Integrity("bytes are missing")),
        }
    }
}
