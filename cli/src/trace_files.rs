//! `--trace`: the event traces of connections as files. Which events there are, and their names, are in
//! `rp_protocol::trace`.
//!
//! A connection hands its events over in batches, without ever waiting; one thread writes them. A
//! disk that is full or slow costs events, which are counted, and never a byte of the transfer.
//! A connection that never comes up is not traced, so that unauthenticated senders cannot fill a server's disk.

mod sink;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use rp_protocol::trace::{Start, TraceSink, Tracer, qlog};
use tracing::{info, warn};

use crate::exit_code::Failure;

use self::{
    sink::{Message, Queue, Sink},
    writer::Writer,
};

/// How long the end of a program waits for the disk.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Every connection has a file of its own in here.
    Folder(PathBuf),
    /// The first connection's file; others get a number before its ending.
    File(PathBuf),
}

impl Place {
    /// A folder if there is one, or if the path ends in `/`.
    fn new(path: &Path) -> io::Result<Self> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.ends_with(b"/") {
            fs::create_dir_all(path)?;
        }
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        // Tried at once, for a mistake should be heard of before the transfer and not after it.
        create(path, false)?;
        Ok(Self::File(path.to_owned()))
    }

    /// The file of a connection, the `count`-th from 0.
    fn create(&self, count: u64, start: &Start, began: SystemTime) -> io::Result<fs::File> {
        match self {
            Self::File(path) if count == 0 => create(path, false),
            Self::File(path) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let ending = path.extension().unwrap_or_default().to_string_lossy();
                let dot = if ending.is_empty() { "" } else { "." };
                let name = format!("{stem}-{}{dot}{ending}", count + 1);
                create(&path.with_file_name(name), false)
            }
            Self::Folder(path) => {
                let seconds = began
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                let (id, side) = (start.connection, qlog::side(start.side));
                create(&path.join(format!("{seconds}-{id}-{side}.sqlog")), true)
            }
        }
    }
}

/// Traces show whom one talks to and when: nobody else's business.
fn create(path: &Path, must_be_new: bool) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(!must_be_new)
        .create_new(must_be_new)
        .mode(0o600)
        .open(path)
}

/// Writes traces until [`finish`](Self::finish).
#[derive(Debug)]
pub struct TraceFiles {
    queue: Arc<Queue>,
    next: Arc<AtomicU64>,
    done: mpsc::Receiver<Report>,
    path: PathBuf,
}

impl TraceFiles {
    /// Traces go where `--trace` says, if it says anything.
    ///
    /// # Errors
    /// The file or folder cannot be made.
    pub fn start(path: Option<&Path>, program: &'static str) -> Result<Option<Self>, Failure> {
        path.map(|path| {
            Self::new(path, program)
                .map_err(|error| Failure::usage(format!("--trace {}: {error}", path.display())))
        })
        .transpose()
    }

    /// Traces go to `path`, a folder or a file, in the name of `program`.
    ///
    /// # Errors
    /// The file or folder cannot be made, or no thread started.
    pub fn new(path: &Path, program: &'static str) -> io::Result<Self> {
        let place = Place::new(path)?;
        let (queue, messages) = Queue::new();
        let (report, done) = mpsc::sync_channel(1);
        let writer = Writer::new(place, program, Arc::clone(&queue));
        thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || {
                // Nobody listens when the program gave up waiting.
                let _ = report.send(writer.run(&messages));
            })?;
        Ok(Self {
            queue,
            next: Arc::default(),
            done,
            path: path.to_owned(),
        })
    }

    /// What connections are to be configured with.
    pub fn tracer(&self) -> Arc<dyn Tracer> {
        Arc::new(Factory {
            queue: Arc::clone(&self.queue),
            next: Arc::clone(&self.next),
        })
    }

    /// Ends what [`start`](Self::start) began, and logs what became of it.
    pub fn end(traces: Option<Self>) {
        let Some(report) = traces.map(Self::finish) else {
            return;
        };
        if report.is_complete() {
            info!("trace: {report}");
        } else {
            warn!("trace: {report}");
        }
    }

    /// Writes what there is, for a few seconds at most, and says what became of the traces.
    pub fn finish(self) -> Report {
        self.queue.send(Message::Finish);
        let report = match self.done.recv_timeout(FINISH_TIMEOUT) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => Report {
                dropped: self.queue.waiting(),
                error: Some(io::Error::other("the disk is too slow to wait for")),
                ..Report::default()
            },
            Err(RecvTimeoutError::Disconnected) => Report {
                error: Some(io::Error::other("the writing thread ended early")),
                ..Report::default()
            },
        };
        Report {
            path: self.path,
            ..report
        }
    }
}

/// Gives each connection its sink.
#[derive(Debug)]
struct Factory {
    queue: Arc<Queue>,
    next: Arc<AtomicU64>,
}

impl Tracer for Factory {
    fn begin(&self, start: &Start) -> Option<Box<dyn TraceSink>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Some(Box::new(Sink::new(id, *start, Arc::clone(&self.queue))))
    }
}

/// What became of the traces.
#[derive(Debug, Default)]
pub struct Report {
    path: PathBuf,
    /// Connections that have a file.
    pub files: u64,
    /// Events written.
    pub events: u64,
    /// Events that are in no file: the disk was too slow, or full.
    pub dropped: u64,
    /// What went wrong first.
    pub error: Option<io::Error>,
}

impl Report {
    /// Whether anything is missing.
    pub fn is_complete(&self) -> bool {
        self.dropped == 0 && self.error.is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, events, .. } = self;
        let path = self.path.display();
        let plural = if *files == 1 { "" } else { "s" };
        write!(f, "{events} events of {files} connection{plural} in {path}")?;
        if self.dropped > 0 {
            write!(f, "; {} more were not written", self.dropped)?;
        }
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None if self.dropped > 0 => write!(f, ": the disk was slower than the events came"),
            None => Ok(()),
        }
    }
}
