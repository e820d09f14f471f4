//! Unreliable datagrams of the application: two bounded queues. No retransmission, no order.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    error::SendDatagramError,
    wire::frame::{Datagram, FrameWriter},
};

/// Bytes a DATAGRAM frame adds to its data at most.
pub(super) const OVERHEAD: usize = 1 + 8;

/// The two queues.
#[derive(Debug)]
pub(super) struct Datagrams {
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    incoming: VecDeque<Bytes>,
    incoming_bytes: usize,
    capacity: usize,
    peer_max: u64,
    blocked: bool,
    dropped: u64,
}

impl Datagrams {
    /// Queues of `capacity` bytes each.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            incoming: VecDeque::new(),
            incoming_bytes: 0,
            capacity,
            peer_max: 0,
            blocked: false,
            dropped: 0,
        }
    }

    /// The peer takes datagrams of at most `bytes`; 0 for none.
    pub(super) fn set_peer_max(&mut self, bytes: u64) {
        self.peer_max = bytes;
    }

    /// Queue `data` for a path whose packets have room for `room` bytes of it.
    pub(super) fn send(&mut self, data: Bytes, room: usize) -> Result<(), SendDatagramError> {
        if self.peer_max == 0 {
            return Err(SendDatagramError::Unsupported);
        }
        //= spec/05-streams.md#datagrams
        //# A sender MUST NOT send a DATAGRAM frame larger than the peer's max_datagram parameter, type and length
        //# included.
        let frame = Datagram { data: data.clone() };
        if data.len() > room || frame.encoded_len() as u64 > self.peer_max {
            return Err(SendDatagramError::TooLarge);
        }
        if self.outgoing_bytes + data.len() > self.capacity {
            self.blocked = true;
            return Err(SendDatagramError::Blocked);
        }
        self.outgoing_bytes += data.len();
        self.outgoing.push_back(data);
        Ok(())
    }

    /// Whether datagrams wait to be sent.
    pub(super) fn interest(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Write queued datagrams while they fit; `whole` if the packet is otherwise empty, in which case one
    /// that does not fit will never fit. Returns whether the queue was unblocked.
    pub(super) fn write(&mut self, out: &mut FrameWriter<'_>, whole: bool) -> bool {
        let mut empty = whole;
        while let Some(data) = self.outgoing.front() {
            let frame = Datagram { data: data.clone() };
            if frame.encoded_len() <= out.remaining() {
                frame.encode(out.out);
            } else if empty {
                // The path shrank after it was queued.
                self.dropped += 1;
            } else {
                break;
            }
            self.outgoing_bytes -= data.len();
            self.outgoing.pop_front();
            empty = false;
        }
        self.blocked && self.outgoing_bytes < self.capacity / 2 && {
            self.blocked = false;
            true
        }
    }

    /// A datagram arrived; the oldest unread ones make room.
    pub(super) fn on_received(&mut self, data: Bytes) -> bool {
        if data.len() > self.capacity {
            self.dropped += 1;
            return false;
        }
        while self.incoming_bytes + data.len() > self.capacity {
            let Some(oldest) = self.incoming.pop_front() else {
                break;
            };
            self.incoming_bytes -= oldest.len();
            self.dropped += 1;
        }
        self.incoming_bytes += data.len();
        // A copy: the slice would keep the whole receive buffer alive for as long as nobody reads.
        self.incoming.push_back(Bytes::copy_from_slice(&data));
        true
    }

    /// The oldest unread datagram.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        let data = self.incoming.pop_front()?;
        self.incoming_bytes -= data.len();
        Some(data)
    }
}
