//! Sends written bytes to the disk while more are written, so that neither the memory they wait
//! in nor the last sync grows with the file. It decides when, not what.

use std::{
    fs::File,
    io, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Bytes written before they are sent to the disk: enough for large sequential writes, little
/// enough that a disk of 100 MB/s is busy for a third of a second.
const FLUSH_AT: u64 = 32 << 20;

/// Bytes written and not yet on disk at which the writer waits. Smaller files never wait.
const MAX_DIRTY: u64 = 128 << 20;

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
        loop {
            let state = self.wait_while(|state| state.dirty < FLUSH_AT && !state.stop);
            if state.stop {
                return;
            }
            let begun = state.dirty;
            drop(state);
            let synced = file.sync_data();
            let mut state = self.lock();
            state.dirty -= begun;
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
        if self.thread.is_none() {
            let Some(slot) = ThreadSlot::take() else {
                let synced = self.file.sync_data();
                self.shared.lock().dirty = 0;
                return synced;
            };
            let (shared, file) = (Arc::clone(&self.shared), Arc::clone(&self.file));
            let thread = thread::Builder::new().name("flush".to_owned());
            self.thread = Some(thread.spawn(move || {
                shared.run(&file);
                drop(slot);
            })?);
        }
        self.shared.changed.notify_all();
        let mut state = self.shared.wait_while(|state| state.dirty > MAX_DIRTY);
        state.error.take().map_or(Ok(()), Err)
    }

    /// Ends the thread; what it has not synced is left to the caller.
    pub(super) fn finish(&mut self) -> io::Result<()> {
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
