//! Configuration of a flow: control algorithm, application data, acknowledgements.
//! It is carried out in `sender` and `receiver`.

use std::time::Duration;

use rp_protocol::{config::Policy, congestion::PathMemory, units::Bandwidth};

use super::Algorithm;
use crate::{
    link::{Class, Spread},
    loss::Loss,
};

/// When a receiver sends an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckPolicy {
    /// Every eight packets or an eighth of the RTT (2 to 10 ms), at once on a gap: RPP's own.
    Sparse,
    /// Every other packet, at once on a gap: TCP's.
    Tcp,
    /// On a timer alone.
    Every(Duration),
}

/// What a receiver writes for the times at which packets arrived, in its ACKs and its train reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalTimes {
    /// The true times.
    True,
    /// The true times divided by this: more seems to arrive in a second.
    Divided(u32),
    /// Always the same time.
    Equal,
    /// Times that go backwards.
    Backwards,
    /// Random times.
    Random,
    /// Times that pass four times too slowly, and leap to the true time at the end of each period.
    Leaping(Duration),
}

/// What an application has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// Always more than fits.
    Bulk,
    /// Data for a while, nothing for a while.
    Bursts {
        /// Time with data.
        on: Duration,
        /// Time without.
        off: Duration,
    },
    /// Data at this rate.
    Paced(Bandwidth),
    /// Objects as a browser fetches them, with this mean load.
    Web(Bandwidth),
    /// The answers that the latency lab asks for: their sizes and frequencies.
    Answers,
}

/// One flow.
#[derive(Clone, Debug)]
pub struct FlowConfig {
    pub(super) algorithm: Algorithm,
    pub(super) mtu: u16,
    pub(super) start: Duration,
    pub(super) stop: Option<Duration>,
    pub(super) extra_rtt: Duration,
    pub(super) acks: AckPolicy,
    pub(super) arrival_times: ArrivalTimes,
    pub(super) ack_loss: Loss,
    pub(super) ack_jitter: Option<Spread>,
    pub(super) application: Application,
    pub(super) trains: bool,
    pub(super) paced: bool,
    pub(super) ecn: bool,
    pub(super) class: Class,
    pub(super) trace: bool,
    pub(super) memory: Option<PathMemory>,
    pub(super) max_rates: Vec<(Duration, Option<Bandwidth>)>,
}

impl FlowConfig {
    /// A bulk flow from the beginning to the end, with 1200-byte packets and RPP's ACKs.
    pub fn new(algorithm: impl Into<Algorithm>) -> Self {
        Self {
            algorithm: algorithm.into(),
            mtu: 1200,
            start: Duration::ZERO,
            stop: None,
            extra_rtt: Duration::ZERO,
            acks: AckPolicy::Sparse,
            arrival_times: ArrivalTimes::True,
            ack_loss: Loss::None,
            ack_jitter: None,
            application: Application::Bulk,
            trains: true,
            paced: true,
            ecn: false,
            class: Class::Udp,
            trace: false,
            memory: None,
            max_rates: Vec::new(),
        }
    }

    /// A CUBIC flow as a kernel runs it: not paced, an ACK for every other packet.
    pub fn tcp() -> Self {
        Self {
            acks: AckPolicy::Tcp,
            paced: false,
            class: Class::Tcp,
            ..Self::new(Policy::Cubic)
        }
    }

    /// A Reno flow as a kernel runs it.
    pub fn reno() -> Self {
        Self {
            algorithm: Algorithm::Reno,
            ..Self::tcp()
        }
    }

    /// A flow like TCP BBR, version 1.
    pub fn bbr() -> Self {
        Self {
            algorithm: Algorithm::Bbr,
            paced: true,
            ..Self::tcp()
        }
    }

    /// Web traffic of this mean load, by CUBIC.
    pub fn web(load: Bandwidth) -> Self {
        Self::tcp().application(Application::Web(load))
    }

    /// When it begins. Default at once.
    #[must_use]
    pub fn start(mut self, at: Duration) -> Self {
        self.start = at;
        self
    }

    /// When it has no more to send. Default never.
    #[must_use]
    pub fn stop(mut self, at: Duration) -> Self {
        self.stop = Some(at);
        self
    }

    /// RTT on top of the link's. Default none.
    #[must_use]
    pub fn extra_rtt(mut self, extra: Duration) -> Self {
        self.extra_rtt = extra;
        self
    }

    /// When the receiver sends ACKs. Default [`AckPolicy::Sparse`].
    #[must_use]
    pub fn acks(mut self, policy: AckPolicy) -> Self {
        self.acks = policy;
        self
    }

    /// What the receiver writes for times of arrival. Default [`ArrivalTimes::True`].
    #[must_use]
    pub fn arrival_times(mut self, times: ArrivalTimes) -> Self {
        self.arrival_times = times;
        self
    }

    /// Loss of ACKs. Default none.
    #[must_use]
    pub fn ack_loss(mut self, loss: Loss) -> Self {
        self.ack_loss = loss;
        self
    }

    /// Jitter of ACKs, order kept. Default none.
    #[must_use]
    pub fn ack_jitter(mut self, spread: Spread) -> Self {
        self.ack_jitter = Some(spread);
        self
    }

    /// What an application has to send. Default [`Application::Bulk`].
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.application = application;
        self
    }

    /// Size of its packets. Default 1200.
    #[must_use]
    pub fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// Whether the receiver times trains. Default true.
    #[must_use]
    pub fn trains(mut self, timed: bool) -> Self {
        self.trains = timed;
        self
    }

    /// Whether packets are ECN-capable. Default false.
    #[must_use]
    pub fn ecn(mut self, capable: bool) -> Self {
        self.ecn = capable;
        self
    }

    /// What it remembers of the path. Default nothing.
    #[must_use]
    pub fn memory(mut self, memory: Option<PathMemory>) -> Self {
        self.memory = memory;
        self
    }

    /// Maximum rate that the user sets at `at`, which must be later than any set before. Default none.
    #[must_use]
    pub fn max_rate(mut self, at: Duration, max_rate: Option<Bandwidth>) -> Self {
        self.max_rates.push((at, max_rate));
        self
    }

    /// Whether to record the controller's states. Default false.
    #[must_use]
    pub fn trace(mut self, keep: bool) -> Self {
        self.trace = keep;
        self
    }
}
