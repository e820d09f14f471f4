//! The connection ids of both ends: issued, in use, retired. Routing by them is the endpoint's work.

use std::collections::VecDeque;

use rand::{Rng, RngExt};

use super::event::EndpointEvent;
use crate::{
    crypto::token::{ResetKey, ResetToken},
    error::{TransportCode, TransportError},
    wire::{
        frame::{NewConnectionId, RetireConnectionId},
        id::{ConnectionId, PathId},
    },
};

/// Ids of ours a peer may hold at once, the one in use included (spec/07-paths.md#connection-ids).
const MAX_IDS: usize = 4;
/// Ids offered beyond the one in use.
const SPARES: usize = 1;

#[derive(Debug)]
struct Local {
    sequence: u64,
    id: ConnectionId,
    announce: bool,
}

#[derive(Clone, Copy, Debug)]
struct Remote {
    sequence: u64,
    id: ConnectionId,
    reset_token: Option<ResetToken>,
}

/// Both ends' ids for one path.
#[derive(Debug)]
pub(super) struct Ids {
    path: PathId,
    local: Vec<Local>,
    next_sequence: u64,
    remote: Remote,
    spares: VecDeque<Remote>,
    /// Sequences of the peer's ids we gave up and have yet to say so.
    retired: Vec<u64>,
    retire_prior_to: u64,
    reset_key: ResetKey,
}

impl Ids {
    /// On `path`, reachable as `local`, reaching the peer as `remote`.
    pub(super) fn new(
        path: PathId,
        local: ConnectionId,
        remote: ConnectionId,
        reset_key: ResetKey,
    ) -> Self {
        Self {
            path,
            local: vec![Local {
                sequence: 0,
                id: local,
                announce: false,
            }],
            next_sequence: 1,
            remote: Remote {
                sequence: 0,
                id: remote,
                reset_token: None,
            },
            spares: VecDeque::new(),
            retired: Vec::new(),
            retire_prior_to: 0,
            reset_key,
        }
    }

    /// The path that these ids lead to.
    pub(super) fn path(&self) -> PathId {
        self.path
    }

    /// The id the peer's first packets carry.
    pub(super) fn first_local(&self) -> Option<ConnectionId> {
        self.local.first().map(|local| local.id)
    }

    /// Whether `id` is one of ours.
    pub(super) fn is_local(&self, id: ConnectionId) -> bool {
        self.local.iter().any(|local| local.id == id)
    }

    /// The id to put into packets.
    pub(super) fn remote(&self) -> ConnectionId {
        self.remote.id
    }

    /// The handshake told the peer's real id.
    pub(super) fn set_remote(&mut self, id: ConnectionId) {
        self.remote.id = id;
    }

    /// The handshake told how a stateless reset for the peer's first id looks.
    pub(super) fn set_reset_token(
        &mut self,
        token: [u8; ResetToken::LEN],
        events: &mut VecDeque<EndpointEvent>,
    ) {
        self.remote.reset_token = Some(ResetToken::new(token));
        events.push_back(EndpointEvent::ExpectReset(token));
    }

    /// Whether `datagram` is the peer's stateless reset for the id in use.
    pub(super) fn is_reset(&self, datagram: &[u8]) -> bool {
        self.remote
            .reset_token
            .is_some_and(|token| token.ends(datagram))
    }

    /// Offer spare ids, so that the peer can change ids when its address changes.
    pub(super) fn offer_spares(
        &mut self,
        rng: &mut impl Rng,
        events: &mut VecDeque<EndpointEvent>,
    ) {
        //= spec/07-paths.md#connection-ids
        //# An endpoint SHOULD keep one id on offer that the peer does not use yet.
        while self.local.len() < 1 + SPARES {
            let id = ConnectionId::new(rng.random());
            self.local.push(Local {
                sequence: self.next_sequence,
                id,
                announce: true,
            });
            self.next_sequence += 1;
            events.push_back(EndpointEvent::AddId(id));
        }
    }

    /// Whether NEW_CONNECTION_ID or RETIRE_CONNECTION_ID frames wait to be sent.
    pub(super) fn interest(&self) -> bool {
        !self.retired.is_empty() || self.local.iter().any(|local| local.announce)
    }

