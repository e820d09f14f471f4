//! DELAY and DRAIN: hold a small queue at the rate that is delivered; look for more where there is
//! none; let the queue run empty now and then so that everybody sees the base.
//! Loss is `brake`'s, company `compete`'s.

use super::model::{Model, Round};

/// A queue is one for sure above so many times the jitter, but always above this share of the base.
const SURE: f64 = 1.2;
const SURE_MOST: f64 = 0.08;
/// Share of the capacity above which a flow is as good as alone.
const ALONE: f64 = 0.6;
/// Most that the rate grows in a round where it is not sure.
const GROWTH_UNSURE: f64 = 0.12;
/// Growth per round where there is no queue.
const GROWTH: f64 = 0.03;
const GROWTH_FASTEST: f64 = 0.25;
/// The same for a flow that gives way: slow enough to see others come back.
const YIELDING_FASTEST: f64 = 0.15;
/// Growth rounds in which delivery must keep up before growth doubles.
const GROWTH_ROUNDS: u32 = 3;
/// The same where trains say that there is room for twice the rate.
const ROOMY_ROUNDS: u32 = 2;
/// Gain of the queue controller per RTT.
const GAIN: f64 = 0.7;
/// Longest DRAIN.
const DRAIN_ROUNDS: u32 = 2;

/// The steady state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    growth: f64,
    growing_rounds: u32,
    /// When the queue was last seen empty, and how long until that is missed.
    emptied_at: f64,
    drain: Option<Drain>,
    last_delivered: f64,
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    rounds: u32,
    before: f64,
}

impl Delay {
    pub(super) fn new(now: f64) -> Self {
        Self {
            growth: GROWTH,
            growing_rounds: 0,
            emptied_at: now,
            drain: None,
            last_delivered: 0.0,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn name(&self) -> &'static str {
        if self.drain.is_some() {
            "drain"
        } else {
            "delay"
        }
    }

    pub(super) fn on_round(&mut self, m: &mut Model, round: &Round) {
        if m.delay.dq <= m.queue_target / 4.0 {
            self.emptied_at = round.now;
        }
        if !self.draining(m, round) {
            self.steer(m, round);
        }
        //= spec/04-congestion.md#marks
        //# After a round with CE marks the rate MUST NOT be above 0.95 of the delivered rate.
        if round.ce > 0 && m.delivery.rate > 0.0 {
            m.rate = m.rate.min(0.95 * m.delivery.rate);
        }
        m.rate = m.rate.min(m.brake.cap(round.now));
        self.set_window(m);
    }

    fn steer(&mut self, m: &mut Model, round: &Round) {
        let (base, rate) = (m.delay.base_rtt, m.delivery.rate);
        if m.delay.dq > m.queue_target / 4.0 && rate > 0.0 {
            let before = m.rate;
            let may_be_jitter = m.delay.dq <= (SURE * m.delay.noise()).min(SURE_MOST * base);
            if may_be_jitter && m.share > ALONE {
                // No lower rate takes jitter away. Among others it is their coming and going that varies the
                // delay, and the smaller flows would not catch up.
                self.growth = self.growth.min(GROWTH_UNSURE);
                self.grow(m, round);
            } else {
                self.growing_rounds = 0;
                self.growth = GROWTH;
            }
            // What was sent since the measured queue was built (Smith predictor): without it the loop
            // acts twice on the same queue.
            let ahead = (m.rate / rate - 1.0).clamp(-0.3, 0.3);
            let dq = m.delay.dq + 0.8 * m.share * m.delay.srtt * ahead;
            let (least, most) = if m.yields {
                (-0.5, 0.05)
            } else {
                (-0.3, 0.05 + 0.2 * (1.0 - m.share))
            };
            let change = (GAIN * (m.queue_target - dq) / base).clamp(least, most);
            let next = rate * (1.0 + change);
            if m.rate > before {
                m.rate = m.rate.max(next);
            } else if !(round.app_limited && next > before) {
                m.rate = next;
            }
        } else {
            self.grow(m, round);
        }
    }

    //= spec/04-congestion.md#growth
    //# The rate MUST NOT grow after a round in which the application, and not the rate, was the limit.
    fn grow(&mut self, m: &mut Model, round: &Round) {
        if round.excess {
            self.growth = GROWTH;
            self.growing_rounds = 0;
            return;
        }
        // A burst shows its queue for a moment only.
        let has_filled = round.half_full && m.delay.peak() < m.queue_target;
        let is_short = round.app_limited && !has_filled;
        if is_short || round.is_kept_back() {
            return;
        }
        let has_room = m.trains.valid().is_some_and(|c| 2.0 * m.rate < c);
        let needed = if has_room {
            ROOMY_ROUNDS
        } else {
            GROWTH_ROUNDS
        };
        let keeps_up = round.spanned > 0.9 * round.sent_rate;
        self.growing_rounds = if keeps_up { self.growing_rounds + 1 } else { 0 };
        if self.growing_rounds >= needed {
            self.growth *= 2.0;
            self.growing_rounds = 0;
        }
        let fastest = if m.yields {
            YIELDING_FASTEST
        } else if 2.0 * m.rate < m.capacity {
            1.0
        } else {
            GROWTH_FASTEST
        };
        self.growth = self.growth.min(fastest);
        let mut growth = self.growth;
        if m.rate > 0.96 * m.capacity && m.trains.valid().is_some() {
            growth = growth.min(0.015);
        }
        if let Some(ceiling) = m.brake.ceiling()
            && round.now - ceiling.set_at < 12.0
        {
            growth = growth.min(0.1);
            if (0.6..1.3).contains(&(m.rate / ceiling.rate)) {
                let most = if ceiling.is_confirmed() { 0.02 } else { 0.06 };
                growth = growth.min(most * (m.delay.srtt / 0.1).min(1.0));
            }
        }
        m.rate *= 1.0 + growth;
    }

    //= spec/04-congestion.md#drain
    //# A sender that has not seen the queue empty for the longer of 5 s and 30 base RTTs MUST let it
    //# run empty.
    fn draining(&mut self, m: &mut Model, round: &Round) -> bool {
        let (base, rate) = (m.delay.base_rtt, m.delivery.rate);
        if let Some(drain) = &mut self.drain {
            drain.rounds += 1;
            if drain.rounds < DRAIN_ROUNDS && m.delay.dq >= 0.3 * m.queue_target {
                return true;
            }
            m.rate = rate.max(0.95 * drain.before);
            m.delivery.set(m.rate);
            self.drain = None;
            self.emptied_at = round.now;
            return true;
        }
        let patience = (30.0 * base).max(5.0) * m.jitter();
        if round.now - self.emptied_at < patience || rate <= 0.0 {
            return false;
        }
        let depth = (1.3 * m.delay.dq / (base * m.share) + 0.03).clamp(0.05, 0.6);
        self.drain = Some(Drain {
            rounds: 0,
            before: rate,
        });
        m.rate = rate * (1.0 - depth);
        true
    }

    fn set_window(&mut self, m: &mut Model) {
        let rate = m.rate.max(m.delivery.rate);
        let time = m.delay.base_rtt + 1.5 * m.queue_target + m.delay.slack();
        let window = 1.1 * rate * time + 6.0 * m.mtu;
        let halved = m.delivery.rate < 0.5 * self.last_delivered;
        self.last_delivered = m.delivery.rate;
        //= spec/04-congestion.md#window
        //# The window MUST NOT fall by more than a quarter in a round unless the delivered rate halved.
        m.cwnd = if halved {
            window
        } else {
            window.max(0.75 * m.cwnd)
        };
    }
}
