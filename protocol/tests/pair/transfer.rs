//! Streams from one end of a pair to the other, and what they must carry.

use bytes::Bytes;
use rp_protocol::{engine::Connection, units::Dir, wire::id::StreamId};

use super::Pair;

/// What a stream must carry: every byte tells its offset.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| at.wrapping_mul(0x9E37_79B9).to_le_bytes()[1])
        .collect()
}

/// A writer that goes on when it can.
pub(crate) struct Sender {
    pub(crate) id: StreamId,
    pub(crate) data: Bytes,
    pub(crate) finished: bool,
}

impl Sender {
    pub(crate) fn new(id: StreamId, len: usize) -> Self {
        Self {
            id,
            data: Bytes::from(pattern(len)),
            finished: false,
        }
    }

    pub(crate) fn pump(&mut self, connection: &mut Connection) {
        while !self.data.is_empty() && connection.write_bytes(self.id, &mut self.data).is_ok() {}
        if self.data.is_empty() && !self.finished {
            connection.finish(self.id).expect("the stream is open");
            self.finished = true;
        }
    }
}

/// A reader that takes whatever is there.
#[derive(Default)]
pub(crate) struct Receiver {
    pub(crate) data: Vec<u8>,
    pub(crate) done: bool,
}

impl Receiver {
    pub(crate) fn pump(&mut self, connection: &mut Connection, id: StreamId) {
        while !self.done {
            match connection.read(id, usize::MAX) {
                Ok(Some(bytes)) => self.data.extend_from_slice(&bytes),
                Ok(None) => self.done = true,
                Err(_) => return,
            }
        }
    }
}

impl Pair {
    /// Send `len` bytes from client to server on a fresh stream; give back what arrived.
    pub(crate) fn transfer(&mut self, len: usize) -> Vec<u8> {
        let id = self.client().open(Dir::Uni).expect("a stream is allowed");
        let mut sender = Sender::new(id, len);
        let mut receiver = Receiver::default();
        sender.pump(self.client());
        self.drive_while(|pair| {
            sender.pump(pair.client());
            if pair.server_handle.is_some() {
                receiver.pump(pair.server(), id);
            }
            !receiver.done
        });
        assert!(
            receiver.done,
            "the transfer ended after {} of {len} bytes",
            receiver.data.len()
        );
        receiver.data
    }

    /// A stream of `len` bytes to the client (`down`) or the server; `watch` sees the pair and how much has arrived
    /// after each step.
    pub(crate) fn stream(
        &mut self,
        down: bool,
        len: usize,
        mut watch: impl FnMut(&mut Self, usize),
    ) {
        fn end(pair: &mut Pair, server: bool) -> &mut Connection {
            if server { pair.server() } else { pair.client() }
        }
        let id = end(self, down).open(Dir::Uni).expect("allowed");
        let mut sender = Sender::new(id, len);
        let mut receiver = Receiver::default();
        self.drive_while(|pair| {
            sender.pump(end(pair, down));
            receiver.pump(end(pair, !down), id);
            watch(pair, receiver.data.len());
            !receiver.done
        });
        assert!(receiver.done, "{} of {len} bytes", receiver.data.len());
        assert_eq!(receiver.data, pattern(len));
    }
}
