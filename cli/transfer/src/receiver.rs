//! The half of a copy that gets the file: puts blocks where they belong, checks, and finishes.
//! How a file is written lies in `writer`; where the bytes come from is not known here.

mod older;
mod receiving;

use std::{collections::VecDeque, fmt, fs::File, mem, sync::Arc};

use self::{
    older::{Older, Stepped},
    receiving::{Receiving, plan},
};
use rp_reduce::chunk::Scale;

use crate::{
    error::Error,
    message::{
        Again, Attributes, Chunks, Data, Delta, Digest, Done, Get, Message, Put, Ranges, Ready,
        Status, Version,
    },
    session::{Half, Input, Output, Progress},
    writer::Sink,
    xattrs::Xattrs,
};

/// Makes the sink once it is known what will come.
pub type OpenSink = Box<dyn FnOnce(&Announced) -> Result<Box<dyn Sink>, Error> + Send>;

/// What will come, as its sender says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// What is known of the source.
    pub attributes: Attributes,
    /// Tells its content from another.
    pub version: Option<Version>,
    /// Its extended attributes, where they are to be kept.
    pub xattrs: Xattrs,
}

/// Receives one file.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    /// The file that stands where this one goes, told of and not looked at.
    offered: Option<File>,
    /// What is being made of it.
    older: Option<Box<Older>>,
    progress: Arc<Progress>,
    preserve: bool,
    outputs: VecDeque<Output>,
}

enum State {
    /// Get was sent, Ready has not come.
    Asked(OpenSink, Get),
    /// Blocks are coming.
    Receiving(Box<Receiving>),
    /// Nothing more is to be done.
    Over,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked(..) => "Asked",
            Self::Receiving(_) => "Receiving",
            Self::Over => "Over",
        })
    }
}

impl Receiver {
    /// The client's half of a Get.
    pub fn pull(get: Get, preserve: bool, open: OpenSink, progress: Arc<Progress>) -> Self {
        Self {
            state: State::Asked(open, get.clone()),
            offered: None,
            older: None,
            progress,
            preserve,
            outputs: VecDeque::from([Output::Message(Message::Get(get))]),
        }
    }

    /// The server's half of a Put.
    pub fn accept(put: &Put, open: OpenSink, progress: Arc<Progress>) -> Self {
        let mut receiver = Self {
            state: State::Over,
            offered: None,
            older: None,
            progress,
            preserve: put.preserve,
            outputs: VecDeque::new(),
        };
        let announced = Announced {
            attributes: put.attributes,
            version: put.version,
            xattrs: put.xattrs.clone(),
        };
        if let Some(receiving) = receiver.open(open, announced) {
            receiver.begin_put(receiving, put);
        }
        receiver
    }

    /// Says what is wanted of a file that a client offers.
    fn begin_put(&mut self, mut receiving: Box<Receiving>, put: &Put) {
        if let Err(error) = receiving.fill_holes(put.holds.as_ref()) {
            return self.fail(error);
        }
        let stream = put.stream;
        let missing = receiving.missing();
        //= spec/20-copy.md#older-destination
        //# A receiver MAY say in Get or Ready that it has an older file.
        let older = receiving.older();
        let older_size = older.as_ref().map(|older| older.1);
        self.offered = older.map(|older| older.0);
        //= spec/20-copy.md#data
        //# A server MUST send Ready before Done with status ok.
        self.outputs
            .push_back(Output::Message(Message::Ready(Ready {
                missing: missing.clone(),
                older: older_size,
                ..Ready::default()
            })));
        match missing {
            // What the client has begun to send has no place in what is missing.
            Some(missing) => {
                self.outputs.push_back(Output::Refuse { stream });
                receiving.wanted = Some(missing);
            }
            None => {
                let ordered = receiving.sink.is_ordered();
                self.outputs.push_back(Output::Attach { stream, ordered });
            }
        }
        self.state = State::Receiving(receiving);
    }

