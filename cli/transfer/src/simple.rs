//! The server's half of requests that need no data stream: what there is, a folder made, something removed.
//! What that means for files is said in `walk` and `path`.

use std::{collections::VecDeque, fmt};

use crate::{
    error::Error,
    message::{Done, Entry, Message, Status},
    session::{Half, Input, Output, Summary},
    walk::Found,
};

/// Tells of one thing after another, and then that this was all.
pub struct Listing<I> {
    found: Option<I>,
    outputs: VecDeque<Output>,
}

impl<I> fmt::Debug for Listing<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("is_over", &self.found.is_none())
            .finish_non_exhaustive()
    }
}

impl<I: Iterator<Item = Found>> Listing<I> {
    /// Tells of what is `found`, or why nothing can be.
    pub fn new(found: Result<I, Error>) -> Self {
        let (found, outputs) = match found {
            Ok(found) => (Some(found), VecDeque::new()),
            Err(error) => (None, ended(Err(error))),
        };
        Self { found, outputs }
    }
}

impl<I: Iterator<Item = Found> + Send> Half for Listing<I> {
    fn handle(&mut self, input: Input) {
        if self.found.is_some()
            && let Some(error) = told_off(input)
        {
            self.found = None;
            self.outputs = VecDeque::from([Output::Over(Err(error))]);
        }
    }

    fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        match self.found.as_mut().map(Iterator::next) {
            None => Output::Wait,
            Some(Some(Ok(entry))) => Output::Message(Message::Entry(entry)),
            Some(Some(Err((path, error)))) => {
                Output::Message(Message::Entry(Entry::failed(path, error.to_done())))
            }
            Some(None) => {
                self.found = None;
                self.outputs = ended(Ok(()));
                self.outputs.pop_front().unwrap_or(Output::Wait)
            }
        }
    }
}

/// Does one thing and says how it went.
pub struct Task {
    work: Option<Work>,
    outputs: VecDeque<Output>,
}

/// What is to be done; it may block.
pub type Work = Box<dyn FnOnce() -> Result<(), Error> + Send>;

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("is_over", &self.work.is_none())
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Does `work` when it is polled.
    pub fn new(work: Work) -> Self {
        Self {
            work: Some(work),
            outputs: VecDeque::new(),
        }
    }
}

impl Half for Task {
    fn handle(&mut self, input: Input) {
        if self.work.is_some()
            && let Some(error) = told_off(input)
        {
            self.work = None;
            self.outputs = VecDeque::from([Output::Over(Err(error))]);
        }
    }

    fn poll(&mut self) -> Output {
        if let Some(work) = self.work.take() {
            self.outputs = ended(work());
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}

/// The last word and the end.
fn ended(result: Result<(), Error>) -> VecDeque<Output> {
    let done = match &result {
        Ok(()) => Done {
            status: Status::Ok,
            text: String::new(),
        },
        Err(error) => error.to_done(),
    };
    let result = result.map(|()| Summary {
        bytes: 0,
        digest: [0; 32],
        note: String::new(),
    });
    VecDeque::from([Output::Message(Message::Done(done)), Output::Over(result)])
}

/// Why an answer is not wanted any more; nothing where the client only has no more to say.
fn told_off(input: Input) -> Option<Error> {
    match input {
        Input::ControlFinished => None,
        Input::Message(Message::Done(done)) => Some(Error::Peer(done)),
        Input::Malformed(error) => Some(Error::Decode(error)),
        Input::Interrupt => Some(Error::Interrupted),
        Input::ControlEnd => Some(Error::Protocol("the stream ended without Done")),
        Input::Message(_) | Input::Blocks(_) | Input::DataEnd => {
            Some(Error::Protocol("a message out of turn"))
        }
    }
}
