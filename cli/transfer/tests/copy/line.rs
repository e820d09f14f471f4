//! A line between two halves with a latency and a rate, and data streams that take each other's place: what
//! `cli` makes of a connection, in memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rp_transfer::{
    error::Error,
    message::{Chunks, Message},
    session::{Contents, Half, Input, Output, Summary},
};

/// What is looked at, or changed, on its way.
pub(crate) type Watch<'a, T> = Option<&'a mut dyn FnMut(&mut Message) -> T>;

/// How a line is.
pub(crate) struct Line<'a> {
    /// Turns that everything takes.
    pub(crate) latency: u64,
    /// Bytes of data that it carries in a turn.
    pub(crate) rate: usize,
    /// Sees each message.
    pub(crate) watch: Option<&'a mut dyn FnMut(&Message)>,
    /// Changes messages.
    pub(crate) change: Watch<'a, ()>,
    /// Says of a message that the connection is lost with it.
    pub(crate) cut: Option<&'a mut dyn FnMut(&Message) -> bool>,
}

impl Default for Line<'_> {
    fn default() -> Self {
        Self {
            latency: 1,
            rate: 64 << 10,
            watch: None,
            change: None,
            cut: None,
        }
    }
}

/// What became of a copy, and what it took.
pub(crate) struct Outcome {
    pub(crate) sent: Result<Summary, Error>,
    pub(crate) received: Result<Summary, Error>,
    /// Bytes on data streams that went out.
    pub(crate) data: u64,
    /// Bytes of messages in both directions.
    pub(crate) messages: u64,
    /// Chunks that were told of.
    pub(crate) chunks: usize,
    /// Data streams.
    pub(crate) streams: u64,
}

/// Something on its way.
enum Thing {
    ToReceiver(Input),
    ToSender(Input),
    Data(u64, u64, Bytes),
    DataEnd(u64),
}

/// What a stream holds: pieces that wait, and whether it ended.
#[derive(Default)]
struct Waiting {
    blocks: Vec<(u64, Bytes)>,
    is_ended: bool,
}

/// A copy under way.
struct Carried<'a> {
    line: Line<'a>,
    turn: u64,
    under_way: VecDeque<(u64, Thing)>,
    /// The sender's data stream, what waits to go out on it, and how much went before.
    stream: u64,
    buffer: VecDeque<Bytes>,
    is_finished: bool,
    offset: u64,
    arrived: BTreeMap<u64, Waiting>,
    attached: Option<u64>,
    is_lost: bool,
    data: u64,
    messages: u64,
    chunks: usize,
    streams: u64,
}

/// Bytes that wait to go out at most.
const BUFFER: usize = 2 << 20;

impl Line<'_> {
    /// Id of the first data stream.
    pub(crate) const FIRST: u64 = crate::link::STREAM;

    /// Carries everything between both sides until it is over.
    pub(crate) fn carry(self, sender: &mut dyn Half, receiver: &mut dyn Half) -> Outcome {
        let mut carried = Carried {
            line: self,
            turn: 0,
            under_way: VecDeque::new(),
            stream: Self::FIRST,
            buffer: VecDeque::new(),
            is_finished: false,
            offset: 0,
            arrived: BTreeMap::new(),
            attached: None,
            is_lost: false,
            data: 0,
            messages: 0,
            chunks: 0,
            streams: 1,
        };
        let (mut sent, mut received) = (None, None);
        while sent.is_none() || received.is_none() {
            assert!(carried.turn < 200_000, "the copy does not end");
            carried.turn += 1;
            carried.deliver(sender, receiver);
            if carried.is_lost {
                sender.handle(Input::ControlEnd);
                receiver.handle(Input::ControlEnd);
            }
            carried.run_sender(sender, &mut sent);
            carried.send_data();
            carried.run_receiver(receiver, &mut received);
        }
        Outcome {
            sent: sent.unwrap(),
            received: received.unwrap(),
            data: carried.data,
            messages: carried.messages,
            chunks: carried.chunks,
            streams: carried.streams,
        }
    }
}

