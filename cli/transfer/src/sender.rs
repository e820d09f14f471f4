//! The half of a copy that has the file: passes it on and hashes on the way.
//! How it is read lies in `source`; where the bytes go, and the other half, are not known here.

use std::{collections::VecDeque, mem, sync::Arc};

use crate::{
    error::Error,
    message::{Digest, Message, Put, Ready, Status},
    session::{Half, Input, Output, Progress, Summary},
    source::Source,
};

/// Sends one file.
#[derive(Debug)]
pub struct Sender {
    source: Source,
    hasher: blake3::Hasher,
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
            attributes: *source.attributes(),
            ..put
        });
        Self::new(source, progress, true, offer)
    }

    /// The server's half of a Get: announces the file and sends it on the stream `stream`.
    pub fn serve(stream: u64, source: Source, progress: Arc<Progress>) -> Self {
        let ready = Message::Ready(Ready {
            stream: Some(stream),
            attributes: *source.attributes(),
        });
        Self::new(source, progress, false, ready)
    }

    //= spec/20-copy.md#data
    //# A sender that knows the size of the file MUST announce it in Put or Ready; standard input
    //# has none.
    fn new(source: Source, progress: Arc<Progress>, offered: bool, first: Message) -> Self {
        progress.set_size(source.attributes().size);
        Self {
            source,
            hasher: blake3::Hasher::new(),
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
        match self.source.next(self.window) {
            Ok(Some(piece)) => {
                self.window = self.window.saturating_sub(piece.len() as u64);
                self.hasher.update(&piece);
                self.progress.set_bytes(self.source.bytes_read());
                self.outputs.push_back(Output::Data(piece));
            }
            Ok(None) => self.finish(),
            Err(error) => self.fail(error),
        }
    }

    fn finish(&mut self) {
        let summary = Summary {
            bytes: self.source.bytes_read(),
            digest: *self.hasher.finalize().as_bytes(),
            note: String::new(),
        };
        if let Err(error) = self.source.check_unchanged(&summary.digest) {
            return self.fail(error);
        }
        //= spec/20-copy.md#integrity
        //# The sender computes it over the bytes it read and MUST send Digest after the end of the
        //# data.
        self.outputs.push_back(Output::DataEnd);
        self.outputs
            .push_back(Output::Message(Message::Digest(Digest {
                size: summary.bytes,
                digest: summary.digest,
            })));
        self.state = State::Confirming(summary);
        if self.is_unanswered {
            self.on_unanswered();
        }
    }

    /// The client said all it will say with its Get: what became of the file is its own affair.
    fn on_unanswered(&mut self) {
        self.is_unanswered = true;
        match mem::replace(&mut self.state, State::Over) {
            State::Confirming(summary) => self.outputs.push_back(Output::Over(Ok(summary))),
            state => self.state = state,
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
        self.state == State::Sending && self.outputs.is_empty() && !self.may_read()
    }

    fn poll(&mut self) -> Output {
        if self.outputs.is_empty() && self.state == State::Sending && self.may_read() {
            self.read_on();
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}
