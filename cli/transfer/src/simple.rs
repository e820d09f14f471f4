//! The server's half of requests that need no data stream: what there is, a folder made, something removed.
//! What that means for files is said in `walk` and `path`.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    message::{self, Done, Entry, MAX_MARKS, Message, Status},
    session::{Half, Input, Output, Summary},
    tree_copy::There,
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

/// Marks are told of at the latest after so long: reading what they stand for may take time.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// Tells what an interrupted copy finished.
#[derive(Debug)]
pub struct Telling {
    marks: Option<There>,
    outputs: VecDeque<Output>,
}

impl Telling {
    /// Tells of `marks`, or why that cannot be.
    pub fn new(marks: Result<There, Error>) -> Self {
        let mut outputs = VecDeque::new();
        let marks = match marks {
            Ok(marks) => {
                //= spec/20-copy.md#trees
                //# A server MUST answer with There, be it without marks, when the copy was begun and is not over.
                if marks.is_begun() {
                    let begun = Message::There(message::There::default());
                    outputs.push_back(Output::Message(begun));
                }
                Some(marks)
            }
            Err(error) => {
                outputs = ended(Err(error));
                None
            }
        };
        Self { marks, outputs }
    }

    fn tell(&mut self) {
        let Some(all) = &mut self.marks else { return };
        let begun = Instant::now();
        let mut marks = Vec::new();
        while marks.len() < MAX_MARKS && begun.elapsed() < TELL_AFTER {
            match all.next() {
                Some(mark) => marks.push(mark),
                None => {
                    self.marks = None;
                    self.outputs = ended(Ok(()));
                    break;
                }
            }
        }
        if !marks.is_empty() {
            let there = Message::There(message::There { marks });
            self.outputs.push_front(Output::Message(there));
        }
    }
}

impl Half for Telling {
    fn handle(&mut self, input: Input) {
        if self.marks.is_some()
            && let Some(error) = told_off(input)
        {
            self.marks = None;
            self.outputs = VecDeque::from([Output::Over(Err(error))]);
        }
    }

    fn poll(&mut self) -> Output {
        while self.outputs.is_empty() && self.marks.is_some() {
            self.tell();
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
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
        Input::ControlFinished | Input::Attached(_) => None,
        Input::Message(Message::Done(done)) => Some(Error::Peer(done)),
        Input::Malformed(error) => Some(Error::Decode(error)),
        Input::Interrupt => Some(Error::Interrupted),
        Input::ControlEnd => Some(Error::Protocol("the stream ended without Done")),
        Input::Message(_) | Input::Blocks(_) | Input::DataEnd => {
            Some(Error::Protocol("a message out of turn"))
        }
    }
}
