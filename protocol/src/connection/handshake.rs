//! The packets of the handshake: two short-lived number spaces with their own little recovery.
//! TLS itself lives in `crypto/handshake.rs`; what a finished handshake means, in `mod.rs`.
//!
//! A handshake is a few datagrams, so recovery is simple: everything unacknowledged is sent again when
//! the probe timer fires (spec/02-handshake.md#handshake-recovery).

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    congestion::Rtt,
    crypto::{handshake::Level, keys::LevelKeys},
    error::{TransportCode, TransportError},
    wire::{
        frame::{Ack, AckHead, AckRanges, Crypto, FrameWriter, kind},
        ranges::RangeSet,
    },
};

/// Handshake bytes of one level a peer may make us hold: a certificate-free TLS 1.3 handshake is
/// under 4 KB.
const MAX_CRYPTO: u64 = 16 << 10;
/// Bytes of a CRYPTO frame before its data, at most.
const CRYPTO_OVERHEAD: usize = 1 + 8 + 2;

/// Handshake bytes to send, and which of them arrived.
#[derive(Debug, Default)]
struct Outgoing {
    data: Vec<u8>,
    pending: RangeSet,
    acked: RangeSet,
}

impl Outgoing {
    fn push(&mut self, bytes: &[u8]) {
        let start = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.pending.insert(start..self.data.len() as u64);
    }

    fn write(&mut self, out: &mut FrameWriter<'_>) -> Option<Range<u64>> {
        let range = self.pending.iter().next()?;
        let room = out
            .remaining()
            .checked_sub(CRYPTO_OVERHEAD)
            .filter(|&room| room > 0)?;
        let range = range.start..range.end.min(range.start + room as u64);
        let slice = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        Crypto::encode_slice(range.start, self.data.get(slice)?, out.out);
        self.pending.remove(range.clone());
        Some(range)
    }

    fn on_acked(&mut self, range: Range<u64>) {
        self.pending.remove(range.clone());
        self.acked.insert(range);
    }

    fn unacked(&self) -> bool {
        self.acked.covered() < self.data.len() as u64
    }

    fn send_all_again(&mut self) {
        let missing: Vec<_> = self.acked.gaps(0..self.data.len() as u64).collect();
        for range in missing {
            self.pending.insert(range);
        }
    }
}

/// Handshake bytes received, put in order.
#[derive(Debug, Default)]
struct Incoming {
    offset: u64,
    pieces: BTreeMap<u64, Bytes>,
}

