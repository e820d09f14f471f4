//! The control algorithms a flow may follow: the engine's own, and others for cross traffic.
//! Another algorithm is: one file beside this one, one variant, one arm.

use std::time::{Duration, Instant};

use rp_protocol::{
    config::Policy,
    congestion::{Controller, build},
};

use super::{bbr::Bbr, reno::Reno};

/// The control algorithm of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One of the engine's.
    Own(Policy),
    /// TCP Reno.
    Reno,
    /// Like BBR version 1.
    Bbr,
}

impl From<Policy> for Algorithm {
    fn from(policy: Policy) -> Self {
        Self::Own(policy)
    }
}

impl Algorithm {
    /// A controller for packets of `mtu` bytes; `seed` fixes its random decisions.
    pub(super) fn controller(
        self,
        mtu: u16,
        rtt: Duration,
        now: Instant,
        seed: u64,
    ) -> Box<dyn Controller> {
        match self {
            Self::Own(policy) => build(policy, mtu, rtt, now),
            Self::Reno => Box::new(Reno::new(mtu, rtt)),
            Self::Bbr => Box::new(Bbr::new(mtu, rtt, now, seed)),
        }
    }
}
