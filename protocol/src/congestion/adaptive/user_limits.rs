//! What the user sets at any time: the maximum rate, the policy, and the memory of the path.
//! How START uses a memory stands in `resume`.

use std::time::Duration;

use super::{Adaptive, State, bandwidth, delay::Delay};
use crate::{config::Policy, congestion::PathMemory, units::Bandwidth};

impl Adaptive {
    //= spec/04-congestion.md#maximum-rate
    //# The rate of the controller, and not only what leaves, MUST NOT be above the maximum the user has set.
    pub(super) fn limit(&mut self, max_rate: Option<Bandwidth>) {
        self.model.max_rate = max_rate.map_or(f64::INFINITY, |rate| rate.bytes_per_second() as f64);
        self.bound();
        let rate = self.model.send_rate();
        self.model.rounds.set_rate(rate);
    }

    /// Takes a memory of the path; a scavenger does not jump.
    pub(super) fn remember(&mut self, memory: &PathMemory) {
        if !self.model.scavenger {
            self.model.resume.recall(memory);
        }
    }

    pub(super) fn go_over(&mut self, policy: Policy) -> bool {
        match policy {
            Policy::Fair => self.model.scavenger = false,
            Policy::Low => self.become_scavenger(),
            Policy::Cubic | Policy::Fixed(_) => return false,
        }
        true
    }

    /// Becomes a scavenger, and stops competing.
    fn become_scavenger(&mut self) {
        self.model.scavenger = true;
        self.model.resume.forget();
        if matches!(self.state, State::Compete(_)) {
            let next = self.model.rounds.number() + 1;
            self.model.loss_response.reset(next, self.model.rate);
            self.state = State::Delay(Delay::new(self.heard_at));
        }
    }

    //= spec/04-congestion.md#path-memory
    //# A rate that START, a maximum rate or the policy `low` was the limit of MUST NOT be remembered.
    pub(super) fn learnt(&self) -> Option<PathMemory> {
        let model = &self.model;
        let is_limited =
            matches!(self.state, State::Start(_)) || model.scavenger || model.is_at_max_rate();
        let memory = PathMemory {
            rate: bandwidth(model.delivery.rate),
            min_rtt: Duration::try_from_secs_f64(model.delay.min_rtt).ok()?,
            age: Duration::ZERO,
        };
        (!is_limited && memory.is_usable()).then_some(memory)
    }
}
