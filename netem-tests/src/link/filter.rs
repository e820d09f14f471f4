//! What some providers do to one kind of packet: police it, or let none pass for a while.
//! How packets are told apart is the carriers' matter; the policer itself is in `queue`.

use std::time::Duration;

/// What a packet is to a network that looks inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// UDP over IP.
    Udp,
    /// TCP over IP.
    Tcp,
    /// Anything else, or nobody has looked.
    #[default]
    Other,
}

/// A packet that is offered to a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// As large as the carrier counts.
    pub bytes: usize,
    /// Its sender takes part in ECN.
    pub is_ecn_capable: bool,
    /// What a network sees that looks inside.
    pub class: Class,
}

impl Offer {
    /// A packet of no class whose sender knows no ECN.
    pub fn plain(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

/// A time in which nothing passes, in front of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// When it begins, after the link's epoch.
    pub from: Duration,
    /// When it ends; never, if absent.
    pub until: Option<Duration>,
    /// The only class it concerns; all, if absent.
    pub only: Option<Class>,
}

impl Blackout {
    /// Whether a packet offered at `at` is stopped.
    pub(super) fn stops(&self, at: Duration, class: Class) -> bool {
        at >= self.from && self.until.is_none_or(|until| at < until) && concerns(self.only, class)
    }
}

/// Whether a measure against `only` is one against `class`.
pub(super) fn concerns(only: Option<Class>, class: Class) -> bool {
    only.is_none_or(|only| only == class)
}
