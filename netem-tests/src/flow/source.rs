//! What a flow has to send and when: always, in bursts, at a rate, as objects of the web or as answers.
//! When it may be sent is the sender's matter.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rp_protocol::units::Bandwidth;

use super::config::Application;
use crate::latency::OBJECTS;

/// Sizes of web objects: Pareto, as measured by Crovella and Bestavros (1997, table 3), and bounded so
/// that the mean is a mean within minutes.
const SHAPE: f64 = 1.2;
const SMALLEST: f64 = 10_000.0;
const LARGEST: f64 = 5_000_000.0;

/// An application's data.
#[derive(Debug)]
pub(super) struct Source {
    application: Application,
    start: Instant,
    mtu: u64,
    sent: u64,
    web: Web,
}

impl Source {
    pub(super) fn new(application: Application, start: Instant, mtu: u16, seed: u64) -> Self {
        Self {
            application,
            start,
            mtu: u64::from(mtu),
            sent: 0,
            web: Web {
                rng: Xoshiro256PlusPlus::seed_from_u64(seed),
                released: 0,
                next_at: start,
            },
        }
    }

    pub(super) fn is_bulk(&self) -> bool {
        self.application == Application::Bulk
    }

    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Bytes that are ready.
    pub(super) fn available(&mut self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.start);
        match self.application {
            Application::Bulk => u64::MAX,
            Application::Bursts { on, off } => {
                if into_period(age, on + off) < on {
                    u64::MAX
                } else {
                    0
                }
            }
            Application::Paced(rate) => rate.bytes_in(age).saturating_sub(self.sent),
            Application::Web(load) => {
                self.web.advance(now, load);
                self.web.released.saturating_sub(self.sent)
            }
            Application::Answers => asked_for(age).saturating_sub(self.sent),
        }
    }

    /// When there will be more, where there is not enough at `now`.
    pub(super) fn available_at(&self, now: Instant) -> Instant {
        let age = now.saturating_duration_since(self.start);
        match self.application {
            Application::Bulk => now,
            Application::Bursts { on, off } => now + (on + off - into_period(age, on + off)),
            Application::Paced(rate) => {
                let next = rate.time_for(self.sent + self.mtu);
                (self.start + next).max(now + Duration::from_nanos(1))
            }
            Application::Web(_) => self.web.next_at.max(now + Duration::from_nanos(1)),
            Application::Answers => {
                let next = OBJECTS.map(|(_, often)| until_next(age, often));
                now + next.into_iter().min().unwrap_or(Duration::MAX)
            }
        }
    }
}

fn into_period(age: Duration, period: Duration) -> Duration {
    Duration::from_nanos_u128(age.as_nanos() % period.as_nanos().max(1))
}

/// Bytes of all answers asked for in the first `age`.
fn asked_for(age: Duration) -> u64 {
    OBJECTS
        .iter()
        .map(|&(bytes, often)| bytes * due_by(age, often))
        .sum()
}

/// How many of those that come `often` times a second have come.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a small whole number of periods"
)]
fn due_by(age: Duration, often: f64) -> u64 {
    (age.as_secs_f64() * often) as u64
}

/// Time until the next of them, and a little more: it is to have come by then.
fn until_next(age: Duration, often: f64) -> Duration {
    let next = (due_by(age, often) + 1) as f64 / often;
    Duration::from_secs_f64(next).saturating_sub(age) + Duration::from_micros(1)
}

/// Objects of random size after random gaps; the next does not wait for the last, so that the mean load
/// is what was asked whatever the link is like.
#[derive(Debug)]
struct Web {
    rng: Xoshiro256PlusPlus,
    released: u64,
    next_at: Instant,
}

impl Web {
    fn advance(&mut self, now: Instant, load: Bandwidth) {
        while self.next_at <= now {
            self.released += size(self.rng.random());
            let mean_gap = mean_size() / (load.bytes_per_second() as f64).max(1.0);
            // An exponential gap by inversion; the argument of the logarithm is in (0, 1].
            let gap = -(1.0 - self.rng.random::<f64>()).ln() * mean_gap;
            self.next_at += Duration::from_secs_f64(gap.clamp(1e-9, 1e6));
        }
    }
}

/// A bounded Pareto sample by inversion of a uniform one in [0, 1).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the size lies between its bounds"
)]
fn size(uniform: f64) -> u64 {
    let cut = (SMALLEST / LARGEST).powf(SHAPE);
    (SMALLEST / (1.0 - uniform * (1.0 - cut)).powf(1.0 / SHAPE)) as u64
}

/// Mean of the bounded Pareto distribution.
fn mean_size() -> f64 {
    let cut = (SMALLEST / LARGEST).powf(SHAPE);
    let scale = SHAPE * SMALLEST / ((SHAPE - 1.0) * (1.0 - cut));
    scale * (1.0 - (SMALLEST / LARGEST).powf(SHAPE - 1.0))
}

#[cfg(test)]
mod tests;
