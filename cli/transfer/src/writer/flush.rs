//! Sends written bytes to the disk while more are written, so that neither the memory they wait
//! in nor the last sync grows with the file. It decides when, not what.

use std::{
    fs::File,
    io, mem,
    num::NonZeroU64,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::fs::Advice;

use crate::{
    digest::GROUP,
    journal::{Groups, Journal},
};

/// Bytes written before they are sent to the disk: enough for large sequential writes, little
/// enough that a disk of 100 MB/s is busy for a third of a second.
const FLUSH_AT: u64 = 32 << 20;

/// Bytes written and not yet on disk at which the writer waits. Smaller files never wait.
const MAX_DIRTY: u64 = 128 << 20;

/// From this size on a file is no guest of the page cache: what is on the disk of it makes way for what others read.
pub(crate) const HUGE: u64 = 1 << 30;

/// How long what is known to be right waits before it is made durable and written down: so much is copied again
/// after a sudden end, and shorter copies never wait for the disk.
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// Threads that sync files at once in this process. Whoever writes a further file syncs it himself.
const MAX_THREADS: usize = 8;

/// How many of them there are.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// One of these threads, counted until this is dropped.
struct ThreadSlot;

impl ThreadSlot {
    fn take() -> Option<Self> {
        let one_more = |threads| (threads < MAX_THREADS).then_some(threads + 1);
        let taken = THREADS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then_some(Self)
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread that syncs one file, started when the file has become large enough.
#[derive(Debug)]
pub(super) struct Flusher {
    file: Arc<File>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes written and not known to be on disk.
    dirty: u64,
    stop: bool,
    error: Option<io::Error>,
    /// Whether what is on disk is not to stay in the page cache.
    is_huge: bool,
    /// Groups that are right, and for the journal once they are on disk.
    right: Groups,
    journal: Option<Journal>,
}

impl State {
    /// Whether there is enough to sync, or something to write down that waited long enough.
    fn is_due(&self, synced: Instant) -> bool {
        let waited = !self.right.is_empty() && synced.elapsed() >= NOTE_AFTER;
        self.dirty >= FLUSH_AT || (waited && self.journal.is_some())
    }
}

//= spec/20-copy.md#resuming
//# A receiver MUST make the data of a group durable before it writes the group into the journal.
/// Syncs the file, and then writes down what of it is right.
fn sync_and_note(file: &File, journal: Option<&mut Journal>, right: &Groups) -> io::Result<()> {
    file.sync_data()?;
    match journal {
        Some(journal) if !right.is_empty() => {
            // Without it a later copy begins anew; this one goes on.
            if let Err(error) = journal.append(right) {
                drop(error);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Takes groups that are on the disk, and that nobody reads any more, out of the page cache.
fn forget(file: &File, right: &Groups) {
    for (index, _) in right {
        // Only a hint.
        let _ = rustix::fs::fadvise(
            file,
            index * GROUP,
            NonZeroU64::new(GROUP),
            Advice::DontNeed,
        );
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `condition` holds.
    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed
            .wait_while(self.lock(), condition)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs whenever there is enough to sync, until told to stop.
    fn run(&self, file: &File) {
        let mut last = Instant::now();
        loop {
            let mut state = self.lock();
            while !state.stop && !state.is_due(last) {
                let waited = self.changed.wait_timeout(state, NOTE_AFTER);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.stop {
                return;
            }
            let (begun, is_huge) = (state.dirty, state.is_huge);
            let (right, mut journal) = (mem::take(&mut state.right), state.journal.take());
            drop(state);
            let synced = sync_and_note(file, journal.as_mut(), &right);
            if is_huge && synced.is_ok() {
                forget(file, &right);
            }
            last = Instant::now();
            let mut state = self.lock();
            state.dirty -= begun;
            state.journal = journal;
            if let Err(error) = synced {
                state.error.get_or_insert(error);
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl Flusher {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            shared: Arc::default(),
            thread: None,
        }
    }

    /// Bytes were written. Waits when too many are not on disk; reports an earlier failure to
    /// write to the disk.
    pub(super) fn on_written(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.dirty += bytes;
        if state.dirty < FLUSH_AT {
            return state.error.take().map_or(Ok(()), Err);
        }
        drop(state);
        if !self.start()? {
            let mut state = self.shared.lock();
            let state = &mut *state;
            state.dirty = 0;
            let right = mem::take(&mut state.right);
            return sync_and_note(&self.file, state.journal.as_mut(), &right);
        }
        self.shared.changed.notify_all();
        let mut state = self.shared.wait_while(|state| state.dirty > MAX_DIRTY);
        state.error.take().map_or(Ok(()), Err)
    }

    /// Starts the thread, if one more may run.
    fn start(&mut self) -> io::Result<bool> {
        if self.thread.is_some() {
            return Ok(true);
        }
        let Some(slot) = ThreadSlot::take() else {
            return Ok(false);
        };
        let (shared, file) = (Arc::clone(&self.shared), Arc::clone(&self.file));
        let thread = thread::Builder::new().name("flush".to_owned());
        self.thread = Some(thread.spawn(move || {
            shared.run(&file);
            drop(slot);
        })?);
        Ok(true)
    }

    /// Where it is written down what is right.
    pub(super) fn set_journal(&self, journal: Journal) {
        self.shared.lock().journal = Some(journal);
    }

    /// How long the file will be.
    pub(super) fn set_size(&self, size: u64) {
        self.shared.lock().is_huge = size >= HUGE;
    }

    /// Whether a thread may sync the file or write something down.
    pub(super) fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Whether something may be written down.
    pub(super) fn has_journal(&self) -> bool {
        self.shared.lock().journal.is_some()
    }

    /// These groups were written and are right: a copy that is interrupted need not bring them again.
    pub(super) fn on_right(&mut self, groups: &Groups) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.journal.is_none() && self.thread.is_none() {
            return Ok(());
        }
        state.right.extend_from_slice(groups);
        drop(state);
        // Where no thread may run, it is written down when there is enough to sync.
        self.start().map(|_| ())
    }

    /// Writes down what is right before the file is left as it is.
    pub(super) fn note_rest(&mut self) {
        let _ = self.finish();
        let mut state = self.shared.lock();
        let right = mem::take(&mut state.right);
        if let (Some(journal), false) = (&mut state.journal, right.is_empty()) {
            // It is the last word of a copy that is over.
            let _ = sync_and_note(&self.file, Some(journal), &right);
        }
    }

    /// Ends the thread; what it has not synced is left to the caller.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        // The thread is told under the lock, and so while it waits or before it looks.
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = mem::take(&mut self.thread) {
            let _ = thread.join();
        }
        self.shared.lock().error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // The thread holds the file open until its sync is over; nobody has to wait for that,
        // except that the lock on the file lives as long.
        let _ = self.finish();
    }
}
