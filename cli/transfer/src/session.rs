//! What the two halves of a copy share: what goes into them and what comes out.
//! The halves themselves are `sender` and `receiver`; whoever owns the streams drives them.
//!
//! A half is driven like this: give it what arrived (`handle`), then `poll` until it says
//! [`Output::Wait`], doing each thing it asks for. `poll` reads and writes files and so may block;
//! it belongs on a thread of its own.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use rp_reduce::chunk::Scale;

use crate::{
    error::Error,
    message::{Data, DecodeError, Delta, Message, Ranges},
};

/// What arrives from the other side.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message on the control stream.
    Message(Message),
    /// Pieces of the data stream with their offsets, in any order, none twice.
    Blocks(Vec<(u64, Bytes)>),
    /// From here on blocks are those of this data stream: what came on the one before was handed in.
    Attached(u64),
    /// The data stream has ended and everything on it was handed in.
    DataEnd,
    /// Something on the control stream that is no message; nothing after it can be read.
    Malformed(DecodeError),
    /// The other side has finished its half of the control stream: it says nothing more, and still listens.
    ControlFinished,
    /// The control stream was cut off.
    ControlEnd,
    /// Stop: the user or the program wants it.
    Interrupt,
}

/// What a half wants done next.
#[derive(Debug)]
pub enum Output {
    /// Send this on the control stream.
    Message(Message),
    /// Send this next on the data stream.
    Data(Bytes),
    /// End the data stream.
    DataEnd,
    /// Begin to hand in what comes on a data stream, in place of the one before.
    Attach {
        /// Its id.
        stream: u64,
        /// Whether blocks must come from front to back.
        ordered: bool,
    },
    /// Nobody takes what comes on a data stream.
    Refuse {
        /// Its id.
        stream: u64,
    },
    /// End the data stream as it is, open another, and name it in a message that says what it holds; what is to
    /// be sent goes there.
    Reopen(Contents),
    /// Poll again: there is more to do.
    Busy,
    /// Nothing before new input.
    Wait,
    /// The copy is over; there is nothing after this.
    Over(Result<Summary, Error>),
}

/// What a data stream holds that is opened in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// These ranges.
    Ranges(Ranges),
    /// What is wanted of chunks of this scale.
    Wanted(Scale),
}

impl Contents {
    /// The message that names the data stream `stream`.
    pub fn name(self, stream: u64) -> Message {
        match self {
            Self::Ranges(ranges) => Message::Data(Data { stream, ranges }),
            Self::Wanted(scale) => Message::Delta(Delta { stream, scale }),
        }
    }
}

/// A copy that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the file.
    pub bytes: u64,
    /// BLAKE3 over them.
    pub digest: [u8; 32],
    /// What the receiver's file system could not do for the file; empty as a rule. Comes from the
    /// peer where that is the receiver: sanitise before printing.
    pub note: String,
}

/// One half of a copy.
pub trait Half: Send {
    /// Takes what arrived.
    fn handle(&mut self, input: Input);

    /// How many bytes the data stream takes at present: the half reads no more of its file than that before
    /// it is told again. Until it is told for the first time there is no limit.
    fn set_window(&mut self, _bytes: u64) {}

    /// Whether the half has nothing to do until the data stream takes more.
    fn wants_window(&self) -> bool {
        false
    }

    /// What to do next. Reads or writes the file when it is time to.
    fn poll(&mut self) -> Output;
}

/// How far a copy is, readable from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// One more than the size, zero while it is unknown.
    size: AtomicU64,
    bytes: AtomicU64,
    files: AtomicU64,
    planned_files: AtomicU64,
    planned_bytes: AtomicU64,
    there: AtomicU64,
    older: AtomicU64,
    /// The copy of many files that this one is a part of.
    whole: Option<Arc<Self>>,
    /// What it is called as a part; empty if it is not shown by itself.
    name: Vec<u8>,
    /// Parts that may be shown by themselves.
    parts: Mutex<Vec<Weak<Self>>>,
}

impl Progress {
    /// Of one file of many: what it does counts in `whole` too.
    pub fn part_of(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::default()
        }
    }

    /// The same for a file called `name` that is shown by itself.
    pub fn named_part(whole: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        let part = Arc::new(Self {
            name: name.to_vec(),
            ..Self::part_of(whole)
        });
        let mut parts = whole.lock_parts();
        parts.retain(|part| part.strong_count() > 0);
        parts.push(Arc::downgrade(&part));
        part
    }

    fn lock_parts(&self) -> MutexGuard<'_, Vec<Weak<Self>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called as a part.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Named parts that are under way.
    pub fn active(&self) -> Vec<Arc<Self>> {
        let parts = self.lock_parts();
        parts.iter().filter_map(Weak::upgrade).collect()
    }

    /// The size of the file, once known.
    pub fn size(&self) -> Option<u64> {
        self.size.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Bytes read or written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_size(&self, size: Option<u64>) {
        let stored = size.map_or(0, |size| size.saturating_add(1));
        self.size.store(stored, Ordering::Relaxed);
    }

    /// More files, and bytes of them, are to be copied.
    pub fn add_planned(&self, files: u64, bytes: u64) {
        self.planned_files.fetch_add(files, Ordering::Relaxed);
        self.planned_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All there is to copy is known: its size is what was planned.
    pub fn set_planned(&self) {
        self.set_size(Some(self.planned_bytes.load(Ordering::Relaxed)));
    }

    /// Bytes that an interrupted copy left, and that were not sent again.
    pub fn there(&self) -> u64 {
        self.there.load(Ordering::Relaxed)
    }

    pub(crate) fn set_there(&self, bytes: u64) {
        self.there.store(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.there.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes of a file that is whole since an interrupted copy.
    pub fn add_there(&self, bytes: u64) {
        self.there.fetch_add(bytes, Ordering::Relaxed);
        self.add_bytes(bytes);
    }

    /// Bytes that an older file at the destination had, and that were not sent.
    pub fn older(&self) -> u64 {
        self.older.load(Ordering::Relaxed)
    }

    pub(crate) fn add_older(&self, bytes: u64) {
        self.older.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_older(bytes);
        }
    }

    /// A file is whole.
    pub fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes were read or written.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Files that are whole, and files that are known of.
    pub fn files(&self) -> (u64, u64) {
        let files = self.files.load(Ordering::Relaxed);
        (files, self.planned_files.load(Ordering::Relaxed))
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_bytes(bytes.saturating_sub(before));
        }
    }
}