    /// Takes what a server begins to send.
    fn begin_get(&mut self, open: OpenSink, get: &Get, ready: Ready) {
        let Some(stream) = ready.stream else {
            return self.fail(Error::Protocol("Ready names no data stream"));
        };
        let is_resumed = ready.missing.is_some();
        if is_resumed && ready.missing != get.missing {
            return self.fail(Error::Protocol("ranges that nobody asked for"));
        }
        let announced = Announced {
            attributes: ready.attributes,
            version: ready.version,
            xattrs: ready.xattrs,
        };
        let Some(mut receiving) = self.open(open, announced) else {
            return;
        };
        if let Err(error) = receiving.fill_holes(ready.holds.as_ref()) {
            return self.fail(error);
        }
        match (receiving.missing(), is_resumed) {
            // What is sent again beside what is missing is as good.
            (Some(_), false) | (None, false) => {}
            (Some(_), true) => receiving.plan = plan(ready.missing.as_ref()),
            (None, true) => {
                let error = Error::Protocol("ranges of a content that is not there");
                return self.fail(error);
            }
        }
        if let Some(scale) = ready.scale {
            //= spec/20-copy.md#older-destination
            //# A receiver MUST refuse a scale or a Delta where it did not say that it has an older file.
            if get.older.is_none() {
                return self.fail(Error::Protocol("chunks that nobody asked for"));
            }
            let older = receiving.older().map(|older| older.0);
            if let Err(error) = self.begin_older(&receiving, older, ready.missing, scale) {
                return self.fail(error);
            }
            receiving.expect_wanted(None);
        }
        let ordered = receiving.sink.is_ordered();
        self.outputs.push_back(Output::Attach { stream, ordered });
        self.state = State::Receiving(receiving);
    }

    /// Makes use of an older file, for these ranges or for all of the file.
    fn begin_older(
        &mut self,
        receiving: &Receiving,
        file: Option<File>,
        ranges: Option<Ranges>,
        scale: Scale,
    ) -> Result<(), Error> {
        let size = receiving.chunked_size(scale)?;
        let ranges = ranges.unwrap_or_else(|| vec![(0, size)]);
        self.older = Some(Box::new(Older::new(file, ranges, scale)));
        Ok(())
    }

    /// The sender tells of chunks, and sends on `delta.stream` what is wanted of them.
    fn on_delta(&mut self, mut receiving: Box<Receiving>, delta: Delta) {
        let Some(file) = self.offered.take() else {
            return self.fail(Error::Protocol("chunks that nobody asked for"));
        };
        let ranges = receiving.wanted.take();
        if let Err(error) = self.begin_older(&receiving, Some(file), ranges, delta.scale) {
            return self.fail(error);
        }
        receiving.expect_wanted(Some(delta.stream));
        self.outputs.push_back(Output::Attach {
            stream: delta.stream,
            ordered: false,
        });
        self.state = State::Receiving(receiving);
    }

    fn on_chunks(&mut self, chunks: &Chunks) {
        let taken = match &mut self.older {
            Some(older) => older.on_chunks(&chunks.chunks),
            None => Err(Error::Protocol("chunks that nobody asked for")),
        };
        if let Err(error) = taken {
            self.fail(error);
        }
    }

    /// Goes on with the older file.
    fn step(&mut self) {
        let (Some(older), State::Receiving(receiving)) = (&mut self.older, &mut self.state) else {
            return;
        };
        let found = older.found();
        let stepped = older.step(receiving);
        self.progress.add_older(older.found() - found);
        self.progress.set_bytes(receiving.received());
        match stepped {
            Ok(Stepped::Want(want)) => {
                self.outputs.push_back(Output::Message(Message::Want(want)));
            }
            Ok(Stepped::Busy) => self.outputs.push_back(Output::Busy),
            Ok(Stepped::Idle | Stepped::Over) => {}
            Err(error) => self.fail_writing(error),
        }
    }

