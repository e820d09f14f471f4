//! The keys of data packets through all their phases; see `spec/02-handshake.md#key-update`.
//! When a probe timeout is over, and what to do about an error, the connection knows.

use std::{
    fmt, mem,
    time::{Duration, Instant},
};

use rustls::quic::{self, PacketKey, PacketKeySet};
use smallvec::SmallVec;

use super::{HeaderKeys, OpenError, Opened, SealError, Unprotected, take_apart};
use crate::wire::{HeaderLayout, id::PathId};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

/// The bit of a short header's first byte that names the key phase.
const KEY_PHASE: u8 = 0x04;

/// When keys are used up.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Packets sealed after which an update is due.
    update_packets: u64,
    /// Time in use after which an update is due.
    update_age: Duration,
    /// Packets sealed after which the keys are no longer used.
    confidentiality: u64,
    /// Packets that may fail to open.
    integrity: u64,
}

/// A packet number for each path, of the few paths a connection has.
type NumberByPath = SmallVec<[(PathId, u64); 2]>;

/// Notes that `pn` was used on `path`, keeping the lowest.
fn note_lowest(numbers: &mut NumberByPath, path: PathId, pn: u64) {
    match numbers.iter_mut().find(|(known, _)| *known == path) {
        Some((_, lowest)) => *lowest = pn.min(*lowest),
        None => numbers.push((path, pn)),
    }
}

fn lowest(numbers: &NumberByPath, path: PathId) -> Option<u64> {
    let (_, pn) = numbers.iter().find(|(known, _)| *known == path)?;
    Some(*pn)
}

/// The keys of data packets, through all their updates.
///
/// Keys come in phases, told apart by one bit. There are the present keys, the next ones (made in
/// advance, so that a peer's update costs no time an observer could see), and for a while the
/// previous ones, for packets that were overtaken.
pub(crate) struct DataKeys {
    header: HeaderKeys,
    current: PacketKeySet,
    next: PacketKeySet,
    previous: Option<Box<dyn PacketKey>>,
    previous_until: Option<Instant>,
    secrets: quic::Secrets,
    /// The bit that stands in headers sealed with the present keys.
    phase: bool,
    /// Packets sealed with the present keys, and since when.
    sealed: u64,
    since: Option<Instant>,
    /// Whether the peer acknowledged a packet sealed with the present keys.
    is_confirmed: bool,
    first_sealed: NumberByPath,
    first_opened: NumberByPath,
    failed: u64,
    updates: u64,
    limits: Limits,
}

impl DataKeys {
    pub(in crate::crypto) fn new(keys: quic::Keys, mut secrets: quic::Secrets) -> Self {
        let (header, current) = take_apart(keys);
        let limits = Limits {
            //= spec/02-handshake.md#key-update
            //# An endpoint MUST update its keys once they have sealed 2^22 packets or have been in
            //# use for 60 seconds, as soon as it is allowed to.
            update_packets: 1 << 22,
            update_age: Duration::from_secs(60),
            confidentiality: current.local.confidentiality_limit(),
            integrity: current.remote.integrity_limit(),
        };
        Self {
            header,
            current,
            next: secrets.next_packet_keys(),
            previous: None,
            previous_until: None,
            secrets,
            phase: false,
            sealed: 0,
            since: None,
            is_confirmed: false,
            first_sealed: NumberByPath::new(),
            first_opened: NumberByPath::new(),
            failed: 0,
            updates: 0,
            limits,
        }
    }

    /// Seals the packet that starts at `layout.start` of `buffer` and ends with it, header and
    /// plaintext, under the number `pn` of `path`. Sets the key phase bit, appends the tag.
    ///
    /// # Errors
    /// The buffer holds no packet to send: see [`SealError`].
    pub(crate) fn seal(
        &mut self,
        path: PathId,
        pn: u64,
        buffer: &mut Vec<u8>,
        layout: HeaderLayout,
    ) -> Result<(), SealError> {
        //= spec/02-handshake.md#limits
        //# An endpoint MUST NOT seal more packets with the same keys than the cipher's
        //# confidentiality limit, and MUST close with AEAD_LIMIT_REACHED when it cannot update.
        if self.sealed >= self.limits.confidentiality {
            return Err(SealError::LimitReached);
        }
        let phase = if self.phase { KEY_PHASE } else { 0 };
        let key = &self.current.local;
        self.header.seal(buffer, layout, |header, payload| {
            header[0] = (header[0] & !KEY_PHASE) | phase;
            //= spec/02-handshake.md#sealing
            //# The nonce of a data packet MUST be the packet initialisation vector combined by
            //# exclusive or with the path id in its first four bytes and the packet number in its
            //# last eight.
            key.encrypt_in_place_for_path(path.0, pn, header, payload)
        })?;
        self.sealed += 1;
        if !self.is_confirmed {
            note_lowest(&mut self.first_sealed, path, pn);
        }
        Ok(())
    }

    /// Takes header protection off the packet; `None` if it is too short to carry any. Nothing
    /// learnt here is to be believed before the packet opens.
    pub(crate) fn unprotect_header(
        &self,
        packet: &mut [u8],
        pn_offset: usize,
    ) -> Option<Unprotected> {
        self.header.unprotect(packet, pn_offset)
    }

