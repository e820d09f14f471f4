//! The half of a batch that gets the files: a server that is offered them, or a client that asked.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use super::{
    MAX_ENTRIES, Store,
    parser::{Parser, is_failure},
};
use crate::{
    error::Error,
    message::{Done, Entry, GetBatch, Message, PutBatch, Status},
    session::{Half, Input, Output, Summary},
};

/// Receives a batch.
pub struct BatchReceiver {
    store: Option<Store>,
    parser: Parser,
    /// What a client asked for and has not got, in that order; `None` in a server, which takes anything.
    asked: Option<VecDeque<Entry>>,
    has_ready: bool,
    /// Entries that came.
    count: usize,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for BatchReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchReceiver")
            .field("store", &self.store)
            .field("has_ready", &self.has_ready)
            .finish_non_exhaustive()
    }
}

impl BatchReceiver {
    /// The server's half: takes what comes on the stream that `put` names into `store`.
    pub fn accept(put: &PutBatch, store: Result<Store, Error>) -> Self {
        let attach = Output::Attach {
            stream: put.stream,
            ordered: true,
        };
        let (store, outputs) = match store {
            Ok(store) => (Some(store), VecDeque::from([attach])),
            Err(error) => (None, failed(error)),
        };
        Self {
            store,
            parser: Parser::default(),
            asked: None,
            has_ready: true,
            count: 0,
            outputs,
        }
    }

    /// The client's half: asks for `paths` beneath `base`.
    pub fn pull(base: Vec<u8>, paths: Vec<Vec<u8>>, store: Store) -> Self {
        let named = |path| Entry {
            path,
            ..Entry::default()
        };
        Self::pull_entries(base, paths.into_iter().map(named).collect(), store, false)
    }

    /// The same of files of which something is known, what the server need not say again, and if wanted with their
    /// extended attributes.
    pub fn pull_entries(base: Vec<u8>, entries: Vec<Entry>, store: Store, xattrs: bool) -> Self {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let get = Message::GetBatch(GetBatch {
            path: base,
            count,
            xattrs,
        });
        let mut outputs = VecDeque::from([Output::Message(get)]);
        outputs.extend(entries.iter().map(|entry| {
            Output::Message(Message::Entry(Entry {
                path: entry.path.clone(),
                version: entry.version,
                ..Entry::default()
            }))
        }));
        Self {
            store: Some(store),
            parser: Parser::default(),
            asked: Some(entries.into()),
            has_ready: false,
            count: 0,
            outputs,
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Ready(ready) if !self.has_ready => {
                self.has_ready = true;
                let stream = ready.stream;
                let stream = stream.ok_or(Error::Protocol("Ready names no data stream"))?;
                self.outputs.push_back(Output::Attach {
                    stream,
                    ordered: true,
                });
                Ok(())
            }
            Message::Done(done) if done.status != Status::Ok => Err(Error::Peer(done)),
            _ => Err(Error::Protocol("a message out of turn")),
        }
    }

    fn on_blocks(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.parser.push(bytes);
        let (store, asked, count) = (&mut self.store, &mut self.asked, &mut self.count);
        while let Some(taken) = self.parser.next(|mut entry, content| {
            //= spec/20-copy.md#batches
            //# A batch of more than 1024 entries MUST be refused.
            *count += 1;
            if *count > MAX_ENTRIES {
                return Err(Error::Protocol("a batch of too many files"));
            }
            //= spec/20-copy.md#batches
            //# A client MUST refuse an entry that it did not ask for.
            if let Some(asked) = asked {
                match asked.pop_front() {
                    Some(known) if known.path == entry.path => fill_in(&mut entry, &known),
                    _ => return Err(Error::Protocol("a file that nobody asked for")),
                }
            }
            match (store.as_mut(), is_failure(&entry)) {
                (Some(store), true) => {
                    let why = entry.failure.unwrap_or_else(|| failed_done(Status::Failed));
                    store.report().fail(entry.path, why);
                }
                (Some(store), false) => store.take(&entry, content),
                (None, _) => {}
            }
            Ok(())
        })? {
            taken?;
        }
        Ok(())
    }

    fn on_end(&mut self) -> Result<(), Error> {
        self.parser.finish()?;
        if self.asked.as_ref().is_some_and(|asked| !asked.is_empty()) {
            return Err(Error::Protocol("files that were asked for are missing"));
        }
        let Some(mut store) = self.store.take() else {
            return Err(Error::Protocol("the data ended twice"));
        };
        store.finish();
        let is_server = self.asked.is_none();
        let mut summary = Summary {
            bytes: 0,
            digest: [0; 32],
            note: String::new(),
        };
        if is_server {
            let outcome = store.report().take();
            summary.bytes = outcome.bytes;
            summary.note = outcome.notes.into_iter().next().unwrap_or_default();
            let mut told = HashSet::new();
            //= spec/20-copy.md#batches
            //# A server that cannot store an entry MUST send an Entry with its path and the status before
            //# Done.
            for failed in outcome.failures {
                if told.insert(failed.path.clone()) {
                    let entry = Entry::failed(failed.path, failed.why);
                    self.outputs
                        .push_back(Output::Message(Message::Entry(entry)));
                }
            }
        }
        let done = Message::Done(Done {
            status: Status::Ok,
            text: summary.note.clone(),
        });
        self.outputs.push_back(Output::Message(done));
        self.outputs.push_back(Output::Over(Ok(summary)));
        Ok(())
    }
}

impl Half for BatchReceiver {
    fn handle(&mut self, input: Input) {
        if self.store.is_none() {
            return;
        }
        let taken = match input {
            Input::Message(message) => self.on_message(message),
            Input::Blocks(blocks) => blocks
                .iter()
                .try_for_each(|(_, bytes)| self.on_blocks(bytes)),
            Input::Attached(_) => Ok(()),
            Input::DataEnd => self.on_end(),
            Input::Malformed(error) => Err(error.into()),
            // The sender of a batch has said everything with it.
            Input::ControlFinished if self.has_ready => Ok(()),
            Input::ControlFinished | Input::ControlEnd => {
                Err(Error::Protocol("the stream ended without Done"))
            }
            Input::Interrupt => Err(Error::Interrupted),
        };
        if let Err(error) = taken {
            //= spec/20-copy.md#batches
            //# A receiver SHOULD give what is whole its name when a batch ends early.
            if let Some(mut store) = self.store.take() {
                store.commit();
            }
            self.outputs = failed(error);
        }
    }

    fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}

/// What an entry left out because it was known.
fn fill_in(entry: &mut Entry, known: &Entry) {
    if entry.version.is_none() && known.version.is_some() {
        entry.version = known.version;
        let (attributes, known) = (&mut entry.attributes, known.attributes);
        attributes.mode = attributes.mode.or(known.mode);
        attributes.modified = attributes.modified.or(known.modified);
    }
}

/// The last word and the end of a half that failed.
pub(super) fn failed(error: Error) -> VecDeque<Output> {
    let mut outputs = VecDeque::new();
    if !matches!(error, Error::Peer(_)) {
        outputs.push_back(Output::Message(Message::Done(error.to_done())));
    }
    outputs.push_back(Output::Over(Err(error)));
    outputs
}

fn failed_done(status: Status) -> Done {
    Done {
        status,
        text: String::new(),
    }
}
