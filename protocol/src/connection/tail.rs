//! The end of a transfer, sent twice where packets get lost: the last ones have no later packet to betray
//! their loss, and each repair that is lost again costs the whole transfer a round trip
//! (spec/03-reliability.md#tail). Bytes are copied by `stream`; when, is decided in `transmit.rs`.

use std::collections::VecDeque;

use crate::{path::Path, stream::StreamSent};

/// Packets copied at most, and the part of the flight they may be.
const MAX_COPIES: u64 = 64;
const FLIGHT_PART: u64 = 4;

/// What is to be sent a second time.
#[derive(Debug, Default)]
pub(super) struct Tail {
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
        }
    }

    /// A repair left.
    pub(super) fn on_repair(&mut self, what: StreamSent) {
        if self.state == State::Doubling && (self.copies.len() as u64) < MAX_COPIES {
            self.copies.push_back(what);
        }
    }

    /// Nothing is left to send: take up the newest packets in flight on a path that loses packets.
    pub(super) fn on_dry(&mut self, path: &Path) {
        if self.state != State::Ended || !path.is_lossy() {
            return;
        }
        self.state = State::Doubling;
        //= spec/03-reliability.md#tail
        //# When nothing is left to send and at least 0.5 % of recent packets were lost, a sender MAY send the
        //# data in flight once more, at most 64 packets and a quarter of its window.
        let most = MAX_COPIES.min(path.in_flight_packets() / FLIGHT_PART);
        self.copies = path.newest_data(usize::try_from(most).unwrap_or(0));
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
