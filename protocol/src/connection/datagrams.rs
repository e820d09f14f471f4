//! Unreliable datagrams of the application: two bounded queues. No retransmission, no order.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{Connection, event::Event, packet_builder::data_room};
use crate::{
    error::SendDatagramError,
    wire::{
        frame::{Datagram, FrameWriter},
        id::PathId,
    },
};

/// Bytes a DATAGRAM frame adds to its data at most.
pub(super) const OVERHEAD: usize = 1 + 8;

/// Time that datagrams wait to be sent at most: whoever has several kinds of them decides late which is next.
pub(super) const QUEUE_TIME: Duration = Duration::from_millis(20);

/// Bytes that may wait to be sent whatever the rate: a burst of a slow or young path.
const LEAST_QUEUE: usize = 16 << 10;

/// The two queues.
#[derive(Debug)]
pub(super) struct Datagrams {
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    incoming: VecDeque<Bytes>,
    incoming_bytes: usize,
    capacity: usize,
    peer_max: u64,
    /// What may wait to be sent, as it was when somebody had to wait.
    blocked_at: Option<usize>,
    /// It is the streams' turn when both have something to send.
    gives_way: bool,
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
            blocked_at: None,
            gives_way: false,
            dropped: 0,
        }
    }

    /// The peer takes datagrams of at most `bytes`; 0 for none.
    pub(super) fn set_peer_max(&mut self, bytes: u64) {
        self.peer_max = bytes;
    }

    /// Queue `data` for a path whose packets have room for `room` bytes of it, and on which `queue` bytes leave
    /// within the time that datagrams may wait.
    pub(super) fn send(
        &mut self,
        data: Bytes,
        room: usize,
        queue: u64,
    ) -> Result<(), SendDatagramError> {
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
        //= spec/05-streams.md#datagrams
        //# A sender SHOULD queue no more datagrams than leave within 20 ms, nor fewer than 16 KiB of them.
        let queue = usize::try_from(queue).unwrap_or(usize::MAX);
        let most = queue.max(LEAST_QUEUE).min(self.capacity);
        if !self.outgoing.is_empty() && self.outgoing_bytes + data.len() > most {
            self.blocked_at = Some(most);
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

    //= spec/05-streams.md#datagrams
    //# Where both wait, a sender SHOULD send packets of datagrams and packets of new stream data in turns.
    /// Whether streams that have something to send go first this time.
    pub(super) fn give_way(&mut self) -> bool {
        self.gives_way = !self.gives_way;
        !self.gives_way
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
        let is_unblocked = self
            .blocked_at
            .is_some_and(|most| self.outgoing_bytes < most / 2);
        if is_unblocked {
            self.blocked_at = None;
        }
        is_unblocked
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

impl Connection {
    /// Write queued datagrams into what is left of a packet.
    pub(super) fn write_datagrams(&mut self, path: PathId, out: &mut FrameWriter<'_>) {
        if !self.datagrams.interest() {
            return;
        }
        let whole = out.remaining() >= data_room(self.paths[path].packet_size());
        if self.datagrams.write(out, whole) {
            self.events.push_back(Event::DatagramsUnblocked);
        }
    }
}