impl Incoming {
    fn insert(&mut self, frame: Crypto) -> Result<(), TransportError> {
        let end = frame.offset.saturating_add(frame.data.len() as u64);
        //= spec/02-handshake.md#handshake-recovery
        //# An endpoint MUST close the connection with CRYPTO_BUFFER_EXCEEDED when the peer sends handshake
        //# bytes beyond offset 16384 of a level.
        if end > MAX_CRYPTO {
            return Err(TransportError::new(
                TransportCode::CRYPTO_BUFFER_EXCEEDED,
                "handshake longer than any handshake is",
            ));
        }
        if end > self.offset {
            let longer = self
                .pieces
                .get(&frame.offset)
                .is_none_or(|old| old.len() < frame.data.len());
            if longer {
                self.pieces.insert(frame.offset, frame.data);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Bytes> {
        while let Some(entry) = self.pieces.first_entry() {
            if *entry.key() > self.offset {
                return None;
            }
            let (start, mut data) = entry.remove_entry();
            let skip = usize::try_from(self.offset - start).ok()?;
            if skip < data.len() {
                self.offset += (data.len() - skip) as u64;
                return Some(data.split_off(skip));
            }
        }
        None
    }
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    crypto: Option<Range<u64>>,
    eliciting: bool,
}

/// Packets of one handshake level.
pub(super) struct Space {
    /// Keys of the level.
    pub(super) keys: LevelKeys,
    next: u64,
    largest_acked: Option<u64>,
    received: RangeSet,
    largest_at: Option<Instant>,
    ack_owed: bool,
    sent: BTreeMap<u64, Sent>,
    outgoing: Outgoing,
    incoming: Incoming,
    last_eliciting: Option<Instant>,
    /// A PING is wanted: the timer fired and there may be nothing else to say.
    ping: bool,
}

impl Space {
    /// A level whose keys have just come.
    pub(super) fn new(keys: LevelKeys) -> Self {
        Self {
            keys,
            next: 0,
            largest_acked: None,
            received: RangeSet::new(),
            largest_at: None,
            ack_owed: false,
            sent: BTreeMap::new(),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            last_eliciting: None,
            ping: false,
        }
    }

    /// Number of the next packet, and the largest acknowledged.
    pub(super) fn next_number(&self) -> (u64, Option<u64>) {
        (self.next, self.largest_acked)
    }

    /// What the number of an incoming packet is decoded against.
    pub(super) fn expected(&self) -> u64 {
        self.received.max().map_or(0, |largest| largest + 1)
    }

    /// Whether a packet of this number was received before.
    pub(super) fn is_duplicate(&self, number: u64) -> bool {
        self.received.contains(number)
    }

    /// A packet was opened.
    pub(super) fn on_packet(&mut self, now: Instant, number: u64, eliciting: bool) {
        if self.received.max().is_none_or(|largest| number > largest) {
            self.largest_at = Some(now);
        }
        self.received.insert_one(number);
        self.ack_owed |= eliciting;
    }

    /// Handshake bytes arrived.
    pub(super) fn on_crypto(&mut self, frame: Crypto) -> Result<(), TransportError> {
        self.incoming.insert(frame)
    }

    /// The next handshake bytes in order.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        self.incoming.next()
    }

    /// Bytes to send at this level.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.outgoing.push(bytes);
    }

    /// An ACK of this level. Returns whether it brought news.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        ranges: &AckRanges,
        rtt: &mut Rtt,
    ) -> Result<bool, TransportError> {
        if ranges.largest() >= self.next {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "ACK or NAK of a packet never sent",
            ));
        }
        let mut news = false;
        for range in ranges.iter() {
            let numbers: Vec<u64> = self.sent.range(range).map(|(&number, _)| number).collect();
            for number in numbers {
                let Some(sent) = self.sent.remove(&number) else {
                    continue;
                };
                news = true;
                if let Some(range) = sent.crypto {
                    self.outgoing.on_acked(range);
                }
                if number == ranges.largest() && sent.eliciting {
                    rtt.update(now, Duration::ZERO, now.saturating_duration_since(sent.at));
                }
            }
        }
        self.largest_acked = self.largest_acked.max(Some(ranges.largest()));
        Ok(news)
    }

    /// Whether a packet wants to be sent at this level.
    pub(super) fn interest(&self) -> bool {
        self.ack_owed || self.has_eliciting()
    }

    /// Whether that packet will ask for an ACK.
    pub(super) fn has_eliciting(&self) -> bool {
        self.ping || !self.outgoing.pending.is_empty()
    }

    /// Whether the peer still owes us something.
    pub(super) fn is_waiting(&self) -> bool {
        self.outgoing.unacked()
    }

    /// When the last packet that asks for an ACK left.
    pub(super) fn last_eliciting(&self) -> Option<Instant> {
        self.last_eliciting
    }

    /// The probe timer fired: send everything unacknowledged again, or at least a PING.
    pub(super) fn on_timeout(&mut self) {
        self.outgoing.send_all_again();
        self.ping = self.outgoing.pending.is_empty();
    }

    /// Write what this level has to say, and note it as the packet `next_number`.
    pub(super) fn write(&mut self, now: Instant, out: &mut FrameWriter<'_>) {
        if self.ack_owed {
            let waited = self
                .largest_at
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            let head = AckHead {
                path: crate::wire::id::PathId::INITIAL,
                delay_us: u64::try_from(waited.as_micros()).unwrap_or(0),
                received_at_us: 0,
                ecn: None,
            };
            if Ack::encode_from(&head, self.received.iter().rev(), out) > 0 {
                self.ack_owed = false;
            }
        }
        let crypto = self.outgoing.write(out);
        let ping = std::mem::take(&mut self.ping) && crypto.is_none();
        if ping && out.remaining() > 0 {
            out.out.push(kind::PING);
        }
        let eliciting = crypto.is_some() || ping;
        if eliciting {
            self.last_eliciting = Some(now);
        }
        self.sent.insert(
            self.next,
            Sent {
                at: now,
                crypto,
                eliciting,
            },
        );
        self.next += 1;
    }

    /// Note a packet written by somebody else (a CLOSE).
    pub(super) fn skip_number(&mut self) {
        self.next += 1;
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The number spaces of a handshake and its timer.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    initial: Option<Space>,
    handshake: Option<Space>,
    probe_count: u32,
}

