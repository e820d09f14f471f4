//! Redundant sending: what goes twice on a lossy path (spec/03-reliability.md#redundant-sending).
//!
//! Short messages, for which somebody waits a round trip longer if they are lost; and the end of a transfer,
//! whose last packets have no later one to reveal their loss and where each lost repair costs a round trip.
//! `stream` copies the bytes; `transmit.rs` decides when.

use std::collections::VecDeque;

use crate::{path::Path, stream::StreamSent};

/// Packets at the end of a transfer that are copied at most, and the part of the flight they may be.
const MAX_COPIES: u64 = 64;
const FLIGHT_PART: u64 = 4;
/// The longest message that is sent twice, about seven packets: of longer ones, the packets behind betray most
/// losses.
const MESSAGE_BYTES: u64 = 10_000;
/// What a message costs beyond its bytes.
const FRAME_BYTES: u64 = 24;
/// New bytes that pay for one byte of such copies, and the part of the window that a flow may fill to get as
/// many as one message has for nothing.
const BYTES_PER_COPY: u64 = 64;
const WINDOW_PART: u64 = 16;

/// What is to be sent a second time.
#[derive(Debug, Default)]
pub(super) struct Redundancy {
    /// Short messages: they go before new data.
    messages: VecDeque<StreamSent>,
    /// Bytes of messages that may be copied, times `BYTES_PER_COPY`.
    earned: u64,
    /// The newest packets and repairs: they go when there is nothing else.
    copies: VecDeque<StreamSent>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// More is to come.
    #[default]
    Open,
    /// The end of a stream was sent.
    Ended,
    /// Nothing followed it: repairs are now sent twice.
    Doubling,
}

impl Redundancy {
    /// Whether copies wait to be sent.
    pub(super) fn interest(&self) -> bool {
        !self.messages.is_empty() || !self.copies.is_empty()
    }

    /// New data left.
    pub(super) fn on_data(&mut self, what: StreamSent) {
        if let StreamSent::Data { len, fin, .. } = what {
            self.state = if fin { State::Ended } else { State::Open };
            self.copies.clear();
            self.earn(u64::from(len));
        }
    }

    /// A repair left.
    pub(super) fn on_repair(&mut self, what: StreamSent) {
        if self.state == State::Doubling && (self.copies.len() as u64) < MAX_COPIES {
            self.copies.push_back(what);
        }
    }

    /// These messages ended in the packet just written; their copies go into later ones.
    pub(super) fn on_messages(&mut self, ended: &[StreamSent], path: &Path) {
        if ended.is_empty() || !path.is_lossy() {
            return;
        }
        for &what in ended {
            let StreamSent::Data { len, .. } = what else {
                continue;
            };
            let len = u64::from(len);
            let cost = (len + FRAME_BYTES) * BYTES_PER_COPY;
            //= spec/03-reliability.md#redundant-sending
            //# On a path where at least 0.5 % of recent packets were lost, a sender MAY send messages of up to
            //# 10000 bytes twice, ahead of new data, for a sixty-fourth of the bytes it sends.
            if len <= MESSAGE_BYTES && cost <= self.earned {
                self.earned -= cost;
                self.messages.push_back(what);
            }
        }
    }

    /// Nothing is left to send: take up what should not be lost, on a path that loses packets.
    pub(super) fn on_dry(&mut self, path: &Path) {
        //= spec/03-reliability.md#redundant-sending
        //# A sender with nothing left to send whose data in flight fill less than a sixteenth of its window MAY
        //# send another 10000 bytes of messages twice.
        if path.in_flight_bytes() < path.window() / WINDOW_PART {
            self.earn(u64::MAX);
        }
        if self.state != State::Ended || !path.is_lossy() {
            return;
        }
        self.state = State::Doubling;
        if self.messages.is_empty() {
            //= spec/03-reliability.md#redundant-sending
            //# When nothing is left to send and at least 0.5 % of recent packets were lost, a sender MAY send the
            //# data in flight once more, at most 64 packets and a quarter of its window.
            let most = MAX_COPIES.min(path.in_flight_packets() / FLIGHT_PART);
            self.copies = path.newest_data(usize::try_from(most).unwrap_or(0));
        }
    }

    /// The next message to send again.
    pub(super) fn next_message(&mut self) -> Option<StreamSent> {
        self.messages.pop_front()
    }

    /// The next of the other copies.
    pub(super) fn next(&mut self) -> Option<StreamSent> {
        self.copies.pop_front()
    }

    /// Give back what did not fit.
    pub(super) fn put_back_message(&mut self, what: StreamSent) {
        self.messages.push_front(what);
    }

    /// Give back what did not fit.
    pub(super) fn put_back(&mut self, what: StreamSent) {
        self.copies.push_front(what);
    }

    fn earn(&mut self, bytes: u64) {
        const MOST: u64 = (MESSAGE_BYTES + FRAME_BYTES) * BYTES_PER_COPY;
        self.earned = self.earned.saturating_add(bytes).min(MOST);
    }
}
