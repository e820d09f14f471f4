//! The search for the largest packet a path carries, and the doubt when it stops carrying it.
//! Sending the probes and hearing of their fate is the connection's business.
//!
//! After RFC 8899 (DPLPMTUD), with two changes for lossy links: how often a probe must be lost before
//! its size counts as too large depends on the loss every packet sees, and a black hole is only
//! believed when probes of the size in use fail while smaller packets pass
//! (spec/07-paths.md#packet-size).

use std::time::{Duration, Instant};

/// What every path must carry (spec/07-paths.md#packet-size).
pub(crate) const MIN_PAYLOAD: u16 = 1200;
/// Sizes worth probing: IPv6 minimum less headers, tunnels, Ethernet under IPv6 and IPv4, jumbo frames.
const CANDIDATES: [u16; 6] = [1232, 1360, 1400, 1452, 1472, 8952];
/// Probes of one size that must be lost at least (RFC 8899 section 5.1.2, MAX_PROBES).
const MIN_PROBES: u32 = 3;
const MAX_PROBES: u32 = 8;
/// Full-size packets lost in a row, with none arriving, that raise the suspicion of a black hole.
const SUSPICIOUS_RUN: u32 = 12;
/// The search begins anew after this long (RFC 8899 section 5.1.1, PMTU_RAISE_TIMER).
const RAISE_INTERVAL: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Probing `CANDIDATES[next]`; `lost` probes of it failed.
    Searching {
        next: usize,
        lost: u32,
        in_flight: bool,
    },
    /// Probing the size in use after a suspicious run of losses.
    Doubting {
        lost: u32,
        in_flight: bool,
        small_passed: bool,
    },
    /// Nothing to do before that time.
    Settled { until: Instant },
    /// Never probes.
    Off,
}

/// The packet size of one path.
#[derive(Debug)]
pub(crate) struct MtuSearch {
    current: u16,
    max: u16,
    state: State,
    /// Too large, found out in this search.
    refused: u16,
    run: u32,
    black_holes: u64,
}

impl MtuSearch {
    /// Start at [`MIN_PAYLOAD`]; probe up to `max` if `search`.
    pub(crate) fn new(max: u16, search: bool) -> Self {
        let state = if search {
            State::Searching {
                next: Self::best_guess(max),
                lost: 0,
                in_flight: false,
            }
        } else {
            State::Off
        };
        Self {
            current: MIN_PAYLOAD,
            max,
            state,
            refused: u16::MAX,
            run: 0,
            black_holes: 0,
        }
    }

    /// Ethernet's size first: most paths have it, and one probe then settles the common case.
    fn best_guess(max: u16) -> usize {
        CANDIDATES
            .iter()
            .rposition(|&size| size <= max.min(1472))
            .unwrap_or(CANDIDATES.len())
    }

    /// Largest UDP payload to send.
    pub(crate) fn current(&self) -> u16 {
        self.current
    }

    /// How often the path stopped carrying the size in use.
    pub(crate) fn black_holes(&self) -> u64 {
        self.black_holes
    }

    /// The peer takes no more than `max`.
    pub(crate) fn limit(&mut self, max: u16) {
        self.max = self.max.min(max.max(MIN_PAYLOAD));
        if let State::Searching {
            next,
            lost: 0,
            in_flight: false,
        } = &mut self.state
        {
            *next = Self::best_guess(self.max);
        }
    }

