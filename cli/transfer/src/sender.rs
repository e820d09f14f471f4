//! The half of a copy that has the file: reads it once from front to back and hashes on the way.
//! Where the bytes go, and the other half, are not known here.

use std::{
    collections::VecDeque,
    fmt,
    fs::{File, Metadata},
    io::{self, Read},
    mem,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::Advice;

use crate::{
    error::Error,
    message::{Attributes, Digest, Message, Modified, Put, Ready, Status},
    session::{Half, Input, Output, Progress, Summary},
};

/// Bytes of a file read at a time: few system calls per gigabyte, and small beside the send
/// buffer, which keeps a piece until all of it is acknowledged.
const PIECE: u64 = 256 << 10;

/// Bytes of a pipe read at a time: what a Linux pipe holds.
const PIPE_PIECE: u64 = 64 << 10;

/// What is sent: a file, or a pipe of unknown length.
pub struct Source {
    reader: Reader,
    shown: String,
    attributes: Attributes,
    read: u64,
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
    pub fn file(file: File, shown: &str) -> Result<Self, Error> {
        let metadata = file.metadata().map_err(|error| Error::io(shown, error))?;
        if metadata.is_dir() {
            return Err(Error::NotAFile(shown.to_owned()));
        }
        if !metadata.is_file() {
            return Ok(Self::pipe(file, shown));
        }
        // Only a hint: a file system that does not take it reads as well.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        let attributes = Attributes {
            size: Some(metadata.len()),
            mode: Some(metadata.mode() & 0o777),
            modified: Some(Modified {
                seconds: metadata.mtime(),
                nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            }),
        };
        Ok(Self {
            reader: Reader::File(file, metadata),
            shown: shown.to_owned(),
            attributes,
            read: 0,
        })
    }

    /// Something read until it ends, called `shown` in errors.
    pub fn pipe(reader: impl Read + Send + 'static, shown: &str) -> Self {
        Self {
            reader: Reader::Pipe(Box::new(reader)),
            shown: shown.to_owned(),
            attributes: Attributes::default(),
            read: 0,
        }
    }

    /// What is known of it.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The next piece, `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = match &mut self.reader {
            Reader::Pipe(pipe) => read_some(pipe),
            Reader::File(file, before) => {
                let rest = before.len() - self.read;
                let mut piece = Vec::with_capacity(usize::try_from(rest.min(PIECE)).unwrap_or(0));
                let read = file.take(rest.min(PIECE)).read_to_end(&mut piece);
                match read {
                    Ok(read) if (read as u64) < rest.min(PIECE) => {
                        return Err(Error::SourceChanged(self.shown.clone()));
                    }
                    read => read.map(|_| piece),
                }
            }
        };
        let piece = piece.map_err(|error| Error::io(&self.shown, error))?;
        self.read += piece.len() as u64;
        if !piece.is_empty() {
            return Ok(Some(piece.into()));
        }
        self.check_unchanged().map(|()| None)
    }

    //= spec/20-copy.md#integrity
    //# The sender MUST send Done with source-changed in place of Digest when size or modification
    //# time of the file differ from what they were when reading began.
    fn check_unchanged(&self) -> Result<(), Error> {
        let Reader::File(file, before) = &self.reader else {
            return Ok(());
        };
        let after = file.metadata();
        let after = after.map_err(|error| Error::io(&self.shown, error))?;
        let known = |data: &Metadata| (data.len(), data.mtime(), data.mtime_nsec());
        if known(before) == known(&after) {
            Ok(())
        } else {
            Err(Error::SourceChanged(self.shown.clone()))
        }
    }
}

/// What a pipe has now, waiting only while it has nothing; empty at its end.
fn read_some(pipe: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(PIPE_PIECE).unwrap_or(0)];
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

/// Sends one file.
#[derive(Debug)]
pub struct Sender {
    source: Source,
    hasher: blake3::Hasher,
    progress: Arc<Progress>,
    state: State,
    /// The other side is still to say Ready.
    offered: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug, PartialEq, Eq)]
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
        let offer = Message::Put(Put {
            attributes: source.attributes,
            ..put
        });
        Self::new(source, progress, true, offer)
    }

    /// The server's half of a Get: announces the file and sends it on the stream `stream`.
    pub fn serve(stream: u64, source: Source, progress: Arc<Progress>) -> Self {
        let ready = Message::Ready(Ready {
            stream: Some(stream),
            attributes: source.attributes,
        });
        Self::new(source, progress, false, ready)
    }

    //= spec/20-copy.md#data
    //# A sender that knows the size of the file MUST announce it in Put or Ready; standard input
    //# has none.
    fn new(source: Source, progress: Arc<Progress>, offered: bool, first: Message) -> Self {
        progress.set_size(source.attributes.size);
        Self {
            source,
            hasher: blake3::Hasher::new(),
            progress,
            state: State::Sending,
            offered,
            outputs: VecDeque::from([Output::Message(first)]),
        }
    }

    fn read_on(&mut self) {
        match self.source.next() {
            Ok(Some(piece)) => {
                self.hasher.update(&piece);
                self.progress.set_bytes(self.source.read);
                self.outputs.push_back(Output::Data(piece));
            }
            Ok(None) => {
                let summary = Summary {
                    bytes: self.source.read,
                    digest: *self.hasher.finalize().as_bytes(),
                };
                //= spec/20-copy.md#integrity
                //# The sender computes it over the bytes it read and MUST send Digest after the
                //# end of the data.
                self.outputs.push_back(Output::DataEnd);
                self.outputs
                    .push_back(Output::Message(Message::Digest(Digest {
                        size: summary.bytes,
                        digest: summary.digest,
                    })));
                self.state = State::Confirming(summary);
            }
            Err(error) => self.fail(error),
        }
    }

    fn on_message(&mut self, message: Message) {
        match (mem::replace(&mut self.state, State::Over), message) {
            (State::Over, _) => {}
            (state, Message::Ready(_)) if self.offered => {
                self.offered = false;
                self.state = state;
            }
            (State::Confirming(summary), Message::Done(done))
                if done.status == Status::Ok && !self.offered =>
            {
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

impl Half for Sender {
    fn handle(&mut self, input: Input) {
        if self.state == State::Over {
            return;
        }
        match input {
            Input::Message(message) => self.on_message(message),
            Input::Blocks(_) | Input::DataEnd => self.fail(Error::Protocol("data to a sender")),
            Input::Malformed(error) => self.fail(Error::Decode(error)),
            //= spec/20-copy.md#requests
            //# A side that loses the connection before Done MUST treat the copy as failed.
            Input::ControlEnd => self.end(Error::Protocol("the stream ended without Done")),
            Input::Interrupt => self.fail(Error::Interrupted),
        }
    }

    fn poll(&mut self) -> Output {
        if self.outputs.is_empty() && self.state == State::Sending {
            self.read_on();
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}
