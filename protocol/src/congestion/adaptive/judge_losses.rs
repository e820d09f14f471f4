//! Judges the losses of a round: whether they exceed the random-loss estimate, whether they are congestion, and
//! which backoff follows. Each of these decisions stands in a module of its own.

use super::{
    Adaptive, State,
    loss_response::PathState,
    model::Round,
    rounds::{Kind, SentRound},
};

impl Adaptive {
    /// Judges every round whose packets' fates are all known, and backs off if need be.
    pub(super) fn judge_losses(&mut self, round: &mut Round) {
        let steady = matches!(self.state, State::Delay(_));
        let next = self.model.rounds.number() + 1;
        self.model.loss_response.on_round(round.now);
        while let Some(sent_round) = self.model.rounds.take_resolved() {
            if !steady
                || !self.model.loss_response.is_fresh(&sent_round)
                || sent_round.resolved() == 0
            {
                continue;
            }
            if sent_round.kind == Kind::Probe {
                self.model.random_loss.on_probe(round.now, &sent_round);
                continue;
            }
            round.excess |= self.judge(round, &sent_round, next);
        }
    }

    fn judge(&mut self, round: &Round, sent_round: &SentRound, next: u64) -> bool {
        let model = &mut self.model;
        let mut arrivals = model.delivery.arrivals;
        if sent_round.app_limited {
            // The last arrivals are seldom those of a round that was not full.
            arrivals[1] = arrivals[1].min(sent_round.rate * (1.0 - sent_round.loss()));
        }
        let path = PathState {
            now: round.now,
            srtt: model.delay.srtt,
            peak: model.delay.peak(),
            no_queue: model.has_no_queue(),
            rate: model.rate,
            arrivals,
            queue_target: model.queue_target,
        };
        let judgement = model.random_loss.judge(sent_round);
        if model.loss_response.teaches(round.now, sent_round.rate)
            && model.delay.queuing_delay <= 1.25 * model.queue_target
        {
            model
                .random_loss
                .learn(round.now, model.delay.srtt, sent_round);
        }
        if !judgement.is_excess {
            model.loss_response.on_clean(round.now, sent_round);
            return false;
        }
        if let Some(loss) =
            model
                .loss_response
                .non_congestion_loss(&path, sent_round, &model.random_loss)
        {
            model.random_loss.set(round.now, loss);
            model.queue_cap = None;
            return false;
        }
        if model.delivery.arrivals[1] <= 0.0 {
            return true;
        }
        if let Some(decision) = model.loss_response.on_excess(
            &path,
            sent_round,
            judgement,
            &mut model.random_loss,
            next,
        ) {
            model.rate = decision.rate;
            model.queue_cap = decision.queue_cap.or(model.queue_cap);
            if let Some(rate) = decision.delivered {
                model.delivery.set(rate);
                model.queue_cap = None;
            }
        }
        true
    }
}