impl Spaces {
    /// The space of `level`, while it lives.
    pub(super) fn get_mut(&mut self, level: Level) -> Option<&mut Space> {
        match level {
            Level::Initial => self.initial.as_mut(),
            Level::Handshake => self.handshake.as_mut(),
            Level::Data => None,
        }
    }

    /// The space of `level`, while it lives.
    pub(super) fn get(&self, level: Level) -> Option<&Space> {
        match level {
            Level::Initial => self.initial.as_ref(),
            Level::Handshake => self.handshake.as_ref(),
            Level::Data => None,
        }
    }

    /// Keys of `level` have come, or come anew after a Retry.
    pub(super) fn install(&mut self, level: Level, space: Space) {
        match level {
            Level::Initial => self.initial = Some(space),
            Level::Handshake => self.handshake = Some(space),
            Level::Data => {}
        }
    }

    /// Keys of `level` are no longer needed.
    pub(super) fn discard(&mut self, level: Level) {
        match level {
            Level::Initial => self.initial = None,
            Level::Handshake => self.handshake = None,
            Level::Data => {}
        }
        self.probe_count = 0;
    }

    /// The highest level that lives.
    pub(super) fn highest(&self) -> Option<Level> {
        match (&self.handshake, &self.initial) {
            (Some(_), _) => Some(Level::Handshake),
            (None, Some(_)) => Some(Level::Initial),
            (None, None) => None,
        }
    }

    /// Whether a handshake packet wants to be sent.
    pub(super) fn interest(&self) -> bool {
        self.iter().any(Space::interest)
    }

    /// An ACK brought news.
    pub(super) fn on_progress(&mut self) {
        self.probe_count = 0;
    }

    /// When everything unacknowledged is sent again. A client keeps asking even if nothing of its own
    /// is missing: the server may have used up what it may send to an unproven address.
    pub(super) fn due_at(&self, rtt: &Rtt, insistent: bool) -> Option<Instant> {
        let last = self
            .iter()
            .filter(|space| space.is_waiting() || insistent)
            .filter_map(Space::last_eliciting)
            .max()?;
        //= spec/02-handshake.md#handshake-recovery
        //# An endpoint MUST send all unacknowledged handshake bytes again when a probe interval passes
        //# without an ACK, and MUST double the interval each time.
        let interval = rtt
            .pto(Duration::ZERO)
            .saturating_mul(1 << self.probe_count.min(10));
        Some(last + interval)
    }

    /// The timer fired.
    pub(super) fn on_timeout(&mut self) {
        self.probe_count += 1;
        for space in [&mut self.initial, &mut self.handshake]
            .into_iter()
            .flatten()
        {
            if space.last_eliciting.is_some() {
                space.on_timeout();
            }
        }
        // A client that has only just got the keys has said nothing at this level yet.
        if !self.interest()
            && let Some(level) = self.highest()
            && let Some(space) = self.get_mut(level)
        {
            space.ping = true;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Space> {
        [&self.initial, &self.handshake].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
