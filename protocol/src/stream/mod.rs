//! The streams of a connection: table, buffers, credit, order. Packet numbers and paths live elsewhere.
//!
//! 1. Frames come in through [`Streams::handle`] (`incoming.rs`), bytes from the application through
//!    [`Streams::write`] and its kin (`application.rs`).
//! 2. Whatever changes a sending half ends in `Streams::settle`, which puts the stream into the
//!    queues it belongs in and nowhere else: what is to be sent is never searched for.
//! 3. The connection asks [`Streams::interest`] and lets the streams write frames (`outgoing.rs`);
//!    every frame written is named by a [`StreamSent`], and comes back as acknowledged or lost.
//! 4. What the application should know waits in [`Streams::poll_event`].

mod application;
#[doc(hidden)]
pub mod assembler;
mod budget;
mod buffering;
pub mod credit;
mod fact;
mod incoming;
mod limits;
mod outgoing;
mod recv;
#[doc(hidden)]
pub mod scheduler;
mod send;
#[doc(hidden)]
pub mod send_buffer;
mod share;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

pub(crate) use self::budget::Budgets;
use self::{
    budget::Sending,
    buffering::MIN_SEND_BUFFER_BYTES,
    credit::{ConnectionCredit, SendCredit},
    scheduler::Scheduler,
    table::{InitialCredit, Table},
};
pub use self::{
    fact::{StreamCounters, StreamEvent, StreamInterest, StreamSent},
    limits::StreamsConfig,
};
use crate::{
    units::{Dir, Side},
    wire::TransportParameters,
};

/// The connection's first window, in streams' first windows.
const CONNECTION_WINDOW_STREAMS: u64 = 2;

/// What a frame kept alive in memory is taken to pin when the connection says nothing.
const USUAL_DATAGRAM_BYTES: usize = 1500;

/// Control frames the connection as a whole has to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wants {
    max_data: bool,
    data_blocked: bool,
    max_streams: [bool; 2],
    streams_blocked: [bool; 2],
}

/// Streams in the order in which they do what each queue is named for.
#[derive(Debug, Default)]
struct Queues {
    /// Have control frames.
    control: Scheduler,
    /// Have lost bytes.
    repair: Scheduler,
    /// Have bytes never sent.
    data: Scheduler,
    /// Await ACKs, longest first.
    in_flight: Scheduler,
    /// Have an application waiting for room in the send buffer.
    writers: Scheduler,
    /// Have an application waiting for a larger share, by how much they hold.
    held: Scheduler,
    /// Have a reader who is further than the peer knows, by how much.
    unreported: Scheduler,
}

impl Queues {
    fn all(&mut self) -> [&mut Scheduler; 7] {
        [
            &mut self.control,
            &mut self.repair,
            &mut self.data,
            &mut self.in_flight,
            &mut self.writers,
            &mut self.held,
            &mut self.unreported,
        ]
    }
}

/// All streams of a connection with their buffers and credit.
#[derive(Debug)]
pub struct Streams {
    config: StreamsConfig,
    table: Table,
    queues: Queues,
    wants: Wants,
    events: VecDeque<StreamEvent>,
    send_credit: SendCredit,
    /// The connection limit the peer was told we are held up by.
    blocked_at: Option<u64>,
    recv_credit: ConnectionCredit,
    /// What new streams start with.
    initial: InitialCredit,
    /// Bytes written and not acknowledged, over all streams.
    unacked: u64,
    /// Of those, bytes never sent.
    unsent: u64,
    /// Bytes of memory held for them.
    held: Sending,
    /// What `used` should stay below, as far as the path goes.
    send_limit: u64,
    now: Option<Instant>,
    rtt: Duration,
    /// Size of the datagram whose frames are being handled.
    datagram_bytes: usize,
    /// Messages that ended in the packet being written.
    ended: SmallVec<[StreamSent; 2]>,
    counters: StreamCounters,
}

impl Streams {
    /// No streams yet.
    pub fn new(config: StreamsConfig) -> Self {
        let window = config
            .initial_stream_credit
            .saturating_mul(CONNECTION_WINDOW_STREAMS)
            .min(config.max_connection_credit);
        let budget = config.budget.clone();
        let mut recv_credit = ConnectionCredit::new(window, config.max_connection_credit, budget);
        // Whom a client talks to it has chosen; whoever talks to a server first has to send.
        if config.side == Side::Client {
            recv_credit.open();
        }
        Self {
            table: Table::new(config.side, config.max_streams_bi, config.max_streams_uni),
            queues: Queues {
                data: Scheduler::favouring_sparse(),
                ..Queues::default()
            },
            wants: Wants::default(),
            events: VecDeque::new(),
            send_credit: SendCredit::default(),
            blocked_at: None,
            recv_credit,
            initial: InitialCredit {
                send: 0,
                recv: config.initial_stream_credit,
            },
            unacked: 0,
            unsent: 0,
            held: Sending::new(config.budget.clone()),
            send_limit: MIN_SEND_BUFFER_BYTES.min(config.send_buffer),
            now: None,
            rtt: config.initial_rtt,
            datagram_bytes: USUAL_DATAGRAM_BYTES,
            ended: SmallVec::new(),
            counters: StreamCounters::default(),
            config,
        }
    }

