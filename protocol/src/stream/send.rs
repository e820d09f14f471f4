//! The sending half of a stream: its bytes, how far it may send, how it ends.
//! When it sends is the scheduler's matter.

use std::ops::Range;

use super::send_buffer::SendBuffer;
use crate::{error::WriteError, units::CloseCode};

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct SendHalf {
    pub(super) buffer: SendBuffer,
    /// First offset the peer does not allow.
    limit: u64,
    /// Bytes the peer is known to have read.
    read: u64,
    state: SendState,
    /// The peer's reason for not wanting the stream, until the application has met it.
    stopped: Option<CloseCode>,
    /// Whether the application was told to wait.
    pub(super) is_waiting: bool,
    /// The limit the peer was told we are held up by.
    blocked_at: Option<u64>,
    /// Where the message begins whose bytes are written: the end of what was sent when there was last
    /// nothing more.
    message_start: u64,
}

/// spec/05-streams.md#sending-states
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// Takes writes.
    Open,
    /// All bytes are written; the end may be on its way and may be acknowledged.
    Finishing(Fin),
    /// All bytes are written; once all are acknowledged, the stream is reset.
    Failing(CloseCode),
    /// Abandoned, by either side.
    Reset { code: CloseCode, is_acked: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Unsent,
    InFlight,
    Acked,
}

