//! The half of a batch that has the files: a client that offers them, or a server that was asked.

use std::{collections::VecDeque, fmt, fs::File, io::Read, sync::Arc};

use bytes::Bytes;

use super::{MAX_FILE, Report, failure, receiver::failed};
use crate::{
    error::Error,
    message::{Entry, Kind, Message, PutBatch, Ready, Status},
    path::{RemotePath, Root},
    session::{Half, Input, Output, Progress, Summary},
    walk::{self, version},
    xattrs::{Privilege, Xattrs},
};

/// Bytes handed out at a time.
const PIECE: usize = 256 << 10;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// One thing to send.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it is.
    pub root: Arc<Root>,
    /// Its path beneath that.
    pub source: RemotePath,
    /// Its path for the other side, and what it was when it was found.
    pub entry: Entry,
}

/// Sends a batch.
pub struct BatchSender {
    items: VecDeque<Item>,
    /// Where a client that offers the files notes what it could not read; a server tells the client.
    report: Option<Report>,
    /// Whether the times of files are of no use to the other side.
    is_timeless: bool,
    progress: Arc<Progress>,
    /// Which extended attributes are sent, if any are.
    xattrs: Option<Privilege>,
    state: State,
    window: u64,
    sent: u64,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    Confirming,
    Over,
}

impl fmt::Debug for BatchSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSender")
            .field("items", &self.items.len())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl BatchSender {
    /// The client's half: offers `items`, and notes in `report` what becomes of them.
    pub fn push(put: PutBatch, items: Vec<Item>, report: Report, progress: Arc<Progress>) -> Self {
        let is_timeless = !put.preserve;
        let mut sender = Self::new(Message::PutBatch(put), items, Some(report), progress);
        sender.is_timeless = is_timeless;
        sender
    }

    /// The server's half: sends `items` on the stream `stream`.
    pub fn serve(stream: u64, items: Vec<Item>) -> Self {
        let ready = Message::Ready(Ready {
            stream: Some(stream),
            ..Ready::default()
        });
        Self::new(ready, items, None, Arc::default())
    }

    fn new(
        first: Message,
        items: Vec<Item>,
        report: Option<Report>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            items: items.into(),
            report,
            is_timeless: false,
            progress,
            xattrs: None,
            state: State::Sending,
            window: u64::MAX,
            sent: 0,
            outputs: VecDeque::from([Output::Message(first)]),
        }
    }

    /// Sends extended attributes too, those that `privilege` may be told of.
    #[must_use]
    pub fn xattrs(self, privilege: Option<Privilege>) -> Self {
        Self {
            xattrs: privilege,
            ..self
        }
    }

    /// Reads files until there is a piece to send, or no more.
    fn read_on(&mut self) {
        let mut piece = Vec::new();
        while piece.len() < PIECE
            && let Some(item) = self.items.pop_front()
        {
            let (path, known) = (item.entry.path.clone(), item.entry.version);
            match read(item, self.xattrs) {
                Ok((mut entry, content)) => {
                    if let (Some(report), Some(digest)) = (&self.report, entry.digest) {
                        report.add_digest(&entry.path, digest);
                    }
                    if self.is_timeless && entry.kind == Kind::File {
                        entry.attributes.modified = None;
                    }
                    //= spec/20-copy.md#batches
                    //# A server MAY leave *mode*, *modified* and *version* out of an entry whose *version* is the one that it
                    //# was asked for with.
                    if self.report.is_none() && known.is_some() && known == entry.version {
                        entry.attributes.mode = None;
                        entry.attributes.modified = None;
                        entry.version = None;
                    }
                    Message::Entry(entry).encode(&mut piece);
                    piece.extend_from_slice(&content);
                    self.progress.add_bytes(content.len() as u64);
                }
                //= spec/20-copy.md#batches
                //# A server that cannot read a file it was asked for MUST send an Entry with the status in
                //# its place.
                Err(error) => match &self.report {
                    Some(report) => report.fail(path, error.to_done()),
                    None => Message::Entry(failure(path, &error)).encode(&mut piece),
                },
            }
        }
        if !piece.is_empty() {
            self.sent += piece.len() as u64;
            self.window = self.window.saturating_sub(piece.len() as u64);
            self.outputs.push_back(Output::Data(Bytes::from(piece)));
        }
        if self.items.is_empty() {
            self.outputs.push_back(Output::DataEnd);
            self.state = State::Confirming;
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), Error> {
        match (self.state, message, &self.report) {
            (_, Message::Entry(entry), Some(report)) if super::parser::is_failure(&entry) => {
                if let Some(why) = entry.failure {
                    report.fail(entry.path, why);
                }
                Ok(())
            }
            (_, Message::Done(done), _) if done.status != Status::Ok => Err(Error::Peer(done)),
            (State::Confirming, Message::Done(done), _) => {
                if let Some(report) = &self.report {
                    report.note(done.text);
                }
                self.finish();
                Ok(())
            }
            (_, Message::Done(_), _) => Err(Error::Protocol("done before the end")),
            _ => Err(Error::Protocol("a message out of turn")),
        }
    }

    fn finish(&mut self) {
        self.state = State::Over;
        self.outputs.push_back(Output::Over(Ok(Summary {
            bytes: self.sent,
            digest: [0; 32],
            note: String::new(),
        })));
    }
}

