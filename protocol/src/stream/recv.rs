//! The receiving half of a stream: what came, how far the peer may go, how it ends.
//! The connection's share of the credit is told, not owned.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    assembler::Assembler,
    credit::{ConnectionCredit, RecvCredit},
};
use crate::{
    error::{ReadError, TransportCode, TransportError},
    units::CloseCode,
};

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) struct RecvHalf {
    assembler: Assembler,
    pub(super) credit: RecvCredit,
    /// One past the highest byte received or accounted for.
    highest: u64,
    /// Where the stream ends, once known.
    final_size: Option<u64>,
    state: RecvState,
    /// Whether the application waits for an event; true before the first data.
    pub(super) is_waiting: bool,
}

/// spec/05-streams.md#receiving-states
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecvState {
    /// Takes data.
    Open,
    /// Abandoned by the peer with every byte received: the application reads them first.
    Failing(CloseCode),
    /// Abandoned by the peer; the application does not know yet.
    Reset(CloseCode),
    /// Abandoned by the application; the end is awaited for the credit accounts.
    Stopped(CloseCode),
    /// The application knows the end.
    Done,
}

/// A STREAM frame's bytes as the receiving half needs them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) data: Bytes,
    pub(super) fin: bool,
    /// Size of the buffer that `data` keeps alive.
    pub(super) pinned: usize,
}

impl RecvHalf {
    pub(super) fn new(window: u64) -> Self {
        Self {
            assembler: Assembler::new(),
            credit: RecvCredit::new(window),
            highest: 0,
            final_size: None,
            state: RecvState::Open,
            is_waiting: true,
        }
    }

    /// Takes in bytes.
    pub(super) fn on_data(
        &mut self,
        piece: Piece,
        connection: &mut ConnectionCredit,
        now: Instant,
    ) -> Result<(), TransportError> {
        let end = piece.offset + piece.data.len() as u64;
        let fresh = self.extend(end, piece.fin, connection, now)?;
        match self.state {
            RecvState::Open => self
                .assembler
                .insert(piece.offset, piece.data, piece.pinned)
                .map_err(|_| {
                    TransportError::new(
                        TransportCode::PROTOCOL_VIOLATION,
                        "stream data too fragmented",
                    )
                }),
            RecvState::Stopped(_) => {
                self.discard(fresh, connection);
                Ok(())
            }
            // Every byte is there already.
            RecvState::Failing(_) | RecvState::Reset(_) | RecvState::Done => Ok(()),
        }
    }

    /// The peer abandons the stream at `final_size`.
    pub(super) fn on_reset(
        &mut self,
        code: CloseCode,
        final_size: u64,
        connection: &mut ConnectionCredit,
        now: Instant,
    ) -> Result<(), TransportError> {
        let had_end = self.final_size.is_some();
        self.extend(final_size, true, connection, now)?;
        match self.state {
            //= spec/05-streams.md#resetting
            //# A receiver that has every byte of a stream and its end MUST ignore a RESET_STREAM for it.
            RecvState::Open if had_end && self.assembler.has_all(final_size) => {}
            //= spec/05-streams.md#resetting
            //# A receiver that has every byte below the final size MUST hand them to its reader before
            //# it tells it of the reset.
            RecvState::Open if self.assembler.has_all(final_size) => {
                self.state = RecvState::Failing(code);
            }
            RecvState::Open => {
                self.assembler.clear();
                self.discard_all(connection);
                self.state = RecvState::Reset(code);
            }
            RecvState::Stopped(_) => self.discard_all(connection),
            RecvState::Failing(_) | RecvState::Reset(_) | RecvState::Done => {}
        }
        Ok(())
    }

    /// Checks and counts that the stream reaches up to `end`; how much further than before.
    fn extend(
        &mut self,
        end: u64,
        is_final: bool,
        connection: &mut ConnectionCredit,
        now: Instant,
    ) -> Result<u64, TransportError> {
        //= spec/05-streams.md#final-size
        //# A receiver MUST close the connection with FINAL_SIZE_ERROR when a frame reaches beyond the
        //# final size, gives another one, or gives one below bytes already received.
        let contradicts = match self.final_size {
            Some(size) => end > size || (is_final && end != size),
            None => is_final && end < self.highest,
        };
        if contradicts {
            return Err(TransportError::new(
                TransportCode::FINAL_SIZE_ERROR,
                "stream end moved",
            ));
        }
        let fresh = end.saturating_sub(self.highest);
        //= spec/05-streams.md#credit
        //# A receiver MUST close the connection with FLOW_CONTROL_ERROR when a peer exceeds the credit
        //# of a stream or of the connection.
        if end > self.credit.announced() {
            return Err(TransportError::new(
                TransportCode::FLOW_CONTROL_ERROR,
                "stream credit exceeded",
            ));
        }
        if !connection.allows(fresh) {
            return Err(TransportError::new(
                TransportCode::FLOW_CONTROL_ERROR,
                "connection credit exceeded",
            ));
        }
        if fresh > 0 {
            connection.receive(fresh, now);
            self.credit.on_data(now);
            self.highest = end;
        }
        if is_final {
            self.final_size = Some(end);
        }
        Ok(fresh)
    }

