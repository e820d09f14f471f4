//! What the losses of a round mean for the rate: whom the baseline, the brake and futility are asked in
//! which order. What each of them answers is its own.

use super::{
    Adaptive, State,
    brake::Pressure,
    model::Round,
    rounds::{Kind, Tag},
};

impl Adaptive {
    /// Judge every round whose fate is now known, and brake if need be.
    pub(super) fn judge_losses(&mut self, round: &mut Round) {
        let steady = matches!(self.state, State::Delay(_));
        let next = self.m.rounds.number() + 1;
        self.m.brake.on_round(round.now);
        while let Some(tag) = self.m.rounds.take_resolved() {
            if !steady || !self.m.brake.is_fresh(&tag) || tag.resolved() == 0 {
                continue;
            }
            if tag.kind == Kind::Probe {
                self.m.baseline.on_probe(round.now, &tag);
                continue;
            }
            round.excess |= self.judge(round, &tag, next);
        }
    }

    fn judge(&mut self, round: &Round, tag: &Tag, next: u64) -> bool {
        let m = &mut self.m;
        let mut arrivals = m.delivery.arrivals;
        if tag.app_limited {
            // A round that was not full is seldom the one that the present arrivals are of.
            arrivals[1] = arrivals[1].min(tag.rate * (1.0 - tag.loss()));
        }
        let pressure = Pressure {
            now: round.now,
            srtt: m.delay.srtt,
            peak: m.delay.peak(),
            no_queue: m.has_no_queue(),
            rate: m.rate,
            arrivals,
            queue_target: m.queue_target,
        };
        let verdict = m.baseline.judge(tag);
        if m.brake.teaches(round.now, tag.rate) && m.delay.dq <= 1.25 * m.queue_target {
            m.baseline.learn(round.now, m.delay.srtt, tag);
        }
        if !verdict.excess {
            m.brake.on_clean(round.now, tag);
            return false;
        }
        if let Some(loss) = m.brake.futility(&pressure, tag, &m.baseline) {
            m.baseline.set(round.now, loss);
            m.queue_cap = None;
            return false;
        }
        if m.delivery.arrivals[1] <= 0.0 {
            return true;
        }
        if let Some(decision) = m
            .brake
            .on_excess(&pressure, tag, verdict, &mut m.baseline, next)
        {
            m.rate = decision.rate;
            m.queue_cap = decision.queue_cap.or(m.queue_cap);
            if let Some(rate) = decision.delivered {
                m.delivery.set(rate);
                m.queue_cap = None;
            }
        }
        true
    }
}