    /// Fills in what this side promises about streams.
    pub fn describe(&self, parameters: &mut TransportParameters) {
        parameters.initial_max_data = self.recv_credit.announced();
        parameters.initial_max_stream_data = self.initial.recv;
        parameters.initial_max_streams_bi = self.config.max_streams_bi;
        parameters.initial_max_streams_uni = self.config.max_streams_uni;
    }

    /// Takes over what the peer promises about streams; before that, none can be opened and none
    /// comes in.
    pub fn set_peer_parameters(&mut self, parameters: &TransportParameters) {
        self.initial.send = parameters.initial_max_stream_data;
        self.on_max_data(parameters.initial_max_data, 0);
        self.on_max_streams(Dir::Bi, parameters.initial_max_streams_bi);
        self.on_max_streams(Dir::Uni, parameters.initial_max_streams_uni);
    }

    /// What there is to send; O(1).
    pub const fn interest(&self) -> StreamInterest {
        StreamInterest {
            control: !self.queues.control.is_empty() || self.wants.any(),
            repair: !self.queues.repair.is_empty(),
            data: !self.queues.data.is_empty() && self.send_credit.left() > 0,
        }
    }

    /// Whether any stream is open, on either side.
    pub fn has_open(&self) -> bool {
        self.table.len() > 0
    }

    /// The next thing the application should know.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > 64 {
            self.events = VecDeque::new();
        }
        event
    }

    /// What happened so far.
    pub const fn counters(&self) -> StreamCounters {
        self.counters
    }

    /// The messages that ended in the packet written last: each is what a stream sent since it last had
    /// nothing to send, its end alone included. Those of 64 KiB and more are left out.
    pub fn ended(&self) -> &[StreamSent] {
        &self.ended
    }

    /// Bytes written by the application and not acknowledged.
    pub const fn unacked_bytes(&self) -> u64 {
        self.unacked
    }

    /// Bytes received and not taken by the application.
    pub const fn unread_bytes(&self) -> u64 {
        self.recv_credit.buffered()
    }

    /// Tells the time, which no application call carries; to be called before frames are written.
    pub const fn advance(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// Changes a sending half by `change` and counts what that did to the buffers.
    fn with_send<R>(
        &mut self,
        slot: u32,
        change: impl FnOnce(&mut send::SendHalf) -> R,
    ) -> Option<R> {
        let send = self.table.get(slot)?.send.as_mut()?;
        let (unacked, held) = (send.buffer.unacked(), send.buffer.held());
        let unsent = send.unsent();
        let result = change(send);
        self.unsent = self.unsent - unsent + send.unsent();
        self.unacked = self.unacked - unacked + send.buffer.unacked();
        self.held.change(held, send.buffer.held());
        Some(result)
    }

    /// Puts the stream into the queues its state calls for, and forgets what of it is done.
    fn settle(&mut self, slot: u32) {
        let connection_credit = self.send_credit.left();
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        let priority = stream.priority;
        let mut state = [false; 3];
        let mut is_send_done = false;
        if let Some(send) = &mut stream.send {
            state = [
                send.buffer.has_lost(),
                send.unsent() > 0,
                send.is_in_flight(),
            ];
            stream.wants.fin = send.needs_bare_fin();
            is_send_done = send.is_done();
        }
        let [has_lost, has_unsent, is_in_flight] = state;
        if is_send_done {
            stream.send = None;
        }
        if stream.recv.as_ref().is_some_and(recv::RecvHalf::is_done) {
            stream.recv = None;
        }
        let is_gone = stream.send.is_none() && stream.recv.is_none();
        let wants_control = stream.wants.any();
        if is_gone {
            self.forget(slot);
            return;
        }
        let queues = &mut self.queues;
        put(&mut queues.control, slot, 0, wants_control);
        put(&mut queues.repair, slot, priority, has_lost);
        put(&mut queues.data, slot, priority, has_unsent);
        put(&mut queues.in_flight, slot, 0, is_in_flight);
        if has_unsent && connection_credit == 0 {
            self.note_data_blocked();
        }
    }

    /// Asks for a DATA_BLOCKED, once per limit.
    //= spec/05-streams.md#credit
    //# A sender held up SHOULD say so with DATA_BLOCKED or STREAM_DATA_BLOCKED, once per limit.
    fn note_data_blocked(&mut self) {
        let limit = self.send_credit.limit();
        if self.blocked_at.replace(limit) != Some(limit) {
            self.wants.data_blocked = true;
        }
    }

    fn forget(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else {
            return;
        };
        let dir = stream.id.dir();
        for queue in self.queues.all() {
            queue.forget(slot);
        }
        if self.table.remove(slot) {
            self.wants.max_streams[dir as usize] = true;
        }
        if self.table.shrink() {
            let slots = self.table.capacity();
            for queue in self.queues.all() {
                queue.shrink_to(slots);
            }
        }
    }
}

impl Wants {
    const fn any(self) -> bool {
        self.max_data
            || self.data_blocked
            || self.max_streams[0]
            || self.max_streams[1]
            || self.streams_blocked[0]
            || self.streams_blocked[1]
    }
}

/// Makes `slot` a member of `queue` or not.
fn put(queue: &mut Scheduler, slot: u32, priority: i32, is_member: bool) {
    if is_member {
        queue.insert(slot, priority);
    } else {
        queue.remove(slot);
    }
}
