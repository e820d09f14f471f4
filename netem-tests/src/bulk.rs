//! Applications of the virtual world: send many bytes on a stream, take them and compare.
//! They only use a connection's public calls and events.

use std::{sync::OnceLock, time::Instant};

use bytes::Bytes;
use rp_protocol::{
    congestion::PathMemory,
    engine::{Connection, Event, StreamEvent},
    error::ConnectionError,
    units::Dir,
    wire::id::StreamId,
};

/// Length of the repeated content. A prime, so that bytes moved by any block size differ.
const PERIOD: usize = 1_048_573;

/// The content every transfer carries, over and over.
pub(crate) fn content() -> &'static Bytes {
    static CONTENT: OnceLock<Bytes> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let mut digest = blake3::Hasher::new().finalize_xof();
        let mut bytes = vec![0; PERIOD];
        digest.fill(&mut bytes);
        Bytes::from(bytes)
    })
}

/// Where in the content byte `offset` of a stream lies.
fn position(offset: u64) -> usize {
    usize::try_from(offset % PERIOD as u64).unwrap_or_default()
}

/// What one end of a connection does.
#[derive(Clone, Debug)]
pub enum Application {
    /// Opens one stream and sends so many bytes.
    Send(Sending),
    /// Takes every stream and compares it with what must come.
    Receive(Receiving),
}

/// A sender's progress.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    bytes: u64,
    offset: u64,
    stream: Option<StreamId>,
    is_finished: bool,
    memory: Option<PathMemory>,
    error: Option<ConnectionError>,
}

/// A receiver's progress.
#[derive(Clone, Debug, Default)]
pub struct Receiving {
    bytes: u64,
    is_wrong: bool,
    ended_at: Option<Instant>,
    error: Option<ConnectionError>,
}

impl Application {
    /// Will send `bytes` as soon as the connection is up.
    pub fn send(bytes: u64) -> Self {
        Self::Send(Sending {
            bytes,
            ..Sending::default()
        })
    }

    /// The same, and remembers the path.
    pub fn resume(bytes: u64, memory: PathMemory) -> Self {
        Self::Send(Sending {
            bytes,
            memory: Some(memory),
            ..Sending::default()
        })
    }

    /// Will take what comes.
    pub fn receive() -> Self {
        Self::Receive(Receiving::default())
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<&ConnectionError> {
        match self {
            Self::Send(sending) => sending.error.as_ref(),
            Self::Receive(receiving) => receiving.error.as_ref(),
        }
    }

    pub(crate) fn handle_event(&mut self, now: Instant, connection: &mut Connection, event: Event) {
        match self {
            Self::Send(sending) => sending.handle_event(connection, event),
            Self::Receive(receiving) => receiving.handle_event(now, connection, event),
        }
    }
}

impl Sending {
    fn handle_event(&mut self, connection: &mut Connection, event: Event) {
        match event {
            Event::Connected | Event::Stream(StreamEvent::Available(Dir::Uni)) => {
                if let Some(memory) = self.memory.take() {
                    connection.recall(&memory);
                }
                if self.stream.is_none() {
                    self.stream = connection.open(Dir::Uni);
                }
                self.write(connection);
            }
            Event::Stream(StreamEvent::Writable(_)) => self.write(connection),
            Event::Closed(error) => self.error = Some(error),
            _ => {}
        }
    }

    fn write(&mut self, connection: &mut Connection) {
        let Some(id) = self.stream.filter(|_| !self.is_finished) else {
            return;
        };
        while self.offset < self.bytes {
            let start = position(self.offset);
            let left = usize::try_from(self.bytes - self.offset).unwrap_or(PERIOD);
            let mut slice = content().slice(start..PERIOD.min(start + left));
            match connection.write_bytes(id, &mut slice) {
                Ok(written) if written > 0 => self.offset += written as u64,
                // A `Writable` follows, or a `Closed` says why not.
                _ => return,
            }
        }
        self.is_finished = connection.finish(id).is_ok();
    }
}

impl Receiving {
    /// Bytes that arrived in order.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the end of the stream arrived behind bytes that were all right.
    pub fn completed_at(&self) -> Option<Instant> {
        self.ended_at.filter(|_| !self.is_wrong)
    }

    fn handle_event(&mut self, now: Instant, connection: &mut Connection, event: Event) {
        match event {
            Event::Stream(StreamEvent::Opened(dir)) => {
                while let Some(id) = connection.accept(dir) {
                    self.read(now, connection, id);
                }
            }
            Event::Stream(StreamEvent::Readable(id)) => self.read(now, connection, id),
            Event::Closed(error) => self.error = Some(error),
            _ => {}
        }
    }

    fn read(&mut self, now: Instant, connection: &mut Connection, id: StreamId) {
        loop {
            match connection.read(id, usize::MAX) {
                Ok(Some(data)) => self.compare(&data),
                Ok(None) => {
                    self.ended_at.get_or_insert(now);
                    return;
                }
                // Nothing there yet, or the stream is over; either way an event follows.
                Err(_) => return,
            }
        }
    }

    fn compare(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let expected = &content()[position(self.bytes)..];
            let len = rest.len().min(expected.len());
            self.is_wrong |= rest[..len] != expected[..len];
            self.bytes += len as u64;
            rest = &rest[len..];
        }
    }
}
