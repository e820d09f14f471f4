//! What is sent twice where packets get lost (spec/03-reliability.md#tail): the end of a transfer, whose last
//! packets have no later one to betray their loss and where each repair that is lost again costs a round trip;
//! and the short messages of a flow that uses little of its path. Bytes are copied by `stream`; when, is
//! decided in `transmit.rs`.

use std::{collections::VecDeque, mem};

use smallvec::SmallVec;

use crate::{path::Path, stream::StreamSent};

/// Packets copied at most, and the part of the flight they may be.
const MAX_COPIES: u64 = 64;
const FLIGHT_PART: u64 = 4;
/// Frames of the longest message that is sent twice, and the part of the window that a flow may fill for that.
const MESSAGE_FRAMES: usize = 8;
const WINDOW_PART: u64 = 16;

/// What is to be sent a second time.
#[derive(Debug, Default)]
pub(super) struct Tail {
    copies: VecDeque<StreamSent>,
    state: State,
    /// What left since the path last ran dry, one more than is of use at most.
    message: SmallVec<[StreamSent; MESSAGE_FRAMES + 1]>,
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

impl Tail {
    /// Whether copies wait to be sent.
    pub(super) fn interest(&self) -> bool {
        !self.copies.is_empty()
    }

    /// New data left.
    pub(super) fn on_data(&mut self, what: StreamSent) {
        if let StreamSent::Data { fin, .. } = what {
            self.state = if fin { State::Ended } else { State::Open };
            self.copies.clear();
            if self.message.len() <= MESSAGE_FRAMES {
                self.message.push(what);
            }
        }
    }

    /// A repair left.
    pub(super) fn on_repair(&mut self, what: StreamSent) {
        if self.state == State::Doubling && (self.copies.len() as u64) < MAX_COPIES {
            self.copies.push_back(what);
        }
    }

    /// Nothing is left to send: take up what should not be lost, on a path that loses packets.
    pub(super) fn on_dry(&mut self, path: &Path) {
        let message = mem::take(&mut self.message);
        if !path.is_lossy() {
            return;
        }
        let has_ended = self.state == State::Ended;
        if has_ended {
            self.state = State::Doubling;
        }
        let is_thin = path.in_flight_bytes() < path.window() / WINDOW_PART;
        if is_thin && message.len() <= MESSAGE_FRAMES {
            //= spec/03-reliability.md#tail
            //# A sender whose data in flight fill less than a sixteenth of its window MAY send a message of up to
            //# eight frames twice.
            self.copies.extend(message);
        } else if has_ended {
            //= spec/03-reliability.md#tail
            //# When nothing is left to send and at least 0.5 % of recent packets were lost, a sender MAY send the
            //# data in flight once more, at most 64 packets and a quarter of its window.
            let most = MAX_COPIES.min(path.in_flight_packets() / FLIGHT_PART);
            self.copies = path.newest_data(usize::try_from(most).unwrap_or(0));
        }
    }

    /// The next copy to send.
    pub(super) fn next(&mut self) -> Option<StreamSent> {
        self.copies.pop_front()
    }

    /// Give one back that did not fit.
    pub(super) fn put_back(&mut self, what: StreamSent) {
        self.copies.push_front(what);
    }
}
