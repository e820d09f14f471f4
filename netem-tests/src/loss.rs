//! Random loss: which packets vanish behind the bottleneck, and in what bursts.
//! Packets dropped because a buffer was full are the queue's matter.

use rand::{Rng, RngExt, rngs::Xoshiro256PlusPlus};

/// A loss process, stepped once per packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// Nothing is lost.
    #[default]
    None,
    /// Each packet is lost with this probability, independent of the others.
    Bernoulli(f64),
    /// Two states with their own loss; packets, not time, move the process between them.
    GilbertElliott(GilbertElliott),
}

/// A two-state Markov loss process (Gilbert 1960, Elliott 1963).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GilbertElliott {
    /// Probability per packet of leaving the good state.
    pub enter_bad: f64,
    /// Probability per packet of leaving the bad state; its inverse is the mean burst in packets.
    pub leave_bad: f64,
    /// Loss in the good state.
    pub loss_good: f64,
    /// Loss in the bad state.
    pub loss_bad: f64,
}

impl Loss {
    /// Independent loss with probability `p`, clamped to 0..=1.
    pub fn bernoulli(p: f64) -> Self {
        if p > 0.0 {
            Self::Bernoulli(p.min(1.0))
        } else {
            Self::None
        }
    }

    /// Bursts of `burst_packets` on average in which everything is lost, so spaced that `p` of all
    /// packets is lost; nothing is lost between the bursts.
    pub fn bursts(p: f64, burst_packets: f64) -> Self {
        if p <= 0.0 {
            return Self::None;
        }
        let p = p.min(0.999);
        let leave_bad = 1.0 / burst_packets.max(1.0);
        Self::GilbertElliott(GilbertElliott {
            enter_bad: (leave_bad * p / (1.0 - p)).min(1.0),
            leave_bad,
            loss_good: 0.0,
            loss_bad: 1.0,
        })
    }

    /// Share of packets lost in the long run.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Bernoulli(p) => p,
            Self::GilbertElliott(ge) => {
                let moves = ge.enter_bad + ge.leave_bad;
                let bad = if moves > 0.0 {
                    ge.enter_bad / moves
                } else {
                    0.0
                };
                bad * ge.loss_bad + (1.0 - bad) * ge.loss_good
            }
        }
    }
}

/// The state of a running loss process.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossProcess {
    in_bad: bool,
}

impl LossProcess {
    /// Whether the next packet is lost under `model`.
    pub(crate) fn is_lost(&mut self, model: &Loss, rng: &mut Xoshiro256PlusPlus) -> bool {
        match *model {
            Loss::None => false,
            Loss::Bernoulli(p) => chance(rng, p),
            Loss::GilbertElliott(ge) => {
                let turn = if self.in_bad {
                    ge.leave_bad
                } else {
                    ge.enter_bad
                };
                if chance(rng, turn) {
                    self.in_bad = !self.in_bad;
                }
                chance(
                    rng,
                    if self.in_bad {
                        ge.loss_bad
                    } else {
                        ge.loss_good
                    },
                )
            }
        }
    }
}

/// True with probability `p`; draws nothing for 0 and 1, so that unused impairments do not shift
/// the random sequence of the others.
pub(crate) fn chance(rng: &mut Xoshiro256PlusPlus, p: f64) -> bool {
    if p <= 0.0 {
        false
    } else if p >= 1.0 {
        true
    } else {
        rng.random::<f64>() < p
    }
}

/// A sample of the standard normal distribution, by Box and Muller's polar-free form.
pub(crate) fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    // 53 random bits shifted into (0, 1]: the logarithm never meets zero.
    let radius = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let angle = rng.random::<f64>() * std::f64::consts::TAU;
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests;