    /// Opens `payload` in place, with the keys its header's phase bit and its number ask for;
    /// follows the peer to new keys.
    ///
    /// # Errors
    /// See [`OpenError`]; what was in `payload` is lost.
    pub(crate) fn open(
        &mut self,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Opened, OpenError> {
        let phase = header.first().ok_or(OpenError::Failed)? & KEY_PHASE != 0;
        if phase == self.phase {
            let len =
                self.try_open(|keys| Some(&keys.current.remote), path, pn, header, payload)?;
            let is_first_of_phase = self.first_opened.is_empty() && self.previous.is_some();
            note_lowest(&mut self.first_opened, path, pn);
            return Ok(Opened {
                len,
                is_first_of_phase,
            });
        }
        if self.is_older(path, pn) {
            let len = self.try_open(|keys| keys.previous.as_ref(), path, pn, header, payload)?;
            return Ok(Opened {
                len,
                is_first_of_phase: false,
            });
        }
        let len = self.try_open(|keys| Some(&keys.next.remote), path, pn, header, payload)?;
        //= spec/02-handshake.md#key-update
        //# An endpoint MUST close with KEY_UPDATE_ERROR when the peer updates keys while no packet
        //# has been sent to it under the keys it leaves.
        if self.sealed == 0 {
            return Err(OpenError::EarlyUpdate);
        }
        //= spec/02-handshake.md#key-update
        //# An endpoint MUST seal with the next keys as soon as a packet of the peer has opened with
        //# the next keys.
        self.rotate();
        note_lowest(&mut self.first_opened, path, pn);
        Ok(Opened {
            len,
            is_first_of_phase: true,
        })
    }

    /// Whether a packet of the other phase is from before the present keys, and not from after.
    //= spec/02-handshake.md#key-update
    //# A receiver MUST take a packet of the other phase for one of the previous phase when its
    //# number is below the first that opened in the present phase on the same path, and otherwise
    //# for one of the next phase.
    fn is_older(&self, path: PathId, pn: u64) -> bool {
        match lowest(&self.first_opened, path) {
            Some(first) => pn < first,
            // Nothing came over this path yet under the present keys: while the old ones are kept,
            // what comes is most likely old.
            None => self.previous.is_some(),
        }
    }

    fn try_open(
        &mut self,
        key: impl FnOnce(&Self) -> Option<&Box<dyn PacketKey>>,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, OpenError> {
        // A packet older than the keys we kept is late, not forged: it is not counted.
        let key = key(self).ok_or(OpenError::Failed)?;
        if let Ok(plaintext) = key.decrypt_in_place_for_path(path.0, pn, header, payload) {
            return Ok(plaintext.len());
        }
        self.failed += 1;
        //= spec/02-handshake.md#limits
        //# An endpoint MUST count the packets that fail to open over all keys of a connection, and
        //# MUST close with AEAD_LIMIT_REACHED when they exceed the cipher's integrity limit.
        if self.failed > self.limits.integrity {
            return Err(OpenError::LimitReached);
        }
        Err(OpenError::Failed)
    }

    /// The peer acknowledged packet `pn` of `path`, the largest of an ACK.
    pub(crate) fn on_ack(&mut self, path: PathId, pn: u64) {
        if !self.is_confirmed && lowest(&self.first_sealed, path).is_some_and(|first| pn >= first) {
            self.is_confirmed = true;
            self.first_sealed.clear();
        }
    }

    /// Moves to the next keys if the present ones have served long enough and the peer is known to
    /// have followed the last update. To be called before sending; says whether it did.
    pub(crate) fn update_if_due(&mut self, now: Instant) -> bool {
        if self.sealed == 0 {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_due = self.sealed >= self.limits.update_packets
            || now.saturating_duration_since(since) >= self.limits.update_age;
        //= spec/02-handshake.md#key-update
        //# An endpoint MUST NOT update keys before the peer has acknowledged a packet sealed with
        //# the present ones, nor while it still keeps the previous ones.
        if !is_due || !self.is_confirmed || self.previous.is_some() {
            return false;
        }
        self.rotate();
        true
    }

    /// Sets when the previous keys go: three probe timeouts after [`Opened::is_first_of_phase`].
    pub(crate) fn drop_previous_at(&mut self, at: Instant) {
        self.previous_until = self.previous.is_some().then_some(at);
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) const fn due_at(&self) -> Option<Instant> {
        self.previous_until
    }

    /// Drops the previous keys if their time has come.
    //= spec/02-handshake.md#key-update
    //# An endpoint MUST keep the previous keys for opening until three probe timeouts after the
    //# first packet opened with the present ones, and MUST drop them then.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if self.previous_until.is_some_and(|at| at <= now) {
            self.previous = None;
            self.previous_until = None;
        }
    }

    /// How often keys were updated, by either side.
    pub(crate) const fn updates(&self) -> u64 {
        self.updates
    }

    fn rotate(&mut self) {
        let next = mem::replace(&mut self.next, self.secrets.next_packet_keys());
        let old = mem::replace(&mut self.current, next);
        self.previous = Some(old.remote);
        self.previous_until = None;
        self.phase = !self.phase;
        self.sealed = 0;
        self.since = None;
        self.is_confirmed = false;
        self.first_sealed.clear();
        self.first_opened.clear();
        self.updates += 1;
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys")
            .field("phase", &self.phase)
            .field("sealed", &self.sealed)
            .field("failed", &self.failed)
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}