    /// The size of the probe to send now, if one is wanted.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<u16> {
        if let State::Settled { until } = self.state
            && until <= now
        {
            self.refused = u16::MAX;
            self.search_on(now);
        }
        match self.state {
            State::Searching {
                next,
                in_flight: false,
                ..
            } => match CANDIDATES.get(next) {
                Some(&size) if size <= self.max && size > self.current => Some(size),
                _ => {
                    self.state = State::Settled {
                        until: now + RAISE_INTERVAL,
                    };
                    None
                }
            },
            State::Doubting {
                in_flight: false, ..
            } => Some(self.current),
            _ => None,
        }
    }

    /// The probe asked for has left.
    pub(crate) fn on_probe_sent(&mut self) {
        match &mut self.state {
            State::Searching { in_flight, .. } | State::Doubting { in_flight, .. } => {
                *in_flight = true;
            }
            State::Settled { .. } | State::Off => {}
        }
    }

    /// The probe under way says nothing any more: its path is no longer used.
    pub(crate) fn on_probe_abandoned(&mut self) {
        if let State::Searching { in_flight, .. } | State::Doubting { in_flight, .. } =
            &mut self.state
        {
            *in_flight = false;
        }
    }

    /// The search for another path to the same peer.
    pub(crate) fn anew(&self, search: bool) -> Self {
        Self {
            black_holes: self.black_holes,
            ..Self::new(self.max, search)
        }
    }

    /// A probe of `bytes` arrived. Returns whether the size in use grew.
    pub(crate) fn on_probe_acked(&mut self, now: Instant, bytes: u16) -> bool {
        self.run = 0;
        let grew = bytes > self.current && bytes <= self.max;
        if grew {
            self.current = bytes;
        }
        if !matches!(self.state, State::Off) {
            self.search_on(now);
        }
        grew
    }

    /// A probe of `bytes` was lost while packets in general are lost at the rate `loss` (0 to 1).
    /// Returns whether the size in use fell.
    pub(crate) fn on_probe_lost(&mut self, now: Instant, bytes: u16, loss: f64) -> bool {
        let needed = probes_needed(loss);
        match &mut self.state {
            State::Searching {
                next,
                lost,
                in_flight,
            } if CANDIDATES.get(*next) == Some(&bytes) => {
                *lost += 1;
                *in_flight = false;
                if *lost >= needed {
                    self.refused = self.refused.min(bytes);
                    self.search_on(now);
                }
                false
            }
            State::Doubting {
                lost,
                in_flight,
                small_passed,
            } if bytes == self.current => {
                *lost += 1;
                *in_flight = false;
                //= spec/07-paths.md#packet-size
                //# The packet size MUST NOT be lowered unless at least three probes of the size in use were
                //# lost while a smaller packet arrived.
                if *lost < needed || !*small_passed {
                    return false;
                }
                self.black_holes += 1;
                self.refused = self.current;
                self.current = MIN_PAYLOAD;
                self.run = 0;
                self.search_on(now);
                true
            }
            _ => false,
        }
    }

    /// A packet of `bytes` that was no probe arrived.
    pub(crate) fn on_acked(&mut self, now: Instant, bytes: u16) {
        if bytes > MIN_PAYLOAD {
            self.run = 0;
            if matches!(self.state, State::Doubting { .. }) {
                self.search_on(now);
            }
        } else if let State::Doubting { small_passed, .. } = &mut self.state {
            *small_passed = true;
        }
    }

    /// A packet of `bytes` that was no probe was lost.
    pub(crate) fn on_lost(&mut self, bytes: u16) {
        if bytes <= MIN_PAYLOAD || matches!(self.state, State::Off) {
            return;
        }
        self.run += 1;
        if self.run >= SUSPICIOUS_RUN && !matches!(self.state, State::Doubting { .. }) {
            self.state = State::Doubting {
                lost: 0,
                in_flight: false,
                small_passed: false,
            };
        }
    }

    /// Choose the next size: one step up while nothing was refused, else the largest not refused.
    fn search_on(&mut self, now: Instant) {
        let fits = |&size: &u16| size > self.current && size <= self.max && size < self.refused;
        let next = if self.refused == u16::MAX {
            CANDIDATES.iter().position(fits)
        } else {
            CANDIDATES.iter().rposition(fits)
        };
        self.state = match next {
            Some(next) => State::Searching {
                next,
                lost: 0,
                in_flight: false,
            },
            None => State::Settled {
                until: now + RAISE_INTERVAL,
            },
        };
    }
}

/// How many probes in a row must be lost before chance (below 1 % at a loss of `loss`) no longer
/// explains it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the float is clamped to the range of the constants first"
)]
fn probes_needed(loss: f64) -> u32 {
    if loss.is_nan() || loss <= 0.0 {
        return MIN_PROBES;
    }
    let probes = (0.01_f64.ln() / loss.min(0.99).ln()).ceil();
    probes.clamp(f64::from(MIN_PROBES), f64::from(MAX_PROBES)) as u32
}

#[cfg(test)]
mod tests;