    /// The next NEW_CONNECTION_ID to send.
    pub(super) fn next_announcement(&mut self) -> Option<NewConnectionId> {
        let local = self.local.iter_mut().find(|local| local.announce)?;
        local.announce = false;
        Some(NewConnectionId {
            path: self.path,
            sequence: local.sequence,
            retire_prior_to: 0,
            id: local.id,
            reset_token: *self.reset_key.token(&local.id).as_bytes(),
        })
    }

    /// The next RETIRE_CONNECTION_ID to send.
    pub(super) fn next_retirement(&mut self) -> Option<RetireConnectionId> {
        let sequence = self.retired.pop()?;
        Some(RetireConnectionId {
            path: self.path,
            sequence,
        })
    }

    /// A NEW_CONNECTION_ID was lost.
    pub(super) fn on_announcement_lost(&mut self, sequence: u64) {
        if let Some(local) = self
            .local
            .iter_mut()
            .find(|local| local.sequence == sequence)
        {
            local.announce = true;
        }
    }

    /// A RETIRE_CONNECTION_ID was lost.
    pub(super) fn on_retirement_lost(&mut self, sequence: u64) {
        self.retired.push(sequence);
    }

    /// The peer offers an id.
    pub(super) fn on_offer(
        &mut self,
        frame: &NewConnectionId,
        events: &mut VecDeque<EndpointEvent>,
    ) -> Result<(), TransportError> {
        let known = self.remote.sequence == frame.sequence
            || self
                .spares
                .iter()
                .any(|spare| spare.sequence == frame.sequence);
        if frame.sequence < self.retire_prior_to {
            self.retired.push(frame.sequence);
        } else if !known {
            self.spares.push_back(Remote {
                sequence: frame.sequence,
                id: frame.id,
                reset_token: Some(ResetToken::new(frame.reset_token)),
            });
        }
        self.retire_prior_to = self.retire_prior_to.max(frame.retire_prior_to);
        let (keep, retire): (VecDeque<_>, VecDeque<_>) = self
            .spares
            .drain(..)
            .partition(|spare| spare.sequence >= self.retire_prior_to);
        self.spares = keep;
        self.retired
            .extend(retire.iter().map(|spare| spare.sequence));
        if self.remote.sequence < self.retire_prior_to {
            self.rotate(events);
        }
        //= spec/07-paths.md#connection-ids
        //# An endpoint MUST close the connection with CONNECTION_ID_LIMIT_ERROR when the peer offers more
        //# than four ids that are not retired.
        if 1 + self.spares.len() > MAX_IDS || self.retired.len() > 2 * MAX_IDS {
            return Err(TransportError::new(
                TransportCode::CONNECTION_ID_LIMIT_ERROR,
                "more connection ids than the limit",
            ));
        }
        Ok(())
    }

    /// Use another of the peer's ids, so that an observer cannot link two addresses. Returns whether
    /// one was there.
    pub(super) fn rotate(&mut self, events: &mut VecDeque<EndpointEvent>) -> bool {
        let Some(next) = self.spares.pop_front() else {
            return false;
        };
        self.retired.push(self.remote.sequence);
        let token = |remote: &Remote| remote.reset_token.map(|token| *token.as_bytes());
        events.extend(token(&self.remote).map(EndpointEvent::ForgetReset));
        events.extend(token(&next).map(EndpointEvent::ExpectReset));
        self.remote = next;
        true
    }

    /// The peer no longer uses one of ours; a new one is offered instead.
    pub(super) fn on_retirement(
        &mut self,
        sequence: u64,
        rng: &mut impl Rng,
        events: &mut VecDeque<EndpointEvent>,
    ) -> Result<(), TransportError> {
        //= spec/07-paths.md#connection-ids
        //# An endpoint MUST close the connection with PROTOCOL_VIOLATION when the peer retires an
        //# id that was never issued.
        if sequence >= self.next_sequence {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "retires a connection id never issued",
            ));
        }
        if let Some(position) = self
            .local
            .iter()
            .position(|local| local.sequence == sequence)
            && self.local.len() > 1
        {
            let retired = self.local.remove(position);
            events.push_back(EndpointEvent::RetireId(retired.id));
            self.offer_spares(rng, events);
        }
        Ok(())
    }
}
