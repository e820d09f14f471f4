//! What the user wants of the controller, at any time: a ceiling, giving way; and the memory of the path, taken from
//! him and given back. What becomes of a memory is `resume`'s.

use std::time::Duration;

use super::{Adaptive, State, bandwidth, delay::Delay};
use crate::{config::Policy, congestion::PathMemory, units::Bandwidth};

impl Adaptive {
    //= spec/04-congestion.md#ceiling
    //# The rate of the controller, and not only what leaves, MUST NOT be above a ceiling the user has set.
    pub(super) fn limit(&mut self, ceiling: Option<Bandwidth>) {
        self.m.user_ceiling = ceiling.map_or(f64::INFINITY, |rate| rate.bytes_per_second() as f64);
        self.bound();
        let rate = self.m.send_rate();
        self.m.rounds.set_rate(rate);
    }

    /// Who comes last does not jump.
    pub(super) fn remember(&mut self, memory: &PathMemory) {
        if !self.m.yields {
            self.m.resume.recall(memory);
        }
    }

    pub(super) fn go_over(&mut self, policy: Policy) -> bool {
        match policy {
            Policy::Fair => self.m.yields = false,
            Policy::Low => self.give_way(),
            Policy::Cubic | Policy::Fixed(_) => return false,
        }
        true
    }

    /// From here on others come first: no more competing.
    fn give_way(&mut self) {
        self.m.yields = true;
        self.m.resume.forget();
        if matches!(self.state, State::Compete(_)) {
            let next = self.m.rounds.number() + 1;
            self.m.brake.reset(next, self.m.rate);
            self.state = State::Delay(Delay::new(self.heard_at));
        }
    }

    //= spec/04-congestion.md#path-memory
    //# A rate that START, a ceiling or a policy that gives way was the limit of MUST NOT be remembered.
    pub(super) fn learnt(&self) -> Option<PathMemory> {
        let m = &self.m;
        let is_limited = matches!(self.state, State::Start(_)) || m.yields || m.is_at_ceiling();
        let memory = PathMemory {
            rate: bandwidth(m.delivery.rate),
            min_rtt: Duration::try_from_secs_f64(m.delay.base_rtt).ok()?,
            age: Duration::ZERO,
        };
        (!is_limited && memory.is_usable()).then_some(memory)
    }
}