    fn open(&mut self, open: OpenSink, announced: Announced) -> Option<Box<Receiving>> {
        self.progress.set_size(announced.attributes.size);
        match open(&announced) {
            Ok(sink) => {
                let receiving = Receiving::new(sink, announced.attributes);
                self.progress.set_bytes(receiving.received());
                self.progress.set_there(receiving.received());
                Some(Box::new(receiving))
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// The ranges that were wanted come on `data.stream`.
    fn on_ranges(&mut self, mut receiving: Box<Receiving>, data: &Data) {
        //= spec/20-copy.md#resuming
        //# A receiver MUST refuse ranges that it did not ask for.
        if receiving.wanted.take().as_ref() != Some(&data.ranges) {
            self.state = State::Receiving(receiving);
            return self.fail(Error::Protocol("ranges that nobody asked for"));
        }
        receiving.plan = plan(Some(&data.ranges));
        (receiving.announced, receiving.ended) = (None, false);
        self.outputs.push_back(Output::Attach {
            stream: data.stream,
            ordered: false,
        });
        self.state = State::Receiving(receiving);
    }

    fn on_message(&mut self, message: Message) {
        match (mem::replace(&mut self.state, State::Over), message) {
            (State::Asked(open, get), Message::Ready(ready)) => {
                self.begin_get(open, &get, ready);
            }
            (State::Receiving(mut receiving), Message::Digest(digest))
                if receiving.announced.is_none() =>
            {
                let Digest { size, digest } = digest;
                receiving.announced = Some((size, Some(digest)));
                self.go_on(receiving);
            }
            (State::Receiving(mut receiving), Message::Sent(sent))
                if receiving.announced.is_none() && receiving.is_proven =>
            {
                receiving.announced = Some((sent.size, None));
                self.go_on(receiving);
            }
            (State::Receiving(receiving), Message::Data(data)) => self.on_ranges(receiving, &data),
            (State::Receiving(receiving), Message::Delta(delta)) => self.on_delta(receiving, delta),
            (State::Receiving(receiving), Message::Chunks(chunks)) => {
                self.state = State::Receiving(receiving);
                self.on_chunks(&chunks);
            }
            (State::Receiving(mut receiving), Message::Groups(groups)) => {
                match receiving.on_groups(&groups) {
                    Ok(()) => self.state = State::Receiving(receiving),
                    Err(error) => self.fail(error),
                }
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
            Input::Attached(stream) => receiving.on_attached(stream),
            _ => receiving.end_of_data(),
        };
        self.progress.set_bytes(receiving.received());
        match taken {
            Ok(()) => self.go_on(receiving),
            Err(error) => {
                self.state = State::Receiving(receiving);
                self.fail_writing(error);
            }
        }
    }

    /// Ends the copy for something that went wrong with its file.
    fn fail_writing(&mut self, error: Error) {
        //= spec/20-copy.md#files
        //# A receiver that has no space for the rest of a file MUST remove the partial file.
        if let (Status::NoSpace, State::Receiving(receiving)) =
            (error.status(), mem::replace(&mut self.state, State::Over))
        {
            receiving.sink.discard();
        }
        self.fail(error);
    }

    /// Finishes the file when everything about it is known, otherwise waits for the rest.
    fn go_on(&mut self, receiving: Box<Receiving>) {
        let (Some(announced), true) = (receiving.announced, receiving.ended) else {
            self.state = State::Receiving(receiving);
            return;
        };
        let mut receiving = receiving;
        if let Some(ranges) = receiving.wrong() {
            self.outputs
                .push_back(Output::Message(Message::Again(Again {
                    ranges: ranges.clone(),
                })));
            receiving.wanted = Some(ranges);
            self.state = State::Receiving(receiving);
            return;
        }
        match receiving.finish(announced, self.preserve) {
            Ok(summary) => {
                if announced.1.is_none() {
                    let (size, digest) = (summary.bytes, summary.digest);
                    let account = Message::Digest(Digest { size, digest });
                    self.outputs.push_back(Output::Message(account));
                }
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
            Input::Blocks(_) | Input::DataEnd | Input::Attached(_) => self.on_data(input),
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
        if self.outputs.is_empty() {
            self.step();
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}
