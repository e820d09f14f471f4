//! The threads that read and write files for all copies of a server. Nothing but files waits on them, and
//! none of them waits for a network: a copy asks for one step at a time.

use std::{
    fmt, io,
    os::fd::AsFd,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rp_protocol::crypto::identity::PublicKey;
use tokio::sync::oneshot;

use self::{confinement::Confinement, queue::FairQueue};

mod confinement;
mod queue;
#[cfg(test)]
mod tests;

/// Threads at most: enough for the queue of a fast disk, and for some of them to hang in a file system that
/// has lost its server.
const MAX_THREADS: usize = 32;

/// Of these for one user: a quarter.
const MAX_THREADS_PER_USER: usize = MAX_THREADS / 4;

/// Of these for one connection: half of its user's.
const MAX_THREADS_PER_CONNECTION: usize = MAX_THREADS_PER_USER / 2;

/// How long a thread without work stays.
const LINGER: Duration = Duration::from_secs(10);

/// Whose jobs are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// The client with this key.
    Key(PublicKey),
    /// All clients whose key is not listed.
    Anonymous,
    /// A program that copies for its own user.
    Ourselves,
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads; clones share them.
#[derive(Clone)]
pub struct FileThreads {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    pushed: Condvar,
    next_connection: AtomicU64,
}

struct State {
    queue: FairQueue<User, Job>,
    threads: usize,
    idle: usize,
    /// What new threads may touch; all if nothing is said.
    confinement: Option<Confinement>,
    /// Goes up with what they may: those of before are replaced.
    generation: u64,
}

impl fmt::Debug for FileThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.shared.lock().threads;
        f.debug_struct("FileThreads")
            .field("threads", &threads)
            .finish_non_exhaustive()
    }
}

impl Default for FileThreads {
    fn default() -> Self {
        Self::new()
    }
}

impl FileThreads {
    /// No threads yet: each starts when there is work for it.
    pub fn new() -> Self {
        let queue = FairQueue::new(MAX_THREADS_PER_USER, MAX_THREADS_PER_CONNECTION);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    queue,
                    threads: 0,
                    idle: 0,
                    confinement: None,
                    generation: 0,
                }),
                pushed: Condvar::new(),
                next_connection: AtomicU64::new(0),
            }),
        }
    }

    /// Has jobs that come from here on touch nothing but the folders that were allowed, and this one; where the kernel
    /// knows how. `is_writable` says whether anything may be changed in it.
    pub fn allow(&self, folder: impl AsFd, is_writable: bool) {
        let mut state = self.shared.lock();
        let confinement = state.confinement.get_or_insert_default();
        match confinement.add(folder.as_fd(), is_writable) {
            Ok(true) => self.shared.replace(state),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a folder cannot be allowed to the file threads"),
        }
    }

    /// Has jobs that come from here on read anywhere, and write nowhere but in the folders that were allowed.
    pub fn allow_reading(&self) {
        let mut state = self.shared.lock();
        if state.confinement.get_or_insert_default().add_reading() {
            self.shared.replace(state);
        }
    }

    /// What one more connection of `user` works with.
    pub fn connection(&self, user: User) -> Worker {
        Worker {
            shared: Arc::clone(&self.shared),
            user,
            connection: self.shared.next_connection.fetch_add(1, Ordering::Relaxed),
            waited: Arc::default(),
        }
    }
}

/// The part of one connection in the threads.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
    user: User,
    connection: u64,
    /// Microseconds that jobs were waited for.
    waited: Arc<AtomicU64>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({:?}, {})", self.user, self.connection)
    }
}

impl Worker {
    /// Does `job` on one of the threads, when it is this connection's turn. A job whose future is dropped is
    /// done all the same.
    ///
    /// # Errors
    /// No thread can be started, or the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (send, done) = oneshot::channel();
        let begun = Instant::now();
        self.spawn(move || {
            // Nobody waits when the copy was given up: what the job brought is dropped here.
            let _ = send.send(job());
        })?;
        let result = done.await;
        let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        result.map_err(|_| io::Error::other("a file thread failed"))
    }

    /// How long jobs were waited for, one after the other or at once.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Has `job` done without waiting for it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.queue.push(&self.user, self.connection, Box::new(job));
        if state.idle >= state.queue.waiting() || state.threads == MAX_THREADS {
            drop(state);
            self.shared.pushed.notify_one();
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        match self.shared.start() {
            Ok(()) => Ok(()),
            Err(error) => {
                let mut state = self.shared.lock();
                state.threads -= 1;
                // The others will come to it, if there are any.
                match state.threads {
                    0 => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has threads of before end, which may touch something else than those to come.
    fn replace(&self, mut state: MutexGuard<'_, State>) {
        state.generation += 1;
        drop(state);
        self.pushed.notify_all();
    }

    fn start(self: &Arc<Self>) -> io::Result<()> {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("files".to_owned());
        thread.spawn(move || shared.work()).map(drop)
    }

    /// A thread's life: job after job, until there has been none for a while.
    fn work(self: &Arc<Self>) {
        let state = self.lock();
        let (confinement, generation) = (state.confinement.clone(), state.generation);
        drop(state);
        if let Some(confinement) = confinement {
            confinement.enforce();
        }
        let mut state = self.lock();
        let mut has_lingered = false;
        loop {
            if state.generation != generation {
                return self.hand_over(state);
            }
            if let Some((user, connection, job)) = state.queue.pop() {
                drop(state);
                // The panic has been printed, and whoever waits for the job is told.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.queue.done(&user, connection);
                has_lingered = false;
            } else if has_lingered {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                let waited = self.pushed.wait_timeout(state, LINGER);
                let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = waited;
                state.idle -= 1;
                has_lingered = timeout.timed_out();
            }
        }
    }

    /// Ends a thread that may not touch what those to come may: what it is confined to, it is for good. Another takes
    /// its place if there is work.
    fn hand_over(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.queue.waiting() > 0 && self.start().is_ok() {
            return;
        }
        state.threads -= 1;
        // Without a thread that could do them, whoever waits for the jobs is told.
        while state.threads == 0
            && let Some((user, connection, job)) = state.queue.pop()
        {
            drop(job);
            state.queue.done(&user, connection);
        }
    }
}
