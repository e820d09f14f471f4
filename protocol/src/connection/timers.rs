//! What a connection waits for: one list for the deadline it tells and for what it does then.

use std::time::Instant;

use super::{Connection, state::State};
use crate::{crypto::keys::DataKeys, error::ConnectionError, path::Path, units::Side};

/// What may be due, in the order in which it is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// A closed connection has lingered long enough.
    Linger,
    /// The handshake takes too long, or the peer has been silent for too long.
    Expiry,
    /// Handshake packets were not acknowledged.
    Handshake,
    /// The keys before the last update have served.
    Keys,
    /// A sign of life is due.
    KeepAlive,
    /// A path waits for something, if only for its pacer.
    Paths,
}

impl Timer {
    const ALL: [Self; 6] = [
        Self::Linger,
        Self::Expiry,
        Self::Handshake,
        Self::Keys,
        Self::KeepAlive,
        Self::Paths,
    ];
}

impl Connection {
    /// The one deadline: call [`handle_timeout`](Self::handle_timeout) then.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let all = Timer::ALL.into_iter();
        all.filter_map(|timer| self.due_at_of(timer)).min()
    }

    /// A deadline passed; harmless to call early.
    pub fn handle_timeout(&mut self, now: Instant) {
        for timer in Timer::ALL {
            if self.due_at_of(timer).is_some_and(|due| due <= now) {
                self.on_timer(now, timer);
            }
        }
        self.settle();
    }

    fn due_at_of(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Linger => self.state.due_at(),
            _ if !self.state.is_open() => None,
            Timer::Expiry => Some(match self.state {
                State::Handshaking => self.handshake.deadline(),
                _ => self.idle.expires_at(self.paths.probe_interval()),
            }),
            Timer::Handshake => self.handshake.due_at(&self.paths.active().rtt),
            Timer::Keys => self.keys.as_ref().and_then(DataKeys::due_at),
            Timer::KeepAlive => self.wants_keep_alive().then(|| self.ping_at()),
            Timer::Paths => self.paths.iter().filter_map(Path::due_at).min(),
        }
    }

    fn on_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Linger => self.drain(),
            Timer::Expiry => {
                let error = match self.state {
                    State::Handshaking => ConnectionError::HandshakeTimedOut,
                    _ => ConnectionError::TimedOut,
                };
                self.fail_silently(now, error);
            }
            Timer::Handshake => self.handshake.on_timeout(),
            Timer::Keys => {
                if let Some(keys) = &mut self.keys {
                    keys.on_timeout(now);
                }
            }
            Timer::KeepAlive => self.ping = true,
            Timer::Paths => {
                for path in self.paths.iter_mut() {
                    path.on_timeout(now, &mut self.feedback);
                }
            }
        }
    }

    fn wants_keep_alive(&self) -> bool {
        //= spec/06-lifecycle.md#keep-alive
        //# An endpoint SHOULD send a PING when it has streams open and has sent nothing that asks for an ACK
        //# for the keep-alive interval, and MUST NOT send one for this reason while no stream is open.
        matches!(self.state, State::Established) && !self.ping && self.streams.has_open()
    }

    /// When a PING is due while streams are open.
    fn ping_at(&self) -> Instant {
        let keep_alive = self.idle.keep_alive_at();
        let silence = match self.side {
            Side::Client => self.idle.silence_at(self.paths.active().rtt.smoothed()),
            Side::Server => None,
        };
        silence.map_or(keep_alive, |at| at.min(keep_alive))
    }
}