impl SendHalf {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            buffer: SendBuffer::new(),
            limit,
            read: 0,
            state: SendState::Open,
            stopped: None,
            is_waiting: false,
            blocked_at: None,
            message_start: 0,
        }
    }

    /// Bytes the peer allows and that are not written yet.
    pub(super) const fn credit(&self) -> u64 {
        self.limit.saturating_sub(self.buffer.end())
    }

    /// Takes over a limit and a number of bytes read where they are higher; whether one was.
    //= spec/05-streams.md#credit
    //# A sender MUST ignore a limit that is not above the one it has.
    pub(super) fn raise(&mut self, limit: u64, read: u64) -> bool {
        // What was not sent cannot have been read.
        let read = read.min(self.buffer.sent());
        let is_news = limit > self.limit || read > self.read;
        self.limit = self.limit.max(limit);
        self.read = self.read.max(read);
        is_news
    }

    /// Bytes the peer is known to have read.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written that the peer is not known to have read.
    pub(super) const fn untaken(&self) -> u64 {
        self.buffer.end() - self.read
    }

    /// The limit the peer has to hear about, if it has not heard.
    pub(super) fn note_blocked(&mut self) -> bool {
        self.state == SendState::Open
            && self.credit() == 0
            && self.blocked_at.replace(self.limit) != Some(self.limit)
    }

    /// The limit that holds the application up at the moment.
    pub(super) fn blocked_limit(&self) -> Option<u64> {
        (self.state == SendState::Open && self.is_waiting && self.credit() == 0)
            .then_some(self.limit)
    }

    /// Bytes written and never sent. All of them are within the limit: no more is taken.
    pub(super) const fn unsent(&self) -> u64 {
        self.buffer.end() - self.buffer.sent()
    }

    /// The message that ends with what was just sent, if nothing of the stream is left to send.
    pub(super) fn end_message(&mut self) -> Option<Range<u64>> {
        let end = self.buffer.sent();
        (self.unsent() == 0).then(|| std::mem::replace(&mut self.message_start, end)..end)
    }

    /// Whether writing is possible; an error the application has met counts as met.
    pub(super) fn check_open(&mut self) -> Result<(), WriteError> {
        if let Some(code) = self.stopped.take() {
            return Err(WriteError::Stopped(code));
        }
        match self.state {
            SendState::Open => Ok(()),
            _ => Err(WriteError::Closed),
        }
    }

    /// Ends the stream after the bytes written.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        self.state = SendState::Finishing(Fin::Unsent);
        Ok(())
    }

    /// Abandons the stream; whether the peer has to be told.
    pub(super) fn reset(&mut self, code: CloseCode) -> bool {
        self.stopped = None;
        let is_reset = matches!(self.state, SendState::Reset { .. });
        if !is_reset {
            self.abandon(code);
        }
        !is_reset
    }

    /// Ends the stream with a reset after the bytes written.
    pub(super) fn fail(&mut self, code: CloseCode) -> Result<(), WriteError> {
        self.check_open()?;
        self.state = SendState::Failing(code);
        Ok(())
    }

    /// Resets a stream that ends with a reset, once all its bytes are acknowledged; whether the peer
    /// has to be told.
    //= spec/05-streams.md#resetting
    //# A sender that wants its bytes to be read first SHOULD send RESET_STREAM when all of them are
    //# acknowledged.
    pub(super) fn reset_if_delivered(&mut self) -> bool {
        match self.state {
            SendState::Failing(code) if self.buffer.is_all_acked() => {
                self.abandon(code);
                true
            }
            _ => false,
        }
    }

    /// The peer does not want the stream any more; whether that is news.
    //= spec/05-streams.md#stopping
    //# The sender of a stream that receives STOP_SENDING before all bytes are acknowledged MUST
    //# answer with RESET_STREAM of the same code.
    pub(super) fn on_stop(&mut self, code: CloseCode) -> bool {
        match self.state {
            SendState::Reset { .. } => return false,
            // The application has said its last word and will not ask again.
            SendState::Finishing(_) | SendState::Failing(_) => {}
            SendState::Open => self.stopped = Some(code),
        }
        self.abandon(code);
        true
    }

    //= spec/05-streams.md#resetting
    //# A sender MUST NOT send STREAM frames after RESET_STREAM, also not again.
    fn abandon(&mut self, code: CloseCode) {
        self.buffer.abandon();
        self.is_waiting = false;
        self.state = SendState::Reset {
            code,
            is_acked: false,
        };
    }

    /// Code and final size of a RESET_STREAM the peer has not acknowledged.
    pub(super) const fn unacked_reset(&self) -> Option<(CloseCode, u64)> {
        match self.state {
            SendState::Reset {
                code,
                is_acked: false,
            } => Some((code, self.buffer.sent())),
            _ => None,
        }
    }

    /// Whether a frame that reaches `end` is the last of the stream.
    //= spec/05-streams.md#sending-states
    //# A frame that reaches the end of a finished stream MUST carry FIN.
    pub(super) const fn is_final(&self, end: u64) -> bool {
        matches!(self.state, SendState::Finishing(_)) && end == self.buffer.end()
    }

    /// Whether the end has to be sent by itself: no byte is left that could carry it.
    pub(super) fn needs_bare_fin(&self) -> bool {
        self.state == SendState::Finishing(Fin::Unsent)
            && self.unsent() == 0
            && !self.buffer.has_lost_tail()
    }

    /// Whether anything sent awaits its ACK.
    pub(super) fn is_in_flight(&self) -> bool {
        match self.state {
            SendState::Reset { .. } => false,
            SendState::Finishing(Fin::InFlight) => true,
            _ => self.buffer.is_in_flight(),
        }
    }

    pub(super) fn on_fin_sent(&mut self) {
        if self.state == SendState::Finishing(Fin::Unsent) {
            self.state = SendState::Finishing(Fin::InFlight);
        }
    }

    /// Whether the end was sent and is not acknowledged.
    pub(super) fn is_fin_in_flight(&self) -> bool {
        self.state == SendState::Finishing(Fin::InFlight)
    }

    pub(super) fn on_fin_acked(&mut self) {
        if matches!(self.state, SendState::Finishing(_)) {
            self.state = SendState::Finishing(Fin::Acked);
        }
    }

    pub(super) fn on_fin_lost(&mut self) {
        if self.state == SendState::Finishing(Fin::InFlight) {
            self.state = SendState::Finishing(Fin::Unsent);
        }
    }

    pub(super) fn on_reset_acked(&mut self) {
        if let SendState::Reset { is_acked, .. } = &mut self.state {
            *is_acked = true;
        }
    }

    /// Whether the peer has all bytes and the end.
    pub(super) fn is_delivered(&self) -> bool {
        self.state == SendState::Finishing(Fin::Acked) && self.buffer.is_all_acked()
    }

    /// Whether nothing more can happen and the application has nothing more to learn.
    pub(super) fn is_done(&self) -> bool {
        match self.state {
            SendState::Open | SendState::Failing(_) => false,
            SendState::Finishing(_) => self.is_delivered(),
            SendState::Reset { is_acked, .. } => is_acked && self.stopped.is_none(),
        }
    }
}