    /// Counts `bytes` as taken, so that the peer gets their credit back.
    fn discard(&mut self, bytes: u64, connection: &mut ConnectionCredit) {
        self.credit.consume(bytes);
        connection.consume(bytes);
    }

    fn discard_all(&mut self, connection: &mut ConnectionCredit) {
        self.discard(self.highest - self.credit.consumed(), connection);
    }

    /// Bytes that have arrived and were not read.
    pub(super) const fn buffered(&self) -> u64 {
        self.assembler.buffered()
    }

    /// Whether a read would return something other than `Blocked`.
    pub(super) fn is_readable(&self) -> bool {
        match self.state {
            RecvState::Open => self.assembler.is_readable() || self.is_at_end(),
            RecvState::Failing(_) | RecvState::Reset(_) => true,
            RecvState::Stopped(_) | RecvState::Done => false,
        }
    }

    fn is_at_end(&self) -> bool {
        !self.assembler.is_readable()
            && self
                .final_size
                .is_some_and(|size| self.assembler.has_all(size))
    }

    /// Takes up to `max` bytes in order; `None` at the end.
    pub(super) fn read(
        &mut self,
        max: usize,
        connection: &mut ConnectionCredit,
    ) -> Result<Option<Bytes>, ReadError> {
        self.check_open()?;
        let taken = self
            .assembler
            .read(max)
            .map_err(|_| ReadError::IllegalOrderedRead)?;
        self.after_take(taken.map(|data| (0, data)), connection)
            .map(|taken| taken.map(|(_, data)| data))
    }

    /// Takes bytes in any order with their offset; `None` at the end.
    pub(super) fn read_block(
        &mut self,
        connection: &mut ConnectionCredit,
    ) -> Result<Option<(u64, Bytes)>, ReadError> {
        self.check_open()?;
        let taken = self.assembler.read_block();
        self.after_take(taken, connection)
    }

    fn check_open(&mut self) -> Result<(), ReadError> {
        match self.state {
            RecvState::Open | RecvState::Failing(_) => Ok(()),
            RecvState::Reset(code) => {
                self.state = RecvState::Done;
                Err(ReadError::Reset(code))
            }
            RecvState::Stopped(_) | RecvState::Done => Err(ReadError::Closed),
        }
    }

    fn after_take(
        &mut self,
        taken: Option<(u64, Bytes)>,
        connection: &mut ConnectionCredit,
    ) -> Result<Option<(u64, Bytes)>, ReadError> {
        match taken {
            Some((offset, data)) => {
                self.discard(data.len() as u64, connection);
                Ok(Some((offset, data)))
            }
            None if self.is_at_end() => match std::mem::replace(&mut self.state, RecvState::Done) {
                RecvState::Failing(code) => Err(ReadError::Reset(code)),
                _ => Ok(None),
            },
            None => {
                self.is_waiting = true;
                Err(ReadError::Blocked)
            }
        }
    }

    /// The application wants no more; whether the peer has to be told.
    pub(super) fn stop(
        &mut self,
        code: CloseCode,
        connection: &mut ConnectionCredit,
    ) -> Result<bool, ReadError> {
        match self.state {
            RecvState::Open | RecvState::Failing(_) => {
                self.assembler.clear();
                self.discard_all(connection);
                self.state = RecvState::Stopped(code);
                Ok(self.final_size.is_none())
            }
            RecvState::Reset(_) => {
                self.state = RecvState::Done;
                Ok(false)
            }
            RecvState::Stopped(_) | RecvState::Done => Err(ReadError::Closed),
        }
    }

    /// The code of a STOP_SENDING the peer may still need.
    //= spec/05-streams.md#stopping
    //# A receiver MUST send a lost STOP_SENDING again while it does not know the final size.
    pub(super) const fn needed_stop(&self) -> Option<CloseCode> {
        match self.state {
            RecvState::Stopped(code) if self.final_size.is_none() => Some(code),
            _ => None,
        }
    }

    /// Whether credit is of any use to the peer.
    pub(super) const fn wants_credit(&self) -> bool {
        matches!(self.state, RecvState::Open) && self.final_size.is_none()
    }

    /// Grows the window with what arrives, or if holes make it too small; whether there is a new limit
    /// to tell.
    pub(super) fn adapt(&mut self, now: Instant, rtt: Duration, ceiling: u64) -> bool {
        if !self.wants_credit() {
            return false;
        }
        let waits_at_hole = !self.assembler.is_readable();
        self.credit.follow(self.highest, now, rtt, ceiling)
            || (waits_at_hole && self.credit.relieve(self.highest, now, rtt, ceiling))
    }

    /// Whether nothing more can happen and the application has nothing more to learn.
    pub(super) const fn is_done(&self) -> bool {
        match self.state {
            RecvState::Open | RecvState::Failing(_) | RecvState::Reset(_) => false,
            RecvState::Stopped(_) => self.final_size.is_some(),
            RecvState::Done => true,
        }
    }
}
