//! The thread that writes traces: one file a connection, and an account of what it could not write.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter},
    sync::{Arc, mpsc},
    time::{Instant, SystemTime},
};

use rp_protocol::trace::{Event, Qlog, Start};

use super::{
    Place, Report,
    sink::{Message, Queue},
};

/// Bytes gathered before a file is written to.
const BUFFER: usize = 256 << 10;
/// Connections traced at the same time; a server may have more, and they do without.
const MOST_FILES: usize = 256;

/// One connection's file.
struct Trace {
    qlog: Qlog<BufWriter<File>>,
    /// Events that may not have reached the file yet.
    pending: u64,
}

/// Writes what comes out of the queue.
pub(super) struct Writer {
    place: Place,
    program: &'static str,
    queue: Arc<Queue>,
    /// `None` for one that cannot be written any more.
    traces: HashMap<u64, Option<Trace>>,
    report: Report,
}

impl Writer {
    pub(super) fn new(place: Place, program: &'static str, queue: Arc<Queue>) -> Self {
        Self {
            place,
            program,
            queue,
            traces: HashMap::new(),
            report: Report::default(),
        }
    }

    /// Until the end is announced.
    pub(super) fn run(mut self, messages: &mpsc::Receiver<Message>) -> Report {
        loop {
            let message = messages.try_recv().or_else(|_| {
                // Nothing to do: let those see who are reading along.
                self.flush_all();
                messages.recv()
            });
            match message {
                Ok(Message::Events {
                    id,
                    begin,
                    events,
                    dropped,
                }) => {
                    if let Some(begin) = begin {
                        self.begin(id, &begin);
                    }
                    self.write(id, &events, dropped);
                    self.queue.on_written(events.len() as u64);
                }
                Ok(Message::End { id, dropped }) => self.end(id, dropped),
                Ok(Message::Finish) | Err(_) => break,
            }
        }
        self.flush_all();
        self.report
    }

    fn begin(&mut self, id: u64, (start, began): &(Start, SystemTime)) {
        let qlog = if self.traces.len() < MOST_FILES {
            self.place
                .create(self.report.files, start, *began)
                .and_then(|file| {
                    let file = BufWriter::with_capacity(BUFFER, file);
                    Qlog::begin(file, start, self.program, Some(*began))
                })
        } else {
            let text = format!("more than {MOST_FILES} connections at once");
            Err(io::Error::other(text))
        };
        let qlog = qlog.map_err(|error| self.report.on_error(error)).ok();
        self.report.files += u64::from(qlog.is_some());
        let trace = qlog.map(|qlog| Trace { qlog, pending: 0 });
        self.traces.insert(id, trace);
    }

    fn write(&mut self, id: u64, events: &[(Instant, Event)], dropped: u64) {
        self.report.dropped += dropped;
        let Some(entry) = self.traces.get_mut(&id) else {
            return;
        };
        let Some(trace) = entry else {
            self.report.dropped += events.len() as u64;
            return;
        };
        trace.pending += events.len() as u64;
        let result = put(&mut trace.qlog, events, dropped);
        self.report.settle(entry, result);
    }

    fn end(&mut self, id: u64, dropped: u64) {
        self.report.dropped += dropped;
        if let Some(mut entry) = self.traces.remove(&id) {
            self.report.flush(&mut entry);
        }
    }

    fn flush_all(&mut self) {
        for entry in self.traces.values_mut() {
            self.report.flush(entry);
        }
    }
}

impl Report {
    fn on_error(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }

    fn flush(&mut self, entry: &mut Option<Trace>) {
        if let Some(trace) = entry {
            let result = trace.qlog.flush();
            if result.is_ok() {
                self.events += std::mem::take(&mut trace.pending);
            }
            self.settle(entry, result);
        }
    }

    /// After an error a file is given up, without trying to write its buffer once more; what had not
    /// surely reached it counts as dropped.
    fn settle(&mut self, entry: &mut Option<Trace>, result: io::Result<()>) {
        let Err(error) = result else {
            return;
        };
        self.on_error(error);
        if let Some(trace) = entry.take() {
            self.dropped += trace.pending;
            let (_file, _buffer) = trace.qlog.into_inner().into_parts();
        }
    }
}

fn put(
    qlog: &mut Qlog<BufWriter<File>>,
    events: &[(Instant, Event)],
    dropped: u64,
) -> io::Result<()> {
    if let Some((now, _)) = events.first().filter(|_| dropped > 0) {
        qlog.write_gap(*now, dropped)?;
    }
    events
        .iter()
        .try_for_each(|(now, event)| qlog.write(*now, event))
}