impl Half for BatchSender {
    fn handle(&mut self, input: Input) {
        if self.state == State::Over {
            return;
        }
        let taken = match input {
            Input::Message(message) => self.on_message(message),
            Input::Attached(_) => Ok(()),
            Input::Blocks(_) | Input::DataEnd => Err(Error::Protocol("data to a sender")),
            Input::Malformed(error) => Err(error.into()),
            // A client that has nothing more to say is sent its files all the same.
            Input::ControlFinished if self.report.is_none() => Ok(()),
            Input::ControlFinished | Input::ControlEnd => {
                Err(Error::Protocol("the stream ended without Done"))
            }
            Input::Interrupt => Err(Error::Interrupted),
        };
        if let Err(error) = taken {
            self.state = State::Over;
            self.outputs = failed(error);
        }
    }

    fn set_window(&mut self, bytes: u64) {
        self.window = bytes;
    }

    fn wants_window(&self) -> bool {
        self.state == State::Sending && self.outputs.is_empty() && self.window == 0
    }

    fn poll(&mut self) -> Output {
        if self.outputs.is_empty() && self.state == State::Sending && self.window > 0 {
            self.read_on();
        }
        self.outputs.pop_front().unwrap_or(Output::Wait)
    }
}

/// The entry as it is sent, and its content.
fn read(item: Item, xattrs: Option<Privilege>) -> Result<(Entry, Vec<u8>), Error> {
    if item.entry.kind != Kind::File {
        return Ok((item.entry, Vec::new()));
    }
    let shown = item.source.display();
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let file = item.root.source(&item.source)?;
        let xattrs = match xattrs {
            Some(privilege) => Xattrs::read(&file, privilege, &shown)?,
            None => Xattrs::default(),
        };
        match read_whole(file, &shown)? {
            Some((found, content)) => {
                let entry = Entry {
                    path: item.entry.path,
                    digest: Some(*blake3::hash(&content).as_bytes()),
                    xattrs,
                    same: None,
                    ..found
                };
                return Ok((entry, content));
            }
            None if attempts.next().is_some() => {}
            None => return Err(Error::SourceChanged(shown)),
        }
    }
}

/// Reads a small file; `None` if it changed meanwhile.
fn read_whole(mut file: File, shown: &str) -> Result<Option<(Entry, Vec<u8>)>, Error> {
    let failed = |errno| Error::io(shown, errno);
    let before = rustix::fs::fstat(&file).map_err(failed)?;
    let mut found = walk::entry(Vec::new(), &before);
    let size = found.attributes.size.unwrap_or(0);
    let mut content = Vec::with_capacity(usize::try_from(size.min(MAX_FILE)).unwrap_or(0) + 1);
    let read = (&mut file).take(MAX_FILE + 1).read_to_end(&mut content);
    let read = read.map_err(|error| Error::io(shown, error))? as u64;
    let after = rustix::fs::fstat(&file).map_err(failed)?;
    // Files that are made up as they are read say nothing of their size.
    let is_made_up = before.st_blocks == 0 && size != read;
    if read > MAX_FILE || (!is_made_up && (size != read || version(&before) != version(&after))) {
        return Ok(None);
    }
    found.attributes.size = Some(read);
    Ok(Some((found, content)))
}