impl Carried<'_> {
    fn post(&mut self, thing: Thing) {
        let due = self.turn + self.line.latency;
        self.under_way.push_back((due, thing));
    }

    fn message(&mut self, mut message: Message) -> Input {
        if let Some(change) = &mut self.line.change {
            change(&mut message);
        }
        if let Some(watch) = &mut self.line.watch {
            watch(&message);
        }
        if let Some(cut) = &mut self.line.cut {
            self.is_lost |= cut(&message);
        }
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.messages += bytes.len() as u64;
        if let Message::Chunks(Chunks { chunks }) = &message {
            self.chunks += chunks.len();
        }
        Input::Message(message)
    }

    fn deliver(&mut self, sender: &mut dyn Half, receiver: &mut dyn Half) {
        while self
            .under_way
            .front()
            .is_some_and(|next| next.0 <= self.turn)
        {
            let Some((_, thing)) = self.under_way.pop_front() else {
                break;
            };
            match thing {
                Thing::ToReceiver(input) => receiver.handle(input),
                Thing::ToSender(input) => sender.handle(input),
                Thing::Data(stream, offset, bytes) => {
                    let waiting = self.arrived.entry(stream).or_default();
                    waiting.blocks.push((offset, bytes));
                }
                Thing::DataEnd(stream) => self.arrived.entry(stream).or_default().is_ended = true,
            }
        }
    }

    fn run_sender(&mut self, sender: &mut dyn Half, over: &mut Option<Result<Summary, Error>>) {
        for _ in 0..64 {
            let waits: usize = self.buffer.iter().map(Bytes::len).sum();
            sender.set_window(BUFFER.saturating_sub(waits) as u64);
            match sender.poll() {
                Output::Message(message) => {
                    let input = self.message(message);
                    self.post(Thing::ToReceiver(input));
                }
                Output::Data(bytes) => self.buffer.push_back(bytes),
                Output::DataEnd => self.is_finished = true,
                Output::Reopen(contents) => self.reopen(contents),
                Output::Busy => {}
                Output::Over(result) => *over = Some(result),
                Output::Wait => return,
                other => panic!("a sender does not say {other:?}"),
            }
        }
    }

    fn reopen(&mut self, contents: Contents) {
        self.stream += 4;
        self.streams += 1;
        self.buffer.clear();
        (self.offset, self.is_finished) = (0, false);
        let input = self.message(contents.name(self.stream));
        self.post(Thing::ToReceiver(input));
    }

    fn send_data(&mut self) {
        let mut rate = self.line.rate;
        while rate > 0
            && let Some(mut bytes) = self.buffer.pop_front()
        {
            let piece = bytes.split_to(rate.min(bytes.len()));
            rate -= piece.len();
            let (stream, offset) = (self.stream, self.offset);
            self.offset += piece.len() as u64;
            self.data += piece.len() as u64;
            self.post(Thing::Data(stream, offset, piece));
            if !bytes.is_empty() {
                self.buffer.push_front(bytes);
            }
        }
        if self.buffer.is_empty() && std::mem::take(&mut self.is_finished) {
            self.post(Thing::DataEnd(self.stream));
        }
    }

    fn run_receiver(&mut self, receiver: &mut dyn Half, over: &mut Option<Result<Summary, Error>>) {
        for _ in 0..16 {
            if let Some(waiting) = self.attached.and_then(|id| self.arrived.get_mut(&id)) {
                let blocks = std::mem::take(&mut waiting.blocks);
                if !blocks.is_empty() {
                    receiver.handle(Input::Blocks(blocks));
                }
                if std::mem::take(&mut waiting.is_ended) {
                    receiver.handle(Input::DataEnd);
                }
            }
            match receiver.poll() {
                Output::Message(message) => {
                    let input = self.message(message);
                    self.post(Thing::ToSender(input));
                }
                Output::Attach { stream, .. } => {
                    self.attached = Some(stream);
                    receiver.handle(Input::Attached(stream));
                }
                Output::Refuse { .. } | Output::Busy => {}
                Output::Over(result) => *over = Some(result),
                Output::Wait => return,
                other => panic!("a receiver does not say {other:?}"),
            }
        }
    }
}
