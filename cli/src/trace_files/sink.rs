//! The connection's end of a trace: gathers events and hands them over. Nothing here waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant, SystemTime},
};

use rp_protocol::trace::{Event, Start, TraceSink};

/// Events handed over at once.
const BATCH: usize = 512;
/// Events are handed over after this time even if they are few, so that a trace can be read while its
/// connection hangs.
const LINGER: Duration = Duration::from_millis(200);
/// Events that may wait for the disk, of all connections together: about 10 MB.
const MOST_WAITING: u64 = 1 << 16;

/// Messages to the writing thread.
#[derive(Debug)]
pub(super) enum Message {
    /// More of a connection.
    Events {
        id: u64,
        /// In the connection's first message only.
        begin: Option<Box<(Start, SystemTime)>>,
        events: Vec<(Instant, Event)>,
        /// Events missing before these.
        dropped: u64,
    },
    /// A connection is over; so many events at its end are missing.
    End { id: u64, dropped: u64 },
    /// Write what there is, then stop.
    Finish,
}

/// The queue to the writing thread, which is bounded in events and never blocks.
#[derive(Debug)]
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    waiting: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel();
        let waiting = AtomicU64::new(0);
        (Arc::new(Self { messages, waiting }), receiver)
    }

    /// Events that are not written yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn on_written(&self, events: u64) {
        self.waiting.fetch_sub(events, Ordering::Relaxed);
    }

    /// Reserves space for `events`; false if there is not as much.
    fn reserve(&self, events: u64) -> bool {
        let before = self.waiting.fetch_add(events, Ordering::Relaxed);
        let fits = before + events <= MOST_WAITING;
        if !fits {
            self.on_written(events);
        }
        fits
    }

    pub(super) fn send(&self, message: Message) {
        // The thread has stopped: the program is about to end.
        let _ = self.messages.send(message);
    }
}

/// Gathers the events of one connection.
pub(super) struct Sink {
    id: u64,
    queue: Arc<Queue>,
    /// Until the first batch has left.
    begin: Option<Box<(Start, SystemTime)>>,
    events: Vec<(Instant, Event)>,
    is_established: bool,
    flushed_at: Instant,
    dropped: u64,
}

impl Sink {
    pub(super) fn new(id: u64, start: Start, queue: Arc<Queue>) -> Self {
        Self {
            id,
            queue,
            begin: Some(Box::new((start, SystemTime::now()))),
            events: Vec::new(),
            is_established: false,
            flushed_at: start.now,
            dropped: 0,
        }
    }

    fn flush(&mut self) {
        let count = self.events.len() as u64;
        if !self.queue.reserve(count) {
            self.dropped += count;
            self.events.clear();
            return;
        }
        self.queue.send(Message::Events {
            id: self.id,
            begin: self.begin.take(),
            events: std::mem::replace(&mut self.events, Vec::with_capacity(BATCH)),
            dropped: std::mem::take(&mut self.dropped),
        });
    }
}

impl TraceSink for Sink {
    fn record(&mut self, now: Instant, event: Event) {
        self.is_established |= event == Event::Established;
        if !self.is_established && self.events.len() >= BATCH {
            self.dropped += 1;
            return;
        }
        // The program may end soon after, without dropping everything.
        let is_over = matches!(event, Event::Closed(_));
        self.events.push((now, event));
        let is_due = is_over || self.events.len() >= BATCH || now >= self.flushed_at + LINGER;
        if self.is_established && is_due {
            self.flushed_at = now;
            self.flush();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.is_established {
            self.flush();
            let (id, dropped) = (self.id, self.dropped);
            self.queue.send(Message::End { id, dropped });
        }
    }
}
