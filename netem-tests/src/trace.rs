//! Event traces in the lab: written in virtual time, read back, and drawn. How the programs write theirs
//! is in `rp_cli::trace_files`; what the events are, in `rp_protocol::trace`.

pub mod example;
pub mod plot;
pub mod read;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rp_protocol::{
    trace::{Event, Qlog, Start, TraceSink, Tracer, qlog},
    units::Side,
};

/// Writes the traces of virtual connections. Virtual time waits for the disk, so nothing is ever dropped.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<PathBuf>,
    error: Option<io::Error>,
}

impl Recorder {
    /// Into a folder, if `path` is one or ends in `/`: both ends of every connection. Else into the file
    /// `path`: the end that connects, of the first connection.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            fs::create_dir_all(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            state: Arc::default(),
        })
    }

    /// What was written, once all connections are gone.
    ///
    /// # Errors
    /// The first that writing met.
    pub fn finish(&self) -> io::Result<Vec<PathBuf>> {
        let mut state = lock(&self.state);
        match state.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.files)),
        }
    }

    fn file(&self, start: &Start) -> Option<PathBuf> {
        if self.path.is_dir() {
            let (side, id) = (qlog::side(start.side), start.connection);
            return Some(self.path.join(format!("{id}-{side}.sqlog")));
        }
        let is_first = lock(&self.state).files.is_empty();
        (start.side == Side::Client && is_first).then(|| self.path.clone())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracer for Recorder {
    fn begin(&self, start: &Start) -> Option<Box<dyn TraceSink>> {
        let path = self.file(start)?;
        let begun = File::create(&path)
            .and_then(|file| Qlog::begin(BufWriter::new(file), start, "world", None));
        let mut state = lock(&self.state);
        match begun {
            Ok(qlog) => {
                state.files.push(path);
                let state = Arc::clone(&self.state);
                Some(Box::new(Sink { qlog, state }))
            }
            Err(error) => {
                state.error.get_or_insert(error);
                None
            }
        }
    }
}

struct Sink {
    qlog: Qlog<BufWriter<File>>,
    state: Arc<Mutex<State>>,
}

impl Sink {
    fn note(&self, result: io::Result<()>) {
        if let Err(error) = result {
            lock(&self.state).error.get_or_insert(error);
        }
    }
}

impl TraceSink for Sink {
    fn record(&mut self, now: Instant, event: Event) {
        let result = self.qlog.write(now, &event);
        self.note(result);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let result = self.qlog.flush();
        self.note(result);
    }
}
